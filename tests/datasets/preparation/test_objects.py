"""Points of objects: those in the boxes, and of earlier sweeps those where the boxes were."""

from __future__ import annotations

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.preparation.objects import cut_out_objects
from lidar_ebm.geometry.boxes import points_in_boxes

CHANNELS = ("reflectance", "time_lag", "ring")


def drawn(seed: int, *, still: bool = False) -> tuple[np.ndarray, Boxes]:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-10, 10, (4000, 6))
    points[:, 2] = rng.uniform(-1, 1, 4000)
    points[:, 4] = np.sort(rng.choice([0, 0.05, 0.1, 0.3, 0.5], 4000))
    boxes = rng.uniform(-8, 8, (12, 7))
    boxes[:, 2:6] = rng.uniform((-0.2, 0.5, 0.5, 1), (0.2, 5, 3, 2), (12, 4))
    velocity = np.zeros((12, 2)) if still else rng.normal(0, 10, (12, 2))
    velocity[3] = np.nan
    return points.astype(np.float32), Boxes(boxes, ["car"] * 12, velocity=velocity)


@pytest.mark.parametrize("seed", range(5))
def test_points_are_those_in_the_box_where_it_was(seed: int) -> None:
    """Lag by lag, with the boxes moved instead of the points."""
    points, boxes = drawn(seed)
    assert boxes.velocity is not None
    expected = np.zeros((len(points), 12), bool)
    for lag in np.unique(points[:, 4]):
        then = boxes.boxes.copy()
        then[:, :2] -= np.nan_to_num(boxes.velocity) * lag
        rows = points[:, 4] == lag
        expected[rows] = points_in_boxes(points[rows], then)
    counts, cut = cut_out_objects(points, CHANNELS, boxes)
    assert abs(counts - expected.sum(axis=0)).max() <= 1  # float32: on a face
    assert counts.sum() > 100
    assert cut.shape == (counts.sum(), 6)
    for row, part in enumerate(np.split(cut, np.cumsum(counts)[:-1])):
        assert (np.diff(part[:, 4]) >= 0).all()  # in the frame's order
        inside = {each.tobytes() for each in points[expected[:, row]]}
        assert sum(each.tobytes() not in inside for each in part) <= 1


def test_what_stands_still_has_what_lies_in_it() -> None:
    points, boxes = drawn(7, still=True)
    moving, plain = cut_out_objects(points, CHANNELS, boxes), cut_out_objects(points[:, :4], CHANNELS[:1], boxes)
    assert moving[0].tolist() == plain[0].tolist()
    np.testing.assert_array_equal(moving[1][:, :4], plain[1])
    unknown = cut_out_objects(points, CHANNELS, boxes.with_columns(velocity=None))
    np.testing.assert_array_equal(unknown[1], moving[1])


@pytest.mark.parametrize("count", [0, 12])
def test_nothing_is_normal(count: int) -> None:
    points, boxes = drawn(8)
    counts, cut = cut_out_objects(points[:0], CHANNELS, boxes.select(slice(count)))
    assert (counts.tolist(), cut.shape) == ([0] * count, (0, 6))
    counts, cut = cut_out_objects(points, CHANNELS, Boxes.empty())
    assert (len(counts), cut.shape) == (0, (0, 6))
