"""`BaseDataSet`: a data set of one's own in Python, of which only names, files and reading have to be written.

`docs/extending.md` has one on a page.
"""

from __future__ import annotations

import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.boxes.difficulty import DIFFICULTIES, difficulty_by_points
from lidar_ebm.datasets.data_set import CheckedFrame
from lidar_ebm.datasets.frame import Frame
from lidar_ebm.datasets.preparation.findings import ERROR, WARNING, Finding, place_of
from lidar_ebm.datasets.stamps import Stamps
from lidar_ebm.errors import InputError
from lidar_ebm.formats.reading import read_frames, write_boxes
from lidar_ebm.formats.text_lists import hint_at_ending, read_names
from lidar_ebm.geometry.counting import count_points_in_boxes
from lidar_ebm.system.files import read_bytes

BOX_SUFFIXES = (".json", ".csv", ".txt", ".xml", ".pkl", ".feather")  # of files of labels or results, one a frame


class BaseDataSet:
    """Frames without a camera, with splits in ROOT/SPLIT.txt, scored by distance and points.

    A data set has to have `all_names`, `input_paths` and `read`; all else may be replaced.

    Args:
        root: the folder.
        prepared: where preparation leaves its files; ROOT/prepared where None.
    """

    kind = "data set of one's own"
    protocol = "distance"
    result_format = "boxes_json"
    results_in_one_file = False
    difficulties: tuple[str, ...] = DIFFICULTIES
    class_names: tuple[str, ...] = ()

    def __init__(self, root: str | Path, prepared: str | Path | None = None) -> None:
        self.root = Path(root)
        self.prepared = self.root / "prepared" if prepared is None else Path(prepared)

    def all_names(self) -> list[str]:
        """Names of all frames that have a point cloud, in alphabetical order."""
        raise NotImplementedError

    def input_paths(self, name: str) -> tuple[Path, ...]:
        """The files that a frame is made of, the point cloud first, whether they exist or not."""
        raise NotImplementedError

    def read(self, name: str, *, with_labels: bool = True) -> Frame:
        """A frame from its own files.

        Raises:
            InputError: a file is missing or damaged.
        """
        raise NotImplementedError

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return tuple(sorted(path.stem for path in self.root.glob("*.txt")))

    def split_path(self, split: str) -> Path:
        """ROOT/SPLIT.txt."""
        return self.root / f"{split}.txt"

    def frame_names(self, split: str) -> list[str]:
        """Names of a split's frames.

        Raises:
            InputError: its file is missing or malformed.
        """
        return read_names(self.split_path(split))

    def required(self, with_labels: bool) -> tuple[int, ...]:
        """Indices of the files without which a frame cannot be read: the point cloud, and the last with labels."""
        paths = self.input_paths("")
        return (0,) if len(paths) == 1 or not with_labels else (0, len(paths) - 1)

    def check_splits(self, wanted: Sequence[str] | None) -> tuple[dict[str, tuple[str, ...]], tuple[Finding, ...]]:
        """The frames of each split as far as they can be read, and what is wrong with them."""
        frames: dict[str, tuple[str, ...]] = {}
        findings: list[Finding] = []
        for split in self.splits if wanted is None else wanted:
            path = self.split_path(split)
            try:
                frames[split] = tuple(self.frame_names(split))
            except InputError as error:
                message = str(error).removeprefix(f"{path}: ")
                findings.append(Finding(ERROR, "unreadable splits", place_of(path, self.root), message))
                continue
            findings += self.check_clouds(split, frames[split])
        return frames, tuple(findings)

    def check_clouds(self, split: str, frames: Sequence[str]) -> list[Finding]:
        """A finding where frames of a split have no point cloud."""
        there = set(self.all_names())
        missing = [name for name in frames if name not in there]
        if not missing:
            return []
        message = f"{len(missing)} of the frames of {split} have no point cloud: {', '.join(missing[:5])}."
        message += hint_at_ending(missing[0], there.__contains__)
        return [Finding(ERROR, "frames without point clouds", place_of(self.split_path(split), self.root), message)]

    def labels(self, name: str) -> Boxes:
        """A frame's labels with the points in them and the difficulty that follows.

        Raises:
            InputError: a file is missing or damaged.
        """
        return self._counted(self.read(name))

    def check(self, name: str, inputs: Stamps) -> CheckedFrame:
        """Read and check a frame, whatever is wrong with it."""
        cloud = self.input_paths(name)[0]
        place, findings = place_of(cloud, self.root), []
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                frame = self.read(name)
            said = [str(each.message).removeprefix(f"{cloud}: ") for each in caught]
            findings += [Finding(WARNING, "odd files", place, message) for message in said]
        except InputError as error:
            finding = Finding(ERROR, "unreadable frames", place, str(error).removeprefix(f"{cloud}: "))
            return CheckedFrame(None, np.zeros(0, np.int64), 0, 0, {}, (finding,))
        boxes = self._counted(frame)
        counts = boxes.columns()["points"]
        empty = int((counts == 0).sum())
        if empty:
            message = f"no point lies in {empty} of {len(boxes)} boxes."
            findings.append(Finding(WARNING, "boxes without points", place, message, of_labels=True))
        frame = Frame(frame.name, frame.points, frame.channels, boxes, frame.camera)
        checksum = zlib.crc32(read_bytes(cloud))
        return CheckedFrame(frame, counts, len(frame.points), checksum, Counter(boxes.names.tolist()), tuple(findings))

    def compare(self, frames: Mapping[str, Stamps], *, named: bool) -> Iterable[Finding]:
        """Point clouds that belong to no frame of a split."""
        left = sorted(set(self.all_names()) - set(frames)) if named else []
        if left:
            message = f"{len(left)} files of frames that no checked split names, {left[0]} the first of them."
            place = place_of(self.input_paths(left[0])[0].parent, self.root)
            yield Finding(WARNING, "files that no split names", place, message)

    def write_results(self, folder: Path, results: Mapping[str, Boxes]) -> None:
        """Write detections as FOLDER/data/NAME.json, in the files' own frame.

        Raises:
            OutputError: a file cannot be written.
        """
        for name, boxes in results.items():
            write_boxes(folder / "data" / f"{name}.json", {name: self.to_files(boxes)}, self.result_format)

    def as_written(self, boxes: Boxes) -> Boxes:
        """Detections of a frame as `write_results` writes them: as they are."""
        return boxes

    def read_results(self, folder: Path, name: str) -> Boxes | None:
        """The detections of a frame in FOLDER or FOLDER/data, of any format; None where there are none.

        Raises:
            InputError: the file is damaged.
        """
        for place in (folder, folder / "data"):
            for path in (place / f"{name}{suffix}" for suffix in BOX_SUFFIXES):
                if path.is_file():
                    frames = read_frames(path)
                    boxes = frames.get(name, next(iter(frames.values()), Boxes.empty(scores=True)))
                    return self.from_files(boxes)
        return None

    def from_files(self, boxes: Boxes) -> Boxes:
        """Boxes of the files' own frame in the LiDAR frame: the same, where there is no other."""
        return boxes

    def to_files(self, boxes: Boxes) -> Boxes:
        """The inverse of `from_files`."""
        return boxes

    def difficulty(self, box: np.ndarray, points: int) -> str:
        """The word of `difficulties` for a label: its box [7], and the points in it."""
        return difficulty_by_points(box, points)

    def add_counts(self, boxes: Boxes, counts: np.ndarray) -> Boxes:
        """Labels with the points in them [M], and with a difficulty where they have none of these words."""
        if boxes.difficulty is None or not set(boxes.difficulty.tolist()) <= set(self.difficulties):
            words = [self.difficulty(box, n) for box, n in zip(boxes.boxes, counts, strict=True)]
            boxes = boxes.with_columns(difficulty=words)
        return boxes.with_columns(points=counts)

    def _counted(self, frame: Frame) -> Boxes:
        boxes = Boxes.empty() if frame.boxes is None else frame.boxes
        return self.add_counts(boxes, count_points_in_boxes(frame.points, boxes.boxes))
