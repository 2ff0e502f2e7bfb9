"""Boxes with velocities, and their arrows."""

from __future__ import annotations

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.visualization.box_arrays import (
    ARROW_SECONDS,
    BARB_LIMIT,
    BARB_SHARE,
    arrow_segments,
    as_array,
    has_arrows,
    split_velocity,
)


def moving_boxes(count: int, seed: int = 0) -> np.ndarray:
    """Boxes [count, 9] of all speeds and directions."""
    rng = np.random.default_rng(seed)
    low, high = [-50, -50, -3, 0.3, 0.3, 0.5, -np.pi, -20, -20], [50, 50, 3, 12, 4, 4, np.pi, 20, 20]
    boxes = rng.uniform(low, high, (count, 9))
    boxes[:, 7:] *= rng.uniform(0, 1, (count, 1)) ** 4
    return boxes


def test_an_arrow_ends_where_the_centre_will_be() -> None:
    boxes = moving_boxes(200)
    arrows = arrow_segments(boxes).reshape(200, 3, 2, 3)
    shaft, barbs = arrows[:, 0], arrows[:, 1:]
    np.testing.assert_array_equal(shaft[:, 0], boxes[:, :3])
    np.testing.assert_allclose(shaft[:, 1, :2], boxes[:, :2] + ARROW_SECONDS * boxes[:, 7:], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(shaft[:, 1, 2], boxes[:, 2])
    np.testing.assert_array_equal(barbs[:, :, 0], shaft[:, [1, 1]])
    way = shaft[:, 1] - shaft[:, 0]
    length = np.linalg.norm(way, axis=1)
    barb = barbs[:, :, 1] - barbs[:, :, 0]
    expected = np.minimum(BARB_SHARE * length, BARB_LIMIT)
    np.testing.assert_allclose(np.linalg.norm(barb, axis=2), np.stack([expected] * 2, axis=1), atol=1e-9)
    assert (np.einsum("mki,mi->mk", barb, way) < 0).all()  # both lie back along the shaft,
    np.testing.assert_allclose(np.cross(way, barb[:, 0])[:, 2], -np.cross(way, barb[:, 1])[:, 2], atol=1e-9)


def test_what_has_no_velocity_has_no_arrow() -> None:
    boxes = moving_boxes(6)
    boxes[0, 7:] = np.nan
    boxes[1, 8] = np.nan
    boxes[2, 7] = np.inf
    boxes[3, 7:] = 0
    boxes[4, 0] = np.nan
    np.testing.assert_array_equal(arrow_segments(boxes), arrow_segments(boxes[5:]))
    assert has_arrows(boxes) and not has_arrows(boxes[:5]) and not has_arrows(boxes[:, :7])
    for none in (boxes[:, :7], boxes[:0], boxes[:0, :7], []):
        assert arrow_segments(none).shape == (0, 2, 3)


def test_the_slowest_still_has_a_direction() -> None:
    boxes = moving_boxes(1)
    boxes[0, 7:] = (1e-200, -1e-200)
    assert np.isfinite(arrow_segments(boxes)).all()


def test_boxes_become_arrays_with_and_without_velocities() -> None:
    numbers = moving_boxes(5)
    numbers[2, 7:] = np.nan
    boxes = Boxes(numbers[:, :7], ["a"] * 5, velocity=numbers[:, 7:])
    np.testing.assert_array_equal(as_array(boxes), numbers)
    np.testing.assert_array_equal(as_array(boxes.with_columns(velocity=None)), numbers[:, :7])
    for width in (7, 9):
        given, velocity = split_velocity(numbers[:, :width])
        np.testing.assert_array_equal(given, numbers[:, :7])
        assert velocity.shape == (5, 2) and np.isnan(velocity).all() == (width == 7)
    for wrong in (np.zeros((2, 8)), np.zeros(7), np.zeros((1, 2, 7))):
        with pytest.raises(ValueError, match="boxes are"):
            split_velocity(wrong)
