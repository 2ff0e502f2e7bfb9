"""Objects move by themselves, with their points, and into nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lidar_ebm.config.augmentation import ObjectNoiseConfig
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.geometry.boxes import points_in_boxes
from lidar_ebm.training.augmentation.object_noise import move_objects
from tests.training.augmentation.scenes import (
    box_coordinates,
    make_frame,
    make_moving_frame,
    overlapping_pairs,
    places_in_boxes,
)

STREET = ("Car",) * 12 + ("Pedestrian",) * 4 + ("Cyclist",) * 4


def moved(frame: Sample, seed: int, settings: ObjectNoiseConfig | None = None) -> Sample:
    return move_objects(frame, np.random.default_rng(seed), settings or ObjectNoiseConfig())


@pytest.mark.parametrize("seed", range(6))
def test_points_move_with_their_box_and_all_others_stay(seed: int) -> None:
    frame = make_frame(seed, types=STREET)
    changed = moved(frame, seed)
    inside = points_in_boxes(frame.points, frame.boxes)
    assert inside.sum(axis=1).max() == 1  # they stand apart
    assert len(changed.points) == len(frame.points)
    outside = ~inside.any(axis=1)
    np.testing.assert_array_equal(changed.points[outside], frame.points[outside])
    np.testing.assert_array_equal(changed.points[:, 3], frame.points[:, 3])
    for index, (before, after) in enumerate(zip(frame.boxes, changed.boxes, strict=True)):
        own = inside[:, index]
        assert own.sum() >= 30
        expected = box_coordinates(frame.points[own], before)
        np.testing.assert_allclose(box_coordinates(changed.points[own], after), expected, atol=2e-5)
    np.testing.assert_array_equal(changed.boxes[:, 3:6], frame.boxes[:, 3:6])
    np.testing.assert_array_equal(changed.class_index, frame.class_index)
    assert (np.abs(changed.boxes[:, :3] - frame.boxes[:, :3]).max(axis=1) > 0).mean() > 0.9


@pytest.mark.parametrize("seed", range(6))
def test_nothing_overlaps_that_did_not_before(seed: int) -> None:
    frame = make_frame(seed, types=STREET)
    assert overlapping_pairs(moved(frame, seed).boxes) == set()
    # Labels may overlap each other already; then these, and no others, may go on doing so.
    crowded = Sample("0", frame.points, np.concatenate([frame.boxes, frame.boxes[:3]]), np.zeros(23, np.int64))
    changed = moved(crowded, seed, ObjectNoiseConfig(attempts=2, center_std=(0.2, 0.2, 0.1)))
    assert overlapping_pairs(changed.boxes) <= overlapping_pairs(crowded.boxes)


@pytest.mark.parametrize("seed", range(6))
def test_objects_of_other_classes_stay_and_are_not_moved_onto(seed: int) -> None:
    street = make_frame(seed, types=STREET)
    frame = Sample("0", street.points, street.boxes[:8], street.class_index[:8], street.boxes[8:])
    changed = moved(frame, seed, ObjectNoiseConfig(center_std=(3.0, 3.0, 0.5)))
    np.testing.assert_array_equal(changed.others, frame.others)
    assert (changed.boxes[:, :2] != frame.boxes[:, :2]).any()
    assert overlapping_pairs(np.concatenate([changed.boxes, changed.others])) == set()


def test_a_point_in_two_boxes_goes_with_the_first() -> None:
    boxes = np.array([[10, 0, 0, 4, 2, 2, 0], [11, 0, 0, 4, 2, 2, 0.1]], np.float32)
    points = np.array([[10.5, 0, 0, 0.5], [12.9, 0, 0, 0.5], [20, 0, 0, 0.5]], np.float32)
    settings = ObjectNoiseConfig(center_std=(9.0, 9.0, 1.0))
    changed = moved(Sample("0", points, boxes, np.zeros(2, np.int64)), 0, settings)
    for point, box in ((0, 0), (1, 1)):
        before = box_coordinates(points[[point]], boxes[box])
        np.testing.assert_allclose(box_coordinates(changed.points[[point]], changed.boxes[box]), before, atol=1e-5)
    np.testing.assert_array_equal(changed.points[2], points[2])


def test_an_object_without_room_stays() -> None:
    x, y = np.meshgrid(np.arange(10, 30, 4.0), np.arange(-4, 5, 2.0))
    grid = np.zeros((x.size, 7), np.float32)
    grid[:, 0], grid[:, 1], grid[:, 3:6] = x.ravel(), y.ravel(), (3.99, 1.99, 1.5)
    points = np.random.default_rng(0).uniform((8, -5, -1, 0), (30, 5, 1, 1), (500, 4)).astype(np.float32)
    frame = Sample("0", points, grid, np.zeros(len(grid), np.int64))
    changed = moved(frame, 0, ObjectNoiseConfig(center_std=(0.3, 0.3, 0.1), attempts=3))
    stayed = (changed.boxes == frame.boxes).all(axis=1)
    assert stayed.any()
    held = points_in_boxes(points, grid[stayed]).any(axis=1)
    np.testing.assert_array_equal(changed.points[held], points[held])


def test_moves_are_as_large_as_asked_for() -> None:
    frame = make_frame(types=("Car",), points=0)
    settings = ObjectNoiseConfig(rotation=0.5, center_std=(2.0, 1.0, 0.25))
    boxes = np.concatenate([moved(frame, seed, settings).boxes for seed in range(800)]).astype(np.float64)
    shift = boxes[:, :3] - frame.boxes[0, :3]
    np.testing.assert_allclose(shift.mean(axis=0), 0.0, atol=0.25)
    np.testing.assert_allclose(shift.std(axis=0), settings.center_std, rtol=0.1)
    turn = boxes[:, 6] - frame.boxes[0, 6]
    turn = np.arctan2(np.sin(turn), np.cos(turn))
    assert 0.48 < np.abs(turn).max() <= 0.5 + 1e-6
    assert turn.std() == pytest.approx(0.5 / math.sqrt(3), rel=0.1)
    assert ((boxes[:, 6] >= -math.pi) & (boxes[:, 6] < math.pi)).all()


def test_without_noise_everything_stays_as_it_was() -> None:
    frame = make_frame(types=STREET)
    changed = moved(frame, 0, ObjectNoiseConfig(rotation=0.0, center_std=(0.0, 0.0, 0.0)))
    np.testing.assert_array_equal(changed.boxes, frame.boxes)
    np.testing.assert_array_equal(changed.points, frame.points)


@pytest.mark.parametrize(("points", "types"), [(0, STREET), (100, ()), (0, ())])
def test_frames_without_points_or_boxes(points: int, types: tuple[str, ...]) -> None:
    frame = make_frame(types=types, points=points)
    changed = moved(frame, 0)
    assert changed.points.shape == frame.points.shape
    assert changed.boxes.shape == frame.boxes.shape


@pytest.mark.parametrize("seed", range(4))
def test_points_of_earlier_sweeps_move_with_the_object_as_it_came(seed: int) -> None:
    frame = make_moving_frame(seed)
    changed = moved(frame, seed)
    assert not np.allclose(changed.boxes[:, :2], frame.boxes[:, :2])
    np.testing.assert_allclose(places_in_boxes(changed), places_in_boxes(frame), atol=1e-4)
    speeds = (np.linalg.norm(each.boxes[:, 7:], axis=1) for each in (changed, frame))
    np.testing.assert_allclose(*speeds, rtol=1e-5)
    turn = changed.boxes[:, 6] - frame.boxes[:, 6]
    headings = (np.arctan2(each.boxes[:, 8], each.boxes[:, 7]) for each in (changed, frame))
    np.testing.assert_allclose(np.exp(1j * (next(headings) - next(headings) - turn)), 1, atol=1e-4)


def test_an_unknown_velocity_stays_unknown() -> None:
    frame = make_moving_frame(0)
    frame.boxes[1, 7:] = np.nan
    changed = moved(frame, 0)
    np.testing.assert_array_equal(np.isnan(changed.boxes), np.isnan(frame.boxes))
    assert np.isfinite(changed.points).all()
