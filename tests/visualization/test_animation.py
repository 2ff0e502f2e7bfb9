"""The ways that moving pictures go."""

from __future__ import annotations

import numpy as np
import pytest

from lidar_ebm.visualization.animation import TURNS, flight, turntable
from lidar_ebm.visualization.scene import SceneFrame


def test_moving_pictures_go_all_around_and_along() -> None:
    turn, flown = (
        np.array([pose.eye for pose in turntable(SceneFrame("a", np.zeros((0, 4), np.float32)))]),
        np.array([pose.eye for pose in flight(np.zeros((0, 4)))]),
    )
    assert len(turn) == len(flown) == TURNS
    gaps = np.linalg.norm(turn - np.roll(turn, 1, axis=0), axis=1)
    np.testing.assert_allclose(gaps, gaps[0])  # no jump where it begins again
    assert (np.diff(flown[:, 0]) >= 0).all()
    near = np.stack([np.linspace(0, 30, 100), *np.zeros((3, 100))], axis=1)
    assert flight(near)[-1].target[0] <= 30 < flown[-1, 0] + 20


def test_a_frame_all_around_is_gone_round_at_its_sensor() -> None:
    points = np.random.default_rng(0).uniform(-40, 40, (100, 4)).astype(np.float32)
    for frame, middle in ((SceneFrame("a", points), 0.0), (SceneFrame("b", np.abs(points)), 22.0)):
        assert np.mean([pose.eye[0] for pose in turntable(frame)]) == pytest.approx(middle, abs=1e-9)
