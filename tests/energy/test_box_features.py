"""Views that an energy has of a box: the map's grid, and the points near the box."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cuda_ops.box_sampling.op import sample_boxes
from cuda_ops.point_ops.op import FRAME_FEATURES, box_frame_features
from lidar_ebm.config.energy import PointEnergyConfig
from lidar_ebm.energy.box_features import BevView, PointView, points_near_boxes
from lidar_ebm.types import Batch, BevFeatures, BevGrid, LabelBatch

CAR = torch.tensor([10.0, 1.0, -1.0, 4.0, 1.7, 1.5, 0.4])


def make_batch(points: list[Tensor]) -> Batch:
    """A batch of frames without labels."""
    frame = torch.repeat_interleave(torch.tensor([len(p) for p in points]))
    none = LabelBatch(torch.zeros(0, 7), frame[:0], frame[:0], len(points))
    return Batch(("",) * len(points), torch.cat(points), frame, none, len(points))


@pytest.fixture
def view() -> PointView:
    """LabelBatch with 5 (all), 40 (of which 12 are kept) and no points; in two frames, not in the frames' order."""
    near = CAR[:3] + torch.rand(40, 3) - 0.5
    sparse = torch.cat([near[:5], torch.rand(5, 1)], dim=1)
    dense = torch.cat([near, torch.rand(40, 1)], dim=1)
    boxes = CAR.repeat(3, 1)
    boxes[2, :2] = -30.0
    batch = make_batch([sparse, dense])
    return points_near_boxes(batch, boxes[[1, 2, 0]], torch.tensor([1, 0, 0]), PointEnergyConfig(max_points=12), seed=1)


def test_neighbourhoods_without_padding(view: PointView) -> None:
    assert view.lengths.tolist() == [12, 0, 5]
    assert view.counts.tolist() == [40, 0, 5]
    assert view.box_index.tolist() == [0] * 12 + [2] * 5
    assert view.points.shape == (17, 4)


def test_a_frame_with_its_own_seed_is_seen_as_if_alone() -> None:
    clouds = [torch.cat([CAR[:3] + torch.rand(n, 3) - 0.5, torch.rand(n, 1)], dim=1) for n in (60, 0, 40)]
    boxes, frame = CAR + 0.1 * torch.randn(5, 7), torch.tensor([2, 0, 1, 0, 2])
    config = PointEnergyConfig(max_points=12)
    together = points_near_boxes(make_batch(clouds), boxes, frame, config, seed=(4, 5, 6))
    for index, (cloud, seed) in enumerate(zip(clouds, (4, 5, 6), strict=True)):
        rows = torch.nonzero(frame == index)[:, 0]
        alone = points_near_boxes(make_batch([cloud]), boxes[rows], torch.zeros_like(rows), config, seed=seed)
        assert torch.equal(together.counts[rows], alone.counts)
        own = [together.points[together.box_index == row] for row in rows]
        assert torch.equal(torch.cat(own), alone.points)


def test_features_are_those_of_each_points_own_box(view: PointView) -> None:
    boxes = CAR + 0.1 * torch.randn(3, 6, 7)
    features = view.features(boxes)
    assert features.shape == (17, 6, FRAME_FEATURES)
    of_last = box_frame_features(view.points[None, 12:], boxes[2:])[0].transpose(0, 1)
    torch.testing.assert_close(features[12:], of_last)


def test_pool_is_maximum_and_mean_of_each_box(view: PointView) -> None:
    x = torch.rand(17, 6, 3)
    maximum, mean = view.pool(x)
    torch.testing.assert_close(maximum, torch.stack([x[:12].amax(0), torch.zeros(6, 3), x[12:].amax(0)]))
    torch.testing.assert_close(mean, torch.stack([x[:12].mean(0), torch.zeros(6, 3), x[12:].mean(0)]))


def test_map_is_read_at_each_candidates_grid() -> None:
    maps = BevFeatures(
        torch.rand(2, 3, 20, 30),
        torch.rand(2, 3, 20, 30),
        torch.ones(2, 20, 30),
        BevGrid((0.2, -4), (0.4, 0.4), (20, 30)),
    )
    boxes = torch.tensor([6.0, 0, -1, 4, 2, 1.5, 0]) + 0.3 * torch.randn(3, 5, 7)
    features = BevView(maps.shared, maps.grid, torch.tensor([1, 0, 1])).features(boxes, (4, 7))
    assert features.shape == (3, 5, 3 * 4 * 7)
    one = sample_boxes(maps.shared, boxes[2, 4:], torch.tensor([1]), origin=(0.2, -4), cell_size=(0.4, 0.4))
    torch.testing.assert_close(features[2, 4], one.flatten())
    assert BevView(maps.shared, maps.grid, torch.zeros(0, dtype=torch.int64)).features(boxes[:0], (4, 7)).shape == (
        0,
        5,
        84,
    )
