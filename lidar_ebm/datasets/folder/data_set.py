"""A folder with a `dataset.yaml`: points and labels in the LiDAR frame, of any format, sensor and class names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.base import BaseDataSet
from lidar_ebm.datasets.data_set import CheckedFrame
from lidar_ebm.datasets.folder.axes import FileAxes
from lidar_ebm.datasets.folder.checks import FolderCheck
from lidar_ebm.datasets.folder.clouds import CloudFiles
from lidar_ebm.datasets.folder.label_files import LabelFiles
from lidar_ebm.datasets.folder.settings import FILE, FolderSettings, read_settings
from lidar_ebm.datasets.folder.splits import read_folder_splits
from lidar_ebm.datasets.frame import Frame
from lidar_ebm.datasets.preparation.findings import WARNING, Finding
from lidar_ebm.datasets.preparation.prepared_frame import prepared_path, read_prepared_boxes
from lidar_ebm.datasets.stamps import Stamps, stamps
from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import closest
from lidar_ebm.formats.point_clouds import PointCloud
from lidar_ebm.geometry.counting import count_points_in_boxes


def recognise(root: Path) -> bool:
    """Tell if a folder has a `dataset.yaml`."""
    return (root / FILE).is_file()


def open_folder(root: Path, prepared: str | Path | None) -> FolderDataSet:
    """The data set in a folder with a `dataset.yaml`; arguments and errors as `FolderDataSet`."""
    return FolderDataSet(root, prepared)


class FolderDataSet(BaseDataSet):
    """A data set of one's own.

    Args:
        root: folder with a `dataset.yaml`.
        prepared: where preparation leaves its files; what `dataset.yaml` says where None.

    Raises:
        InputError: `dataset.yaml` cannot be used, or there are no point clouds where it says.
    """

    kind = "own folder (dataset.yaml), LiDAR alone"

    def __init__(self, root: str | Path, prepared: str | Path | None = None) -> None:
        self.settings_path = Path(root) / FILE
        self.settings: FolderSettings = read_settings(self.settings_path)
        super().__init__(root, Path(root) / self.settings.prepared if prepared is None else prepared)
        self.class_names = self.settings.classes  # that `dataset.yaml` declares
        labels = self.settings.labels
        self._axes = FileAxes.of(self.settings.sensor, self.settings_path)
        self._clouds = CloudFiles(self.root, self.settings, self._axes)
        self._labels = (
            None if labels is None else LabelFiles(self.root, labels, self.settings, self._axes, self._clouds.names)
        )
        self._check = FolderCheck(self.root, self._clouds, self._labels, self._frame)

    @cached_property
    def _splits(self) -> Mapping[str, tuple[str, ...]]:
        return read_folder_splits(self.root, self.settings_path, self.settings.splits, self.all_names())

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that `dataset.yaml` has."""
        return tuple(self._splits)

    def split_path(self, split: str) -> Path:
        """The file of a split's frame names; `dataset.yaml` where that gives a fraction."""
        value = self.settings.splits.get(split)
        return self.root / value if isinstance(value, str) else self.settings_path

    def frame_names(self, split: str) -> list[str]:
        """Names of a split's frames.

        Raises:
            InputError: there is no such split, or its file is malformed.
        """
        if split not in self._splits:
            raise InputError(
                f"{self.settings_path}: splits has no {split!r}{closest(split, self._splits)}; there are "
                f"{', '.join(self._splits) or 'none'}. Add a line under `splits`."
            )
        return list(self._splits[split])

    def all_names(self) -> list[str]:
        """Names of all point clouds, in alphabetical order."""
        return list(self._clouds.names)

    def input_paths(self, name: str) -> tuple[Path, ...]:
        """Point cloud, labels and `dataset.yaml` of a frame."""
        labels = self.settings_path if self._labels is None else self._labels.path(name)
        return self._clouds.path(name), labels, self.settings_path

    def required(self, with_labels: bool) -> tuple[int, ...]:
        """Indices of the files without which a frame cannot be read."""
        return (0, 1) if with_labels and self._labels is not None and self._labels.by_frame else (0,)

    def check_splits(self, wanted: Sequence[str] | None) -> tuple[dict[str, tuple[str, ...]], tuple[Finding, ...]]:
        """The frames of each split, and what is wrong with them.

        Raises:
            InputError: there is no such split, or its file is malformed.
        """
        splits = {name: tuple(self.frame_names(name)) for name in (self.splits if wanted is None else wanted)}
        findings = [finding for name, frames in splits.items() for finding in self.check_clouds(name, frames)]
        if not splits:
            message = "names no splits; add for example `splits: {val: 0.2}`, and train is the rest."
            findings.append(Finding(WARNING, "missing splits", FILE, message))
        findings += self._check.check_classes(self.class_names)
        return splits, tuple(findings)

    def read(self, name: str, *, with_labels: bool = True) -> Frame:
        """A frame from its own files, in x forward, y left, z up.

        Raises:
            InputError: a file is missing or damaged.
        """
        cloud = self._clouds.read(name)
        return self._frame(name, cloud, self._labels.read(name) if with_labels and self._labels is not None else None)

    def labels(self, name: str) -> Boxes:
        """A frame's labels with the points in them and the difficulty that follows.

        The points are those that preparation counted, where none of the frame's files was changed since.

        Raises:
            InputError: a file is missing or damaged.
        """
        prepared = self._prepared_boxes(name)
        if self._labels is not None and prepared is not None:
            boxes = self._in_range(self._labels.read(name))
            if np.array_equal(boxes.boxes, prepared.boxes) and np.array_equal(boxes.names, prepared.names):
                return self.add_counts(boxes, np.asarray(prepared.points))
        labels = self.read(name).boxes
        return Boxes.empty() if labels is None else labels

    def check(self, name: str, inputs: Stamps) -> CheckedFrame:
        """Read and check a frame, whatever is wrong with it."""
        return self._check.check(name, inputs)

    def from_files(self, boxes: Boxes) -> Boxes:
        """Boxes of the files' axes, unit and height in x forward, y left, z up, metres, the ground at its place."""
        return self._axes.from_files(boxes)

    def to_files(self, boxes: Boxes) -> Boxes:
        """The inverse of `from_files`."""
        return self._axes.to_files(boxes)

    def _prepared_boxes(self, name: str) -> Boxes | None:
        """The boxes of a prepared frame; None where there is none, or it is damaged or of other files."""
        if not prepared_path(self.prepared, name).is_file():
            return None
        try:
            boxes, inputs = read_prepared_boxes(self.prepared, name)
        except InputError:
            return None
        return boxes if inputs == stamps(self.input_paths(name)) else None

    def _in_range(self, boxes: Boxes) -> Boxes:
        """The boxes of declared classes within the sensor's range."""
        if self.class_names:
            boxes = boxes.of_class(*self.class_names)
        limit = self.settings.sensor.range
        return boxes if limit is None else boxes.select(np.hypot(boxes.boxes[:, 0], boxes.boxes[:, 1]) <= limit)

    def _frame(self, name: str, cloud: PointCloud, labels: Boxes | None) -> Frame:
        points, limit = cloud.points, self.settings.sensor.range
        if limit is not None:
            points = points[np.hypot(points[:, 0], points[:, 1]) <= limit]
        if labels is None:
            return Frame(name, points, cloud.channels, None, None)
        boxes = self._in_range(labels)
        counts = count_points_in_boxes(points, boxes.boxes)
        return Frame(name, points, cloud.channels, self.add_counts(boxes, counts), None)
