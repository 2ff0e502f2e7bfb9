"""A folder with a `dataset.yaml`: points and labels in the LiDAR frame, of any format, sensor and class names."""

from __future__ import annotations

import math
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.data_set import CheckedFrame
from lidar_ebm.datasets.folder.axes import rotation_of
from lidar_ebm.datasets.folder.settings import DEFAULT_AXES, FILE, FolderSettings, read_settings
from lidar_ebm.datasets.folder.splits import read_folder_splits
from lidar_ebm.datasets.frame import GROUND, Frame
from lidar_ebm.datasets.preparation.findings import ERROR, WARNING, Finding
from lidar_ebm.datasets.stamps import Stamps, is_file
from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import closest, find_format, recognise_format
from lidar_ebm.formats.point_clouds import (
    POINT_SUFFIXES,
    PointCloud,
    ReflectanceScale,
    choose_reflectance_scale,
    describe_points,
    read_point_cloud,
    scale_reflectance,
)
from lidar_ebm.formats.reading import read_frames, write_boxes
from lidar_ebm.formats.text_lists import hint_at_ending
from lidar_ebm.geometry.counting import count_points_in_boxes
from lidar_ebm.geometry.upright import wrap_angle
from lidar_ebm.system.files import read_bytes

SAMPLED_FRAMES = 8  # that the full scale of the reflectance is decided by
# Of near, middle and far: distance below, in m, and smallest number of points.
LIMITS = (("near", 30.0, 50), ("middle", 50.0, 20), ("far", 80.0, 5))
BEYOND = "beyond"
_OWN_FORMATS = {"json": "boxes_json", "csv": "boxes_csv"}
_LABEL_SUFFIXES = (".json", ".csv", ".txt", ".xml", ".pkl", ".feather")
_LARGEST = 1e5  # m; beyond, a number is no place or size of an object
_SIZES = (0.05, 50.0)  # m, of objects; what is beyond is said, and used all the same


def recognise(root: Path) -> bool:
    """Tell if a folder has a `dataset.yaml`."""
    return (root / FILE).is_file()


def open_folder(root: Path, prepared: str | Path | None) -> FolderDataSet:
    """The data set in a folder with a `dataset.yaml`; arguments and errors as `FolderDataSet`."""
    return FolderDataSet(root, prepared)


class FolderDataSet:
    """A data set of one's own.

    Args:
        root: folder with a `dataset.yaml`.
        prepared: where preparation leaves its files; what `dataset.yaml` says where None.

    Raises:
        InputError: `dataset.yaml` cannot be used, or there are no point clouds where it says.
    """

    kind = "own folder (dataset.yaml), LiDAR alone"
    protocol = "distance"
    result_format = "boxes_json"
    difficulties = (*(name for name, _, _ in LIMITS), BEYOND)

    def __init__(self, root: str | Path, prepared: str | Path | None = None) -> None:
        self.root = Path(root)
        self.settings_path = self.root / FILE
        self.settings: FolderSettings = read_settings(self.settings_path)
        self.prepared = self.root / self.settings.prepared if prepared is None else Path(prepared)
        sensor = self.settings.sensor
        try:
            self._rotation = rotation_of(sensor.axes)
        except InputError as error:
            raise InputError(f"{self.settings_path}: sensor.{error}") from error
        self._shift = np.array([0.0, 0.0, 0.0 if sensor.height is None else sensor.height + GROUND])
        self._point_files = self._list_points()
        self._whole: dict[str, Boxes] | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes that `dataset.yaml` declares."""
        return self.settings.classes

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
        return sorted(self._point_files)

    def input_paths(self, name: str) -> tuple[Path, ...]:
        """Point cloud, labels and `dataset.yaml` of a frame."""
        labels = self.settings_path if self.settings.labels is None else self._label_path(name)
        return self._point_files.get(name, self._points_folder / name), labels, self.settings_path

    def required(self, with_labels: bool) -> tuple[int, ...]:
        """Indices of the files without which a frame cannot be read."""
        return (0, 1) if with_labels and self._labels_by_frame else (0,)

    def check_splits(self, wanted: Sequence[str] | None) -> tuple[dict[str, tuple[str, ...]], tuple[Finding, ...]]:
        """The frames of each split, and what is wrong with them."""
        findings = []
        splits: dict[str, tuple[str, ...]] = {}
        for name in self.splits if wanted is None else wanted:
            splits[name] = tuple(self.frame_names(name))
            missing = [frame for frame in splits[name] if frame not in self._point_files]
            if missing:
                message = f"{len(missing)} of the frames of {name} have no point cloud: {', '.join(missing[:5])}."
                message += hint_at_ending(missing[0], self._point_files.__contains__)
                findings.append(
                    Finding(ERROR, "frames without point clouds", self._place(self.split_path(name)), message)
                )
        if not splits:
            message = "names no splits; add for example `splits: {val: 0.2}`, and train is the rest."
            findings.append(Finding(WARNING, "missing splits", FILE, message))
        findings += self._check_classes()
        return splits, tuple(findings)

    def read(self, name: str, *, with_labels: bool = True) -> Frame:
        """A frame from its own files, in x forward, y left, z up.

        Raises:
            InputError: a file is missing or damaged.
        """
        cloud = self._in_convention(self._read_raw_cloud(name))
        boxes = self._read_labels(name) if with_labels and self.settings.labels is not None else None
        return self._frame(name, cloud, boxes)

    def labels(self, name: str) -> Boxes:
        """A frame's labels with the points in them and the difficulty that follows.

        Raises:
            InputError: a file is missing or damaged.
        """
        boxes = self.read(name).boxes
        return Boxes.empty() if boxes is None else boxes

    def check(self, name: str, inputs: Stamps) -> CheckedFrame:
        """Read and check a frame, whatever is wrong with it."""
        findings: list[Finding] = []
        paths = self.input_paths(name)
        cloud, boxes, checksum, read = None, Boxes.empty(), 0, 0
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                raw = self._read_raw_cloud(name)
                cloud = self._in_convention(raw)
            checksum, read = zlib.crc32(read_bytes(paths[0])), len(cloud)
            for each in caught:
                message = str(each.message).removeprefix(f"{paths[0]}: ")
                findings.append(Finding(WARNING, "point clouds", self._place(paths[0]), message))
            clipped = 0 if raw.reflectance is None else self.scale.apply(raw.reflectance)[1]
            if clipped:
                message = f"{clipped} reflectances lie outside 0 to {self.scale.full_scale:g}, and are clipped."
                findings.append(Finding(WARNING, "reflectance out of range", self._place(paths[0]), message))
        except InputError as error:
            message = str(error).removeprefix(f"{paths[0]}: ")
            findings.append(Finding(ERROR, "unreadable point clouds", self._place(paths[0]), message))
        if self.settings.labels is not None:
            try:
                if self._labels_by_frame and not is_file(inputs[1]):
                    raise InputError(f"{paths[1]}: no such file. A frame without objects has an empty list of boxes.")
                boxes = self._read_labels(name)
            except InputError as error:
                message = str(error).removeprefix(f"{paths[1]}: ")
                findings.append(Finding(ERROR, "unreadable labels", self._place(paths[1]), message, of_labels=True))
        frame = None if cloud is None else self._frame(name, cloud, boxes)
        counts = np.zeros(0, np.int64)
        if frame is not None and frame.boxes is not None:
            counts = np.asarray(frame.boxes.points)
            findings += self._oddities(paths, frame, len(boxes))
        return CheckedFrame(frame, counts, read, checksum, Counter(boxes.names.tolist()), tuple(findings))

    def compare(self, frames: Mapping[str, Stamps], *, named: bool) -> Iterator[Finding]:
        """Point clouds that belong to no frame of a split."""
        left = sorted(set(self._point_files) - set(frames)) if named else []
        if left:
            message = f"{len(left)} files of frames that no checked split names, {left[0]} the first of them."
            yield Finding(WARNING, "files that no split names", self._place(self._points_folder), message)

    def write_results(self, folder: Path, results: Mapping[str, Boxes]) -> None:
        """Write detections as FOLDER/data/NAME.json, in the files' own axes, unit and height.

        Raises:
            OutputError: a file cannot be written.
        """
        for name, boxes in results.items():
            write_boxes(folder / "data" / f"{name}.json", {name: self.to_files(boxes)}, self.result_format)

    def read_results(self, folder: Path, name: str) -> Boxes | None:
        """The detections of a frame in FOLDER or FOLDER/data, of any format; None where there are none.

        Raises:
            InputError: the file is damaged.
        """
        for place in (folder, folder / "data"):
            for path in (place / f"{name}{suffix}" for suffix in _LABEL_SUFFIXES):
                if path.is_file():
                    frames = read_frames(path)
                    boxes = frames.get(name, next(iter(frames.values()), Boxes.empty(scores=True)))
                    return self.from_files(boxes)
        return None

    def from_files(self, boxes: Boxes) -> Boxes:
        """Boxes of the files' axes, unit and height in x forward, y left, z up, metres, the ground at its place."""
        unit = self.settings.sensor.unit
        rows = boxes.boxes.copy()
        rows[:, :3] = rows[:, :3] * unit @ self._rotation.T + self._shift
        rows[:, 3:6] *= unit
        rows[:, 6] = self._turn(rows[:, 6], self._rotation)
        if boxes.velocity is None:
            return boxes.with_columns(boxes=rows)
        return boxes.with_columns(boxes=rows, velocity=boxes.velocity * unit @ self._rotation[:2, :2].T)

    def to_files(self, boxes: Boxes) -> Boxes:
        """The inverse of `from_files`."""
        unit = self.settings.sensor.unit
        rows = boxes.boxes.copy()
        rows[:, :3] = (rows[:, :3] - self._shift) @ self._rotation / unit
        rows[:, 3:6] /= unit
        rows[:, 6] = self._turn(rows[:, 6], self._rotation.T)
        if boxes.velocity is None:
            return boxes.with_columns(boxes=rows)
        return boxes.with_columns(boxes=rows, velocity=boxes.velocity @ self._rotation[:2, :2] / unit)

    def _turn(self, yaw: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        if abs(rotation[2, 2]) != 1:
            raise InputError(
                f"{self.settings_path}: sensor.axes {self.settings.sensor.axes!r} do not have z along the vertical, "
                "about which boxes turn. Bring labels and points into axes with z up or down."
            )
        heading = np.column_stack((np.cos(yaw), np.sin(yaw), np.zeros(len(yaw)))) @ rotation.T
        if np.array_equal(rotation, np.eye(3)):
            return yaw
        return np.asarray(wrap_angle(np.arctan2(heading[:, 1], heading[:, 0])))

    @property
    def _points_folder(self) -> Path:
        return self.root / self.settings.points.folder

    def _list_points(self) -> dict[str, Path]:
        folder, wanted = self._points_folder, self.settings.points.format
        if not folder.is_dir():
            raise InputError(f"{self.settings_path}: points.folder: there is no folder {folder}. Correct its name.")
        reader = self._special_reader()
        suffixes: tuple[str, ...] = (".pkl.gz", ".pkl", ".feather") if reader else POINT_SUFFIXES
        if wanted and not reader:
            suffixes = (f".{wanted.lstrip('.').lower()}",)
        paths = sorted(
            path for path in folder.iterdir() if path.name.lower().endswith(suffixes) and path.name[0] != "."
        )
        names: dict[str, Path] = {}
        for path in paths:
            name = path.name[: -len(next(s for s in suffixes if path.name.lower().endswith(s)))].removesuffix(".pcd")
            if name in names:
                raise InputError(f"{path}: frame {name} has another point cloud, {names[name]}. Remove one of them.")
            names[name] = path
        if not names:
            shown = ", ".join(suffixes)
            raise InputError(f"{folder}: holds no point clouds ({shown}). Correct points in {self.settings_path}.")
        return names

    def _special_reader(self) -> object | None:
        """The box format that reads its data set's own point clouds, if `points.format` names one."""
        name = self.settings.points.format
        if name is None or f".{name.lstrip('.').lower()}" in POINT_SUFFIXES:
            return None
        module = find_format(name)
        if not hasattr(module, "read_points"):
            raise InputError(f"{self.settings_path}: points.format: {name!r} is no format of point clouds.")
        return module

    def _read_raw_cloud(self, name: str) -> PointCloud:
        if name not in self._point_files:
            raise InputError(f"{self._points_folder}: frame {name} has no point cloud here.")
        path, reader = self._point_files[name], self._special_reader()
        if reader is not None:
            points, channels = reader.read_points(path)  # type: ignore[attr-defined]  # as `_special_reader` saw to
            names = tuple("reflectance" if each == "intensity" else each for each in channels)
            return PointCloud(np.asarray(points, np.float32), names)
        return read_point_cloud(path, columns=self.settings.points.columns, dtype=self.settings.points.dtype)

    @cached_property
    def scale(self) -> ReflectanceScale:
        """Full scale of the reflectance: as `dataset.yaml` says, or by frames taken evenly."""
        given = self.settings.sensor.reflectance
        if given is not None:
            return ReflectanceScale(given, FILE)
        names = self.all_names()
        clouds, read = [], []
        for name in names[:: max(len(names) // SAMPLED_FRAMES, 1)][:SAMPLED_FRAMES]:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # said where the frame is read
                    clouds.append(self._read_raw_cloud(name))
                    read.append(self._point_files[name])
            except InputError:
                continue  # said where the frame is checked
        return choose_reflectance_scale(clouds, read)

    def _in_convention(self, raw: PointCloud) -> PointCloud:
        """A point cloud with reflectance of 0..1, in x forward, y left, z up, the ground at its place."""
        cloud, _ = scale_reflectance(raw, self.scale)
        sensor = self.settings.sensor
        if sensor.axes == DEFAULT_AXES and sensor.unit == 1.0 and not self._shift.any():
            return cloud
        places = cloud.points[:, :3].astype(np.float64) * sensor.unit @ self._rotation.T + self._shift
        return PointCloud(np.column_stack((places, cloud.points[:, 3:])), cloud.channels, cloud.notes)

    @cached_property
    def _labels_by_frame(self) -> bool:
        """Tell if there is a label file a frame, and not one for all."""
        if self.settings.labels is None:
            return False
        folder = self.root / self.settings.labels.folder
        if not folder.exists():
            raise InputError(
                f"{self.settings_path}: labels.folder: there is no {folder}. Correct its name, or write `labels: null` "
                "for data without labels."
            )
        if not folder.is_dir():
            return False
        return any((folder / f"{name}{suffix}").is_file() for name in self._point_files for suffix in _LABEL_SUFFIXES)

    @cached_property
    def _label_format(self) -> str | None:
        """Name of the labels' box format; None where it has to be recognised.

        Files without an object fit any format, so the first that has one tells it for all of them.
        """
        settings = self.settings.labels
        assert settings is not None
        if settings.format is not None:
            return _OWN_FORMATS.get(settings.format.lower(), settings.format)
        if not self._labels_by_frame:
            return None
        paths = [path for path in map(self._label_path, self.all_names()) if path.is_file()]
        for path in paths:
            try:
                return recognise_format(path)
            except InputError:
                continue
        return _OWN_FORMATS.get(paths[0].suffix[1:]) if paths else None

    def _label_path(self, name: str) -> Path:
        assert self.settings.labels is not None
        folder = self.root / self.settings.labels.folder
        if not self._labels_by_frame:
            return folder
        paths = [folder / f"{name}{suffix}" for suffix in _LABEL_SUFFIXES]
        return next((path for path in paths if path.is_file()), paths[0])

    def _read_labels(self, name: str) -> Boxes:
        """A frame's labels of the declared classes in x forward, y left, z up; others are counted as passed over."""
        path = self._label_path(name)
        if self._labels_by_frame:
            frames = read_frames(path, self._label_format)
            if name not in frames and len(frames) > 1:
                raise InputError(f"{path}: holds {len(frames)} frames and no {name}. Give each frame its own file.")
            boxes = frames.get(name, next(iter(frames.values()), Boxes.empty()))
        else:
            if self._whole is None:
                self._whole = read_frames(path, self._label_format)
            boxes = self._whole.get(name, Boxes.empty())
        if not np.isfinite(boxes.boxes).all() or np.abs(boxes.boxes).max(initial=0.0) > _LARGEST:
            raise InputError(f"{path}: frame {name}: a box has a number that no object has. Correct or remove it.")
        boxes = boxes.with_columns(names=[self.settings.merge.get(str(each), str(each)) for each in boxes.names])
        return self.from_files(boxes)

    def _frame(self, name: str, cloud: PointCloud, labels: Boxes | None) -> Frame:
        points, boxes, limit = cloud.points, labels, self.settings.sensor.range
        if limit is not None:
            points = points[np.hypot(points[:, 0], points[:, 1]) <= limit]
        if boxes is None:
            return Frame(name, points, cloud.channels, None, None)
        if self.class_names:
            boxes = boxes.of_class(*self.class_names)
        if limit is not None:
            boxes = boxes.select(np.hypot(boxes.boxes[:, 0], boxes.boxes[:, 1]) <= limit)
        counts = count_points_in_boxes(points, boxes.boxes)
        if boxes.difficulty is None or not set(boxes.difficulty.tolist()) <= set(self.difficulties):
            boxes = boxes.with_columns(
                difficulty=[_difficulty(box, n) for box, n in zip(boxes.boxes, counts, strict=True)]
            )
        return Frame(name, points, cloud.channels, boxes.with_columns(points=counts), None)

    def _oddities(self, paths: Sequence[Path], frame: Frame, labelled: int) -> list[Finding]:
        assert frame.boxes is not None
        labels, points = self._place(paths[1]), self._place(paths[0])
        found = []
        report = describe_points(frame.points, (-200, -200, -20, 200, 200, 20), ground=GROUND)
        found += [Finding(WARNING, "units and axes", points, sentence) for sentence in report.findings]
        boxes = frame.boxes
        if labelled > len(boxes):
            message = f"{labelled - len(boxes)} of {labelled} labels are of other classes, or beyond sensor.range."
            found.append(Finding(WARNING, "labels that are left out", labels, message, of_labels=True))
        sizes = boxes.boxes[:, 3:6]
        odd = (sizes < _SIZES[0]).any(axis=1) | (sizes > _SIZES[1]).any(axis=1)
        for row in np.flatnonzero(odd):
            shown = ", ".join(f"{value:g}" for value in sizes[row])
            message = f"a {boxes.names[row]} of {shown} m (length, width, height); is sensor.unit right?"
            found.append(Finding(WARNING, "boxes out of range", labels, message, of_labels=True))
        empty = int((np.asarray(boxes.points) == 0).sum())
        if empty:
            message = f"no point lies in {empty} of {len(boxes)} boxes."
            found.append(Finding(WARNING, "boxes without points", labels, message, of_labels=True))
        return found

    def _check_classes(self) -> list[Finding]:
        """Declared classes that no label has, with the closest name that one has."""
        if not self.class_names or self.settings.labels is None:
            return []
        present: set[str] = set()
        for name in self.all_names():
            try:
                present |= set(self._read_labels(name).names.tolist())
            except InputError:
                continue  # said where the frame is checked
            if set(self.class_names) <= present:
                return []
        return [
            Finding(
                WARNING,
                "classes without labels",
                FILE,
                f"no label is a {name!r}{closest(name, present)}; the labels have {', '.join(sorted(present))}.",
            )
            for name in self.class_names
            if name not in present
        ]

    def _place(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)


def _difficulty(box: np.ndarray, points: int) -> str:
    distance = math.hypot(box[0], box[1])
    return next((name for name, farthest, fewest in LIMITS if distance < farthest and points >= fewest), BEYOND)
