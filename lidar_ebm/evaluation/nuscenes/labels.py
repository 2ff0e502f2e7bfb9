"""Labels of a split as the benchmark scores them, from the tables of the database."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.nuscenes.filters import Racks, scored_objects
from lidar_ebm.evaluation.nuscenes.objects import Objects, objects_of_boxes
from lidar_ebm.evaluation.nuscenes.rules import ATTRIBUTE_INDEX, CLASS_INDEX, heading
from lidar_ebm.evaluation.options import ScoringOptions
from lidar_ebm.formats.nuscenes.classes import BIKE_RACK, CLASS_OF_CATEGORY
from lidar_ebm.formats.nuscenes.splits import is_own_split
from lidar_ebm.formats.nuscenes.tables import LIDAR, Tables, versions_of
from lidar_ebm.geometry.poses import FROM_RIGHT_AHEAD, inverse_pose, make_pose, quaternions_of_yaw, rotation_matrix


@dataclass(frozen=True, eq=False)
class SplitLabels:
    """Labels of a split that are scored, and what is needed to score any detections of it."""

    name: str  # of the split
    tokens: tuple[str, ...]  # [S] samples, in the table's order
    scenes: np.ndarray  # [S] int32, scene of each sample
    ego: np.ndarray  # [S, 2] m, place of the ego vehicle
    racks: Racks
    objects: Objects  # that are scored
    annotation_count: int  # of the ten classes, before the filters
    own_split: bool  # its scenes are the database's own, not the benchmark's
    lidar_poses: np.ndarray  # [S, 4, 4] LiDAR frame (x forward, y left) → global frame
    notes: tuple[str, ...] = ()  # what departs from the rules

    @cached_property
    def sample_index(self) -> Mapping[str, int]:
        """Index of each sample by token."""
        return {token: index for index, token in enumerate(self.tokens)}

    def pose_of(self, token: str) -> np.ndarray:
        """Pose [4, 4] of a sample's LiDAR in the global frame."""
        return self.lidar_poses[self.sample_index[token]]


def read_labels(root: str | os.PathLike[str], version: str, split: str) -> SplitLabels:
    """Labels of a split of a database.

    Raises:
        InputError: the tables cannot be used, have no such split, or no labels at all.
    """
    return labels_of_tables(Tables.open(root, version), split)


def version_and_split(root: Path, options: ScoringOptions) -> tuple[str, str]:
    """The version and the split that options name; the only version of the root where they name none.

    Raises:
        InputError: several versions or none are there, or no split is named.
    """
    version = options.version
    if version is None:
        versions = versions_of(root)
        if len(versions) != 1:
            has = f"holds {', '.join(versions)}" if versions else "holds no tables of nuScenes (ROOT/VERSION/*.json)"
            raise InputError(f"{root}: {has}; name the root of a database, and the one to score with version.")
        version = versions[0]
    if not isinstance(options.split, str | Path):
        raise InputError(f"split: name the split of {version} that the results are of, for example mini_val or val.")
    return version, str(options.split)


def labels_of_tables(tables: Tables, split: str | None = None, *, tokens: Sequence[str] | None = None) -> SplitLabels:
    """Labels of a split of tables that are open, or of the samples of these tokens; see `read_labels`.

    Raises:
        InputError: what `read_labels` raises, or a token that is none of the samples'.
    """
    rows = _sample_rows(tables, tokens) if split is None else tables.samples_of_split(split)
    annotations = tables.annotations
    if tables.is_test and not len(annotations):
        raise InputError(
            f"{tables.path('sample_annotation')}: there are no annotations, so nothing can be scored. Labels of "
            "v1.0-test are not public: hand the results in, or score a split of v1.0-trainval."
        )
    ego, poses = _poses(tables, rows)
    index_of_row = np.full(len(tables.samples), -1, np.int32)
    index_of_row[rows] = np.arange(len(rows))
    sample = index_of_row[annotations.sample]
    class_of_category = np.array(
        [CLASS_INDEX.get(CLASS_OF_CATEGORY.get(name, ""), -1) for name in tables.category_names], np.int8
    )
    class_index = class_of_category[annotations.category]
    chosen = np.flatnonzero((sample >= 0) & (class_index >= 0))
    order = chosen[np.argsort(sample[chosen], kind="stable")]
    _check_attributes(tables, order)
    objects = Objects(
        sample=sample[order],
        matched_sample=sample[order],
        class_index=class_index[order],
        centers=annotations.centers[order],
        sizes=annotations.sizes[order],
        yaw=heading(annotations.rotations[order]),
        velocity=annotations.velocities(tables.sample_times, order)[:, :2],
        attribute=_attribute_indices(tables)[annotations.attribute[order]],
        points=annotations.lidar_points[order].astype(np.int64) + annotations.radar_points[order],
        scores=np.full(len(order), np.nan),
        bad_velocity=np.zeros(len(order), bool),
    )
    racks = _racks(tables, sample, len(rows))
    return SplitLabels(
        name=split or "given",
        tokens=tuple(tables.samples[row].token for row in rows),
        scenes=tables.scene_of_sample[rows],
        ego=ego,
        racks=racks,
        objects=scored_objects(objects, ego, racks),
        annotation_count=len(order),
        own_split=split is None or is_own_split(split),
        lidar_poses=poses,
    )


def labels_of_boxes(boxes_of_sample: Mapping[str, Boxes]) -> SplitLabels:
    """Labels in memory by the sample's name: boxes in the sensor's frame, with velocities, attributes and points where
    these are known.

    Distances are from the frame's origin. Objects whose number of points is not known are all scored; those called
    static_object.bicycle_rack are racks. All samples make one scene.
    """
    tokens = tuple(boxes_of_sample)
    index = {token: row for row, token in enumerate(tokens)}
    objects = objects_of_boxes(boxes_of_sample, index)
    frames = list(boxes_of_sample.values())
    points = [np.full(len(each), -1) if each.points is None else each.points for each in frames]
    classes = [np.array([name in CLASS_INDEX for name in each.names.tolist()], bool) for each in frames]
    known = np.concatenate([np.zeros(0, np.int64), *(each[own] for each, own in zip(points, classes, strict=True))])
    objects = replace(objects, points=known)
    racks = [each.select(each.names == BIKE_RACK).boxes for each in frames]
    every = np.concatenate([np.zeros((0, 7)), *racks])
    packed = Racks(
        np.concatenate([[0], np.cumsum([len(each) for each in racks], dtype=np.int64)]),
        every[:, :3],
        every[:, [4, 3, 5]],
        rotation_matrix(quaternions_of_yaw(every[:, 6])),
    )
    ego = np.zeros((len(tokens), 2))
    return SplitLabels(
        name="given",
        tokens=tokens,
        scenes=np.zeros(len(tokens), np.int32),
        ego=ego,
        racks=packed,
        objects=scored_objects(objects, ego, packed),
        annotation_count=len(objects),
        own_split=True,
        lidar_poses=np.tile(np.eye(4), (len(tokens), 1, 1)),
        notes=("the labels are boxes in the sensor's frame: distances are from its origin, not from the vehicle's",),
    )


def _sample_rows(tables: Tables, tokens: Sequence[str] | None) -> np.ndarray:
    """Rows of samples, in the table's order."""
    rows = []
    for token in tokens or ():
        if token not in tables.sample_rows:
            raise InputError(f"{tables.path('sample')}: has no sample {token!r}. Name samples of this version.")
        rows.append(tables.sample_rows[token])
    return np.sort(np.array(rows, np.int64))


def _poses(tables: Tables, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places [S, 2] of the ego vehicle and poses [S, 4, 4] of the LiDAR in each sample's keyframe."""
    files, keyframes = tables.files(LIDAR), tables.keyframe_files(LIDAR)[rows]
    for index in np.flatnonzero(keyframes < 0):
        raise InputError(
            f"{files.path}: sample {tables.samples[rows[index]].token} has no keyframe of {LIDAR}, so it is not known "
            "where the vehicle was. Copy the tables again."
        )
    sensors = [
        make_pose(translation, rotation) @ inverse_pose(FROM_RIGHT_AHEAD)
        for translation, rotation in zip(files.sensor_translation, files.sensor_rotation, strict=True)
    ]
    ego = np.tile(np.eye(4), (len(rows), 1, 1))
    ego[:, :3, :3] = rotation_matrix(files.ego_rotation[keyframes])
    ego[:, :3, 3] = files.ego_translation[keyframes]
    return files.ego_translation[keyframes, :2], ego @ np.stack(sensors)[files.calibration[keyframes]]


def _attribute_indices(tables: Tables) -> np.ndarray:
    """Our index of each row of the attributes' table; the last, which -1 takes, is that of none."""
    path = tables.path("attribute")
    for name in tables.attribute_names:
        if name not in ATTRIBUTE_INDEX:
            raise InputError(f"{path}: {name!r} is no attribute of nuScenes. Give it the name of one.")
    return np.array([*(ATTRIBUTE_INDEX[name] for name in tables.attribute_names), -1], np.int8)


def _check_attributes(tables: Tables, rows: np.ndarray) -> None:
    annotations = tables.annotations
    for row in rows[annotations.attribute_count[rows] > 1]:
        raise InputError(
            f"{annotations.path}: record {row} (token {annotations.tokens[row]!r}): attribute_tokens: an object of a "
            "scored class has one attribute at most, and this one several. Remove all but one."
        )


def _racks(tables: Tables, sample: np.ndarray, count: int) -> Racks:
    annotations = tables.annotations
    names: Sequence[str] = tables.category_names
    is_rack = np.array([name == BIKE_RACK for name in names], bool)
    rows = np.flatnonzero(is_rack[annotations.category] & (sample >= 0))
    rows = rows[np.argsort(sample[rows], kind="stable")]
    return Racks(
        np.searchsorted(sample[rows], np.arange(count + 1)),
        annotations.centers[rows],
        annotations.sizes[rows],
        rotation_matrix(annotations.rotations[rows]),
    )
