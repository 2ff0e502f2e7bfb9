"""Energies over boxes with a velocity, seen in the sweeps."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lidar_ebm.energy.box_features import BoxContext, points_near_boxes
from lidar_ebm.energy.energy_head import EnergyHead
from lidar_ebm.runs.model import make_energy
from lidar_ebm.types import Batch
from tests.energy.energy_scenes import make_config, make_head
from tests.energy.moving_scenes import moving_batch, moving_config, moving_labels


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
