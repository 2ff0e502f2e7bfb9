"""Parts of the ground that are shown, by what is there."""

from __future__ import annotations

import numpy as np

from lidar_ebm.visualization.views import is_all_around, view_of, view_of_range

NOTHING = np.zeros((0, 4))


def box_at(x: float, y: float) -> np.ndarray:
    return np.array([[x, y, -1.0, 4.0, 2.0, 1.5, 0.0]])


def test_a_view_holds_nearly_all_points_and_every_box() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        scale = rng.uniform(5, 60)
        points = rng.uniform(-scale, scale, (300, 4))
        boxes = rng.uniform(-60, 60, (5, 7))
        low_x, low_y, high_x, high_y = view_of(points, boxes)
        assert low_x == low_y == -high_x == -high_y  # the sensor in the middle
        inside = (np.abs(points[:, :2]) <= high_x).all(axis=1)
        assert inside.mean() >= 0.97
        assert (np.abs(boxes[:, :2]) < high_x).all()


def test_ahead_and_all_around_are_told_apart() -> None:
    ahead = np.random.default_rng(0).uniform([0, -40, -2, 0], [70, 40, 1, 1], (500, 4))
    around = ahead * [1, 1, 1, 1] - [35, 0, 0, 0]
    assert not is_all_around(ahead) and view_of(ahead)[0] == 0.0
    assert is_all_around(around)
    assert not is_all_around(around, box_at(20, 0), camera=True)  # labels are of what the camera sees
    assert is_all_around(around, box_at(-20, 0), camera=True)
    assert is_all_around(ahead, box_at(-20, 0))
    assert not is_all_around(NOTHING)
    assert not is_all_around(np.full((10, 4), np.nan))


def test_limits_bound_a_view() -> None:
    assert view_of(NOTHING) == (0.0, -40.0, 70.0, 40.0)
    assert view_of(np.full((10, 4), 0.5)) == (0.0, -20.0, 30.0, 20.0)
    assert view_of(np.full((10, 4), -900.0)) == (-75.0, -75.0, 75.0, 75.0)
    assert view_of_range([-10, -20, -3, 30, 40, 1]) == (-10.0, -20.0, 30.0, 40.0)
