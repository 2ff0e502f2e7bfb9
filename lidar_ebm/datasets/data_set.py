"""`DataSet`: where the frames of all splits are, and how one of them is read and checked.

A data set of a new kind is one module with a class of this form. Splits of it (`Frames`), preparation, training,
evaluation and pictures then take it as they take any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.frame import Frame
from lidar_ebm.datasets.preparation.findings import Finding
from lidar_ebm.datasets.stamps import Stamps


@dataclass(frozen=True, eq=False)
class CheckedFrame:
    """A frame as far as it can be read, and all that is wrong or odd in its files."""

    frame: Frame | None  # with the boxes that lie in space; None where it cannot be used
    point_counts: np.ndarray  # [M] int64 points in each of its boxes
    points_read: int  # in the file or files, those that are not finite among them
    checksum: int  # of the point cloud's bytes
    labels: Mapping[str, int]  # labels by class name, regions without a box among them
    findings: tuple[Finding, ...]
    clouds: int = 1  # point clouds that the frame is made of


class DataSet(Protocol):
    """Frames on disk, with named splits."""

    root: Path
    prepared: Path  # folder of what preparation makes
    kind: str  # one line for people
    protocol: str  # that scores it by default: a name of `lidar_ebm.evaluation`
    result_format: str  # box format (`lidar_ebm.formats`) that its results are written in
    results_in_one_file: bool  # results of all frames are one file, not one file each
    difficulties: tuple[str, ...]  # words of `Boxes.difficulty`, the easiest first; the last is beyond all

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes that the data set declares; empty where nobody declared any."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of its splits."""

    def split_path(self, split: str) -> Path:
        """The file that says which frames a split has, to be named in messages."""

    def frame_names(self, split: str) -> list[str]:
        """Names of a split's frames, in its order.

        Raises:
            InputError: there is no such split, or it is malformed.
        """

    def all_names(self) -> list[str]:
        """Names of all frames that have a point cloud, in alphabetical order or that of time."""

    def input_paths(self, name: str) -> tuple[Path, ...]:
        """The files that a frame is made of, the point cloud first, whether they exist or not."""

    def required(self, with_labels: bool) -> tuple[int, ...]:
        """Indices of those of `input_paths` without which a frame cannot be read."""

    def check_splits(self, wanted: Sequence[str] | None) -> tuple[dict[str, tuple[str, ...]], tuple[Finding, ...]]:
        """The frames of each wanted split (None: of all) as far as they can be read, and what is wrong with them."""

    def read(self, name: str, *, with_labels: bool = True) -> Frame:
        """A frame from its own files: points (in the camera's view, where labels are of that alone), boxes in space of
        every class with `points` and `difficulty` where these are known, camera.

        Raises:
            InputError: a file is missing or cannot be used.
        """

    def labels(self, name: str) -> Boxes:
        """A frame's labels as scoring needs them: regions in which nothing is counted too, with NaN for a box.

        Raises:
            InputError: the file is missing or cannot be used.
        """

    def check(self, name: str, inputs: Stamps) -> CheckedFrame:
        """Read and check a frame, whatever is wrong with it."""

    def compare(self, frames: Mapping[str, Stamps], *, named: bool) -> Iterable[Finding]:
        """Find what is odd in the files of a frame beside those of all others.

        Args:
            frames: stamps of the `input_paths` of all frames that were checked, by name.
            named: they are those of splits, so that a file of another frame belongs to none.
        """

    def write_results(self, folder: Path, results: Mapping[str, Boxes]) -> None:
        """Write detections of frames into a folder, in `result_format` and the frame of the data set's own labels.

        Raises:
            InputError, OutputError: they cannot be written.
        """

    def as_written(self, boxes: Boxes) -> Boxes:
        """Detections of a frame, LiDAR frame, as `write_results` writes them: with what they lack, without too many."""

    def read_results(self, folder: Path, name: str) -> Boxes | None:
        """The detections of a frame that any program left in a folder, in the LiDAR frame; None where there are none.

        Raises:
            InputError: the file cannot be used.
        """
