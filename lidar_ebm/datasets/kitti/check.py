"""Check of the files of one frame: all that is wrong or odd in them, not the first thing alone."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from lidar_ebm.datasets.kitti.layout import INPUTS, input_path, needed_inputs
from lidar_ebm.datasets.kitti.raw_frame import format_triple, frame_calibration, frame_image_size, has_box, is_sane
from lidar_ebm.datasets.preparation.findings import ERROR, WARNING, Finding
from lidar_ebm.datasets.stamps import Stamps, is_file
from lidar_ebm.errors import InputError
from lidar_ebm.formats.image_size import find_image
from lidar_ebm.formats.kitti.calibration import FIXED_AXES, Calibration
from lidar_ebm.formats.kitti.difficulty import has_image_box
from lidar_ebm.formats.kitti.files import parse_labels, read_bytes, read_points
from lidar_ebm.formats.kitti.label import Label
from lidar_ebm.formats.point_clouds.reflectance import ReflectanceScale
from lidar_ebm.formats.text_lists import decode_text, hint_at_ending
from lidar_ebm.geometry.camera import Camera
from lidar_ebm.geometry.projection import clip_to_image, project_boxes
from lidar_ebm.system.words import count_of

# What objects and clouds are within, with room to spare. What is beyond is said, and used all the same.
_SIZES = (0.1, 50.0)  # m
_FARTHEST_OBJECT = 200.0  # m
_FARTHEST_POINT = 1000.0  # m
_MAX_AT_ORIGIN = 0.01  # of the points; there is none where something stands, but gaps in a copied file are zeros
_MIN_IMAGE_OVERLAP = 0.1  # of a label's 2-D box with its 3-D box in the image; most are above 0.7
_JUDGED_TRUNCATION = 0.3  # up to here; what is largely outside of the image is drawn in many ways
_ROTATION_TOLERANCE = 0.01
_LARGEST_SHIFT = 10.0  # m, between camera and LiDAR
_ODD_CALIBRATIONS = "odd calibrations"

_IMAGE_END = b"\0\0\0\0IEND\xaeB`\x82"


@dataclass
class FrameCheck:
    """The content of one frame's files as far as they can be read, and what was found on the way."""

    root: Path
    name: str
    inputs: Stamps
    lidar_only: bool
    scale: ReflectanceScale
    findings: list[Finding] = field(default_factory=list)
    points: np.ndarray | None = None  # [N, 4] float32, finite ones
    points_read: int = 0
    points_checksum: int = 0  # of the file's bytes
    calibration: Calibration | None = None
    camera: Camera | None = None
    _image_size: tuple[int, int] | None = None
    labels: list[Label] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)  # of the labels

    def read(self) -> None:
        """Read and check every file by itself."""
        for folder in INPUTS:
            stamp = self.inputs[INPUTS.index(folder)]
            if stamp is None:
                if folder in needed_inputs(self.lidar_only, with_labels=True):
                    hint = hint_at_ending(self.name, partial(self._is_there, folder))
                    self._say(ERROR, f"missing files in {folder}", folder, _MISSING[folder] + hint)
            elif not is_file(stamp):
                self._say(ERROR, "no files", folder, "this is no file. Remove it and copy the file here.")
            else:
                {
                    "velodyne": self._read_points,
                    "calib": self._read_calibration,
                    "label_2": self._read_labels,
                    "image_2": self._read_image,
                }[folder]()
        if self.lidar_only:
            self.calibration = FIXED_AXES
        elif self.calibration is not None:
            self._judge_calibration(self.calibration)
            try:
                self.camera = self.calibration.camera(self._image_size)
            except InputError as error:
                self._say(ERROR, "unusable calibrations", "calib", str(error))

    def _is_there(self, folder: str, name: str) -> bool:
        return input_path(self.root, folder, name).is_file()

    def check_kept(self, kept: np.ndarray) -> None:
        """Say where no point [N, 4] is left of a file that has some: nothing could be found or learnt there."""
        if self.points is None or not self.points_read or len(kept):
            return
        if not len(self.points):
            message = f"none of {self.points_read} points is finite. Copy the file again."
            self._say(ERROR, "no finite point", "velodyne", message)
            return
        odd = any(finding.kind == _ODD_CALIBRATIONS for finding in self.findings)
        self._say(
            ERROR,
            "no point in the camera's view",
            "calib" if odd else "velodyne",  # the one to be looked at
            f"none of {len(self.points)} points is in the camera's view: are the calibration and the image's size this "
            "camera's, and does x point forward?",
        )

    def check_objects(self, boxes: np.ndarray, counts: np.ndarray) -> None:
        """Compare the labels that have a box in space with their boxes [M, 7] and the number of points [M] in them."""
        rows = [index for index, label in enumerate(self.labels) if has_box(label)]
        if rows and self.points is not None and not len(self.points):
            self._say(
                WARNING,
                "empty point clouds with labels",
                "velodyne",
                f"no point, but {len(rows)} labelled objects; the file was probably cut short. Copy it again.",
            )
            return
        for row in (row for row, count in zip(rows, counts, strict=True) if count == 0):
            self._say_label(WARNING, "boxes without points", row, f"no point lies in this {self.labels[row].type}.")
        if self.camera is None or not rows:
            return
        shown = clip_to_image(np.nan_to_num(project_boxes(boxes, self.camera)), self.camera.image_size)
        for row, rectangle in zip(rows, shown, strict=True):
            label = self.labels[row]
            if has_image_box(label) and 0 <= label.truncated <= _JUDGED_TRUNCATION:
                overlap = _rectangle_overlap(rectangle, np.array(label.bbox))
                if overlap < _MIN_IMAGE_OVERLAP:
                    self._say_label(
                        WARNING,
                        "2-D and 3-D boxes that do not fit",
                        row,
                        f"the 3-D box of this {label.type} is elsewhere in the image (overlap {overlap:.2f}) than its "
                        "2-D box; is the calibration or the label file that of another frame?",
                    )

    def _read_points(self) -> None:
        path = input_path(self.root, "velodyne", self.name)
        try:
            content = read_bytes(path)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # points that are not finite are counted here
                points = read_points(path)
        except InputError as error:
            self._say(ERROR, "unreadable point clouds", "velodyne", _without_place(error, path))
            return
        self.points, self.points_read = points, len(content) // 16
        self.points_checksum = zlib.crc32(content)
        dropped = self.points_read - len(points)
        if dropped:
            message = f"{dropped} of {self.points_read} points are NaN or infinite and are left out."
            self._say(WARNING, "points that are not finite", "velodyne", message)
        far = int((np.abs(points[:, :3]) > _FARTHEST_POINT).any(axis=1).sum())
        if far:
            message = f"{far} of {self.points_read} points are farther than {_FARTHEST_POINT:g} m; is it in metres?"
            self._say(WARNING, "points out of range", "velodyne", message)
        origin = int((points[:, :3] == 0).all(axis=1).sum())
        if origin > _MAX_AT_ORIGIN * self.points_read:
            message = f"{origin} of {self.points_read} points are zeros: a gap in the file, or rays without an echo."
            self._say(WARNING, "points at the sensor itself", "velodyne", message)
        points[:, 3], clipped = self.scale.apply(points[:, 3])
        if clipped:
            message = f"{clipped} reflectances lie outside 0 to {self.scale.full_scale:g}, and are clipped."
            self._say(WARNING, "reflectance out of range", "velodyne", message)

    def _read_calibration(self) -> None:
        if self.lidar_only:
            return
        try:
            self.calibration = frame_calibration(self.root, self.name, lidar_only=False)
        except InputError as error:
            place = input_path(self.root, "calib", self.name)
            self._say(ERROR, "unusable calibrations", "calib", _without_place(error, place))
            return

    def _judge_calibration(self, calibration: Calibration) -> None:
        """Say what no camera on a car has."""
        odd = []
        for key, matrix in (("R0_rect", calibration.r0_rect), ("Tr_velo_to_cam", calibration.tr_velo_to_cam)):
            rotation = matrix[:, :3]
            off = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
            if off > _ROTATION_TOLERANCE or np.linalg.det(rotation) < 0:
                odd.append(f"{key} holds no rotation (off by {off:.2g}).")
        shift = float(np.abs(calibration.tr_velo_to_cam[:, 3]).max())
        if shift > _LARGEST_SHIFT:
            odd.append(f"Tr_velo_to_cam puts the camera {shift:g} m away from the LiDAR; is it in metres?")
        p2 = calibration.p2
        focal = (p2[0, 0], p2[1, 1])
        if min(focal) <= 0 or max(focal) > 1.5 * min(focal) or np.abs(p2[2, :3] - (0, 0, 1)).max() > 1e-3:
            odd.append("P2 is not the projection of an upright, unskewed camera.")
        for message in odd:
            self._say(WARNING, _ODD_CALIBRATIONS, "calib", message)

    def _read_image(self) -> None:
        try:
            self._image_size = frame_image_size(self.root, self.name)
        except InputError as error:
            path = find_image(self.root / "training" / "image_2", self.name)
            self._say(ERROR, "unreadable images", "image_2", str(error).removeprefix(f"{path}: "))
            return
        path = input_path(self.root, "image_2", self.name)
        if not path.is_file():  # of another kind, whose end is not looked at
            return
        with path.open("rb") as file:
            header = file.read(33)
            file.seek(max(0, path.stat().st_size - len(_IMAGE_END)))
            end = file.read()
        if zlib.crc32(header[12:29]).to_bytes(4, "big") != header[29:33]:
            message = "the image's size was damaged (wrong checksum). Copy the file again, or remove it."
            self._say(ERROR, "unreadable images", "image_2", message)
        elif end != _IMAGE_END:
            message = "the image is cut short; only its size is used. Copy it again."
            self._say(WARNING, "incomplete images", "image_2", message)

    def _read_labels(self) -> None:
        path = input_path(self.root, "label_2", self.name)
        try:
            text = decode_text(read_bytes(path), path)
        except InputError as error:
            self._say(ERROR, "unreadable labels", "label_2", _without_place(error, path))
            return
        seen: dict[str, int] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip():
                continue
            try:
                (label,) = parse_labels(line, "line", types=None)
            except InputError as error:
                message = str(error).removeprefix("line:1: ")
                self._say(ERROR, "malformed label lines", "label_2", message, number)
                continue
            if line in seen:
                self._say(WARNING, "repeated labels", "label_2", f"the same as line {seen[line]}.", number)
            seen.setdefault(line, number)
            self.labels.append(label)
            self.lines.append(number)
            for severity, kind, message in _oddities(label):
                self._say(severity, kind, "label_2", message, number)
        if text and text[-1] not in "\r\n":
            message = "the last line has no end; the file may be cut short."
            self._say(WARNING, "label files without an end", "label_2", message, len(text.splitlines()))
        scored = [line for line, label in zip(self.lines, self.labels, strict=True) if label.score is not None]
        if scored:
            message = f"{count_of(len(scored), 'label')} with a score: is this a result file?"
            self._say(WARNING, "results in place of labels", "label_2", message, scored[0])

    def _say(self, severity: str, kind: str, folder: str, message: str, line: int | None = None) -> None:
        place = input_path(self.root, folder, self.name).relative_to(self.root).as_posix()
        where = place if line is None else f"{place}:{line}"
        self.findings.append(Finding(severity, kind, where, message, of_labels=folder == "label_2"))

    def _say_label(self, severity: str, kind: str, row: int, message: str) -> None:
        self._say(severity, kind, "label_2", message, self.lines[row])


_MISSING = {
    "velodyne": "no such file. Copy it there, or take the frame out of the split.",
    "calib": "no such file. Copy it there, or take the frame out of the split; LiDAR-only data have no folder calib.",
    "label_2": "no such file. Copy it there; a frame without objects has an empty one.",
}


def _oddities(label: Label) -> Iterator[tuple[str, str, str]]:
    """Severity, kind and message of what is wrong or odd in a label by itself."""
    if label.type == "DontCare":
        return
    if not has_box(label):
        yield WARNING, "labels without a box in space", f"this {label.type} has no sizes above 0; it is left out."
    elif not is_sane(label):
        where = f"{format_triple(label.dimensions)} m (height, width, length) at {format_triple(label.location)} m"
        yield ERROR, "boxes out of any range", f"a {label.type} of {where}. Correct or remove the line."
    else:
        if min(label.dimensions) < _SIZES[0] or max(label.dimensions) > _SIZES[1]:
            sizes = format_triple(label.dimensions)
            yield WARNING, "boxes out of range", f"a {label.type} of {sizes} m (height, width, length)."
        if max(map(abs, label.location)) > _FARTHEST_OBJECT:
            yield WARNING, "boxes out of range", f"a {label.type} at {format_triple(label.location)} m."
        if abs(label.rotation_y) > 2 * np.pi + 0.01:
            yield WARNING, "angles out of range", f"rotation_y is {label.rotation_y:g}; radians are expected."
    if label.occluded not in (-1, 0, 1, 2, 3):
        yield WARNING, "odd label fields", f"occluded is {label.occluded}; 0 to 3 is expected, -1 if unknown."
    if label.truncated != -1 and not 0 <= label.truncated <= 1:
        yield WARNING, "odd label fields", f"truncated is {label.truncated:g}; 0 to 1 is expected, -1 if unknown."
    x1, y1, x2, y2 = label.bbox
    if x2 < x1 or y2 < y1:
        yield WARNING, "odd label fields", "the 2-D box ends before it begins."


def _without_place(error: InputError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")


def _rectangle_overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two rectangles (x1, y1, x2, y2)."""
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    intersection = float(np.prod(np.clip(high - low, 0, None)))
    union = float(np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2])) - intersection
    return intersection / union if union > 0 else 0.0
