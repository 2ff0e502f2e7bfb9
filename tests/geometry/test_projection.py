"""LiDAR, camera and image: inverses, random points of boxes, and what real frames say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats.image_size import read_image_size
from lidar_ebm.formats.kitti.calibration import SIMULATED
from lidar_ebm.formats.kitti.files import read_calibration, read_points
from lidar_ebm.geometry.boxes import corners_3d
from lidar_ebm.geometry.camera import Camera
from lidar_ebm.geometry.projection import (
    clip_to_image,
    crop_to_camera_view,
    project_boxes,
    project_to_image,
    transform,
)
from tests.formats.kitti.test_calibration import tilted_calibration

AHEAD = SIMULATED.camera((1242, 375))
TILTED = tilted_calibration().camera((1242, 375))


def test_points_go_to_the_camera_and_back() -> None:
    points = np.random.default_rng(0).uniform(-50, 50, (100, 4))
    back = transform(transform(points, TILTED.lidar_to_camera), TILTED.camera_to_lidar)
    np.testing.assert_allclose(back, points[:, :3], atol=1e-12)


def test_projection_is_the_chain_of_the_cameras_matrices() -> None:
    point = np.array([20.0, 3.0, -1.0])
    u, v, depth = TILTED.projection @ TILTED.lidar_to_camera @ np.append(point, 1)
    pixels, depths = project_to_image(point[None], TILTED)
    np.testing.assert_allclose(pixels, [[u / depth, v / depth]])
    np.testing.assert_allclose(depths, [depth])


def test_projected_boxes_hold_every_point_of_the_box_that_is_ahead() -> None:
    rng = np.random.default_rng(0)
    boxes = np.column_stack(
        (rng.uniform((-3, -8, -2), (25, 8, 1), (60, 3)), rng.uniform(1, 5, (60, 3)), rng.uniform(-3, 3, 60))
    )
    rectangles = project_boxes(boxes, TILTED)
    for box, rectangle in zip(boxes, rectangles, strict=True):
        weights = rng.dirichlet(np.full(8, 0.3), 300)
        pixels, depth = project_to_image(weights @ corners_3d(box[None])[0], TILTED)
        ahead = depth > 0.01
        if not ahead.any():
            continue
        assert (pixels[ahead] >= rectangle[:2] - 1e-3).all()
        assert (pixels[ahead] <= rectangle[2:] + 1e-3).all()
    whole = (project_to_image(corners_3d(boxes).reshape(-1, 3), TILTED)[1].reshape(-1, 8) > 0.1).all(axis=1)
    pixels = project_to_image(corners_3d(boxes[whole]).reshape(-1, 3), TILTED)[0].reshape(-1, 8, 2)
    np.testing.assert_allclose(rectangles[whole], np.hstack((pixels.min(1), pixels.max(1))))


def test_boxes_out_of_sight_have_no_rectangle() -> None:
    boxes = np.array([[-20.0, 0, 0, 4, 2, 2, 0], [5.0, 40, 0, 4, 2, 2, 0]])
    assert np.isnan(project_boxes(boxes, AHEAD)[0]).all()
    np.testing.assert_array_equal(clip_to_image(project_boxes(boxes, AHEAD), AHEAD.image_size), np.zeros((2, 4)))


def test_empty_is_normal() -> None:
    assert crop_to_camera_view(np.zeros((0, 4), np.float32), AHEAD).shape == (0,)
    assert project_boxes(np.zeros((0, 7)), AHEAD).shape == (0, 4)


def test_points_at_the_camera_itself_are_not_seen() -> None:
    at_the_camera = transform(np.array([[0.0, 0, -AHEAD.projection[2, 3]], [0, 0, -5.0]]), AHEAD.camera_to_lidar)
    assert not crop_to_camera_view(at_the_camera, AHEAD).any()


def test_a_frame_that_was_cropped_to_the_camera_lies_wholly_in_its_view(kitti_frames: Path) -> None:
    training = kitti_frames / "training"
    points = read_points(training / "velodyne" / "000008.bin")
    calibration = read_calibration(training / "calib" / "000008.txt")
    size = read_image_size(training / "image_2" / "000008.png")
    assert crop_to_camera_view(points, calibration.camera(size)).all()
    whole = read_points(training / "velodyne" / "000003.bin")
    assert 0.1 < crop_to_camera_view(whole, calibration.camera()).mean() < 0.25


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"projection": np.eye(3)}, "projection has shape"),
        ({"projection": np.full((3, 4), np.nan)}, "projection holds NaN"),
        ({"lidar_to_camera": np.zeros((4, 4))}, "lidar_to_camera is singular"),
        ({"image_size": (0, 375)}, "0 x 375 pixels"),
    ],
)
def test_what_no_camera_can_be_is_named(change: dict[str, object], message: str) -> None:
    values = {"projection": AHEAD.projection, "lidar_to_camera": AHEAD.lidar_to_camera, "image_size": (1242, 375)}
    with pytest.raises(InputError, match=message):
        Camera(**(values | change))  # type: ignore[arg-type]


def test_the_view_is_what_projects_into_the_image() -> None:
    points = np.random.default_rng(0).uniform((-20, -60, -5), (60, 60, 5), (3000, 3))
    for size in ((1242, 375), (300, 375), (1242, 80)):
        camera = Camera(SIMULATED.p2, SIMULATED.lidar_to_rect, size)
        ahead = transform(points, camera.lidar_to_camera) + camera.projection[:, 3] * [0, 0, 1]
        pixels = (camera.lidar_to_image @ np.column_stack((points, np.ones(3000))).T).T
        u, v = pixels[:, 0] / pixels[:, 2], pixels[:, 1] / pixels[:, 2]
        expected = (ahead[:, 2] > 0) & (u >= 0) & (u < size[0]) & (v >= 0) & (v < size[1])
        assert 0 < expected.sum() < 1500
        np.testing.assert_array_equal(crop_to_camera_view(points, camera), expected)
