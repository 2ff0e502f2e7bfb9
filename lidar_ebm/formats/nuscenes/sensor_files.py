"""Files of one sensor of a nuScenes database, keyframes and sweeps, with their times and poses, as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.formats.nuscenes.records import (
    CalibratedSensor,
    EgoPose,
    SampleData,
    index_of_token,
    read_blocks,
    refuse,
)
from lidar_ebm.geometry.poses import make_pose


@dataclass(frozen=True, eq=False)
class SensorFiles:
    """Files of one channel, in the order of `sample_data`."""

    path: Path  # of the table
    tokens: Sequence[str]  # [F]
    filenames: Sequence[str]  # [F] relative to the root
    sample: np.ndarray  # [F] int32, row of the sample; a sweep between keyframes has that of the next
    timestamps: np.ndarray  # [F] int64, µs
    is_key_frame: np.ndarray  # [F] bool
    previous: np.ndarray  # [F] int32, row of the file before; -1 without one, -2 if the token leads nowhere
    following: np.ndarray  # [F] int32, likewise after
    ego_translation: np.ndarray  # [F, 3] float64, m: ego frame → global frame
    ego_rotation: np.ndarray  # [F, 4] float64 quaternion w, x, y, z
    calibration: np.ndarray  # [F] int32, row of the calibration
    sensor_translation: np.ndarray  # [C, 3] float64, m: sensor frame → ego frame
    sensor_rotation: np.ndarray  # [C, 4] float64 quaternion w, x, y, z
    camera_intrinsic: np.ndarray  # [C, 3, 3] float64; NaN if this is no camera

    def __len__(self) -> int:
        return len(self.sample)

    @property
    def times(self) -> np.ndarray:
        """Times [F] in s, as the benchmark's program makes them of the stamps, before it subtracts."""
        return 1e-6 * self.timestamps.astype(np.float64)

    def ego_pose(self, row: int) -> np.ndarray:
        """Pose [4, 4]: ego frame → global frame at the instant of a file."""
        return make_pose(self.ego_translation[row], self.ego_rotation[row])

    def sensor_pose(self, row: int) -> np.ndarray:
        """Pose [4, 4]: the sensor's own frame → ego frame."""
        calibration = self.calibration[row]
        return make_pose(self.sensor_translation[calibration], self.sensor_rotation[calibration])


def read_sensor_files(
    path: Path, pose_path: Path, calibrations: Mapping[str, CalibratedSensor], sample_rows: Mapping[str, int]
) -> SensorFiles:
    """Files of one sensor; of the two largest tables nothing else is kept.

    Args:
        path: of `sample_data.json`.
        pose_path: of `ego_pose.json`.
        calibrations: of the sensor, by token.
        sample_rows: rows of the samples by token.

    Raises:
        InputError: a table is damaged, a pose is none, or a sample or pose is missing.
    """
    calibration_rows = {token: row for row, token in enumerate(calibrations)}
    tokens: list[str] = []
    filenames: list[str] = []
    links: tuple[list[str], list[str]] = ([], [])
    poses: list[str] = []
    numbers: list[tuple[int, int, bool, int]] = []
    count = 0
    for records in read_blocks(path, SampleData):
        for index, record in enumerate(records):
            calibration = calibration_rows.get(record.calibrated_sensor_token)
            if calibration is None:
                continue
            sample = sample_rows.get(record.sample_token)
            if sample is None:
                refuse(
                    path,
                    count + index,
                    record.token,
                    "sample_token",
                    f"{record.sample_token!r} leads nowhere: no sample has this token. Copy the tables again.",
                )
            numbers.append((sample, record.timestamp, record.is_key_frame, calibration))
            tokens.append(record.token)
            filenames.append(record.filename)
            poses.append(record.ego_pose_token)
            links[0].append(record.prev)
            links[1].append(record.next)
        count += len(records)
    rows = index_of_token(path, tokens)
    columns = np.array(numbers, np.int64).reshape(-1, 4)
    previous, following = (
        np.array([rows.get(token, -2) if token else -1 for token in column], np.int32) for column in links
    )
    ego_translation, ego_rotation = _read_poses(pose_path, poses, tokens, path)
    return SensorFiles(
        path=path,
        tokens=tokens,
        filenames=filenames,
        sample=columns[:, 0].astype(np.int32),
        timestamps=columns[:, 1].copy(),
        is_key_frame=columns[:, 2].astype(bool),
        previous=previous,
        following=following,
        ego_translation=ego_translation,
        ego_rotation=ego_rotation,
        calibration=columns[:, 3].astype(np.int32),
        sensor_translation=np.array([each.translation for each in calibrations.values()], np.float64),
        sensor_rotation=np.array([each.rotation for each in calibrations.values()], np.float64),
        camera_intrinsic=np.array([_intrinsic(each) for each in calibrations.values()], np.float64),
    )


def _read_poses(path: Path, wanted: list[str], tokens: list[str], data_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Translations [F, 3] and rotations [F, 4] of the wanted poses, which several files may share."""
    slots = {token: index for index, token in enumerate(dict.fromkeys(wanted))}
    values = np.full((len(slots), 7), np.nan)
    read = np.zeros(len(slots), bool)
    count = 0
    for records in read_blocks(path, EgoPose):
        for index, record in enumerate(records):
            slot = slots.get(record.token)
            if slot is not None:
                values[slot] = (*record.translation, *record.rotation)
                read[slot] = True
                if not np.isfinite(values[slot]).all() or not values[slot, 3:].any():
                    refuse(
                        path,
                        count + index,
                        record.token,
                        "translation and rotation",
                        f"{values[slot].tolist()} is no pose; give x, y, z and a quaternion w, x, y, z.",
                    )
        count += len(records)
    for row, token in enumerate(wanted):
        if not read[slots[token]]:
            raise InputError(
                f"{data_path}: file with the token {tokens[row]!r}: ego_pose_token: {token!r} leads nowhere: "
                f"{path.name} has no record with this token. Copy the tables again."
            )
    order = np.array([slots[token] for token in wanted], np.int64)
    return values[order, :3], values[order, 3:]


def _intrinsic(calibration: CalibratedSensor) -> np.ndarray:
    matrix = calibration.camera_intrinsic
    if len(matrix) == 3 and all(len(row) == 3 for row in matrix):
        return np.array(matrix, np.float64)
    return np.full((3, 3), np.nan)
