"""A data set in KITTI's layout as a map-style torch data set.

ROOT/ImageSets/SPLIT.txt          one frame name a line
ROOT/training/velodyne/NAME.bin   ROOT/training/calib/NAME.txt
ROOT/training/label_2/NAME.txt    (with labels)
ROOT/training/image_2/NAME.png    (optional: only the image's size is read)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from lidar_ebm.config import ClassConfig, Config
from lidar_ebm.data.kitti_files import read_calibration, read_image_size, read_labels, read_points, read_split
from lidar_ebm.errors import InputError
from lidar_ebm.geometry.calibration import DEFAULT_IMAGE_SIZE, Calibration
from lidar_ebm.geometry.frames import crop_to_camera_view, labels_to_boxes
from lidar_ebm.types import Frame, Label

_MISSING_SHOWN = 5


class KittiDataset(Dataset[Frame]):
    """Frames of one split, cropped to the camera's view and the voxel range, with the boxes of the configured classes.

    A label counts for a class if its type is the class's name or one of those that the class merges. Boxes whose centre
    lies outside the voxel range, and labels without a box in space, are left out. A frame without points or labels is a
    frame like any other.

    Args:
        root: folder in KITTI's layout.
        split: name of a file in `ImageSets`, without `.txt`.
        config: classes and voxel range are used.
        with_labels: False for data without label files; the frames then have no boxes.
        cropped: False leaves what is outside the voxel range in the frames, for augmentation to move; `crop_to_range`
            then comes after it.
        cache: keep every frame in memory once read (0.3 MB each for KITTI); each data-loader worker has its own.

    Raises:
        InputError: the split is missing, names no frame, or names frames whose files are missing.
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
        self.split_path = self.root / "ImageSets" / f"{split}.txt"
        self.with_labels = with_labels
        self._range = config.voxels.range if cropped else None
        self._class_of_type = _class_of_type(config.classes)
        self._frame_ids = read_split(self.split_path)
        self._cache: dict[int, Frame] | None = {} if cache else None
        self._check_files()

    def __len__(self) -> int:
        return len(self._frame_ids)

    def __getitem__(self, index: int) -> Frame:
        if self._cache is None:
            return self._read_frame(index)
        if index not in self._cache:
            self._cache[index] = self._read_frame(index)
        return self._cache[index]

    def frame_id(self, index: int) -> str:
        """The frame's name in the split."""
        return self._frame_ids[index]

    def calibration(self, index: int) -> Calibration:
        """The frame's calibration."""
        return read_calibration(self._path("calib", index), need_headings=True)

    def labels(self, index: int) -> list[Label]:
        """All labels of the frame as they stand in its file, DontCare and other classes included."""
        return read_labels(self._path("label_2", index))

    def image_size(self, index: int) -> tuple[int, int]:
        """Width and height of the frame's image in pixels; most of KITTI's where there is no image file."""
        path = self._path("image_2", index)
        return read_image_size(path) if path.exists() else DEFAULT_IMAGE_SIZE

    def _read_frame(self, index: int) -> Frame:
        calibration = self.calibration(index)
        points = read_points(self._path("velodyne", index))
        points = points[crop_to_camera_view(points, calibration, self.image_size(index))]
        labels = self.labels(index) if self.with_labels else []
        # A label may come without a box in space, its sizes then being the placeholder -1.
        chosen = [label for label in labels if label.type.lower() in self._class_of_type and min(label.dimensions) > 0]
        frame = Frame(
            frame_id=self.frame_id(index),
            points=points,
            boxes=labels_to_boxes(chosen, calibration).astype(np.float32),
            labels=np.array([self._class_of_type[label.type.lower()] for label in chosen], dtype=np.int64),
        )
        return frame if self._range is None else crop_to_range(frame, self._range)

    def _path(self, folder: str, index: int) -> Path:
        return _file(self.root, folder, self._frame_ids[index])

    def _check_files(self) -> None:
        """Say at once, not hours into a training, what the split names and the disk lacks."""
        if not self._frame_ids:
            raise InputError(f"{self.split_path}: names no frame. Write one frame name a line.")
        folders = ["velodyne", "calib"] + (["label_2"] if self.with_labels else [])
        for folder in folders:
            there = {path.name for path in (self.root / "training" / folder).glob("*")}
            missing = [name for name in self._frame_ids if _file(self.root, folder, name).name not in there]
            if missing:
                first = ", ".join(str(_file(self.root, folder, name)) for name in missing[:_MISSING_SHOWN])
                more = ", …" if len(missing) > _MISSING_SHOWN else ""
                raise InputError(
                    f"{self.split_path}:{self._line_of(missing[0])}: files of {len(missing)} of the {len(self)} frames "
                    f"are missing: {first}{more}. Copy them there or take the frames out of the split"
                    + (" (a frame without objects has an empty label file)." if folder == "label_2" else ".")
                )

    def _line_of(self, name: str) -> int:
        """The line of the split file that names a frame."""
        lines = self.split_path.read_text(encoding="utf-8-sig").splitlines()
        return 1 + next(number for number, line in enumerate(lines) if line.strip() == name)


def crop_to_range(frame: Frame, bounds: Sequence[float]) -> Frame:
    """The frame without the points, and the boxes by their centres, outside `bounds` (low x y z, high x y z; m)."""
    low, high = np.asarray(bounds[:3], np.float32), np.asarray(bounds[3:], np.float32)
    points = _inside(frame.points[:, :3], low, high)
    boxes = _inside(frame.boxes[:, :3], low, high)
    return Frame(frame.frame_id, frame.points[points], frame.boxes[boxes], frame.labels[boxes])


def _inside(positions: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.all((positions >= low) & (positions < high), axis=1)


def _class_of_type(classes: Sequence[ClassConfig]) -> dict[str, int]:
    """Index of the class for each label type, in lower case; a class's own name goes before another's merged one."""
    mapping = {merged.lower(): index for index, item in enumerate(classes) for merged in item.merge}
    return mapping | {item.name.lower(): index for index, item in enumerate(classes)}


def _file(root: Path, folder: str, name: str) -> Path:
    suffix = {"velodyne": ".bin", "image_2": ".png"}.get(folder, ".txt")
    return root / "training" / folder / f"{name}{suffix}"
