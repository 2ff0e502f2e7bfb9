"""Labels and boxes: inverses, brute force in camera coordinates, and what real frames say."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats.image_size import read_image_size
from lidar_ebm.formats.kitti.calibration import FIXED_AXES, SIMULATED, SIMULATED_IMAGE_SIZE, Calibration
from lidar_ebm.formats.kitti.conversion import boxes_to_labels, labels_to_boxes, project_camera_boxes
from lidar_ebm.formats.kitti.files import read_calibration, read_labels, read_points
from lidar_ebm.formats.kitti.label import Label
from lidar_ebm.geometry.boxes import points_in_boxes
from lidar_ebm.geometry.projection import clip_to_image, project_boxes, transform
from tests.formats.kitti.test_calibration import tilted_calibration

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


@pytest.mark.parametrize("calibration", [FIXED_AXES, SIMULATED, tilted_calibration(), tilted_calibration(yaw=-2.0)])
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
    back = boxes_to_labels(boxes, calibration, types=["Car"] * 100, image_size=None)
    for label, again in zip(labels, back, strict=True):
        np.testing.assert_allclose(again.location, label.location, atol=1e-9)
        np.testing.assert_allclose(again.dimensions, label.dimensions, atol=1e-9)
        assert again.rotation_y == pytest.approx(label.rotation_y, abs=1e-9)
        assert again.score is None
    np.testing.assert_allclose(labels_to_boxes(back, calibration), boxes, atol=1e-9)


def test_a_level_camera_turns_rotation_y_into_yaw_by_kittis_formula() -> None:
    label = make_label(rotation_y=0.3, dimensions=(1.5, 1.6, 4.0), location=(2.0, 1.7, 20.0))
    box = labels_to_boxes([label], FIXED_AXES)[0]
    np.testing.assert_allclose(box, [20.27, -2.0, -1.7 - 0.08 + 0.75, 4.0, 1.6, 1.5, -0.3 - math.pi / 2], atol=1e-12)


def test_alpha_is_rotation_y_seen_along_the_ray() -> None:
    boxes = labels_to_boxes([make_label(location=(7.0, 1.7, 7.0), rotation_y=1.0)], SIMULATED)
    label = boxes_to_labels(boxes, SIMULATED, types=["Car"], image_size=SIMULATED_IMAGE_SIZE)[0]
    assert label.alpha == pytest.approx(1.0 - math.pi / 4)


def test_scores_and_types_go_with_their_boxes() -> None:
    boxes = np.array([[20.0, 0, -1, 4, 2, 1.5, 0], [30.0, 2, -1, 1, 1, 1.7, 0]])
    labels = boxes_to_labels(
        boxes, SIMULATED, types=["Car", "forklift 3"], scores=np.array([0.5, 0.25]), image_size=(1242, 375)
    )
    assert [(label.type, label.score) for label in labels] == [("Car", 0.5), ("forklift 3", 0.25)]


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
    camera = transform(points, calibration.lidar_to_rect)
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
    size = read_image_size(image) if image.exists() else None
    camera = calibration.camera(size)
    boxes = labels_to_boxes(labels, calibration)
    found = boxes_to_labels(boxes, calibration, types=["Car"] * len(labels), image_size=camera.image_size)
    for label, again in zip(labels, found, strict=True):
        np.testing.assert_allclose(again.location, label.location, atol=1e-9)
        assert math.cos(again.alpha - label.alpha) > 0.999  # KITTI's own alpha is from another point of the object
        # Annotators fitted the rectangle to what is seen, so it is a little smaller than the box's extent.
        np.testing.assert_allclose(again.bbox, label.bbox, atol=0.1 * (label.bbox[3] - label.bbox[1]))


def test_without_an_image_its_fields_say_unknown_and_the_rest_is_the_same() -> None:
    boxes = labels_to_boxes([make_label(), make_label(location=(1.0, 1.6, -9.0))], SIMULATED)
    seen = boxes_to_labels(boxes, SIMULATED, types=["Car"] * 2, image_size=SIMULATED_IMAGE_SIZE)
    blind = boxes_to_labels(boxes, SIMULATED, types=["Car"] * 2, image_size=None)
    for one, other in zip(seen, blind, strict=True):
        assert (other.alpha, other.bbox) == (-10.0, (-1.0, -1.0, -1.0, -1.0))
        assert (other.location, other.dimensions, other.rotation_y) == (one.location, one.dimensions, one.rotation_y)
        assert (other.truncated, other.occluded) == (one.truncated, one.occluded) == (-1.0, -1)


def test_what_is_behind_the_camera_has_no_rectangle() -> None:
    boxes = np.array([[-20.0, 0, 0, 4, 2, 2, 0], [5.0, 40, 0, 4, 2, 2, 0]])
    labels = boxes_to_labels(boxes, SIMULATED, types=["Car"] * 2, image_size=SIMULATED_IMAGE_SIZE)
    assert [label.bbox for label in labels] == [(0, 0, 0, 0)] * 2


def test_no_labels_are_no_boxes() -> None:
    assert labels_to_boxes([], SIMULATED).shape == (0, 7)
    assert boxes_to_labels(np.zeros((0, 7)), SIMULATED, types=[], scores=[], image_size=(1242, 375)) == []
    assert project_camera_boxes(np.zeros((0, 7)), SIMULATED).shape == (0, 4)


def test_boxes_in_the_cameras_own_frame_project_as_those_of_a_level_lidar() -> None:
    rng = np.random.default_rng(0)
    labels = [
        make_label(
            location=tuple(rng.uniform((-30, -2, -5), (30, 4, 70))),
            dimensions=tuple(rng.uniform(0.4, 12.0, 3)),
            rotation_y=float(rng.uniform(-math.pi, math.pi)),
        )
        for _ in range(100)
    ]
    rows = np.array([(*each.location, *each.dimensions, each.rotation_y) for each in labels])
    expected = project_boxes(labels_to_boxes(labels, SIMULATED), SIMULATED.camera())
    np.testing.assert_allclose(project_camera_boxes(rows, SIMULATED), expected, rtol=1e-6, atol=1e-6)
    assert (clip_to_image(expected, SIMULATED_IMAGE_SIZE) > 0).any(axis=1).sum() > 20
