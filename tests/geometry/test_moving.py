"""Points of several sweeps in boxes that move."""

from __future__ import annotations

import numpy as np
import pytest

from lidar_ebm.geometry.boxes import points_in_boxes
from lidar_ebm.geometry.moving import displacement, first_owner


@pytest.mark.parametrize("seed", range(4))
def test_the_owner_is_the_first_box_that_was_there(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = np.column_stack((rng.uniform(-9, 9, (12, 3)), rng.uniform(1, 8, (12, 3)), rng.uniform(-3, 3, 12)))
    boxes = np.column_stack((boxes, rng.uniform(-20, 20, (12, 2)))).astype(np.float32)
    boxes[3, 7:] = np.nan
    points = np.column_stack((rng.uniform(-10, 10, (400, 3)), rng.random(400), rng.choice([0.0, 0.1, 0.25, 0.5], 400)))
    points = points.astype(np.float32)
    expected = np.full(400, -1)
    for row, point in enumerate(points):
        there = boxes[:, :7].copy()
        there[:, :2] -= np.nan_to_num(boxes[:, 7:]) * point[4]
        inside = points_in_boxes(point[None], there)[0]
        expected[row] = inside.argmax() if inside.any() else -1
    assert (expected >= 0).sum() > 20
    np.testing.assert_array_equal(first_owner(points, boxes), expected)


def test_boxes_without_a_velocity_stand_still() -> None:
    points = np.float32([[0.0, 0, 0, 1, 0.5], [9.0, 0, 0, 1, 0.5]])
    still = np.float32([[0, 0, 0, 2, 2, 2, 0]])
    unknown = np.concatenate([still, np.full((1, 2), np.nan, np.float32)], axis=1)
    for boxes in (still, unknown):
        np.testing.assert_array_equal(first_owner(points, boxes), [0, -1])
        np.testing.assert_array_equal(displacement(points, np.repeat(boxes, 2, axis=0)), 0)


def test_nothing_has_no_owner() -> None:
    none = np.zeros((0, 9), np.float32)
    np.testing.assert_array_equal(first_owner(np.zeros((3, 5), np.float32), none), [-1] * 3)
    assert first_owner(np.zeros((0, 5), np.float32), np.ones((2, 9), np.float32)).shape == (0,)
