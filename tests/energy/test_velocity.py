"""Energies over boxes with a velocity, seen in the sweeps."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lidar_ebm.energy.box_features import BoxContext, points_near_boxes
from lidar_ebm.energy.box_space import CAR_SIZE, relative_scales
from lidar_ebm.energy.captured_refinement import CapturedRefinement
from lidar_ebm.energy.energy_head import EnergyHead
from lidar_ebm.energy.noise import RelativeNoise, make_noise, noise_stds
from lidar_ebm.energy.uncertainty import estimate_uncertainty
from lidar_ebm.errors import InputError
from lidar_ebm.runs.model import make_energy
from lidar_ebm.types import Batch
from tests.energy.energy_scenes import make_config, make_head
from tests.energy.moving_scenes import moving_batch, moving_config, moving_labels
from tests.energy.test_captured_refinement import Recorder


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def context_of(head: EnergyHead, batch: Batch, boxes: Tensor) -> BoxContext:
    return head.context(batch, None, boxes, batch.boxes.batch_index, class_index=batch.boxes.class_index)


def still(batch: Batch, boxes: Tensor) -> Batch:
    """The batch with every point where the car would have been had it stood still."""
    points = batch.points.clone()
    points[:, :2] += boxes[batch.point_batch_index, 7:] * points[:, 4:]
    return replace(batch, points=points)


class TestWhatVelocityChanges:
    def test_with_the_right_velocity_a_moving_car_is_a_still_one(self) -> None:
        head, labels = make_head(moving_config("energy.points.max_points=400")), moving_labels(5)
        batch = moving_batch(labels, 200)
        at_rest = torch.cat([labels[:, :7], torch.zeros(5, 2)], dim=1)
        # Points of the ground move against a still world: leave them out.
        of_car = (batch.points[:, 2] - (labels[:, 2] - labels[:, 5] / 2)[batch.point_batch_index]) > 1e-3
        batch = replace(batch, points=batch.points[of_car], point_batch_index=batch.point_batch_index[of_car])
        candidates = labels.unsqueeze(1) + 0.1 * torch.randn(5, 6, 9) * torch.tensor([1.0] * 7 + [0.0] * 2)
        there = torch.cat([candidates[..., :7], torch.zeros(5, 6, 2)], dim=2)
        moving = head(context_of(head, batch, labels), candidates)
        resting = head(context_of(head, still(batch, labels), at_rest), there)
        torch.testing.assert_close(moving, resting, rtol=1e-4, atol=1e-4)

    def test_one_sweep_shows_no_velocity(self) -> None:
        head, labels = make_head(moving_config()), moving_labels(3)
        batch = moving_batch(labels, 100)
        for lag, sees in ((0.0, False), (None, True)):
            points = batch.points.clone()
            if lag is not None:
                points[:, 4] = lag
            candidates = labels.unsqueeze(1).clone().requires_grad_()
            f = head(context_of(head, replace(batch, points=points), labels), candidates)
            (gradient,) = torch.autograd.grad(f.sum(), candidates)
            assert bool((gradient[..., 7:] != 0).any(-1).all()) is sees

    def test_a_fast_car_keeps_its_old_points(self) -> None:
        config, labels = moving_config("energy.points.max_points=500").energy.points, moving_labels(4)
        labels[:, 7:] *= 30 / labels[:, 7:].norm(dim=1, keepdim=True)  # 13 m in the oldest sweep
        batch = moving_batch(labels, 200)
        columns = (0, 1, 2, 3, 4)
        of_car = (batch.points[:, 2] - (labels[:, 2] - labels[:, 5] / 2)[batch.point_batch_index]) > 1e-3
        batch = replace(batch, points=batch.points[of_car], point_batch_index=batch.point_batch_index[of_car])
        frame = batch.boxes.batch_index
        own = torch.bincount(batch.point_batch_index)
        view = points_near_boxes(batch, labels, frame, config, 0, columns=columns)
        assert torch.equal(view.counts, own)
        wrong = labels + torch.tensor([0.0] * 7 + [2.0, -2.0])  # which moves the oldest by 1.3 m
        assert torch.equal(points_near_boxes(batch, wrong, frame, config, 0, columns=columns).counts, own)
        assert (points_near_boxes(batch, labels[:, :7], frame, config, 0, columns=columns).counts < own / 2).all()

    def test_the_order_of_points_and_further_channels_change_nothing(self) -> None:
        labels = moving_labels(2)
        config = moving_config("energy.points.max_points=20")
        batch = moving_batch(labels, 300)
        head = make_head(config)
        order = torch.randperm(600)
        shuffled = replace(batch, points=batch.points[order], point_batch_index=batch.point_batch_index[order])
        y = labels.unsqueeze(1)
        expected = head(context_of(head, batch, labels), y)
        torch.testing.assert_close(head(context_of(head, shuffled, labels), y), expected)
        ringed = moving_config("energy.points.max_points=20", "points.channels=[reflectance,ring,time_lag]")
        other = make_head(ringed)
        other.load_state_dict(head.state_dict())
        points = torch.cat([batch.points[:, :4], torch.rand(600, 1), batch.points[:, 4:]], dim=1)
        torch.testing.assert_close(other(context_of(other, replace(batch, points=points), labels), y), expected)


class TestSevenDimensionsOfNine:
    def test_the_velocity_comes_back_untouched(self) -> None:
        head, labels = make_head(moving_config("energy.velocity=false", "refinement.starts=3")), moving_labels(4)
        assert head.space.dims == 7
        batch = moving_batch(labels, 100)
        context = context_of(head, batch, labels)
        result = head.refine(context, labels, steps=4, record=True)
        assert result.y.shape == labels.shape
        assert result.trajectory.shape == (5, 4, 9)
        assert torch.equal(result.y[:, 7:], labels[:, 7:])
        assert torch.equal(result.trajectory[..., 7:], labels[:, 7:].expand(5, -1, -1))
        assert (result.f >= result.f0).all()
        assert not torch.equal(result.y[:, :7], labels[:, :7])

    def test_f_sees_points_that_the_velocity_moved(self) -> None:
        over_seven = make_head(moving_config("energy.velocity=false"))
        over_nine = make_head(moving_config())
        over_nine.load_state_dict(over_seven.state_dict())
        labels = moving_labels(3)
        batch, y = moving_batch(labels, 100), labels.unsqueeze(1)
        torch.testing.assert_close(
            over_seven(context_of(over_seven, batch, labels), y),
            over_nine(context_of(over_nine, batch, labels), y),
            rtol=1e-4,
            atol=1e-5,
        )

    def test_the_map_alone_shows_no_velocity(self) -> None:
        config = make_config(("bev",), "velocity=true", "points.channels=[reflectance,time_lag]")
        assert config.box_dimensions == 9
        assert make_head(config).space.dims == 7


class TestLoss:
    def test_labels_of_unknown_velocity_are_left_out(self) -> None:
        head, labels = make_head(moving_config()), moving_labels(4)
        batch = moving_batch(labels, 60)
        unknown = labels.clone()
        unknown[1, 7], unknown[3, 8] = math.nan, math.nan
        with_unknown = replace(batch, boxes=replace(batch.boxes, boxes=unknown))
        kept = torch.tensor([0, 2])
        without = replace(batch, boxes=replace(batch.boxes, boxes=labels[kept], batch_index=kept, class_index=kept * 0))
        assert head.trained_on(unknown).tolist() == [True, False, True, False]
        seeds = [3, 4, 5, 6]
        assert head.loss(with_unknown, None, seeds=seeds) == head.loss(without, None, seeds=seeds)
        none = replace(batch, boxes=replace(batch.boxes, boxes=unknown[[1, 3]], batch_index=kept, class_index=kept * 0))
        assert head.loss(none, None, seeds=seeds) == 0

    @pytest.mark.parametrize(
        "method", ["nce", "nce+", "ml-is", "kld-is", "ml-mcmc", "dsm", "sm", "learned-nce", "learned-ml-is"]
    )
    def test_every_method_trains_every_parameter(self, method: str) -> None:
        config = moving_config(
            f"energy.objective.method={method}",
            "energy.activation=silu",
            "energy.samples=8",
            "energy.points.max_points=16",
            "energy.points.class_input=true",
        )
        head, labels = make_head(config), moving_labels(2)
        loss = head.loss(moving_batch(labels, 60), None)
        assert loss.isfinite()
        loss.backward()
        for name, parameter in head.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all()

    def test_training_finds_the_velocity(self) -> None:
        """A tiny energy, some seconds: refinement then brings wrong velocities nearer to the right ones."""
        config = moving_config(
            "energy.points.channels=[32,32]",
            "energy.points.hidden=32",
            "energy.points.max_points=48",
            "energy.samples=48",
            "refinement.step_length=0.03",
            "refinement.rule=adam",
            "refinement.steps=30",
        )
        head = make_energy(config)
        optimiser = torch.optim.Adam(head.parameters(), lr=4e-3)
        steps = 250
        for step in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = 4e-3 * (1 - step / steps) + 1e-4
            optimiser.zero_grad()
            head.loss(moving_batch(moving_labels(8), 64), None).backward()
            optimiser.step()
        labels = moving_labels(60)
        batch = moving_batch(labels, 64)
        start = labels + torch.randn(60, 9) * torch.tensor([0.1] * 3 + [0.05] * 4 + [0.6] * 2)
        refined = head.refine(context_of(head, batch, start), start).y

        def error(boxes: Tensor) -> float:
            return float((boxes - labels)[:, 7:].norm(dim=1).mean())

        assert error(refined) < 0.6 * error(start)


class TestRefinement:
    @pytest.mark.parametrize("settings", [(), ("energy.velocity=false",), ("energy.points.class_input=true",)])
    def test_a_replay_is_the_refinement_itself(self, settings: tuple[str, ...]) -> None:
        lengths = "refinement.step_length=[1e-3,1e-3,5e-4,5e-4,5e-4,5e-4,2e-4]"
        head = make_head(moving_config(lengths, "refinement.starts=3", "energy.noise.relative=0.5", *settings))
        labels = moving_labels(3)
        boxes = labels[:, : head.space.dims]
        context = context_of(head, moving_batch(labels, 70), labels)
        captured = CapturedRefinement(Recorder())
        starts = boxes[:, None] + 0.05 * torch.randn(3, 2, head.space.dims)
        for start in (starts, starts + 0.02):
            result = captured(lambda c, s: head._ascend(c, s, 4, False), context, start, key=())
            expected = head._ascend(context, start, 4, False)
            torch.testing.assert_close((result.y, result.f), (expected.y, expected.f))

    def test_steps_in_velocity_follow_from_those_in_place(self) -> None:
        seven = "[1e-2,2e-2,1e-2,1e-2,1e-2,1e-2,1e-2]"
        adam = make_head(moving_config(f"refinement.step_length={seven}", "refinement.rule=adam"))
        torch.testing.assert_close(adam.step_lengths[7:], torch.tensor([0.04, 0.08]))
        halving = make_head(moving_config(f"refinement.step_length={seven}"))
        torch.testing.assert_close(halving.step_lengths[7:], torch.tensor([0.16, 0.32]))
        given = make_head(moving_config(f"refinement.step_length={seven[:-1]},3e-2,5e-2]"))
        torch.testing.assert_close(given.step_lengths[7:], torch.tensor([0.03, 0.05]))

    def test_uncertainty_has_nine_dimensions(self) -> None:
        config = moving_config("uncertainty.rounds=4")
        boxes = moving_labels(2)
        stds = torch.tensor([0.05, 0.05, 0.03, 0.05, 0.05, 0.03, 0.02, 0.3, 0.2])

        def energy(y: Tensor) -> Tensor:
            return -0.5 * ((y - boxes.unsqueeze(1)) / stds).square().sum(-1)

        random = torch.Generator().manual_seed(0)
        found = estimate_uncertainty(energy, boxes, config.energy_settings, temperature=1.0, random=random)
        assert found.covariance.shape == (2, 9, 9)
        assert found.samples.shape[2] == 9
        torch.testing.assert_close(
            found.covariance.diagonal(dim1=1, dim2=2).sqrt() / stds, torch.ones(2, 9), rtol=0, atol=0.3
        )
        assert (found.expected_iou < 1).all()

    def test_boxes_of_another_width_are_refused(self) -> None:
        head, labels = make_head(moving_config()), moving_labels(2)
        with pytest.raises(ValueError, match="boxes have 7 numbers, and this energy's 9"):
            head.context(moving_batch(labels, 5), None, labels[:, :7], torch.arange(2))


class TestNoise:
    def test_a_row_of_seven_is_completed(self) -> None:
        config = moving_config()
        assert noise_stds(config.energy, 9)[2][7:] == (1.0, 1.0)
        assert noise_stds(config.energy, 7) == [tuple(row) for row in config.energy.noise.stds]

    def test_nine_numbers_need_a_velocity(self) -> None:
        row = "[[0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.5,0.5]]"
        assert noise_stds(moving_config(f"energy.noise.stds={row}").energy, 9)[0][7:] == (0.5, 0.5)
        with pytest.raises(InputError, match=r"energy\.noise\.stds: nine numbers.*velocity: true"):
            make_config(("points",), f"energy.noise.stds={row}")

    @pytest.mark.parametrize("boundary", ["exact", "clamped"])
    def test_relative_noise_follows_the_size(self, boundary: str) -> None:
        cone, car, bus = (0.4, 0.4, 1.07), CAR_SIZE, (10.5, 2.9, 3.5)
        labels = torch.tensor([[0.0, 0, 0, *size, 0.3, 1.0, 0.0] for size in (cone, car, bus)]).double()
        config = moving_config(f"energy.noise.boundary={boundary}")
        noise = RelativeNoise(make_noise(config.energy, 9), relative_scales(labels, 0.5))
        draws = noise.sample(labels, 4000, torch.Generator().manual_seed(1))
        spread = draws.std(dim=1)
        plain = make_noise(config.energy, 9).sample(labels, 4000, torch.Generator().manual_seed(1)).std(dim=1)
        ratio = (0.4 * 0.4 / (3.9 * 1.6)) ** 0.25
        torch.testing.assert_close(spread[0, :2] / plain[0, :2], torch.full((2,), ratio).double(), rtol=1e-4, atol=0)
        torch.testing.assert_close(spread[1], plain[1], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(spread[:, 6:], plain[:, 6:], rtol=1e-4, atol=1e-6)
        assert (spread[2, :2] > 1.3 * plain[2, :2]).all()
        assert (draws[0, :, 3:6] > 0.1).double().mean() > 0.99  # of a cone, hardly any draw is cut off

    def test_relative_noise_is_a_density(self) -> None:
        """Of one dimension by the trapezoid rule, the others integrate to one by themselves."""
        labels = torch.tensor([[0.0, 0, 0, 0.4, 0.4, 1.0, 0.3]]).double()
        config = make_config(("points",), "energy.noise.stds=[[0.1,0.1,0.1,0.1,0.1,0.1,0.1]]")
        scales = relative_scales(labels, 1.0)
        noise = RelativeNoise(make_noise(config.energy), scales)
        grid = torch.linspace(-1, 1, 4001).double()
        y = labels.repeat(4001, 1).unsqueeze(0).clone()
        y[0, :, 0] += grid
        others = torch.tensor(0.1 * math.sqrt(2 * math.pi)).log().double() * 6 + scales[0, 1:].log().sum()
        share = torch.trapezoid((noise.log_prob(y, labels)[0] + others).exp(), grid)
        assert float(share) == pytest.approx(1, abs=1e-6)

    def test_relative_needs_the_noise(self) -> None:
        with pytest.raises(InputError, match=r"energy\.noise\.relative=0\.5"):
            moving_config("energy.noise.relative=0.5", "energy.objective.method=dsm")

    def test_relative_of_a_car_changes_nothing(self) -> None:
        labels = moving_labels(2)
        labels[:, 3:6] = torch.tensor(CAR_SIZE)
        batch, seeds = moving_batch(labels, 50), [1, 2]
        plain = make_head(moving_config())
        relative = make_head(moving_config("energy.noise.relative=1"))
        relative.load_state_dict(plain.state_dict())
        torch.testing.assert_close(
            relative.loss(batch, None, seeds=seeds), plain.loss(batch, None, seeds=seeds), rtol=1e-4, atol=1e-5
        )


class TestClasses:
    def test_f_is_told_the_class(self) -> None:
        config = moving_config("energy.points.class_input=true", "classes=[{name: Car}, {name: Cone}]")
        head, labels = make_head(config), moving_labels(3)
        batch, frame = moving_batch(labels, 50), torch.arange(3)
        values = [
            head(head.context(batch, None, labels, frame, class_index=torch.full((3,), kind)), labels.unsqueeze(1))
            for kind in (0, 1)
        ]
        assert (values[0] != values[1]).all()
        kinds = torch.tensor([0, 1, 0])
        context = head.context(batch, None, labels, frame, class_index=kinds)
        rows = torch.tensor([1, 2])
        torch.testing.assert_close(head(context.select(rows), labels[rows, None])[0], values[1][1])
        with pytest.raises(ValueError, match="class_index"):
            head.context(batch, None, labels, frame)


class TestVelocityInput:
    def test_f_is_told_the_velocity_of_a_box_without_points(self) -> None:
        labels = moving_labels(2)
        batch = moving_batch(labels, 0)
        faster = labels + torch.tensor([0.0] * 7 + [1.0, -0.5])
        for settings, told in (((), False), (("energy.points.velocity_input=true",), True)):
            head = make_head(moving_config(*settings))
            context = context_of(head, batch, labels)
            same = torch.equal(head(context, labels.unsqueeze(1)), head(context, faster.unsqueeze(1)))
            assert same != told

    def test_f_does_not_change_when_all_is_turned(self) -> None:
        head = make_head(moving_config("energy.points.velocity_input=true")).double()
        labels = moving_labels(3).double()
        batch = moving_batch(labels.float(), 40)
        context = context_of(head, batch, labels.float())
        assert context.points is not None
        angle = torch.tensor(0.8, dtype=torch.float64)
        rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
        turned = labels.clone()
        turned[:, :2], turned[:, 7:] = labels[:, :2] @ rotation.T, labels[:, 7:] @ rotation.T
        turned[:, 6] += angle
        points = context.points.points.double()
        moved = points.clone()
        moved[:, :2] = points[:, :2] @ rotation.T
        values = [
            head(replace(context, points=replace(context.points, points=cloud)), boxes.unsqueeze(1))
            for cloud, boxes in ((points, labels), (moved, turned))
        ]
        torch.testing.assert_close(*values, rtol=1e-9, atol=1e-12)

    def test_it_needs_a_velocity_that_f_is_over(self) -> None:
        fixed = make_head(moving_config("energy.points.velocity_input=true", "energy.velocity=false"))
        assert fixed.points is not None
        assert not fixed.points.velocity
