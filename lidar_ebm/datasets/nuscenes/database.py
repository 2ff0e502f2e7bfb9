"""`Database`: the LiDAR's part of nuScenes' tables, by sample: chains of sweeps, poses, labels in the LiDAR frame.

The LiDAR frame is LIDAR_TOP's, turned to x forward, y left, z up; its origin stays at the sensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.stamps import Stamps
from lidar_ebm.errors import InputError
from lidar_ebm.formats.columns import as_texts
from lidar_ebm.formats.nuscenes.classes import CLASS_OF_CATEGORY
from lidar_ebm.formats.nuscenes.rotations import pose_of, rotation_between
from lidar_ebm.formats.nuscenes.sensor_files import SensorFiles
from lidar_ebm.formats.nuscenes.sweeps import Sweep, read_sweep
from lidar_ebm.formats.nuscenes.tables import LIDAR, Tables
from lidar_ebm.geometry.poses import FROM_RIGHT_AHEAD, inverse_pose, move_points, rotation_matrix, yaw_of

# In place of a file's row in a chain: the chain has ended, or is broken in one of three ways.
NO_FILE, NOWHERE, NOT_BEFORE, OTHER_SCENE = -1, -2, -3, -4
_BROKEN = {
    NOWHERE: "its prev leads nowhere: no file of the LiDAR has that token",
    NOT_BEFORE: "its prev leads to a file that is not before it in time, as in a circle",
    OTHER_SCENE: "its prev leads into another scene",
}


class Database:
    """Frames of one version.

    Args:
        tables: of the version.
        sweeps: files of a frame at most, the key sweep among them.
    """

    def __init__(self, tables: Tables, sweeps: int) -> None:
        self.tables, self.sweeps = tables, sweeps
        self._sensor_poses: dict[int, np.ndarray] = {}

    @cached_property
    def files(self) -> SensorFiles:
        """Files of the LiDAR."""
        return self.tables.files(LIDAR)

    @cached_property
    def file_rows(self) -> Mapping[str, int]:
        """Rows of these files by token."""
        return {token: row for row, token in enumerate(self.files.tokens)}

    @cached_property
    def chains(self) -> np.ndarray:
        """[S, sweeps] int32: of each sample the rows of its files, the newest first, or why there is none (below 0)."""
        files, scenes = self.files, self.tables.scene_of_sample
        chains = np.full((len(self.tables.samples), self.sweeps), NO_FILE, np.int32)
        chains[:, 0] = self.tables.keyframe_files(LIDAR)
        for column in range(1, self.sweeps):
            there = np.flatnonzero(chains[:, column - 1] >= 0)
            newer = chains[there, column - 1]
            older = files.previous[newer].astype(np.int32)
            linked = older >= 0
            late, other = np.zeros(len(older), bool), np.zeros(len(older), bool)
            late[linked] = files.timestamps[older[linked]] >= files.timestamps[newer[linked]]
            other[linked] = scenes[files.sample[older[linked]]] != scenes[files.sample[newer[linked]]]
            chains[there, column] = np.where(late, NOT_BEFORE, np.where(other, OTHER_SCENE, older))
        return chains

    def row(self, token: str) -> int:
        """Row of a sample.

        Raises:
            InputError: there is none of this token.
        """
        row = self.tables.sample_rows.get(token)
        if row is None:
            raise InputError(f"{self.tables.path('sample')}: there is no sample {token!r}. Check the name.")
        return row

    def problem(self, sample: int) -> str | None:
        """The reason why the sweeps of a sample (its row) cannot be followed; None where they can."""
        chain, token = self.chains[sample], self.tables.samples[sample].token
        if chain[0] < 0:
            return f"sample {token!r} has no keyframe of {LIDAR}. Copy the tables again."
        end = int(chain.min())
        if end >= NO_FILE:
            return None
        last = int(chain[int(chain.argmin()) - 1])
        return (
            f"the sweeps of sample {token!r} cannot be followed: of the file with the token "
            f"{self.files.tokens[last]!r}, {_BROKEN[end]}. Copy the tables again."
        )

    def paths(self, sample: int) -> list[Path]:
        """Files of a sample's sweeps, the newest first, as far as they can be followed."""
        return [self.tables.root / self.files.filenames[row] for row in self._chain(sample)]

    def sweep_files(self, sample: int) -> list[Sweep]:
        """The sweeps of a sample, the newest first, with poses from the sensor's own frame.

        Raises:
            InputError: the chain of files is broken.
        """
        problem = self.problem(sample)
        if problem is not None:
            raise InputError(f"{self.tables.path('sample_data')}: {problem}")
        files = self.files
        return [
            Sweep(self.tables.root / files.filenames[row], int(files.timestamps[row]), self._sensor_to_global(row))
            for row in self._chain(sample)
        ]

    def lidar_pose(self, sample: int) -> np.ndarray:
        """Pose [4, 4]: LiDAR frame (x forward, y left) → global frame, at a sample's key sweep.

        Raises:
            InputError: it has none.
        """
        return self.pose_at(self._key(sample))

    def ego_pose(self, sample: int) -> np.ndarray:
        """Pose [4, 4]: ego frame → global frame, at a sample's key sweep.

        Raises:
            InputError: it has none.
        """
        return self._ego_to_global(self._key(sample))

    def pose_at(self, file: int) -> np.ndarray:
        """Pose [4, 4]: LiDAR frame (x forward, y left) → global frame, at the instant of a file (its row)."""
        return self._sensor_to_global(file) @ inverse_pose(FROM_RIGHT_AHEAD)

    def labels(self, sample: int) -> Boxes:
        """Labels of a sample in the LiDAR frame: velocity, attribute, track (instance), points (of the key sweep)."""
        rows = self.tables.annotations.rows_of_sample(sample)
        annotations = self.tables.annotations
        boxes = self._boxes(rows, annotations.centers[rows], annotations.rotations[rows], self._key(sample))
        return boxes.with_columns(points=annotations.lidar_points[rows])

    def labels_at(self, file: int) -> Boxes:
        """Labels at the instant of a file (its row), in the LiDAR frame of that instant.

        Between two samples an object of both has its centre on the straight line and its rotation on the shorter way
        from the one to the other; an object of the later one alone stands where it is there.
        """
        annotations, samples = self.tables.annotations, self.tables.samples
        later = int(self.files.sample[file])
        rows = annotations.rows_of_sample(later)
        centers, rotations = annotations.centers[rows].copy(), annotations.rotations[rows].copy()
        if samples[later].prev and not self.files.is_key_frame[file]:
            earlier = self.row(samples[later].prev)
            before = annotations.rows_of_sample(earlier)
            row_before = dict(zip(annotations.instance[before].tolist(), before.tolist(), strict=True))
            first, last = samples[earlier].timestamp, samples[later].timestamp
            time = max(first, min(last, int(self.files.timestamps[file])))
            share = (time - first) / (last - first) if last > first else 1.0
            for index, instance in enumerate(annotations.instance[rows].tolist()):
                if (old := row_before.get(instance)) is None:
                    continue
                start = annotations.centers[old]
                centers[index] = start + share * (centers[index] - start)
                where = f"{annotations.path}: record {annotations.tokens[old]!r}"
                rotations[index] = rotation_between(annotations.rotations[old], rotations[index], share, where)
        return self._boxes(rows, centers, rotations, file)

    def points_of_labels(self, sample: int) -> np.ndarray:
        """Number [M] int64 of the key sweep's points in each label, as `num_lidar_pts` counts them.

        All points count, those near the ego vehicle too, and boxes are upright in the global frame, not in the LiDAR's.

        Raises:
            InputError: the sweep cannot be read.
        """
        annotations = self.tables.annotations
        rows, key = annotations.rows_of_sample(sample), self._key(sample)
        points = read_sweep(self.tables.root / self.files.filenames[key])[:, :3].astype(np.float64)
        pose = self._sensor_to_global(key)
        turned = np.swapaxes(rotation_matrix(annotations.rotations[rows]), -1, -2) @ pose[:3, :3]  # sensor → box
        centers = move_points(annotations.centers[rows], inverse_pose(pose))
        half = annotations.sizes[rows][:, [1, 0, 2]] / 2
        counts = np.zeros(len(rows), np.int64)
        for index, (center, rotation, size) in enumerate(zip(centers, turned, half, strict=True)):
            near = points[(np.abs(points - center) <= np.linalg.norm(size) + 0.01).all(axis=1)]
            counts[index] = (np.abs((near - center) @ rotation.T) <= size).all(axis=1).sum()
        return counts

    def _boxes(self, rows: np.ndarray, centers: np.ndarray, rotations: np.ndarray, file: int) -> Boxes:
        annotations, tables = self.tables.annotations, self.tables
        to_lidar = inverse_pose(self.pose_at(file))
        turned = to_lidar[:3, :3] @ rotation_matrix(rotations)
        yaw = yaw_of(turned)
        boxes = np.column_stack((move_points(centers, to_lidar), annotations.sizes[rows][:, [1, 0, 2]], yaw))
        categories = [tables.category_names[index] for index in annotations.category[rows]]
        attributes = ["" if index < 0 else tables.attribute_names[index] for index in annotations.attribute[rows]]
        velocity = annotations.velocities(tables.sample_times, rows) @ to_lidar[:3, :3].T
        return Boxes(
            boxes,
            as_texts([CLASS_OF_CATEGORY.get(name, name) for name in categories]),
            velocity=velocity[:, :2],
            attribute=as_texts(attributes),
            track=as_texts([tables.instances[index].token for index in annotations.instance[rows]]),
        )

    def _key(self, sample: int) -> int:
        key = int(self.chains[sample, 0])
        if key < 0:
            raise InputError(f"{self.tables.path('sample_data')}: {self.problem(sample)}")
        return key

    def _chain(self, sample: int) -> list[int]:
        chain: list[int] = self.chains[sample].tolist()
        return [row for row in chain if row >= 0]

    def _sensor_to_global(self, file: int) -> np.ndarray:
        calibration = int(self.files.calibration[file])
        if calibration not in self._sensor_poses:
            where = f"{self.tables.path('calibrated_sensor')}: calibration of file {self.files.tokens[file]!r}"
            self._sensor_poses[calibration] = pose_of(
                self.files.sensor_translation[calibration], self.files.sensor_rotation[calibration], where
            )
        return self._ego_to_global(file) @ self._sensor_poses[calibration]

    def _ego_to_global(self, file: int) -> np.ndarray:
        where = f"{self.tables.path('ego_pose')}: pose of file {self.files.tokens[file]!r}"
        return pose_of(self.files.ego_translation[file], self.files.ego_rotation[file], where)


@lru_cache(2)
def open_database(root: Path, version: str, sweeps: int, made_of: Stamps) -> Database:
    """The database of a version's tables, which stay in memory: a process reads them once.

    Args:
        made_of: stamps of the tables.

    Raises:
        InputError: a table is missing.
    """
    return Database(Tables.open(root, version), sweeps)
