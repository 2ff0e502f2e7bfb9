"""A data set in KITTI's layout.

ROOT/ImageSets/SPLIT.txt          one frame name a line
ROOT/training/velodyne/NAME.bin   ROOT/training/calib/NAME.txt
ROOT/training/label_2/NAME.txt    (with labels, of any class names)
ROOT/training/image_2/NAME.png    (optional, of any kind: only the image's size is read)

Without the folder `calib` the data are LiDAR-only: labels stand in fixed axes, and points are not cropped to a camera's
view.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.data_set import CheckedFrame
from lidar_ebm.datasets.frame import REFLECTANCE, Frame
from lidar_ebm.datasets.kitti.check import FrameCheck
from lidar_ebm.datasets.kitti.layout import INPUTS, SUFFIXES, input_path, is_lidar_only, needed_inputs, split_path
from lidar_ebm.datasets.kitti.raw_frame import boxes_in_space, crop_to_view, frame_calibration, frame_camera, is_sane
from lidar_ebm.datasets.kitti.splits import check_splits
from lidar_ebm.datasets.preparation.findings import WARNING, Finding
from lidar_ebm.datasets.stamps import Stamps
from lidar_ebm.formats.image_size import IMAGE_SUFFIXES
from lidar_ebm.formats.kitti.calibration import Calibration
from lidar_ebm.formats.kitti.conversion import boxes_to_labels
from lidar_ebm.formats.kitti.difficulty import DIFFICULTY_NAMES, difficulties
from lidar_ebm.formats.kitti.files import read_labels, read_points, write_labels
from lidar_ebm.formats.kitti.label import Label
from lidar_ebm.formats.point_clouds import PointCloud, ReflectanceScale, sample_reflectance_scale
from lidar_ebm.formats.text_lists import read_names
from lidar_ebm.geometry.camera import Camera
from lidar_ebm.geometry.counting import count_points_in_boxes


def recognise(root: Path) -> bool:
    """Tell if a folder has KITTI's subfolders, or is not there: then what is missing is said by KITTI's names."""
    return not root.is_dir() or any((root / name).is_dir() for name in ("training", "ImageSets"))


def open_folder(root: Path, prepared: str | Path | None) -> KittiDataSet:
    """The data set in a folder in KITTI's layout; arguments and errors as `KittiDataSet`."""
    return KittiDataSet(root, prepared)


class KittiDataSet:
    """A folder in KITTI's layout.

    Args:
        root: the folder.
        prepared: where preparation leaves its files; ROOT/prepared where None.

    Raises:
        InputError: the folder has no point clouds, or images but no calibrations.
    """

    def __init__(self, root: str | Path, prepared: str | Path | None = None) -> None:
        self.root = Path(root)
        self.prepared = self.root / "prepared" if prepared is None else Path(prepared)
        self.lidar_only = is_lidar_only(self.root)
        self.kind = "KITTI's layout, LiDAR alone" if self.lidar_only else "KITTI's layout, LiDAR and camera"
        self.protocol = "kitti"
        self.result_format = "kitti"
        self.results_in_one_file = False
        self.difficulties: tuple[str, ...] = DIFFICULTY_NAMES
        self.class_names: tuple[str, ...] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the files in `ImageSets`."""
        return tuple(sorted(path.stem for path in (self.root / "ImageSets").glob("*.txt")))

    @cached_property
    def scale(self) -> ReflectanceScale:
        """Full scale of the reflectance, by frames taken evenly."""
        paths = [input_path(self.root, "velodyne", name) for name in self.all_names()]
        return sample_reflectance_scale(paths, lambda path: PointCloud(read_points(path), (REFLECTANCE,)))

    def split_path(self, split: str) -> Path:
        """ImageSets/SPLIT.txt."""
        return split_path(self.root, split)

    def frame_names(self, split: str) -> list[str]:
        """The names in a split's file.

        Raises:
            InputError: as `read_names`.
        """
        return read_names(self.split_path(split))

    def all_names(self) -> list[str]:
        """Names of all point clouds, in alphabetical order."""
        return sorted(self._files("velodyne", (SUFFIXES["velodyne"],)))

    @cached_property
    def _images(self) -> Mapping[str, str]:
        """File names of the images by their frames' names."""
        return self._files("image_2", IMAGE_SUFFIXES)

    def _files(self, folder: str, suffixes: Sequence[str]) -> dict[str, str]:
        try:
            paths = list((self.root / "training" / folder).iterdir())
        except OSError:
            return {}
        return {p.stem: p.name for p in paths if p.suffix.lower() in suffixes and not p.name.startswith(".")}

    def input_paths(self, name: str) -> tuple[Path, ...]:
        """Point cloud, calibration, labels and image of a frame."""
        *others, image = (input_path(self.root, folder, name) for folder in INPUTS)
        return (*others, image.with_name(self._images.get(name, image.name)))

    def required(self, with_labels: bool) -> tuple[int, ...]:
        """Indices of the files without which a frame cannot be read."""
        return tuple(INPUTS.index(folder) for folder in needed_inputs(self.lidar_only, with_labels))

    def check_splits(self, wanted: Sequence[str] | None) -> tuple[dict[str, tuple[str, ...]], tuple[Finding, ...]]:
        """The frames of each split as far as they can be read, and what is wrong with them."""
        checked = check_splits(self.root, wanted)
        return dict(checked.frames), checked.findings

    def calibration(self, name: str) -> Calibration:
        """The frame's calibration; the fixed axes in LiDAR-only data.

        Raises:
            InputError: it is missing or damaged.
        """
        return frame_calibration(self.root, name, lidar_only=self.lidar_only)

    def camera(self, name: str) -> Camera | None:
        """The frame's camera; None in LiDAR-only data.

        Raises:
            InputError: the calibration or the image is damaged.
        """
        return self._camera(name, self.calibration(name))

    def _camera(self, name: str, calibration: Calibration) -> Camera | None:
        return None if self.lidar_only else frame_camera(self.root, name, calibration)

    def read(self, name: str, *, with_labels: bool = True) -> Frame:
        """A frame from its own files: points in the camera's view, boxes in space of every class.

        Raises:
            InputError: a file is missing or damaged.
        """
        calibration = self.calibration(name)
        camera = self._camera(name, calibration)
        points = read_points(input_path(self.root, "velodyne", name))
        points[:, 3], _ = self.scale.apply(points[:, 3])
        points = crop_to_view(points, camera)
        if not with_labels:
            return Frame(name, points, (REFLECTANCE,), None, camera)
        path = input_path(self.root, "label_2", name)
        labels, boxes = boxes_in_space(read_labels(path, types=None), calibration, path)
        counts = count_points_in_boxes(points, boxes)
        return Frame(name, points, (REFLECTANCE,), self._boxes(labels, boxes, counts), camera)

    def label_lines(self, name: str) -> list[Label]:
        """All labels of a frame as they stand in its file, regions and other classes included.

        Raises:
            InputError: the file is missing or damaged.
        """
        return read_labels(input_path(self.root, "label_2", name), types=None)

    def labels(self, name: str) -> Boxes:
        """All labels of a frame; regions without a box in space have NaN for one.

        Raises:
            InputError: the file is missing or damaged.
        """
        return labels_as_boxes(self.label_lines(name), self.calibration(name))

    def check(self, name: str, inputs: Stamps) -> CheckedFrame:
        """Read and check a frame, whatever is wrong with it."""
        check = FrameCheck(self.root, name, inputs, self.lidar_only, self.scale)
        check.read()
        frame, counts = None, np.zeros(0, np.int64)
        ready = self.lidar_only or check.camera is not None
        if check.points is not None and check.calibration is not None and ready and all(map(is_sane, check.labels)):
            points = crop_to_view(check.points, check.camera)
            check.check_kept(points)
            labels, boxes = boxes_in_space(check.labels, check.calibration, input_path(self.root, "label_2", name))
            counts = count_points_in_boxes(points, boxes)
            check.check_objects(boxes, counts)
            frame = Frame(name, points, (REFLECTANCE,), self._boxes(labels, boxes, counts), check.camera)
        return CheckedFrame(
            frame,
            counts,
            check.points_read,
            check.points_checksum,
            Counter(label.type for label in check.labels),
            tuple(check.findings),
        )

    def compare(self, frames: Mapping[str, Stamps], *, named: bool) -> Iterator[Finding]:
        """Images that a few frames alone lack, and files that belong to no frame of a split."""
        column = INPUTS.index("image_2")
        missing = [name for name, inputs in frames.items() if inputs[column] is None]
        if len(missing) < len(frames) / 2:
            for name in missing:
                place = input_path(self.root, "image_2", name).relative_to(self.root).as_posix()
                message = "no such file, though most frames have an image; its size is taken from P2."
                yield Finding(WARNING, "missing images", place, message)
        if not named:
            return
        for folder in INPUTS:
            suffixes = IMAGE_SUFFIXES if folder == "image_2" else (SUFFIXES[folder],)
            left = sorted(set(self._files(folder, suffixes)) - set(frames))
            if left:
                message = f"{len(left)} files of frames that no checked split names, {left[0]} the first of them."
                yield Finding(WARNING, "files that no split names", f"training/{folder}", message)

    def write_results(self, folder: Path, results: Mapping[str, Boxes]) -> None:
        """Write detections as KITTI result files FOLDER/data/NAME.txt.

        Raises:
            InputError: a frame's calibration cannot be used.
            OutputError: a file cannot be written.
        """
        for name, boxes in results.items():
            write_labels(folder / "data" / f"{name}.txt", self.result_labels(name, boxes))

    def result_labels(self, name: str, boxes: Boxes) -> list[Label]:
        """Detections as the lines of a KITTI result file; without a camera the image's fields say "unknown".

        Raises:
            InputError: the frame's calibration cannot be used.
        """
        calibration = self.calibration(name)
        camera = self._camera(name, calibration)
        return boxes_to_labels(
            boxes.boxes,
            calibration,
            types=boxes.names.tolist(),
            scores=boxes.scores,
            image_size=None if camera is None else camera.image_size,
        )

    def result_lines(self, folder: Path, name: str) -> list[Label]:
        """The lines of FOLDER/NAME.txt or FOLDER/data/NAME.txt; none where there is no such file.

        Raises:
            InputError: the file is damaged.
        """
        path = _result_path(folder, name)
        return [] if path is None else read_labels(path, require_score=True, types=None)

    def as_written(self, boxes: Boxes) -> Boxes:
        """Detections of a frame as `write_results` writes them: as they are."""
        return boxes

    def read_results(self, folder: Path, name: str) -> Boxes | None:
        """The detections in FOLDER/NAME.txt or FOLDER/data/NAME.txt; None where there is no such file.

        Raises:
            InputError: the file is damaged.
        """
        path = _result_path(folder, name)
        if path is None:
            return None
        lines = read_labels(path, require_score=True, types=None)
        return _with_columns(*boxes_in_space(lines, self.calibration(name), path))

    def _boxes(self, labels: Sequence[Label], boxes: np.ndarray, counts: np.ndarray) -> Boxes:
        """Labels with a box in space, their boxes [M, 7], and the points in them [M]."""
        levels = difficulties(labels, boxes, counts)
        words = [DIFFICULTY_NAMES[level] for level in levels]
        return Boxes(boxes, [label.type for label in labels], points=counts, difficulty=words)


def labels_as_boxes(labels: Sequence[Label], calibration: Calibration) -> Boxes:
    """Labels or results with all of their columns, in the LiDAR frame; what has no box in space has NaN for one."""
    spatial = np.array([min(label.dimensions) > 0 for label in labels], dtype=bool)
    boxes = np.full((len(labels), 7), np.nan)
    chosen = [label for label, is_there in zip(labels, spatial, strict=True) if is_there]
    boxes[spatial] = boxes_in_space(chosen, calibration, "labels")[1]
    return _with_columns(labels, boxes)


def _result_path(folder: Path, name: str) -> Path | None:
    """A frame's result file, beside the others or in `data`; None where there is none."""
    return next((path for path in (folder / f"{name}.txt", folder / "data" / f"{name}.txt") if path.is_file()), None)


def _with_columns(labels: Sequence[Label], boxes: np.ndarray) -> Boxes:
    """Boxes [M, 7] of M labels or results with all that these say beside."""
    scored = bool(labels) and all(label.score is not None for label in labels)
    return Boxes(
        boxes,
        [label.type for label in labels],
        [float(label.score or 0.0) for label in labels] if scored else None,
        image_rectangle=np.array([label.bbox for label in labels], dtype=np.float64).reshape(-1, 4),
        alpha=[label.alpha for label in labels],
        truncated=[label.truncated for label in labels],
        occluded=[label.occluded for label in labels],
    )
