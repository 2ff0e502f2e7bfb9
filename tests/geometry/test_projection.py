"""LiDAR, camera and image: inverses, brute force in camera coordinates, and what real frames say."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from lidar_ebm.errors import InputError
from lidar_ebm.formats.image_size import read_image_size
from lidar_ebm.formats.kitti.calibration import Calibration
from lidar_ebm.formats.kitti.conversion import boxes_to_labels, labels_to_boxes
from lidar_ebm.formats.kitti.files import read_calibration, read_labels, read_points
from lidar_ebm.formats.kitti.label import Label
from lidar_ebm.geometry.boxes import corners_3d, points_in_boxes
from lidar_ebm.geometry.projection import (
    camera_to_lidar,
    clip_to_image,
    crop_to_camera_view,
    lidar_to_camera,
    project_boxes,
    project_to_image,
)
from tests.geometry.test_camera import tilted_calibration

FRAMES = ("000000", "000001", "000002", "000003", "000004", "000008")


def make_label(**changes: object) -> Label:
    values: dict[str, object] = {
        **{"type": "Car", "truncated": 0.0, "occluded": 0, "alpha": 0.0, "bbox": (0.0, 0.0, 9.0, 9.0)},
        **{"dimensions": (1.5, 1.6, 4.0), "location": (2.0, 1.7, 20.0), "rotation_y": 0.3},
    }
    return Label(**(values | changes))  # type: ignore[arg-type]


def real_objects(root: Path, frame: str) -> tuple[list[Label], Calibration]:
    labels = read_labels(root / "training" / "label_2" / f"{frame}.txt")
    calibration = read_calibration(root / "training" / "calib" / f"{frame}.txt")
    return [label for label in labels if label.type != "DontCare"], calibration


def count_in_camera_frame(points: np.ndarray, label: Label, calibration: Calibration) -> int:
    """Points in a label's box, counted in the camera's frame as KITTI means it, without this program's boxes."""
    homogeneous = np.column_stack((points[:, :3].astype(np.float64), np.ones(len(points))))
    camera = homogeneous @ calibration.tr_velo_to_cam.T @ calibration.r0_rect.T - label.location
    cos, sin = math.cos(label.rotation_y), math.sin(label.rotation_y)
    along = cos * camera[:, 0] - sin * camera[:, 2]
    across = sin * camera[:, 0] + cos * camera[:, 2]
    height, width, length = label.dimensions
    inside = (abs(along) <= length / 2) & (abs(across) <= width / 2) & (-height <= camera[:, 1]) & (camera[:, 1] <= 0)
    return int(inside.sum())


def test_points_go_to_the_camera_and_back() -> None:
    points = np.random.default_rng(0).uniform(-50, 50, (100, 4))
    calibration = tilted_calibration()
    np.testing.assert_allclose(
        camera_to_lidar(lidar_to_camera(points, calibration), calibration), points[:, :3], atol=1e-12
    )


def test_nominal_camera_has_kittis_axes() -> None:
    camera = lidar_to_camera(np.array([[10.0, 0, 0], [10, 1, 0], [10, 0, 1]]), Calibration.nominal())
    np.testing.assert_allclose(camera - [0, -0.08, -0.27], [[0, 0, 10], [-1, 0, 10], [0, -1, 10]], atol=1e-12)


def test_projection_is_the_chain_of_kittis_matrices() -> None:
    calibration = tilted_calibration()
    point = np.array([20.0, 3.0, -1.0])
    u, v, depth = calibration.p2 @ np.append(calibration.r0_rect @ calibration.tr_velo_to_cam @ np.append(point, 1), 1)
    pixels, depths = project_to_image(point[None], calibration)
    np.testing.assert_allclose(pixels, [[u / depth, v / depth]])
    np.testing.assert_allclose(depths, [depth])


@pytest.mark.parametrize("calibration", [Calibration.nominal(), tilted_calibration(), tilted_calibration(yaw=-2.0)])
def test_labels_go_to_boxes_and_back(calibration: Calibration) -> None:
    rng = np.random.default_rng(0)
    labels = [
        make_label(
            location=tuple(rng.uniform((-30, -2, 0), (30, 4, 70))),
            dimensions=tuple(rng.uniform(0.4, 12.0, 3)),
            rotation_y=float(rng.uniform(-math.pi, math.pi)),
        )
        for _ in range(100)
    ]
    boxes = labels_to_boxes(labels, calibration)
    back = boxes_to_labels(boxes, calibration, types=["Car"] * 100)
    for label, again in zip(labels, back, strict=True):
        np.testing.assert_allclose(again.location, label.location, atol=1e-9)
        np.testing.assert_allclose(again.dimensions, label.dimensions, atol=1e-9)
        assert again.rotation_y == pytest.approx(label.rotation_y, abs=1e-9)
        assert again.score is None
    np.testing.assert_allclose(labels_to_boxes(back, calibration), boxes, atol=1e-9)


def test_a_level_camera_turns_rotation_y_into_yaw_by_kittis_formula() -> None:
    label = make_label(rotation_y=0.3, dimensions=(1.5, 1.6, 4.0), location=(2.0, 1.7, 20.0))
    box = labels_to_boxes([label], Calibration.nominal())[0]
    np.testing.assert_allclose(box, [20.27, -2.0, -1.7 - 0.08 + 0.75, 4.0, 1.6, 1.5, -0.3 - math.pi / 2], atol=1e-12)


def test_alpha_is_rotation_y_seen_along_the_ray() -> None:
    boxes = labels_to_boxes([make_label(location=(7.0, 1.7, 7.0), rotation_y=1.0)], Calibration.nominal())
    label = boxes_to_labels(boxes, Calibration.nominal(), types=["Car"])[0]
    assert label.alpha == pytest.approx(1.0 - math.pi / 4)


def test_scores_and_types_go_with_their_boxes() -> None:
    boxes = torch.tensor([[20.0, 0, -1, 4, 2, 1.5, 0], [30.0, 2, -1, 1, 1, 1.7, 0]])
    labels = boxes_to_labels(
        boxes, Calibration.nominal(), types=["Car", "Pedestrian"], scores=torch.tensor([0.5, 0.25])
    )
    assert [(label.type, label.score) for label in labels] == [("Car", 0.5), ("Pedestrian", 0.25)]


def test_projected_boxes_hold_every_point_of_the_box_that_is_ahead() -> None:
    rng = np.random.default_rng(0)
    calibration = tilted_calibration()
    boxes = np.column_stack(
        (rng.uniform((-3, -8, -2), (25, 8, 1), (60, 3)), rng.uniform(1, 5, (60, 3)), rng.uniform(-3, 3, 60))
    )
    rectangles = project_boxes(boxes, calibration)
    for box, rectangle in zip(boxes, rectangles, strict=True):
        weights = rng.dirichlet(np.full(8, 0.3), 300)
        pixels, depth = project_to_image(weights @ corners_3d(box[None])[0], calibration)
        ahead = depth > 0.01
        if not ahead.any():
            continue
        assert (pixels[ahead] >= rectangle[:2] - 1e-3).all()
        assert (pixels[ahead] <= rectangle[2:] + 1e-3).all()
    whole = (project_to_image(corners_3d(boxes).reshape(-1, 3), calibration)[1].reshape(-1, 8) > 0.1).all(axis=1)
    pixels = project_to_image(corners_3d(boxes[whole]).reshape(-1, 3), calibration)[0].reshape(-1, 8, 2)
    np.testing.assert_allclose(rectangles[whole], np.hstack((pixels.min(1), pixels.max(1))))


def test_boxes_out_of_sight_have_no_rectangle() -> None:
    boxes = np.array([[-20.0, 0, 0, 4, 2, 2, 0], [5.0, 40, 0, 4, 2, 2, 0]])
    assert np.isnan(project_boxes(boxes, Calibration.nominal())[0]).all()
    np.testing.assert_array_equal(clip_to_image(project_boxes(boxes, Calibration.nominal())), np.zeros((2, 4)))
    assert boxes_to_labels(boxes, Calibration.nominal(), types=["Car"] * 2)[0].bbox == (0, 0, 0, 0)


def test_empty_is_normal() -> None:
    calibration = Calibration.nominal()
    assert labels_to_boxes([], calibration).shape == (0, 7)
    assert boxes_to_labels(np.zeros((0, 7)), calibration, types=[], scores=[]) == []
    assert crop_to_camera_view(np.zeros((0, 4), np.float32), calibration).shape == (0,)
    assert project_boxes(np.zeros((0, 7)), calibration).shape == (0, 4)


def test_points_at_the_camera_itself_are_not_seen() -> None:
    calibration = Calibration.nominal()
    at_the_camera = camera_to_lidar(np.array([[0.0, 0, -calibration.p2[2, 3]], [0, 0, -5.0]]), calibration)
    assert not crop_to_camera_view(at_the_camera, calibration).any()


def test_tensors_give_what_arrays_give() -> None:
    points = np.random.default_rng(0).uniform((0, -20, -2), (50, 20, 1), (500, 3))
    calibration = tilted_calibration()
    np.testing.assert_array_equal(
        crop_to_camera_view(torch.from_numpy(points), calibration).numpy(), crop_to_camera_view(points, calibration)
    )
    camera = lidar_to_camera(torch.from_numpy(points).float(), calibration)
    assert camera.dtype == torch.float32
    np.testing.assert_allclose(camera.numpy(), lidar_to_camera(points, calibration), atol=1e-4)


def test_a_camera_that_looks_down_is_refused_where_headings_are_needed() -> None:
    with pytest.raises(InputError, match="Tr_velo_to_cam"):
        labels_to_boxes([make_label()], tilted_calibration(pitch=math.pi / 2))


@pytest.mark.parametrize(
    ("frame", "kind", "count"), [("000000", "Pedestrian", 376), ("000002", "Misc", 1351), ("000003", "Car", 680)]
)
def test_points_of_real_objects_number_as_counted_in_the_camera_frame(
    kitti_frames: Path, frame: str, kind: str, count: int
) -> None:
    labels, calibration = real_objects(kitti_frames, frame)
    label = next(label for label in labels if label.type == kind)
    points = read_points(kitti_frames / "training" / "velodyne" / f"{frame}.bin")
    assert count_in_camera_frame(points, label, calibration) == count

    # The same box and points with the camera's axes renamed (forward, left, up): nothing is neglected, none differs.
    camera = lidar_to_camera(points, calibration)
    (height, width, length), (x, y, z) = label.dimensions, label.location
    renamed = np.array([[z, -x, height / 2 - y, length, width, height, -label.rotation_y - math.pi / 2]])
    assert points_in_boxes(camera[:, [2, 0, 1]] * [1, -1, -1], renamed).sum() == count

    # Upright in the LiDAR frame instead of the camera's, at most one point in a hundred changes sides.
    inside = points_in_boxes(points, labels_to_boxes([label], calibration)).sum()
    assert abs(int(inside) - count) <= 0.01 * count


@pytest.mark.parametrize("frame", FRAMES)
def test_boxes_of_all_real_objects_lie_where_the_camera_has_them(kitti_frames: Path, frame: str) -> None:
    labels, calibration = real_objects(kitti_frames, frame)
    points = read_points(kitti_frames / "training" / "velodyne" / f"{frame}.bin")
    counts = points_in_boxes(points, labels_to_boxes(labels, calibration)).sum(axis=0)
    expected = [count_in_camera_frame(points, label, calibration) for label in labels]
    np.testing.assert_allclose(counts, expected, rtol=0.02, atol=6)


@pytest.mark.parametrize("frame", FRAMES)
def test_real_labels_come_back_from_boxes_with_their_alpha_and_rectangle(kitti_frames: Path, frame: str) -> None:
    labels, calibration = real_objects(kitti_frames, frame)
    image = kitti_frames / "training" / "image_2" / f"{frame}.png"
    size = read_image_size(image) if image.exists() else (1242, 375)
    boxes = labels_to_boxes(labels, calibration)
    for label, again in zip(
        labels, boxes_to_labels(boxes, calibration, types=["Car"] * len(labels), image_size=size), strict=True
    ):
        np.testing.assert_allclose(again.location, label.location, atol=1e-9)
        assert math.cos(again.alpha - label.alpha) > 0.999  # KITTI's own alpha is from another point of the object
        # Annotators fitted the rectangle to what is seen, so it is a little smaller than the box's extent.
        np.testing.assert_allclose(again.bbox, label.bbox, atol=0.1 * (label.bbox[3] - label.bbox[1]))


def test_a_frame_that_was_cropped_to_the_camera_lies_wholly_in_its_view(kitti_frames: Path) -> None:
    training = kitti_frames / "training"
    points = read_points(training / "velodyne" / "000008.bin")
    calibration = read_calibration(training / "calib" / "000008.txt")
    assert crop_to_camera_view(points, calibration, read_image_size(training / "image_2" / "000008.png")).all()
    whole = read_points(training / "velodyne" / "000003.bin")
    assert 0.1 < crop_to_camera_view(whole, calibration).mean() < 0.25
