"""The ways that moving pictures go."""

from __future__ import annotations

import numpy as np

from lidar_ebm.visualization.animation import TURNS, flight, turntable


def test_moving_pictures_go_all_around_and_along() -> None:
    turn, flown = (
        np.array([pose.eye for pose in turntable()]),
        np.array([pose.eye for pose in flight(np.zeros((0, 4)))]),
    )
    assert len(turn) == len(flown) == TURNS
    gaps = np.linalg.norm(turn - np.roll(turn, 1, axis=0), axis=1)
    np.testing.assert_allclose(gaps, gaps[0])  # no jump where it begins again
    assert (np.diff(flown[:, 0]) >= 0).all()
    near = np.stack([np.linspace(0, 30, 100), *np.zeros((3, 100))], axis=1)
    assert flight(near)[-1].target[0] <= 30 < flown[-1, 0] + 20
