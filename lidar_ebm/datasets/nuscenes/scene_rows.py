"""Rows of nuScenes' tables for one scene, gathered sweep by sweep."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.scenes import RecordedScene, SceneSweep
from lidar_ebm.errors import InputError
from lidar_ebm.formats.nuscenes.classes import ATTRIBUTES, CLASS_OF_CATEGORY, OTHER_CATEGORIES
from lidar_ebm.geometry.poses import FROM_RIGHT_AHEAD, make_pose, quaternion_of, quaternions_of_yaw

CHANNEL: Final = "LIDAR_TOP"
CATEGORIES: Final = (*CLASS_OF_CATEGORY, *OTHER_CATEGORIES)
# Tables of which every scene has rows of its own; the others have the same in every data set.
TABLES: Final = (
    *("log", "calibrated_sensor", "scene", "sample", "ego_pose", "sample_data"),
    *("instance", "sample_annotation"),
)

Row = dict[str, Any]


def token(*parts: object) -> str:
    """A token, 32 hexadecimal digits, which the parts alone decide."""
    return hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=16).hexdigest()


def count_in_boxes(points: np.ndarray, boxes: Boxes, sensor_to_world: np.ndarray) -> np.ndarray:
    """Number of points [M] in each box, by its full rotation, faces included.

    Args:
        points: [N, >= 3], sensor frame.
        boxes: M of them, upright in the world frame.
        sensor_to_world: [4, 4].
    """
    counts = np.zeros(len(boxes), np.int64)
    xyz = points[:, :3].astype(np.float64)
    turn = sensor_to_world[:3, :3]
    for index, (x, y, z, length, width, height, yaw) in enumerate(boxes.boxes):
        center = turn.T @ (np.array([x, y, z]) - sensor_to_world[:3, 3])
        half = np.array([length, width, height]) / 2
        near = xyz[np.abs(xyz - center).max(axis=1) <= np.linalg.norm(half)]
        upright = np.array([[np.cos(yaw), np.sin(yaw), 0], [-np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
        own = (near - center) @ (upright @ turn).T
        counts[index] = (np.abs(own) <= half).all(axis=1).sum()
    return counts


class SceneRows:
    """Tables' rows of a scene."""

    def __init__(self, scene: RecordedScene) -> None:
        self.rows: dict[str, list[Row]] = {table: [] for table in TABLES}
        self._scene = scene
        self._log = f"simulated-{scene.name}"
        self._last_annotation: dict[str, Row] = {}
        self._instances: dict[str, Row] = {}
        self._waiting: list[Row] = []  # sample_data since the last key frame, which belong to the next one
        pose = scene.sensor_pose @ FROM_RIGHT_AHEAD
        self._calibration = _pose_fields(pose)
        self._sensor = make_pose(np.array(self._calibration["translation"]), np.array(self._calibration["rotation"]))
        self._add("log", logfile=self._log, vehicle="simulated", date_captured="2020-01-01", location="simulated")
        self._add("calibrated_sensor", sensor_token=sensor_token(), **self._calibration, camera_intrinsic=[])

    def filename(self, sweep: SceneSweep) -> str:
        """Path of a sweep's file in the data set's folder."""
        folder = "sweeps" if sweep.boxes is None else "samples"
        return f"{folder}/{CHANNEL}/{self._log}__{CHANNEL}__{sweep.timestamp}.pcd.bin"

    def add(self, sweep: SceneSweep, points: np.ndarray) -> None:
        """Take a sweep, and the points [N, 5] of its file.

        Raises:
            InputError: its boxes lack tracks, or are of an unknown category or attribute.
        """
        pose = _pose_fields(sweep.vehicle_pose)
        own = self._token("sample_data", sweep.timestamp)
        data = {
            "token": own,
            "sample_token": "",
            "ego_pose_token": own,
            "calibrated_sensor_token": self._token("calibrated_sensor", 0),
            "timestamp": sweep.timestamp,
            "fileformat": "pcd",
            "is_key_frame": sweep.boxes is not None,
            "height": 0,
            "width": 0,
            "filename": self.filename(sweep),
            "prev": "",
            "next": "",
        }
        _link(self.rows["sample_data"], data)
        self.rows["ego_pose"].append({"token": own, "timestamp": sweep.timestamp, **pose})
        self._waiting.append(data)
        if sweep.boxes is not None:
            vehicle = make_pose(np.array(pose["translation"]), np.array(pose["rotation"]))
            self._add_key_frame(sweep, sweep.boxes, points, vehicle @ self._sensor)

    def finish(self) -> Mapping[str, list[Row]]:
        """All rows by table.

        Raises:
            InputError: the scene has no key frame, or ends with another sweep.
        """
        samples = self.rows["sample"]
        if not samples or self._waiting:
            raise InputError(
                f"scene {self._scene.name}: ends with a sweep that is no key frame; give boxes for its last."
            )
        self.rows["scene"].append(
            {
                "token": self._token("scene", 0),
                "log_token": self._token("log", 0),
                "nbr_samples": len(samples),
                "first_sample_token": samples[0]["token"],
                "last_sample_token": samples[-1]["token"],
                "name": self._scene.name,
                "description": self._scene.source,
            }
        )
        return self.rows

    def _add_key_frame(self, sweep: SceneSweep, boxes: Boxes, points: np.ndarray, to_world: np.ndarray) -> None:
        if len(boxes) and boxes.track is None:
            raise InputError(f"scene {self._scene.name}: boxes have no tracks, by which things are linked over time.")
        sample = {
            "token": self._token("sample", sweep.timestamp),
            "timestamp": sweep.timestamp,
            "scene_token": self._token("scene", 0),
            "prev": "",
            "next": "",
        }
        _link(self.rows["sample"], sample)
        for data in self._waiting:
            data["sample_token"] = sample["token"]
        self._waiting.clear()
        counts = count_in_boxes(points, boxes, to_world)
        for row, count in zip(boxes.rows(), counts, strict=True):
            self._add_annotation(str(sample["token"]), row, int(count))

    def _add_annotation(self, sample: str, row: Mapping[str, Any], points: int) -> None:
        track, category, attribute = str(row["track"]), row["name"], str(row.get("attribute", ""))
        if category not in CATEGORIES or attribute not in ("", *ATTRIBUTES):
            raise InputError(
                f"scene {self._scene.name}: {category!r} with attribute {attribute!r} is no category or attribute of "
                "nuScenes'."
            )
        annotation = {
            "token": self._token("annotation", track, sample),
            "sample_token": sample,
            "instance_token": self._token("instance", track),
            "visibility_token": str(4 - int(np.nan_to_num(row.get("occluded", 0.0)))),
            "attribute_tokens": [token("attribute", attribute)] if attribute else [],
            "translation": row["box"][:3].tolist(),
            "size": row["box"][[4, 3, 5]].tolist(),
            "rotation": quaternions_of_yaw(row["box"][6:7])[0].tolist(),
            "prev": "",
            "next": "",
            "num_lidar_pts": points,
            "num_radar_pts": 0,
        }
        if track in self._instances:
            _link([self._last_annotation[track]], annotation, keep=False)
        else:
            self._instances[track] = self._new_instance(track, category, annotation)
        self._instances[track]["nbr_annotations"] += 1
        self._instances[track]["last_annotation_token"] = annotation["token"]
        self._last_annotation[track] = annotation
        self.rows["sample_annotation"].append(annotation)

    def _new_instance(self, track: str, category: str, annotation: Row) -> Row:
        instance = {
            "token": self._token("instance", track),
            "category_token": token("category", category),
            "nbr_annotations": 0,
            "first_annotation_token": annotation["token"],
            "last_annotation_token": "",
        }
        self.rows["instance"].append(instance)
        return instance

    def _add(self, table: str, **fields: Any) -> None:
        self.rows[table].append({"token": self._token(table, 0), **fields})

    def _token(self, *parts: object) -> str:
        return token(self._scene.source, self._scene.name, *parts)


def sensor_token() -> str:
    """Token of the one sensor."""
    return token("sensor", CHANNEL)


def _pose_fields(pose: np.ndarray) -> Row:
    return {"translation": pose[:3, 3].tolist(), "rotation": quaternion_of(pose[:3, :3]).tolist()}


def _link(rows: list[Row], row: Row, *, keep: bool = True) -> None:
    """Chain a row to the last of `rows`, and add it there."""
    if rows:
        rows[-1]["next"] = row["token"]
        row["prev"] = rows[-1]["token"]
    if keep:
        rows.append(row)
