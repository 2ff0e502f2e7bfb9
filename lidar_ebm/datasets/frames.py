"""A split of a data set as a `FrameSource`: from prepared files where they are current, else from the data's own."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.data_set import DataSet
from lidar_ebm.datasets.frame import Frame
from lidar_ebm.datasets.preparation.index import read_index
from lidar_ebm.datasets.preparation.prepared_frame import (
    FrameRecord,
    prepared_path,
    read_prepared,
    read_prepared_boxes,
)
from lidar_ebm.datasets.stamps import Stamps, is_file, stamps
from lidar_ebm.errors import InputError
from lidar_ebm.formats.text_lists import decode_text, hint_at_ending
from lidar_ebm.geometry.camera import Camera

_SHOWN = 5


class Frames:
    """Frames of one split.

    They come from the prepared folder where none of their files was changed since they were prepared, and from their
    own files otherwise; they are the same in both cases. A frame without points or labels is a frame like any other.

    Args:
        data_set: of any kind.
        split: name of one of its splits.
        with_labels: False for data without label files; the frames then have no boxes.

    Raises:
        InputError: the split is missing, names no frame, names frames whose files are missing, or some in which the
            preparation found errors.
    """

    def __init__(self, data_set: DataSet, split: str, *, with_labels: bool = True) -> None:
        self.data_set, self.split, self.with_labels = data_set, split, with_labels
        self.root = data_set.root
        self.split_path = data_set.split_path(split)
        self._names = data_set.frame_names(split)
        self._inputs = self._check_files()
        self._prepared = self._list_prepared()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes that the data set declares."""
        return self.data_set.class_names

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Frame:
        name = self._names[index]
        if not self._prepared[index]:
            return self.data_set.read(name, with_labels=self.with_labels)
        points, channels, boxes = self.read_prepared(index)
        return Frame(name, points, channels, boxes if self.with_labels else None, self.camera(index))

    def name(self, index: int) -> str:
        """A frame's name, without reading it."""
        return self._names[index]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all frames, in order."""
        return tuple(self._names)

    def points_and_boxes(self, index: int) -> tuple[np.ndarray, tuple[str, ...], Boxes]:
        """Points [N, 3 + C], names of their channels, and labelled boxes in space: a frame without its camera."""
        if self._prepared[index]:
            points, channels, boxes = self.read_prepared(index)
            return points, channels, boxes if self.with_labels else Boxes.empty()
        frame = self.data_set.read(self._names[index], with_labels=self.with_labels)
        return frame.points, frame.channels, Boxes.empty() if frame.boxes is None else frame.boxes

    def boxes(self, index: int) -> Boxes:
        """Labelled boxes in space of a frame: of its prepared file, in which points are passed over, or of its own."""
        if self._prepared[index]:
            return read_prepared_boxes(self.data_set.prepared, self._names[index])[0]
        boxes = self.data_set.labels(self._names[index])
        return boxes.select(np.isfinite(boxes.boxes).all(axis=1))

    def labels(self, index: int) -> Boxes:
        """All labels of a frame as its file has them, regions in which nothing is counted too."""
        return self.data_set.labels(self._names[index])

    def camera(self, index: int) -> Camera | None:
        """A frame's camera, without its points; None where there is none."""
        camera_of = getattr(self.data_set, "camera", None)
        return None if camera_of is None else camera_of(self._names[index])

    def cloud_sizes(self) -> list[int]:
        """Size of each frame's point-cloud file in bytes, as the split was opened."""
        return [0 if cloud is None else cloud[0] for cloud, *_ in self._inputs]

    def is_prepared(self, index: int) -> bool:
        """Tell if a frame is read from the prepared folder."""
        return self._prepared[index]

    def read_prepared(self, index: int) -> tuple[np.ndarray, tuple[str, ...], Boxes]:
        """`points_and_boxes` from the prepared file.

        Raises:
            InputError: it is damaged, or of other files than when the split was opened.
        """
        name = self._names[index]
        points, channels, boxes, inputs = read_prepared(self.data_set.prepared, name)
        if inputs != self._inputs[index]:
            raise InputError(
                f"{prepared_path(self.data_set.prepared, name)}: was written anew while it was in use, of other files "
                f"than before. Run `lidar-ebm prepare {self.root}` to its end and start again."
            )
        return points, channels, boxes

    def _check_files(self) -> list[Stamps]:
        """Say at once, not hours into a training, what the split names and the disk lacks; return what is there."""
        if not self._names:
            raise InputError(f"{self.split_path}: names no frame. Write one frame name a line.")
        paths = [self.data_set.input_paths(name) for name in self._names]
        inputs = [stamps(each) for each in paths]
        for column in self.data_set.required(self.with_labels):
            missing = [i for i, frame_stamps in enumerate(inputs) if not is_file(frame_stamps[column])]
            if missing:
                first = ", ".join(str(paths[i][column]) for i in missing[:_SHOWN])
                more = ", …" if len(missing) > _SHOWN else ""
                name = self._names[missing[0]]
                hint = hint_at_ending(name, partial(self._is_there, column))
                of_labels = column not in self.data_set.required(False)
                raise InputError(
                    f"{self.split_path}{self._line_of(name)}: files of {len(missing)} of the "
                    f"{len(self)} frames are missing: {first}{more}. Copy them there or take the frames out of the "
                    "split" + (" (a frame without objects has an empty label file)." if of_labels else ".") + hint
                )
        return inputs

    def _is_there(self, column: int, name: str) -> bool:
        return self.data_set.input_paths(name)[column].is_file()

    def _list_prepared(self) -> list[bool]:
        """Mark the frames that can be read from the prepared folder, warning once of the others if there is one."""
        folder = self.data_set.prepared
        if not folder.is_dir():
            return [False] * len(self)
        try:
            index = read_index(folder, self.root)
        except InputError as error:
            warnings.warn(f"{error} Until then {self.split_path} is read more slowly.", stacklevel=4)
            return [False] * len(self)
        current = index.kind == self.data_set.kind
        records = [index.frames.get(name) if current else None for name in self._names]
        records = [
            record if record is not None and record.inputs == inputs else None
            for record, inputs in zip(records, self._inputs, strict=True)
        ]
        self._refuse_failed([record for record in records if record is not None])
        prepared = [r is not None and not r.failed and prepared_path(folder, r.name).is_file() for r in records]
        rest = len(self) - sum(prepared)
        if rest:
            warnings.warn(
                f"{self.split_path}: {rest} of the {len(self)} frames are not prepared, or were changed since, and are "
                f"read more slowly. Run `lidar-ebm prepare {self.root}`.",
                stacklevel=4,
            )
        return prepared

    def _refuse_failed(self, records: Sequence[FrameRecord]) -> None:
        """Refuse frames that the preparation judged to be unusable, their files being still the same."""
        errors = [
            finding
            for record in records
            for finding in record.findings
            if finding.is_error and (self.with_labels or not finding.of_labels)
        ]
        if errors:
            first = "; ".join(f"{self.root / finding.place}: {finding.message}" for finding in errors[:_SHOWN])
            more = "; …" if len(errors) > _SHOWN else ""
            raise InputError(
                f"{self.split_path}: {len(errors)} errors in files of its frames: {first}{more} All of them are in "
                f"{self.data_set.prepared / 'report.txt'}; mend them, then run `lidar-ebm prepare {self.root}`."
            )

    def _line_of(self, name: str) -> str:
        """The line of the split file that names a frame, as a message has it; nothing where there is no such file."""
        path = Path(self.split_path)
        try:
            lines = decode_text(path.read_bytes(), path).splitlines()
        except (OSError, InputError):
            return ""
        return next((f":{number}" for number, line in enumerate(lines, start=1) if line.strip() == name), "")
