"""The height of the ground, with and without things on it."""

from __future__ import annotations

import numpy as np
import pytest

from lidar_ebm.formats.kitti.calibration import SIMULATED_CAMERA
from lidar_ebm.simulation.simulator import SimulationSettings, simulate_frame
from lidar_ebm.training.augmentation.ground import ground_heights

CAR = np.array([[20.0, 3.0, 0.1, 3.9, 1.6, 1.6, 0.7]], np.float32)  # its bottom at -0.7


def surroundings(count: int = 3000) -> np.ndarray:
    """Level ground at -1.5 around the car."""
    rng = np.random.default_rng(0)
    return rng.uniform((10, -7, -1.52), (30, 13, -1.48), (count, 3)).astype(np.float32)


def test_level_ground_is_found() -> None:
    assert ground_heights(surroundings(), CAR)[0] == pytest.approx(-1.5, abs=0.03)


def test_walls_and_reflections_below_the_ground_do_not_count() -> None:
    points = surroundings()
    behind = points[:, 0] > 20.5  # nearly half of the surroundings is a wall
    points[behind, 2] = np.random.default_rng(1).uniform(-0.9, 1.2, behind.sum())
    points[::40, 2] = -2.4
    assert ground_heights(points, CAR)[0] == pytest.approx(-1.5, abs=0.04)


@pytest.mark.parametrize("height", [-4.0, 3.0])
def test_what_is_far_above_or_below_is_not_the_ground(height: float) -> None:
    points = surroundings()
    points[:, 2] = height
    assert np.isnan(ground_heights(points, CAR)[0])


def test_a_hedge_is_no_ground() -> None:
    points = surroundings()
    points[:, 2] = np.random.default_rng(2).uniform(-1.4, 1.0, len(points))
    points = points[np.random.default_rng(3).random(len(points)) < 0.1]  # few points a cell: the lowest are anywhere
    assert np.isnan(ground_heights(points, CAR)[0])


def test_a_slope_is_followed() -> None:
    for tilt in ((0.06, 0.0), (-0.03, 0.04)):
        points = surroundings()
        points[:, 2] += (points[:, :2] - CAR[0, :2]) @ np.array(tilt, np.float32)
        assert ground_heights(points, CAR)[0] == pytest.approx(-1.5, abs=0.04)


def test_one_ring_on_the_ground_says_nothing_of_its_slope() -> None:
    points = surroundings()
    ring = points[np.abs(points[:, 0] - 23) < 0.2]
    assert len(ring) > 30
    assert ground_heights(ring, CAR)[0] == pytest.approx(-1.5, abs=0.05)


def test_where_nothing_is_seen_the_height_is_not_known() -> None:
    far = CAR + np.array([40, 0, 0, 0, 0, 0, 0], np.float32)
    for points in (np.zeros((0, 3), np.float32), surroundings(), np.full((1, 3), 60.0, np.float32)):
        assert np.isnan(ground_heights(points, far)[0])
    assert ground_heights(surroundings(), CAR[:0]).shape == (0,)


def test_in_simulated_streets_it_is_nearer_to_the_truth_than_the_height_it_came_with() -> None:
    frames = [simulate_frame(SimulationSettings(5, SIMULATED_CAMERA), index) for index in range(8)]
    found, kept = [], []
    for index, frame in enumerate(frames):
        other = frames[index - 1]
        cars = other.boxes.of_class("Car")
        boxes = cars.boxes[cars.points > 0].astype(np.float32)
        truth = np.array([frame.scene.ground.height(x, y) for x, y in boxes[:, :2]])
        heights = ground_heights(frame.points, boxes)
        seen = np.isfinite(heights)
        found += list(np.abs(heights - truth)[seen])
        kept += list(np.abs(boxes[:, 2] - boxes[:, 5] / 2 - truth)[seen])
    assert len(found) > 15
    assert np.median(found) < 0.06
    assert np.mean(found) < 0.6 * np.mean(kept)
