"""Label files of a folder of one's own: one a frame or one for all, of any box format."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.base import BOX_SUFFIXES
from lidar_ebm.datasets.folder.axes import FileAxes
from lidar_ebm.datasets.folder.settings import FILE, FolderSettings, LabelSettings
from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import recognise_format
from lidar_ebm.formats.reading import read_frames

_OWN_FORMATS = {"json": "boxes_json", "csv": "boxes_csv"}
_LARGEST = 1e5  # m; beyond, a number is no place or size of an object


class LabelFiles:
    """The labels of a data set.

    Args:
        root: the data set's folder, with a `dataset.yaml`.
        labels: the section of `dataset.yaml`.
        settings: all of it.
        axes: of the files.
        names: of all frames.
    """

    def __init__(
        self, root: Path, labels: LabelSettings, settings: FolderSettings, axes: FileAxes, names: Sequence[str]
    ) -> None:
        self.place = root / labels.folder  # a folder, or the file of all frames
        self._settings_path, self._labels, self._merge = root / FILE, labels, settings.merge
        self._axes, self._names = axes, names

    @cached_property
    def by_frame(self) -> bool:
        """Tell if there is a label file a frame, and not one for all.

        Raises:
            InputError: there is neither.
        """
        if not self.place.exists():
            raise InputError(
                f"{self._settings_path}: labels.folder: there is no {self.place}. Correct its name, or write "
                "`labels: null` for data without labels."
            )
        if not self.place.is_dir():
            return False
        return any((self.place / f"{name}{suffix}").is_file() for name in self._names for suffix in BOX_SUFFIXES)

    def path(self, name: str) -> Path:
        """The file of a frame's labels, whether it exists or not."""
        if not self.by_frame:
            return self.place
        paths = [self.place / f"{name}{suffix}" for suffix in BOX_SUFFIXES]
        return next((path for path in paths if path.is_file()), paths[0])

    def read(self, name: str) -> Boxes:
        """All labels of a frame, with names merged, in x forward, y left, z up.

        Raises:
            InputError: the file is missing or damaged, or a box is none that an object can have.
        """
        path = self.path(name)
        if self.by_frame:
            frames = read_frames(path, self._format)
            if name not in frames and len(frames) > 1:
                raise InputError(f"{path}: holds {len(frames)} frames and no {name}. Give each frame its own file.")
            boxes = frames.get(name, next(iter(frames.values()), Boxes.empty()))
        else:
            boxes = self._whole.get(name, Boxes.empty())
        if not np.isfinite(boxes.boxes).all() or np.abs(boxes.boxes).max(initial=0.0) > _LARGEST:
            raise InputError(f"{path}: frame {name}: a box has a number that no object has. Correct or remove it.")
        boxes = boxes.with_columns(names=[self._merge.get(str(each), str(each)) for each in boxes.names])
        return self._axes.from_files(boxes)

    @cached_property
    def _whole(self) -> dict[str, Boxes]:
        """The labels of all frames, where one file has them."""
        return read_frames(self.place, self._format)

    @cached_property
    def _format(self) -> str | None:
        """Name of the labels' box format; None where it has to be recognised.

        Files without an object fit any format, so the first that has one tells it for all of them.
        """
        if self._labels.format is not None:
            return _OWN_FORMATS.get(self._labels.format.lower(), self._labels.format)
        if not self.by_frame:
            return None
        paths = [path for path in map(self.path, self._names) if path.is_file()]
        for path in paths:
            try:
                return recognise_format(path)
            except InputError:
                continue
        return _OWN_FORMATS.get(paths[0].suffix[1:]) if paths else None
