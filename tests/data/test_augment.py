"""Augmentation keeps what lies in a box in it, and labels true."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lidar_ebm.config import AugmentationConfig
from lidar_ebm.data.augment import augment
from lidar_ebm.geometry.boxes import points_in_boxes
from lidar_ebm.types import Frame

STILL = AugmentationConfig(flip=False, rotation=0.0, scaling=(1.0, 1.0))


def make_frame(seed: int = 0, points: int = 2000, boxes: int = 10) -> Frame:
    rng = np.random.default_rng(seed)
    return Frame(
        frame_id="000000",
        points=rng.uniform((0, -10, -2, 0), (20, 10, 1, 1), (points, 4)).astype(np.float32),
        boxes=np.column_stack(
            (
                rng.uniform((0, -10, -2), (20, 10, 1), (boxes, 3)),
                rng.uniform(1, 6, (boxes, 3)),
                rng.uniform(-math.pi, math.pi, boxes),
            )
        ).astype(np.float32),
        labels=rng.integers(0, 3, boxes),
    )


def clear_of_faces(frame: Frame) -> np.ndarray:
    """Which pairs of point and box are farther from changing sides than rounding can move them."""
    grown, shrunk = frame.boxes.copy(), frame.boxes.copy()
    grown[:, 3:6] += 1e-4
    shrunk[:, 3:6] -= 1e-4
    return points_in_boxes(frame.points, grown) == points_in_boxes(frame.points, shrunk)


@pytest.mark.parametrize("seed", range(8))
def test_points_stay_in_their_boxes(seed: int) -> None:
    frame = make_frame(seed)
    changed = augment(frame, np.random.default_rng(seed), AugmentationConfig())
    before, after = points_in_boxes(frame.points, frame.boxes), points_in_boxes(changed.points, changed.boxes)
    clear = clear_of_faces(frame)
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(before[clear], after[clear])
    np.testing.assert_array_equal(changed.labels, frame.labels)
    np.testing.assert_array_equal(changed.points[:, 3], frame.points[:, 3])
    assert (changed.boxes[:, 6] >= -math.pi).all()
    assert (changed.boxes[:, 6] < math.pi).all()
    assert changed.points.dtype == changed.boxes.dtype == np.float32


def test_nothing_configured_changes_nothing() -> None:
    frame = make_frame()
    changed = augment(frame, np.random.default_rng(0), STILL)
    np.testing.assert_array_equal(changed.points, frame.points)
    np.testing.assert_array_equal(changed.boxes, frame.boxes)


def test_the_given_frame_is_left_as_it_is() -> None:
    frame, copy = make_frame(), make_frame()
    augment(frame, np.random.default_rng(0), AugmentationConfig())
    np.testing.assert_array_equal(frame.points, copy.points)
    np.testing.assert_array_equal(frame.boxes, copy.boxes)


def test_mirroring_happens_in_half_of_the_cases_and_is_exact() -> None:
    frame, rng = make_frame(points=5, boxes=2), np.random.default_rng(0)
    settings = STILL.model_copy(update={"flip": True})
    mirrored = 0
    for _ in range(400):
        changed = augment(frame, rng, settings)
        sign = -1.0 if changed.points[0, 1] * frame.points[0, 1] < 0 else 1.0
        mirrored += sign < 0
        np.testing.assert_array_equal(changed.points, frame.points * np.array([1, sign, 1, 1], np.float32))
        np.testing.assert_array_equal(changed.boxes, frame.boxes * np.array([1, sign, 1, 1, 1, 1, sign], np.float32))
    assert 160 < mirrored < 240


def test_rotation_turns_about_the_sensor_within_its_bounds() -> None:
    frame = make_frame()
    for seed in range(50):
        changed = augment(frame, np.random.default_rng(seed), STILL.model_copy(update={"rotation": 0.3}))
        turned = changed.boxes[:, 6].astype(np.float64) - frame.boxes[:, 6]
        angle = math.atan2(math.sin(turned[0]), math.cos(turned[0]))
        assert abs(angle) <= 0.3 + 1e-6
        expected = (frame.points[:, 0] + 1j * frame.points[:, 1]) * np.exp(1j * angle)
        np.testing.assert_allclose(changed.points[:, 0] + 1j * changed.points[:, 1], expected, atol=1e-4)
        np.testing.assert_array_equal(changed.points[:, 2], frame.points[:, 2])


def test_scaling_keeps_to_its_bounds_and_scales_boxes_too() -> None:
    frame = make_frame()
    scales = []
    for seed in range(50):
        changed = augment(frame, np.random.default_rng(seed), STILL.model_copy(update={"scaling": (0.9, 1.2)}))
        scales.append(float(changed.boxes[0, 3] / frame.boxes[0, 3]))
        np.testing.assert_allclose(changed.points[:, :3], frame.points[:, :3] * scales[-1], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(changed.boxes[:, :6], frame.boxes[:, :6] * scales[-1], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(changed.boxes[:, 6], frame.boxes[:, 6])
    assert 0.9 - 1e-6 <= min(scales) < 0.95
    assert 1.15 < max(scales) <= 1.2 + 1e-6


def test_the_generator_alone_decides() -> None:
    frame = make_frame()
    first, second = (augment(frame, np.random.default_rng(3), AugmentationConfig()) for _ in range(2))
    np.testing.assert_array_equal(first.points, second.points)
    np.testing.assert_array_equal(first.boxes, second.boxes)


def test_empty_frames_are_augmented_like_any_other() -> None:
    changed = augment(make_frame(points=0, boxes=0), np.random.default_rng(0), AugmentationConfig())
    assert changed.points.shape == (0, 4)
    assert changed.boxes.shape == (0, 7)
