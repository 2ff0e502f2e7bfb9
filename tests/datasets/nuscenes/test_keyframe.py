"""The one real keyframe, as a database of its own made of another toolbox's info file."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.datasets.nuscenes import NuScenesSource
from lidar_ebm.datasets.nuscenes.data_set import NuScenesDataSet
from lidar_ebm.formats.nuscenes.classes import CLASS_OF_CATEGORY
from lidar_ebm.formats.pickle_files import read_pickle
from lidar_ebm.geometry.counting import count_points_in_boxes
from lidar_ebm.geometry.poses import boxes_to_parent, inverse_pose, quaternions_of_yaw
from tests.datasets.nuscenes.tiny import make_database
from tests.formats.samples import shared


@pytest.fixture(scope="module")
def keyframe(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A root with the keyframe as its only sample, and the boxes [69, 7] of the info file in LIDAR_TOP's own frame."""
    folder = shared("formats", "nuscenes_keyframe")
    (info,), (cloud,) = folder.glob("*.pkl"), folder.glob("*.pcd.bin")
    content = read_pickle(info)
    (sample,) = content["data_list"]
    names = {index: name for name, index in content["metainfo"]["categories"].items()}
    ego, sensor = np.array(sample["ego2global"]), np.array(sample["lidar_points"]["lidar2ego"])
    boxes = np.array([each["bbox_3d"] for each in sample["instances"]])
    placed = boxes_to_parent(boxes, ego @ sensor)  # upright in the global frame

    made = make_database({"scene-0061": []}, samples=1)
    tables = made.tables
    categories = {name: category for category, name in CLASS_OF_CATEGORY.items()}
    categories["unknown"] = "animal"  # of which the info file does not say what they are
    tables["category"] = [{"token": name, "name": category} for name, category in categories.items()]
    tables["ego_pose"][0].update(translation=ego[:3, 3].tolist(), rotation=quaternion_of(ego))
    tables["calibrated_sensor"][0].update(translation=sensor[:3, 3].tolist(), rotation=quaternion_of(sensor))
    for row, (each, box) in enumerate(zip(sample["instances"], placed, strict=True)):
        tables["instance"].append({"token": f"i{row}", "category_token": names.get(each["bbox_label_3d"], "unknown")})
        tables["sample_annotation"].append(
            {
                "token": f"a{row}",
                "sample_token": "scene-0061-sample0",
                "instance_token": f"i{row}",
                "attribute_tokens": [],
                "translation": box[:3].tolist(),
                "size": box[[4, 3, 5]].tolist(),
                "rotation": quaternions_of_yaw(box[6:])[0].tolist(),
                "num_lidar_pts": each["num_lidar_pts"],
                "num_radar_pts": each["num_radar_pts"],
                "prev": "",
                "next": "",
            }
        )
    root = made.write(tmp_path_factory.mktemp("keyframe"))
    shutil.copyfile(cloud, root / "samples" / "LIDAR_TOP" / "scene-0061-file0.pcd.bin")
    return root, boxes


def quaternion_of(pose: np.ndarray) -> list[float]:
    """Quaternion w, x, y, z of a pose's rotation, made orthogonal."""
    left, _, right = np.linalg.svd(pose[:3, :3])
    matrix = left @ right
    w = np.sqrt(max(1 + np.trace(matrix), 0)) / 2
    x, y, z = (matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]) / (4 * w)
    return [float(w), float(x), float(y), float(z)]


def test_every_label_has_as_many_points_as_its_table_says(keyframe: tuple[Path, np.ndarray]) -> None:
    """69 of 69 with the full rotation; with the heading alone in the LiDAR frame 61, so that it is a test of that."""
    data = NuScenesDataSet(keyframe[0], "v1.0-mini")
    (name,) = data.all_names()
    labels = data.labels(name)
    assert labels.points is not None
    counted = data.database.points_of_labels(data.database.row(name))
    assert (counted == labels.points).sum() == len(labels) == 69
    upright = count_points_in_boxes(data.read(name).points, labels.boxes)
    assert 50 < (upright == labels.points).sum() < 69
    assert data.check(name, ()).findings == ()


def test_labels_lie_where_the_info_file_has_them(keyframe: tuple[Path, np.ndarray]) -> None:
    root, boxes = keyframe
    (frame,) = NuScenesSource(root, "v1.0-mini", "train")
    assert frame.boxes is not None
    expected = boxes.copy()
    expected[:, :2] = np.column_stack((boxes[:, 1], -boxes[:, 0]))
    np.testing.assert_allclose(frame.boxes.boxes[:, :6], expected[:, :6], atol=1e-4)
    difference = frame.boxes.boxes[:, 6] - (boxes[:, 6] - np.pi / 2)
    np.testing.assert_allclose(difference - 2 * np.pi * np.round(difference / (2 * np.pi)), 0, atol=1e-4)


def test_the_square_of_the_ego_vehicle_takes_a_quarter_of_the_points(keyframe: tuple[Path, np.ndarray]) -> None:
    (frame,) = NuScenesSource(keyframe[0], "v1.0-mini", "train")
    assert len(frame.points) == 34_688 - 8_274
    assert set(np.unique(frame.channel("ring"))) == set(range(32))
    assert 0 <= frame.channel("reflectance").min() < frame.channel("reflectance").max() <= 1
    ahead = inverse_pose(NuScenesDataSet(keyframe[0], "v1.0-mini").sensor_pose_of(frame.name))
    ego = NuScenesDataSet(keyframe[0], "v1.0-mini").ego_pose_of(frame.name)
    np.testing.assert_allclose((ahead @ ego)[:3, 0], (0.9997, -0.002, 0.024), atol=1e-3)
