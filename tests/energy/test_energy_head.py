"""f(x, y) over boxes: invariances, gradients, empty inputs, and that it can learn where the box is."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lidar_ebm.config.loading import load_config
from lidar_ebm.geometry.boxes import wrap_angle
from lidar_ebm.runs.model import make_energy
from lidar_ebm.types import Batch, BevFeatures, LabelBatch
from tests.energy.energy_scenes import car_points, make_batch, make_config, make_head, make_maps

KINDS = [("points",), ("bev",), ("bev", "points")]
CAR = torch.tensor([12.0, 2.0, -1.0, 4.0, 1.7, 1.5, 0.4])


def to_double(batch: Batch, maps: BevFeatures) -> tuple[Batch, BevFeatures]:
    return replace(batch, points=batch.points.double()), replace(maps, shared=maps.shared.double())


@pytest.mark.parametrize("kinds", KINDS)
class TestEveryHead:
    def test_gradient_to_the_boxes(self, kinds: tuple[str, ...]) -> None:
        boxes = (CAR + 0.05 * torch.randn(2, 7)).double()
        batch, maps = to_double(make_batch(boxes.float(), [25, 0]), make_maps(2))
        head = make_head(make_config(kinds, "energy.points.max_points=20")).double()
        context = head.context(batch, maps, boxes, torch.arange(2))
        y = (boxes.unsqueeze(1) + 0.05 * torch.randn(2, 3, 7)).requires_grad_()
        assert torch.autograd.gradcheck(lambda boxes: head(context, boxes), y, eps=1e-7, atol=1e-5)

    def test_candidates_and_boxes_do_not_touch_each_other(self, kinds: tuple[str, ...]) -> None:
        boxes = CAR + 0.2 * torch.randn(3, 7)
        batch, maps = make_batch(boxes, [300, 0, 9]), make_maps(3)
        head = make_head(make_config(kinds))
        y = boxes.unsqueeze(1) + 0.1 * torch.randn(3, 4, 7)
        f = head(head.context(batch, maps, boxes, torch.arange(3)), y)
        assert f.shape == (3, 4)
        for n in (0, 1, 2):
            alone = head.context(batch, maps, boxes[n : n + 1], torch.tensor([n]))
            torch.testing.assert_close(head(alone, y[n : n + 1, 1:2]), f[n : n + 1, 1:2])

    def test_refinement_raises_f(self, kinds: tuple[str, ...]) -> None:
        boxes = CAR + 0.2 * torch.randn(3, 7)
        head = make_head(make_config(kinds, "refinement.step_length=1e-3", "refinement.steps=4"))
        context = head.context(make_batch(boxes, [300, 0, 9]), make_maps(3), boxes, torch.arange(3))
        with torch.no_grad():
            result = head.refine(context, boxes, record=True)
        assert result.trajectory is not None
        assert result.trajectory.shape == (5, 3, 7)
        assert (result.f >= result.f0).all()
        assert (result.f > result.f0).any()
        torch.testing.assert_close(result.f, head(context, result.y.unsqueeze(1)).squeeze(1))
        assert torch.equal(head.refine(context, boxes, steps=0).y, boxes)

    def test_f_and_its_loss_are_float32_in_autocast_regions_too(self, kinds: tuple[str, ...]) -> None:
        boxes = CAR + 0.2 * torch.randn(3, 7)
        batch, maps = make_batch(boxes, [300, 0, 9]), make_maps(3)
        maps = replace(maps, shared=maps.shared.bfloat16())  # as a network in that region leaves it
        head = make_head(make_config(kinds))
        y = boxes.unsqueeze(1) + 0.1 * torch.randn(3, 4, 7)
        found = []
        for lower in (False, True):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=lower):
                f = head(head.context(batch, maps, boxes, torch.arange(3)), y)
                loss = head.loss(batch, maps, seeds=(1, 2, 3))
            found.append((f, loss))
        assert found[1][0].dtype == torch.float32
        assert torch.equal(found[0][0], found[1][0])
        assert torch.equal(found[0][1], found[1][1])

    def test_no_boxes_and_no_points(self, kinds: tuple[str, ...]) -> None:
        head = make_head(make_config(kinds))
        maps = make_maps(2)
        none = torch.zeros(0, 7)
        batch = make_batch(CAR.repeat(2, 1), [0, 0])
        for boxes in (none, CAR.unsqueeze(0)):
            index = torch.ones(len(boxes), dtype=torch.int64)
            result = head.refine(head.context(batch, maps, boxes, index), boxes, steps=2)
            assert result.y.shape == boxes.shape
            assert result.y.isfinite().all()
            labelled = replace(batch, boxes=LabelBatch(boxes, index, index, 2))
            loss = head.loss(labelled, maps)
            loss.backward()
            assert loss.isfinite()
            assert all(p.grad is None or p.grad.isfinite().all() for p in head.parameters())

    def test_loss_depends_on_the_seeds_alone(self, kinds: tuple[str, ...]) -> None:
        boxes = CAR + 0.2 * torch.randn(2, 7)
        head, batch, maps = make_head(make_config(kinds)), make_batch(boxes, [300, 30]), make_maps(2)
        losses = [head.loss(batch, maps, seeds=seeds).item() for seeds in ((3, 5), (3, 5), (4, 5), (3, 6))]
        assert losses[0] == losses[1]
        assert len(set(losses)) == 3
        with pytest.raises(ValueError, match="1 seeds for 2 frames"):
            head.loss(batch, maps, seeds=(3,))


class TestPointEnergy:
    def test_moves_with_the_scene(self) -> None:
        """A rigid motion of points and boxes together leaves f as it is."""
        boxes = CAR + 0.2 * torch.randn(2, 7)
        batch, maps = to_double(make_batch(boxes, [200, 40]), make_maps(2))
        head = make_head(make_config()).double()
        y = boxes.double().unsqueeze(1) + 0.1 * torch.randn(2, 5, 7, dtype=torch.float64)
        f = head(head.context(batch, maps, boxes.double(), torch.arange(2)), y)

        def moved(rows: Tensor, yaw: bool) -> Tensor:
            angle, shift = 2.1, torch.tensor([-4.0, 7.0, 0.3])
            rotation = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]).to(rows)
            parts = [rows[..., :2] @ rotation.T + shift[:2], rows[..., 2:3] + shift[2], rows[..., 3:]]
            if yaw:
                parts[2:] = [rows[..., 3:6], wrap_angle(rows[..., 6:] + angle)]
            return torch.cat(parts, dim=-1)

        batch = replace(batch, points=moved(batch.points, yaw=False))
        context = head.context(batch, maps, moved(boxes.double(), yaw=True), torch.arange(2))
        torch.testing.assert_close(head(context, moved(y, yaw=True)), f)

    def test_order_of_the_points_does_not_matter(self) -> None:
        boxes = CAR.unsqueeze(0)
        batch = make_batch(boxes, [90])  # all of them are kept, so that no choice depends on the order
        head = make_head(make_config())
        shuffled = replace(batch, points=batch.points[torch.randperm(90)])
        y = CAR + 0.1 * torch.randn(1, 5, 7)
        f, g = (head(head.context(b, None, boxes, torch.tensor([0])), y) for b in (batch, shuffled))
        torch.testing.assert_close(f, g)

    def test_sees_every_dimension(self) -> None:
        batch = make_batch(CAR.unsqueeze(0), [90])
        head = make_head(make_config())
        context = head.context(batch, None, CAR.unsqueeze(0), torch.tensor([0]))
        y = CAR.view(1, 1, 7).clone().requires_grad_()
        head(context, y).sum().backward()
        assert y.grad is not None
        assert y.grad.flatten().abs().min() > 0

    def test_is_continuous(self) -> None:
        """Along a line through the label the largest jump of f shrinks as the step does."""
        head = make_head(make_config()).double()
        batch = make_batch(CAR.unsqueeze(0), [90])
        batch = replace(batch, points=batch.points.double())
        context = head.context(batch, None, CAR.double().unsqueeze(0), torch.tensor([0]))
        direction = torch.randn(7, dtype=torch.float64) * 0.1
        jumps = []
        for count in (201, 2001):
            line = CAR.double() + torch.linspace(-2, 2, count, dtype=torch.float64).unsqueeze(1) * direction
            jumps.append(head(context, line.unsqueeze(0)).diff().abs().max())
        assert jumps[1] < 0.15 * jumps[0]

    def test_far_and_near_give_the_same_f_in_float32(self) -> None:
        """70 m from the sensor the coordinates' last bits are 8 µm; f must not magnify them."""
        head = make_head(make_config())
        box = CAR * torch.tensor([0, 0, 1, 1, 1, 1, 1])
        points = car_points(box, 90)
        values = []
        for shift in (0.0, 70.0):
            move = torch.tensor([shift, 0, 0, 0, 0, 0, 0])
            batch = replace(make_batch(box.unsqueeze(0), [90]), points=points + move[:4])
            moved = (box + move).unsqueeze(0)
            context = head.context(batch, None, moved, torch.tensor([0]))
            values.append(head(context, moved.unsqueeze(1)))
        torch.testing.assert_close(*values, rtol=1e-3, atol=1e-3)

    def test_learns_to_refine(self) -> None:
        """Trained on one kind of car, it brings boxes that are off back towards it."""
        config = make_config(("points",), "energy.samples=32", "refinement.step_length=5e-4", "refinement.steps=20")
        head = make_energy(config)
        optimizer = torch.optim.Adam(head.parameters(), lr=5e-3)
        for step in range(150):
            boxes = CAR + torch.randn(8, 7) * torch.tensor([3.0, 3.0, 0.1, 0.3, 0.1, 0.1, 1.0])
            loss = head.loss(make_batch(boxes, [80] * 8), None, seeds=range(8 * step, 8 * step + 8))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        labels = CAR + torch.randn(40, 7) * torch.tensor([3.0, 3.0, 0.1, 0.3, 0.1, 0.1, 1.0])
        proposals = labels + torch.randn(40, 7) * torch.tensor([0.1, 0.1, 0.1, 0.0, 0.0, 0.0, 0.05])
        context = head.context(make_batch(labels, [80] * 40), None, proposals, torch.arange(40))
        refined = head.refine(context, proposals).y
        before, after = (proposals - labels).abs(), (refined - labels).abs()
        assert after[:, :3].mean() < 0.8 * before[:, :3].mean()


def test_says_which_inputs_it_needs() -> None:
    batch = make_batch(CAR.unsqueeze(0), [5])
    index = torch.tensor([0])
    points, bev = make_head(make_config()), make_head(make_config(("bev",)))
    assert not points.needs_bev
    assert bev.needs_bev
    with pytest.raises(ValueError, match="BevFeatures"):
        bev.context(batch, None, CAR.unsqueeze(0), index)
    with pytest.raises(ValueError, match="other box features"):
        bev(points.context(batch, None, CAR.unsqueeze(0), index), CAR.view(1, 1, 7))


def test_published_head_has_the_published_layers() -> None:
    head = make_energy(load_config()).bev
    assert head is not None
    assert head.map_layer.in_features + head.shape_layer.in_features == 7200
    sizes = [(layer.in_features, layer.out_features) for layer in (head.map_layer, *head.head[1::2])]
    assert sizes == [(7168, 1024), (1024, 1024), (1024, 1)]
    assert head.head[-1].weight.std().item() == pytest.approx(0.001, rel=0.1)
    assert [tuple(p.shape) for p in head.z.parameters()] == [(16, 1), (16,), (16, 16), (16,)]
