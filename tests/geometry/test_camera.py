"""Calibrations: the maps are each other's inverses, and what no camera can be is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.calibration import Calibration


def tilted_calibration(yaw: float = 0.1, pitch: float = 0.015) -> Calibration:
    """The nominal camera, turned to the side and down."""
    nominal = Calibration.nominal()
    turn = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    nod = np.array([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
    return Calibration(p2=nominal.p2, r0_rect=nod @ turn, tr_velo_to_cam=nominal.tr_velo_to_cam)


def test_there_and_back_is_the_identity() -> None:
    calibration = tilted_calibration(yaw=0.3, pitch=-0.1)
    np.testing.assert_allclose(calibration.lidar_to_rect @ calibration.rect_to_lidar, np.eye(4), atol=1e-12)
    point = np.array([20.0, 3.0, -1.0, 1.0])
    np.testing.assert_allclose(
        (calibration.lidar_to_rect @ point)[:3], calibration.r0_rect @ (calibration.tr_velo_to_cam @ point)
    )


def test_the_nominal_camera_looks_ahead() -> None:
    heading = Calibration.nominal().heading_to_lidar
    np.testing.assert_allclose(heading @ [0, 1], [1, 0], atol=1e-12)  # the camera's z is ahead
    np.testing.assert_allclose(heading @ [1, 0], [0, -1], atol=1e-12)  # its x is to the right


@pytest.mark.parametrize("yaw", [-2.0, 0.1, 3.0])
def test_headings_turn_with_the_camera(yaw: float) -> None:
    expected = Calibration.nominal().heading_to_lidar @ [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    np.testing.assert_allclose(tilted_calibration(yaw, pitch=0.0).heading_to_lidar, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"r0_rect": np.zeros((3, 3))}, "r0_rect is singular"),
        ({"tr_velo_to_cam": np.ones((3, 4))}, "tr_velo_to_cam is singular"),
        ({"p2": np.eye(3)}, "p2 has shape"),
        ({"p2": np.full((3, 4), np.nan)}, "p2 holds NaN"),
    ],
)
def test_unusable_matrices_are_named(change: dict[str, np.ndarray], message: str) -> None:
    nominal = Calibration.nominal()
    matrices = {"p2": nominal.p2, "r0_rect": nominal.r0_rect, "tr_velo_to_cam": nominal.tr_velo_to_cam}
    with pytest.raises(InputError, match=message):
        Calibration(**(matrices | change))


def test_a_camera_that_looks_down_gives_no_headings() -> None:
    down = tilted_calibration(pitch=math.pi / 2)
    with pytest.raises(InputError, match="Tr_velo_to_cam"):
        _ = down.heading_to_lidar
