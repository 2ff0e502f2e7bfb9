"""A data set in KITTI's layout as a map-style torch data set.

ROOT/ImageSets/SPLIT.txt          one frame name a line
ROOT/training/velodyne/NAME.bin   ROOT/training/calib/NAME.txt
ROOT/training/label_2/NAME.txt    (with labels)
ROOT/training/image_2/NAME.png    (optional: only the image's size is read)
ROOT/prepared/                    (optional: what `lidar-ebm prepare ROOT` wrote, which is read several times faster)

Without the folder `calib` the data are LiDAR-only: nominal calibration, and no cropping to a camera's view.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from lidar_ebm.config.config import Config
from lidar_ebm.config.detector import ClassConfig
from lidar_ebm.datasets.kitti.layout import (
    INPUTS,
    Stamps,
    input_path,
    is_file,
    is_lidar_only,
    needed_inputs,
    prepared_folder,
    split_path,
    stamp_inputs,
)
from lidar_ebm.datasets.kitti.raw_frame import boxes_in_space, crop_to_view, frame_calibration, frame_image_size
from lidar_ebm.datasets.preparation.index import read_index
from lidar_ebm.datasets.preparation.prepared_frame import FrameRecord, prepared_path, read_prepared
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.calibration import Calibration
from lidar_ebm.formats.kitti.files import read_labels, read_points, read_split
from lidar_ebm.formats.kitti.label import KITTI_TYPES, Label

_SHOWN = 5


class KittiDataset(Dataset[Sample]):
    """Frames of one split, cropped to the camera's view and the voxel range, with the boxes of the configured classes.

    A label counts for a class if its type is the class's name or one of those that the class merges. Boxes whose centre
    lies outside the voxel range, and labels without a box in space, are left out. A frame without points or labels is a
    frame like any other. Frames come from DATA/prepared where none of their files was changed since they were prepared,
    and from their own files otherwise; they are the same in both cases.

    Args:
        root: folder in KITTI's layout.
        split: name of a file in `ImageSets`, without `.txt`.
        config: classes and voxel range are used.
        with_labels: False for data without label files; the frames then have no boxes.
        cropped: False leaves what is outside the voxel range in the frames, for augmentation to move; `crop_to_range`
            then comes after it.
        cache: keep every frame in memory once read (0.3 MB each for KITTI); each data-loader worker has its own.

    Raises:
        InputError: the split is missing, names no frame, names frames whose files are missing, or some in which the
            preparation found errors; or calibrations are missing though there are images.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        config: Config,
        *,
        with_labels: bool = True,
        cache: bool = False,
        cropped: bool = True,
    ) -> None:
        self.root = Path(root)
        self.split_path = split_path(self.root, split)
        self.with_labels = with_labels
        self.lidar_only = is_lidar_only(self.root)
        self._range = config.voxels.range if cropped else None
        self._class_of_type = _class_of_type(config.classes)
        self._frame_ids = read_split(self.split_path)
        self._cache: dict[int, Sample] | None = {} if cache else None
        self._inputs = self._check_files()
        self._prepared = self._find_prepared()

    def __len__(self) -> int:
        return len(self._frame_ids)

    def __getitem__(self, index: int) -> Sample:
        if self._cache is None:
            return self._read_frame(index)
        if index not in self._cache:
            self._cache[index] = self._read_frame(index)
        return self._cache[index]

    def frame_id(self, index: int) -> str:
        """The frame's name in the split."""
        return self._frame_ids[index]

    def calibration(self, index: int) -> Calibration:
        """The frame's calibration; the nominal one in LiDAR-only data."""
        return frame_calibration(self.root, self._frame_ids[index], lidar_only=self.lidar_only)

    def labels(self, index: int) -> list[Label]:
        """All labels of the frame as they stand in its file, DontCare and other classes included."""
        return read_labels(self._path("label_2", index))

    def image_size(self, index: int) -> tuple[int, int]:
        """Width and height of the frame's image in pixels; most of KITTI's where there is no image file."""
        return frame_image_size(self.root, self._frame_ids[index])

    def is_prepared(self, index: int) -> bool:
        """Whether the frame is read from DATA/prepared."""
        return self._prepared[index]

    def _read_frame(self, index: int) -> Sample:
        points, boxes, types = self._read_prepared(index) if self._prepared[index] else self._read_raw(index)
        classes = [self._class_of_type.get(name.lower(), -1) for name in types] if self.with_labels else []
        labels = np.array(classes, dtype=np.int64)
        boxes = boxes[: len(labels)].astype(np.float32)
        trained = labels >= 0
        frame = Sample(self._frame_ids[index], points, boxes[trained], labels[trained], boxes[~trained])
        return frame if self._range is None else crop_to_range(frame, self._range)

    def _read_raw(self, index: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Points in the camera's view [N, 4], boxes [M, 7] in space of any type, and their types."""
        name, calibration = self._frame_ids[index], self.calibration(index)
        points = read_points(self._path("velodyne", index))
        points = crop_to_view(self.root, name, points, calibration, lidar_only=self.lidar_only)
        found = self.labels(index) if self.with_labels else []
        labels, boxes = boxes_in_space(found, calibration, self._path("label_2", index))
        return points, boxes, [label.type for label in labels]

    def _read_prepared(self, index: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """The same, from the prepared file."""
        name = self._frame_ids[index]
        points, boxes, types, inputs = read_prepared(self.root, name)
        if inputs != self._inputs[index]:
            raise InputError(
                f"{prepared_path(self.root, name)}: was written anew while it was in use, of other files than before. "
                f"Run `lidar-ebm prepare {self.root}` to its end and start again."
            )
        return points, boxes, [KITTI_TYPES[number] for number in types]

    def _path(self, folder: str, index: int) -> Path:
        return input_path(self.root, folder, self._frame_ids[index])

    def _check_files(self) -> list[Stamps]:
        """Say at once, not hours into a training, what the split names and the disk lacks; return what is there."""
        if not self._frame_ids:
            raise InputError(f"{self.split_path}: names no frame. Write one frame name a line.")
        inputs = stamp_inputs(self.root, self._frame_ids)
        for folder in needed_inputs(self.lidar_only, self.with_labels):
            column = INPUTS.index(folder)
            missing = [i for i, stamps in enumerate(inputs) if not is_file(stamps[column])]
            if missing:
                first = ", ".join(str(self._path(folder, i)) for i in missing[:_SHOWN])
                more = ", …" if len(missing) > _SHOWN else ""
                raise InputError(
                    f"{self.split_path}:{self._line_of(self._frame_ids[missing[0]])}: files of {len(missing)} of the "
                    f"{len(self)} frames are missing: {first}{more}. Copy them there or take the frames out of the "
                    "split" + (" (a frame without objects has an empty label file)." if folder == "label_2" else ".")
                )
        return inputs

    def _find_prepared(self) -> list[bool]:
        """Which frames can be read from DATA/prepared, warning once of the others if there is such a folder."""
        if not prepared_folder(self.root).is_dir():
            return [False] * len(self)
        try:
            index = read_index(self.root)
        except InputError as error:
            warnings.warn(f"{error} Until then {self.split_path} is read more slowly.", stacklevel=3)
            return [False] * len(self)
        records = [index.frames.get(name) for name in self._frame_ids] if index.lidar_only == self.lidar_only else []
        records = [
            record if record is not None and record.inputs == inputs else None
            for record, inputs in zip(records or [None] * len(self), self._inputs, strict=True)
        ]
        self._refuse_failed([record for record in records if record is not None])
        prepared = [r is not None and not r.failed and prepared_path(self.root, r.name).is_file() for r in records]
        rest = len(self) - sum(prepared)
        if rest:
            warnings.warn(
                f"{self.split_path}: {rest} of the {len(self)} frames are not prepared, or were changed since, and are "
                f"read more slowly. Run `lidar-ebm prepare {self.root}`.",
                stacklevel=3,
            )
        return prepared

    def _refuse_failed(self, records: Sequence[FrameRecord]) -> None:
        """Refuse frames that the preparation found to be unusable, their files being still the same."""
        errors = [
            finding
            for record in records
            for finding in record.findings
            if finding.is_error and (self.with_labels or not finding.place.startswith("training/label_2/"))
        ]
        if errors:
            first = "; ".join(f"{self.root / finding.place}: {finding.message}" for finding in errors[:_SHOWN])
            more = "; …" if len(errors) > _SHOWN else ""
            raise InputError(
                f"{self.split_path}: {len(errors)} errors in files of its frames: {first}{more} All of them are in "
                f"{prepared_folder(self.root) / 'report.txt'}; mend them, then run `lidar-ebm prepare {self.root}`."
            )

    def _line_of(self, name: str) -> int:
        """The line of the split file that names a frame."""
        lines = self.split_path.read_text(encoding="utf-8-sig").splitlines()
        return 1 + next(number for number, line in enumerate(lines) if line.strip() == name)


def crop_to_range(frame: Sample, bounds: Sequence[float]) -> Sample:
    """The frame without the points, and the boxes by their centres, outside `bounds` (low x y z, high x y z; m)."""
    low, high = np.asarray(bounds[:3], np.float32), np.asarray(bounds[3:], np.float32)
    points = _inside(frame.points[:, :3], low, high)
    boxes = _inside(frame.boxes[:, :3], low, high)
    others = _inside(frame.others[:, :3], low, high)
    return Sample(frame.frame_id, frame.points[points], frame.boxes[boxes], frame.labels[boxes], frame.others[others])


def _inside(positions: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.all((positions >= low) & (positions < high), axis=1)


def _class_of_type(classes: Sequence[ClassConfig]) -> dict[str, int]:
    """Index of the class for each label type, in lower case; a class's own name goes before another's merged one."""
    mapping = {merged.lower(): index for index, item in enumerate(classes) for merged in item.merge}
    return mapping | {item.name.lower(): index for index, item in enumerate(classes)}
