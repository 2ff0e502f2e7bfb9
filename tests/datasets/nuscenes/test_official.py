"""Frames of the synthetic databases against what the benchmark's own program read of them."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest

from lidar_ebm.datasets.nuscenes import NuScenesSource
from lidar_ebm.datasets.nuscenes.data_set import NuScenesDataSet
from lidar_ebm.formats.nuscenes.classes import CLASS_OF_CATEGORY
from lidar_ebm.geometry.poses import inverse_pose, rotation_matrix, yaw_of
from tests.nuscenes_material import NuscenesSet


@pytest.fixture(params=["public_a", "public_b"])
def official(request: pytest.FixtureRequest) -> NuscenesSet:
    found: NuscenesSet = request.getfixturevalue(request.param)
    return found


def samples_of(official: NuscenesSet) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((official.folder / "official" / "reader" / "samples.json").read_text())
    assert len(content) > 5
    return content


def in_lidar_frame(centers: Any) -> np.ndarray:
    """Vectors [N, >= 2] of LIDAR_TOP's axes with x forward, y left."""
    turned = np.array(centers, np.float64)
    turned[:, :2] = np.stack((turned[:, 1], -turned[:, 0]), axis=1)
    return turned


def yaw_in_lidar_frame(yaw: Any) -> np.ndarray:
    """Angles of LIDAR_TOP's axes from x forward on, in [-π, π)."""
    return (np.asarray(yaw) - np.pi / 2 + np.pi) % (2 * np.pi) - np.pi


def assert_same_angles(first: np.ndarray, second: np.ndarray, tolerance: float) -> None:
    difference = np.abs(first - second)
    np.testing.assert_allclose(np.minimum(difference, 2 * np.pi - difference), 0, atol=tolerance)


def test_labels_are_those_of_the_official_reader(official: NuscenesSet) -> None:
    data = NuScenesDataSet(official.root, official.version)
    labels = 0
    for token, sample in samples_of(official).items():
        boxes, theirs = data.labels(token), sample["boxes"]
        names = [CLASS_OF_CATEGORY.get(box["category"], box["category"]) for box in theirs]
        assert boxes.names.tolist() == names
        np.testing.assert_allclose(boxes.boxes[:, :3], in_lidar_frame([box["center"] for box in theirs]), atol=1e-9)
        sizes = np.array([box["wlh"] for box in theirs])
        np.testing.assert_array_equal(boxes.boxes[:, [4, 3, 5]], sizes)
        yaw = yaw_in_lidar_frame([box["yaw_in_lidar"] for box in theirs])
        assert_same_angles(boxes.boxes[:, 6], yaw, 1e-12)
        velocity = in_lidar_frame([[np.nan if v is None else v for v in box["velocity_in_lidar"]] for box in theirs])
        assert boxes.velocity is not None and boxes.points is not None and boxes.attribute is not None
        np.testing.assert_allclose(boxes.velocity, velocity[:, :2], atol=1e-9)
        assert boxes.points.tolist() == [box["num_lidar_pts"] for box in theirs]
        assert boxes.attribute.tolist() == [(box["attributes"] or [""])[0] for box in theirs]
        labels += len(boxes)
    assert labels > 100


@pytest.mark.parametrize("sweeps", [1, 2, 5, 10])
def test_merged_sweeps_are_those_of_the_official_reader(official: NuscenesSet, sweeps: int) -> None:
    data = NuScenesDataSet(official.root, official.version, sweeps=sweeps)
    for token, sample in samples_of(official).items():
        theirs = sample["merged"][str(sweeps)]
        frame = data.read(token, with_labels=False)
        assert frame.channels == ("reflectance", "time_lag", "ring")
        assert len(frame.points) == theirs["points"]
        lag = frame.channel("time_lag")
        starts = np.flatnonzero(np.concatenate(([True], lag[1:] != lag[:-1])))
        counts = np.diff([*starts, len(lag)])
        kept = [(a, b) for a, b in zip(theirs["lags"], theirs["counts"], strict=True) if b]
        assert counts.tolist() == [count for _, count in kept]
        assert lag[starts].tolist() == np.array([value for value, _ in kept], np.float32).tolist()
        own_axes = np.column_stack(
            (-frame.points[:, 1], frame.points[:, 0], frame.points[:, 2], frame.points[:, 3] * 255)
        )
        np.testing.assert_allclose(np.abs(own_axes).sum(axis=0), theirs["abs_sum"], rtol=1e-5)
        np.testing.assert_allclose(own_axes.mean(axis=0), theirs["mean"], atol=1e-4)


def test_points_of_ten_sweeps_are_those_of_the_official_reader(official: NuscenesSet) -> None:
    data = NuScenesDataSet(official.root, official.version)
    with np.load(official.folder / "official" / "reader" / "merged_points.npz") as arrays:
        tokens = [name.removesuffix("_points") for name in arrays if name.endswith("_points")]
        assert tokens
        for token in tokens:
            points, lag = arrays[f"{token}_points"], arrays[f"{token}_lag"]
            frame = data.read(token)
            np.testing.assert_allclose(frame.points[:, 0], points[:, 1], rtol=3e-7, atol=1e-6)
            np.testing.assert_allclose(frame.points[:, 1], -points[:, 0], rtol=3e-7, atol=1e-6)
            np.testing.assert_allclose(frame.points[:, 2], points[:, 2], rtol=3e-7, atol=1e-6)
            np.testing.assert_array_equal(frame.channel("reflectance"), points[:, 3] / np.float32(255))
            np.testing.assert_array_equal(frame.channel("time_lag"), lag.astype(np.float32))


def test_boxes_between_samples_are_those_of_the_official_reader(official: NuscenesSet) -> None:
    data = NuScenesDataSet(official.root, official.version)
    between = [sample["between"] for sample in samples_of(official).values() if sample["between"] is not None]
    assert between
    for theirs in between:
        boxes = data.boxes_at(theirs["sample_data"])
        assert len(boxes) == len(theirs["boxes"])
        centers = in_lidar_frame([box["center"] for box in theirs["boxes"]])
        np.testing.assert_allclose(boxes.boxes[:, :3], centers, atol=1e-9)
        yaw = yaw_of(rotation_matrix(np.array([box["orientation"] for box in theirs["boxes"]])))
        assert_same_angles(boxes.boxes[:, 6], yaw_in_lidar_frame(yaw), 1e-12)


def test_points_in_the_fully_turned_boxes_are_num_lidar_pts(official: NuscenesSet) -> None:
    data = NuScenesDataSet(official.root, official.version)
    database = data.database
    for token in data.all_names():
        sample = database.row(token)
        np.testing.assert_array_equal(database.points_of_labels(sample), database.labels(sample).points)


def test_labels_come_back_from_the_global_frame(official: NuscenesSet) -> None:
    """Centres and headings of the tables, of boxes that went to the LiDAR frame and back."""
    data = NuScenesDataSet(official.root, official.version)
    annotations = data.database.tables.annotations
    for token in data.all_names()[:10]:
        pose, ego = data.sensor_pose_of(token), data.ego_pose_of(token)
        rows = annotations.rows_of_sample(data.database.row(token))
        centers = data.labels(token).boxes[:, :3] @ pose[:3, :3].T + pose[:3, 3]
        np.testing.assert_allclose(centers, annotations.centers[rows], atol=1e-9)
        sensor_in_ego = inverse_pose(ego) @ pose
        assert np.abs(sensor_in_ego[:2, 3]).max() < 5
        assert sensor_in_ego[0, 0] > 0.9  # x forward in both


def test_splits_are_found_by_scene_names(public_a: NuscenesSet, public_b: NuscenesSet) -> None:
    for short, official_name in (("train", "mini_train"), ("val", "mini_val")):
        first = NuScenesSource(public_a.root, "v1.0-mini", short)
        second = NuScenesSource(public_a.root, "v1.0-mini", official_name)
        assert first.names == second.names
        assert len(first) > 0
    data = NuScenesDataSet(public_b.root, "v1.0-trainval")
    assert data.splits == ("train", "val", "same_as_val", "two")
    assert sorted(data.frame_names("same_as_val")) == sorted(data.frame_names("val"))
    times = [data.database.tables.samples[data.database.row(name)] for name in data.frame_names("train")]
    for one, next_one in itertools.pairwise(times):
        assert one.next == next_one.token or one.scene_token != next_one.scene_token
