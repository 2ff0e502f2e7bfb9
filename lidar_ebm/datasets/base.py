"""`BaseDataSet`: a data set of one's own in Python, of which only names, files and reading have to be written.

`docs/extending.md` has one on a page.
"""

from __future__ import annotations

import math
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.data_set import CheckedFrame
from lidar_ebm.datasets.frame import Frame
from lidar_ebm.datasets.preparation.findings import ERROR, WARNING, Finding
from lidar_ebm.datasets.stamps import Stamps
from lidar_ebm.errors import InputError
from lidar_ebm.formats.reading import read_frames, write_boxes
from lidar_ebm.formats.text_lists import read_names
from lidar_ebm.geometry.counting import count_points_in_boxes
from lidar_ebm.system.files import read_bytes

# Of near, middle and far: distance below, in m, and smallest number of points.
LIMITS = (("near", 30.0, 50), ("middle", 50.0, 20), ("far", 80.0, 5))
BEYOND = "beyond"
RESULT_SUFFIXES = (".json", ".csv", ".txt", ".xml", ".pkl", ".feather")


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
    difficulties: tuple[str, ...] = (*(name for name, _, _ in LIMITS), BEYOND)
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
        findings = []
        there = set(self.all_names())
        for split in self.splits if wanted is None else wanted:
            place = self.split_path(split)
            try:
                frames[split] = tuple(self.frame_names(split))
            except InputError as error:
                message = str(error).removeprefix(f"{place}: ")
                findings.append(Finding(ERROR, "unreadable splits", place.name, message))
                continue
            missing = [name for name in frames[split] if name not in there]
            if missing:
                message = f"{len(missing)} of its frames have no point cloud: {', '.join(missing[:5])}."
                findings.append(Finding(ERROR, "frames without point clouds", place.name, message))
        return frames, tuple(findings)

    def labels(self, name: str) -> Boxes:
        """A frame's labels with the points in them and the difficulty that follows.

        Raises:
            InputError: a file is missing or damaged.
        """
        return self._counted(self.read(name))

    def check(self, name: str, inputs: Stamps) -> CheckedFrame:
        """Read and check a frame, whatever is wrong with it."""
        cloud = self.input_paths(name)[0]
        findings = []
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                frame = self.read(name)
            findings += [Finding(WARNING, "odd files", str(cloud.name), str(each.message)) for each in caught]
        except InputError as error:
            finding = Finding(ERROR, "unreadable frames", cloud.name, str(error))
            return CheckedFrame(None, np.zeros(0, np.int64), 0, 0, {}, (finding,))
        boxes = self._counted(frame)
        counts = boxes.columns()["points"]
        empty = int((counts == 0).sum())
        if empty:
            message = f"no point lies in {empty} of {len(boxes)} boxes."
            findings.append(Finding(WARNING, "boxes without points", cloud.name, message, of_labels=True))
        frame = Frame(frame.name, frame.points, frame.channels, boxes, frame.camera)
        checksum = zlib.crc32(read_bytes(cloud))
        return CheckedFrame(frame, counts, len(frame.points), checksum, Counter(boxes.names.tolist()), tuple(findings))

    def compare(self, frames: Mapping[str, Stamps], *, named: bool) -> Iterable[Finding]:
        """Point clouds that belong to no frame of a split."""
        left = sorted(set(self.all_names()) - set(frames)) if named else []
        if left:
            message = f"{len(left)} files of frames that no checked split names, {left[0]} the first of them."
            yield Finding(WARNING, "files that no split names", str(self.root), message)

    def write_results(self, folder: Path, results: Mapping[str, Boxes]) -> None:
        """Write detections as FOLDER/data/NAME.json.

        Raises:
            OutputError: a file cannot be written.
        """
        for name, boxes in results.items():
            write_boxes(folder / "data" / f"{name}.json", {name: boxes}, self.result_format)

    def read_results(self, folder: Path, name: str) -> Boxes | None:
        """The detections of a frame in FOLDER or FOLDER/data, of any format; None where there are none.

        Raises:
            InputError: the file is damaged.
        """
        for place in (folder, folder / "data"):
            for path in (place / f"{name}{suffix}" for suffix in RESULT_SUFFIXES):
                if path.is_file():
                    frames = read_frames(path)
                    return frames.get(name, next(iter(frames.values()), Boxes.empty(scores=True)))
        return None

    def _counted(self, frame: Frame) -> Boxes:
        """The labels of a frame with the points in them, and with a difficulty where they have none of these words."""
        boxes = Boxes.empty() if frame.boxes is None else frame.boxes
        counts = count_points_in_boxes(frame.points, boxes.boxes)
        if boxes.difficulty is None or not set(boxes.difficulty.tolist()) <= set(self.difficulties):
            words = [difficulty_by_points(box, n) for box, n in zip(boxes.boxes, counts, strict=True)]
            boxes = boxes.with_columns(difficulty=words)
        return boxes.with_columns(points=counts)


def difficulty_by_points(box: np.ndarray, points: int) -> str:
    """The first word of `LIMITS` whose distance and points a box [7] keeps within."""
    distance = math.hypot(box[0], box[1])
    return next((name for name, farthest, fewest in LIMITS if distance < farthest and points >= fewest), BEYOND)
