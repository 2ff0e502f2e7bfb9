"""Calibrations: the maps are each other's inverses, what no camera can be is refused, and P2 tells the image's size."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.calibration import (
    FIXED_AXES,
    SIMULATED,
    SIMULATED_IMAGE_SIZE,
    Calibration,
    image_size_of,
)


def tilted_calibration(yaw: float = 0.1, pitch: float = 0.015) -> Calibration:
    """The simulator's camera, turned to the side and down."""
    turn = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    nod = np.array([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
    return Calibration(p2=SIMULATED.p2, r0_rect=nod @ turn, tr_velo_to_cam=SIMULATED.tr_velo_to_cam)


def test_there_and_back_is_the_identity() -> None:
    calibration = tilted_calibration(yaw=0.3, pitch=-0.1)
    np.testing.assert_allclose(calibration.lidar_to_rect @ calibration.rect_to_lidar, np.eye(4), atol=1e-12)
    point = np.array([20.0, 3.0, -1.0, 1.0])
    np.testing.assert_allclose(
        (calibration.lidar_to_rect @ point)[:3], calibration.r0_rect @ (calibration.tr_velo_to_cam @ point)
    )


@pytest.mark.parametrize("calibration", [FIXED_AXES, SIMULATED])
def test_a_camera_that_looks_ahead_has_kittis_axes(calibration: Calibration) -> None:
    points = np.array([[10.0, 0, 0, 1], [10, 1, 0, 1], [10, 0, 1, 1]]) @ calibration.lidar_to_rect[:3].T
    np.testing.assert_allclose(points - [0, -0.08, -0.27], [[0, 0, 10], [-1, 0, 10], [0, -1, 10]], atol=1e-12)
    heading = calibration.heading_to_lidar
    np.testing.assert_allclose(heading @ [0, 1], [1, 0], atol=1e-12)  # the camera's z is ahead
    np.testing.assert_allclose(heading @ [1, 0], [0, -1], atol=1e-12)  # its x is to the right


@pytest.mark.parametrize("yaw", [-2.0, 0.1, 3.0])
def test_headings_turn_with_the_camera(yaw: float) -> None:
    expected = SIMULATED.heading_to_lidar @ [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
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
    matrices = {"p2": SIMULATED.p2, "r0_rect": SIMULATED.r0_rect, "tr_velo_to_cam": SIMULATED.tr_velo_to_cam}
    with pytest.raises(InputError, match=message):
        Calibration(**(matrices | change))


def test_a_camera_that_looks_down_gives_no_headings() -> None:
    down = tilted_calibration(pitch=math.pi / 2)
    with pytest.raises(InputError, match="Tr_velo_to_cam"):
        _ = down.heading_to_lidar


def test_the_camera_of_a_calibration_projects_as_the_chain_of_its_matrices() -> None:
    calibration = tilted_calibration()
    camera = calibration.camera((640, 300))
    assert camera.image_size == (640, 300)
    point = np.array([20.0, 3.0, -1.0, 1.0])
    chained = calibration.p2 @ np.append(calibration.r0_rect @ calibration.tr_velo_to_cam @ point, 1)
    np.testing.assert_allclose(camera.lidar_to_image @ point, chained)


def test_p2_tells_the_size_of_an_image_that_is_not_there() -> None:
    assert image_size_of(SIMULATED.p2) == SIMULATED_IMAGE_SIZE == SIMULATED.camera().image_size
    for width, height in ((1920, 1280), (640, 480), (1224, 1024)):
        p2 = np.array([[900.0, 0, width / 2, 0], [0, 900, height / 2, 0], [0, 0, 1, 0]])
        assert image_size_of(p2) == (width, height)
        assert image_size_of(2.5 * p2) == (width, height)  # homogeneous: any multiple is the same camera


@pytest.mark.parametrize("p2", [np.eye(3, 4), FIXED_AXES.p2, np.diag([700.0, 700, 1]) @ np.eye(3, 4)])
def test_a_p2_of_no_camera_is_refused_where_it_has_to_tell_a_size(p2: np.ndarray) -> None:
    """Data without a camera often come with a made-up calibration, through which no point would be seen."""
    with pytest.raises(InputError, match=r"P2 has its principal point at .* of no camera"):
        image_size_of(p2)
    with pytest.raises(InputError, match="of no camera"):
        Calibration(p2, FIXED_AXES.r0_rect, FIXED_AXES.tr_velo_to_cam).camera()


@pytest.mark.parametrize(
    ("p2", "message"),
    [
        (np.eye(3, 4), r"principal point at \(0, 0\) pixels, outside of the image of 1242 x 375 pixels"),
        (SIMULATED.p2 + np.eye(3, 4, 2) * 633, r"outside of the image of 1242 x 375"),  # its centre right of the image
        (SIMULATED.p2 * [[1], [2.3], [1]], r"outside of the image of 1242 x 375"),  # below the image
        (SIMULATED.p2 * [[-1], [1], [1]], r"focal lengths of -721\.538 and 721\.538 pixels"),
        (SIMULATED.p2 * [[-1], [-1], [1]] + np.eye(3, 4, 2) * 1300, r"focal lengths of -721\.538 and -721\.538"),
        (SIMULATED.p2[[0, 2, 1]], r"focal lengths of .* of no camera"),
    ],
)
def test_a_p2_of_no_camera_is_refused_whatever_the_images_size(p2: np.ndarray, message: str) -> None:
    calibration = Calibration(p2, FIXED_AXES.r0_rect, FIXED_AXES.tr_velo_to_cam)
    with pytest.raises(InputError, match=message):
        calibration.camera(SIMULATED_IMAGE_SIZE)
    with pytest.raises(InputError, match="outside of the image of 600 x 375"):
        SIMULATED.camera((600, 375))
    for size in (SIMULATED_IMAGE_SIZE, (610, 173)):  # an image that was cut may end just beyond the centre
        assert SIMULATED.camera(size).image_size == size
        np.testing.assert_array_equal(
            Calibration(2 * SIMULATED.p2, SIMULATED.r0_rect, SIMULATED.tr_velo_to_cam).camera(size).projection,
            2 * SIMULATED.p2,
        )
