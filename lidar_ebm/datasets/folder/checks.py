"""Checking a folder of one's own: what is wrong or odd in point clouds, labels and class names."""

from __future__ import annotations

import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.data_set import CheckedFrame
from lidar_ebm.datasets.folder.clouds import CloudFiles
from lidar_ebm.datasets.folder.label_files import LabelFiles
from lidar_ebm.datasets.folder.settings import FILE
from lidar_ebm.datasets.frame import GROUND, Frame
from lidar_ebm.datasets.preparation.findings import ERROR, WARNING, Finding, place_of
from lidar_ebm.datasets.stamps import Stamps, is_file
from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import closest
from lidar_ebm.formats.point_clouds import PointCloud, describe_points
from lidar_ebm.system.files import read_bytes

_SIZES = (0.05, 50.0)  # m, of objects; what is beyond is said, and used all the same


class FolderCheck:
    """Checks of a folder's files.

    Args:
        root: of the data set.
        clouds: its point clouds.
        labels: its labels; None where it has none.
        frame: makes a frame of a name, a point cloud and all of its labels.
    """

    def __init__(
        self,
        root: Path,
        clouds: CloudFiles,
        labels: LabelFiles | None,
        frame: Callable[[str, PointCloud, Boxes | None], Frame],
    ) -> None:
        self._root, self._clouds, self._labels, self._frame = root, clouds, labels, frame

    def check(self, name: str, inputs: Stamps) -> CheckedFrame:
        """Read and check a frame, whatever is wrong with it.

        Args:
            inputs: stamps of its point cloud and its labels.
        """
        cloud, checksum, findings = self._check_cloud(name)
        boxes = Boxes.empty()
        if self._labels is not None:
            boxes, of_labels = self._check_labels(self._labels, name, inputs)
            findings += of_labels
        frame = None if cloud is None else self._frame(name, cloud, boxes)
        counts = np.zeros(0, np.int64)
        if frame is not None and frame.boxes is not None:
            counts = np.asarray(frame.boxes.points)
            findings += self._oddities(frame, frame.boxes, len(boxes))
        read = 0 if cloud is None else len(cloud)
        return CheckedFrame(frame, counts, read, checksum, Counter(boxes.names.tolist()), tuple(findings))

    def check_classes(self, classes: Sequence[str]) -> list[Finding]:
        """Declared classes that no label has, with the closest name that one has."""
        if not classes or self._labels is None:
            return []
        present: set[str] = set()
        for name in self._clouds.names:
            try:
                present |= set(self._labels.read(name).names.tolist())
            except InputError:
                continue  # said where the frame is checked
            if set(classes) <= present:
                return []
        return [
            Finding(
                WARNING,
                "classes without labels",
                FILE,
                f"no label is a {name!r}{closest(name, present)}; the labels have {', '.join(sorted(present))}.",
            )
            for name in classes
            if name not in present
        ]

    def _check_cloud(self, name: str) -> tuple[PointCloud | None, int, list[Finding]]:
        """A point cloud as far as it can be used, the checksum of its file, and what is wrong with it."""
        path, place = self._clouds.path(name), self._place(self._clouds.path(name))
        findings: list[Finding] = []
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                raw = self._clouds.read_raw(name)
                cloud = self._clouds.from_files(raw)
            checksum = zlib.crc32(read_bytes(path))
        except InputError as error:
            message = str(error).removeprefix(f"{path}: ")
            return None, 0, [Finding(ERROR, "unreadable point clouds", place, message)]
        for each in caught:
            findings.append(Finding(WARNING, "point clouds", place, str(each.message).removeprefix(f"{path}: ")))
        scale = self._clouds.scale
        clipped = 0 if raw.reflectance is None else scale.apply(raw.reflectance)[1]
        if clipped:
            message = f"{clipped} reflectances lie outside 0 to {scale.full_scale:g}, and are clipped."
            findings.append(Finding(WARNING, "reflectance out of range", place, message))
        return cloud, checksum, findings

    def _check_labels(self, labels: LabelFiles, name: str, inputs: Stamps) -> tuple[Boxes, list[Finding]]:
        path = labels.path(name)
        try:
            if labels.by_frame and not is_file(inputs[1]):
                raise InputError(f"{path}: no such file. A frame without objects has an empty list of boxes.")
            return labels.read(name), []
        except InputError as error:
            message = str(error).removeprefix(f"{path}: ")
            finding = Finding(ERROR, "unreadable labels", self._place(path), message, of_labels=True)
            return Boxes.empty(), [finding]

    def _oddities(self, frame: Frame, boxes: Boxes, labelled: int) -> list[Finding]:
        """Odd things in the numbers of a frame, of whose labels `labelled` stood in the file."""
        place = self._place(self._clouds.path(frame.name))
        report = describe_points(frame.points, (-200, -200, -20, 200, 200, 20), ground=GROUND)
        odd = [Finding(WARNING, "units and axes", place, sentence) for sentence in report.findings]
        if self._labels is None:
            return odd
        place = self._place(self._labels.path(frame.name))
        if labelled > len(boxes):
            message = f"{labelled - len(boxes)} of {labelled} labels are of other classes, or beyond sensor.range."
            odd.append(Finding(WARNING, "labels that are left out", place, message, of_labels=True))
        sizes = boxes.boxes[:, 3:6]
        for row in np.flatnonzero((sizes < _SIZES[0]).any(axis=1) | (sizes > _SIZES[1]).any(axis=1)):
            shown = ", ".join(f"{value:g}" for value in sizes[row])
            message = f"a {boxes.names[row]} of {shown} m (length, width, height); is sensor.unit right?"
            odd.append(Finding(WARNING, "boxes out of range", place, message, of_labels=True))
        empty = int((np.asarray(boxes.points) == 0).sum())
        if empty:
            message = f"no point lies in {empty} of {len(boxes)} boxes."
            odd.append(Finding(WARNING, "boxes without points", place, message, of_labels=True))
        return odd

    def _place(self, path: Path) -> str:
        return place_of(path, self._root)
