"""The tables of a nuScenes database, `ROOT/VERSION/*.json`, each read when it is first asked for.

    tables = Tables.open("data/nuscenes", "v1.0-mini")
    rows = tables.samples_of_split("mini_val")
    keyframe = tables.keyframe_files("LIDAR_TOP")[rows[0]]

Rows keep the tables' order, which decides ties in the scoring; time is followed by `prev` and `next`. Everything that
is linked by token is given as a row; no table of the cameras' files is ever held for the LiDAR's sake.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.formats.nuscenes.annotations import Annotations, no_annotations, read_annotations
from lidar_ebm.formats.nuscenes.classes import CLASS_OF_CATEGORY, is_category_of_nuscenes
from lidar_ebm.formats.nuscenes.records import (
    CalibratedSensor,
    Instance,
    Log,
    Named,
    Sample,
    Scene,
    Sensor,
    index_of_token,
    read_records,
    refuse,
)
from lidar_ebm.formats.nuscenes.sensor_files import SensorFiles, read_sensor_files
from lidar_ebm.formats.nuscenes.splits import split_scenes
from lidar_ebm.system.collection import without_collection

LIDAR = "LIDAR_TOP"
_TABLES = ("scene", "sample", "sample_data", "ego_pose", "calibrated_sensor", "sensor")


@dataclass(frozen=True, eq=False)
class Tables:
    """Tables of one version; frozen, and read lazily: nothing but the names is in memory at first."""

    root: Path
    version: str  # "v1.0-trainval", "v1.0-mini", "v1.0-test"
    _channels: dict[str, SensorFiles] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, root: str | os.PathLike[str], version: str) -> Tables:
        """The tables of a version.

        Raises:
            InputError: there is no such folder, or a table that every version has is missing.
        """
        tables = cls(Path(root), version)
        if not tables.folder.is_dir():
            there = versions_of(tables.root)
            raise InputError(
                f"{tables.folder}: there is no such folder of tables. "
                + (f"Versions that {root} holds: {', '.join(there)}." if there else f"{root} holds no version at all.")
            )
        missing = [name for name in _TABLES if not tables.path(name).is_file()]
        if missing:
            raise InputError(f"{tables.folder}: the tables {', '.join(missing)} are missing. Copy them again.")
        return tables

    @property
    def folder(self) -> Path:
        """Folder of the tables."""
        return self.root / self.version

    @property
    def is_test(self) -> bool:
        """True of a version whose labels are not public."""
        return self.version.endswith("test")

    def path(self, name: str) -> Path:
        """File of a table."""
        return self.folder / f"{name}.json"

    @cached_property
    def scenes(self) -> Sequence[Scene]:
        """Scenes, in the table's order."""
        return tuple(read_records(self.path("scene"), Scene))

    @cached_property
    def samples(self) -> Sequence[Sample]:
        """Samples (keyframes), in the table's order."""
        return tuple(read_records(self.path("sample"), Sample))

    @cached_property
    def sample_rows(self) -> Mapping[str, int]:
        """Rows of the samples by token."""
        return _index(self.path("sample"), [record.token for record in self.samples])

    @cached_property
    def sample_times(self) -> np.ndarray:
        """Times [S] of the samples, s."""
        # Seconds first, differences then: so does the benchmark's program, and the last digits hang on it.
        return 1e-6 * np.array([record.timestamp for record in self.samples], np.float64)

    @cached_property
    def scene_of_sample(self) -> np.ndarray:
        """Rows [S] int32 of the samples' scenes."""
        rows = {record.token: row for row, record in enumerate(self.scenes)}
        scenes = np.empty(len(self.samples), np.int32)
        for row, sample in enumerate(self.samples):
            if sample.scene_token not in rows:
                refuse(
                    self.path("sample"),
                    row,
                    sample.token,
                    "scene_token",
                    f"{sample.scene_token!r} leads nowhere: no scene has this token. Copy the tables again.",
                )
            scenes[row] = rows[sample.scene_token]
        return scenes

    def samples_of_split(self, split: str) -> np.ndarray:
        """Rows [K] of the samples of a split, in the table's order; see `splits.split_scenes`.

        Raises:
            InputError: there is no such split, it belongs to another version, or the database has none of its scenes.
        """
        names = split_scenes(self.folder, self.version, split)
        wanted = np.array([scene.name in names for scene in self.scenes], bool)
        rows = np.flatnonzero(wanted[self.scene_of_sample]) if len(self.samples) else np.zeros(0, np.int64)
        if not len(rows):
            raise InputError(
                f"{self.folder}: holds no sample of the split {split!r}. Choose another split or version, or add the "
                "missing scenes."
            )
        return rows

    def samples_in_time(self, rows: np.ndarray) -> np.ndarray:
        """The same samples scene by scene (in the scenes' order) and in time within each."""
        times = np.array([self.samples[row].timestamp for row in rows], np.int64)
        return np.asarray(rows)[np.lexsort((times, self.scene_of_sample[rows]))]

    @cached_property
    def logs(self) -> Mapping[str, Log]:
        """Logs by token; none where the table is missing."""
        path = self.path("log")
        return {record.token: record for record in read_records(path, Log)} if path.exists() else {}

    @cached_property
    def sensors(self) -> Mapping[str, Sensor]:
        """Sensors by token."""
        return {record.token: record for record in read_records(self.path("sensor"), Sensor)}

    @cached_property
    def calibrated_sensors(self) -> Mapping[str, CalibratedSensor]:
        """Calibrations by token."""
        return {record.token: record for record in read_records(self.path("calibrated_sensor"), CalibratedSensor)}

    @cached_property
    def category_names(self) -> Sequence[str]:
        """Names of the categories, in the table's order.

        Raises:
            InputError: the table is damaged, or a category is none of nuScenes'.
        """
        path = self.path("category")
        records = read_records(path, Named)
        for row, record in enumerate(records):
            if not is_category_of_nuscenes(record.name):
                refuse(
                    path,
                    row,
                    record.token,
                    "name",
                    f"{record.name!r} is no category of nuScenes, so it is not known what to make of its objects. "
                    f"Give it the name of one: {', '.join(CLASS_OF_CATEGORY)}, animal, …",
                )
        return tuple(record.name for record in records)

    @cached_property
    def attribute_names(self) -> Sequence[str]:
        """Names of the attributes, in the table's order."""
        return tuple(record.name for record in read_records(self.path("attribute"), Named))

    @cached_property
    def instances(self) -> Sequence[Instance]:
        """Instances (one object through one scene each), in the table's order."""
        return tuple(read_records(self.path("instance"), Instance))

    @cached_property
    def annotations(self) -> Annotations:
        """All annotations, as columns; none in a test version.

        Raises:
            InputError: a table is missing or damaged, or a token leads nowhere.
        """
        path = self.path("sample_annotation")
        if self.is_test and not path.exists():
            return no_annotations(path)
        category_path, instances = self.path("category"), self.instances
        category_rows = {record.token: row for row, record in enumerate(read_records(category_path, Named))}
        categories = np.empty(len(instances), np.int16)
        for row, record in enumerate(instances):
            if record.category_token not in category_rows:
                refuse(
                    self.path("instance"),
                    row,
                    record.token,
                    "category_token",
                    f"{record.category_token!r} leads nowhere: no category has this token. Copy the tables again.",
                )
            categories[row] = category_rows[record.category_token]
        attributes = read_records(self.path("attribute"), Named)
        with without_collection():
            return read_annotations(
                path,
                self.sample_rows,
                {record.token: row for row, record in enumerate(instances)},
                categories,
                {record.token: row for row, record in enumerate(attributes)},
            )

    def files(self, channel: str = LIDAR) -> SensorFiles:
        """All files of one sensor with their poses, sweeps included.

        Raises:
            InputError: a table is damaged, a token leads nowhere, or there is no such channel.
        """
        if channel not in self._channels:
            with without_collection():
                self._channels[channel] = read_sensor_files(
                    self.path("sample_data"), self.path("ego_pose"), self._calibrations_of(channel), self.sample_rows
                )
        return self._channels[channel]

    def keyframe_files(self, channel: str = LIDAR) -> np.ndarray:
        """Row [S] int32 in `files(channel)` of each sample's keyframe; -1 of a sample without one.

        Raises:
            InputError: what `files` raises.
        """
        files = self.files(channel)
        rows = np.full(len(self.samples), -1, np.int32)
        keys = np.flatnonzero(files.is_key_frame)
        rows[files.sample[keys]] = keys
        return rows

    def _calibrations_of(self, channel: str) -> Mapping[str, CalibratedSensor]:
        chosen = {}
        for row, (token, calibration) in enumerate(self.calibrated_sensors.items()):
            sensor = self.sensors.get(calibration.sensor_token)
            if sensor is None:
                refuse(
                    self.path("calibrated_sensor"),
                    row,
                    token,
                    "sensor_token",
                    f"{calibration.sensor_token!r} leads nowhere: no sensor has this token. Copy the tables again.",
                )
            if sensor.channel == channel:
                chosen[token] = calibration
        if not chosen:
            there = sorted({sensor.channel for sensor in self.sensors.values()})
            raise InputError(
                f"{self.path('sensor')}: no sensor {channel!r} is calibrated; there are {', '.join(there)}."
            )
        return MappingProxyType(chosen)


def versions_of(root: str | os.PathLike[str]) -> list[str]:
    """Names of the folders of tables in a root folder."""
    folder = Path(root)
    if not folder.is_dir():
        return []
    return sorted(each.name for each in folder.iterdir() if (each / "sample.json").is_file())


def _index(path: Path, tokens: list[str]) -> Mapping[str, int]:
    return MappingProxyType(index_of_token(path, tokens))
