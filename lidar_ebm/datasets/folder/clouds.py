"""Point clouds of a folder of one's own: their files by frame, reading, and the full scale of the reflectance."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from lidar_ebm.datasets.folder.axes import FileAxes
from lidar_ebm.datasets.folder.settings import FILE, FolderSettings
from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import BoxFormat, find_format
from lidar_ebm.formats.point_clouds import (
    POINT_SUFFIXES,
    PointCloud,
    ReflectanceScale,
    read_point_cloud,
    sample_reflectance_scale,
    scale_reflectance,
)

_SPECIAL_SUFFIXES = (".pkl.gz", ".pkl", ".feather")  # of data sets whose point clouds a box format reads


class CloudFiles:
    """The point clouds of a data set, one file a frame.

    Args:
        root: the data set's folder, with a `dataset.yaml`.
        settings: of `dataset.yaml`.
        axes: of the files.

    Raises:
        InputError: there are no point clouds where `points` says, or two of one frame.
    """

    def __init__(self, root: Path, settings: FolderSettings, axes: FileAxes) -> None:
        self.folder = root / settings.points.folder
        self._settings_path, self._settings, self._axes = root / FILE, settings, axes
        self._files = self._list()
        self.names = sorted(self._files)

    def path(self, name: str) -> Path:
        """A frame's file; where it would stand if there is none."""
        return self._files.get(name, self.folder / name)

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def read_raw(self, name: str) -> PointCloud:
        """A point cloud as its file has it.

        Raises:
            InputError: the file is missing or damaged.
        """
        if name not in self._files:
            raise InputError(f"{self.folder}: frame {name} has no point cloud here.")
        path, reader, points = self._files[name], self._special_reader(), self._settings.points
        if reader is not None:
            values, channels = reader.read_points(path)  # type: ignore[attr-defined]  # as `_special_reader` saw to
            names = tuple("reflectance" if each == "intensity" else each for each in channels)
            return PointCloud(np.asarray(values, np.float32), names)
        return read_point_cloud(path, columns=points.columns, dtype=points.dtype)

    def from_files(self, raw: PointCloud) -> PointCloud:
        """A cloud of `read_raw` with reflectance of 0..1, in x forward, y left, z up, the ground at its place."""
        cloud, _ = scale_reflectance(raw, self.scale)
        points = self._axes.points_from_files(cloud.points)
        return cloud if points is cloud.points else PointCloud(points, cloud.channels, cloud.notes)

    def read(self, name: str) -> PointCloud:
        """A point cloud in the convention; errors as `read_raw`."""
        return self.from_files(self.read_raw(name))

    @cached_property
    def scale(self) -> ReflectanceScale:
        """Full scale of the reflectance: as `dataset.yaml` says, or by frames taken evenly."""
        given = self._settings.sensor.reflectance
        if given is not None:
            return ReflectanceScale(given, FILE)
        return sample_reflectance_scale(self.names, self.read_raw, self.path)

    def _list(self) -> dict[str, Path]:
        folder, wanted = self.folder, self._settings.points.format
        if not folder.is_dir():
            raise InputError(f"{self._settings_path}: points.folder: there is no folder {folder}. Correct its name.")
        special = self._special_reader() is not None
        suffixes: tuple[str, ...] = _SPECIAL_SUFFIXES if special else POINT_SUFFIXES
        if wanted and not special:
            suffixes = (f".{wanted.lstrip('.').lower()}",)
        paths = sorted(
            path for path in folder.iterdir() if path.name.lower().endswith(suffixes) and path.name[0] != "."
        )
        files: dict[str, Path] = {}
        for path in paths:
            name = path.name[: -len(next(s for s in suffixes if path.name.lower().endswith(s)))].removesuffix(".pcd")
            if name in files:
                raise InputError(f"{path}: frame {name} has another point cloud, {files[name]}. Remove one of them.")
            files[name] = path
        if not files:
            shown = ", ".join(suffixes)
            raise InputError(f"{folder}: holds no point clouds ({shown}). Correct points in {self._settings_path}.")
        return files

    def _special_reader(self) -> BoxFormat | None:
        """The box format that reads its data set's own point clouds, if `points.format` names one."""
        name = self._settings.points.format
        if name is None or f".{name.lstrip('.').lower()}" in POINT_SUFFIXES:
            return None
        module = find_format(name)
        if not hasattr(module, "read_points"):
            raise InputError(f"{self._settings_path}: points.format: {name!r} is no format of point clouds.")
        return module
