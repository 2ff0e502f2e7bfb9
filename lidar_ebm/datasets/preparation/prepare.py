"""Preparing a data set: every file checked, point clouds cropped to the camera's view, labelled objects cut out.

ROOT/prepared/report.txt                    all that was found
ROOT/prepared/index.json                    what every frame was made of, and by which version
ROOT/prepared/frames/NAME.safetensors       cropped points, boxes, the points in each box
ROOT/prepared/label_database.safetensors    the objects of the train split
"""

from __future__ import annotations

import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from lidar_ebm import __version__
from lidar_ebm.datasets.kitti.check import FrameCheck
from lidar_ebm.datasets.kitti.difficulty import DIFFICULTY_NAMES, difficulties
from lidar_ebm.datasets.kitti.layout import INPUTS, SUFFIXES, input_path, is_lidar_only, prepared_folder, stamp_inputs
from lidar_ebm.datasets.kitti.raw_frame import boxes_in_space, crop_to_view, is_sane
from lidar_ebm.datasets.kitti.splits import check_splits
from lidar_ebm.datasets.preparation.findings import WARNING, Finding
from lidar_ebm.datasets.preparation.index import fingerprint, read_index, write_if_changed, write_index
from lidar_ebm.datasets.preparation.label_database import FILE, SPLIT, LabelDatabase, write_label_database
from lidar_ebm.datasets.preparation.prepared_frame import (
    FrameRecord,
    PreparedFrame,
    prepared_path,
    read_objects,
    read_record,
    write_prepared,
)
from lidar_ebm.datasets.preparation.report import PrepareReport, report_text
from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.label import KITTI_TYPES
from lidar_ebm.geometry.boxes import points_in_boxes
from lidar_ebm.system.worker_pool import in_processes

Progress = Callable[[int, int], None]
"""Called with the number of frames that are done and the number of all."""

_FRAMES_A_TASK = 8
_FRAMES_A_WORKER = 1000  # a process takes as long to start as some hundred frames to prepare
_LEAST_SHARE_OF_MEDIAN = 0.25  # of the points of a frame; below, its file was probably cut short


def prepare(
    data: str | os.PathLike[str],
    *,
    workers: int | None = None,
    splits: Sequence[str] | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> PrepareReport:
    """Check a data set in KITTI's layout and prepare it for training, into DATA/prepared.

    Whatever is wrong in the data set is in the report, all of it; it is written to DATA/prepared/report.txt, too.
    Frames that were prepared of the same files (by size and time of change) are kept after a check of their content, so
    a second call does nothing but check, and one after an interruption goes on.

    Args:
        data: folder in KITTI's layout.
        workers: processes that work at a time; by default as many as processors, if there is enough to do for them. As
            processes are started afresh ("spawn"), a script that calls this with more than one worker needs the usual
            `if __name__ == "__main__":`.
        splits: names of files in `ImageSets`; all by default, without `test` where it lists frames that are elsewhere.
            Where there is no split at all, every point cloud is checked and prepared.
        force: prepare every frame anew.
        progress: called now and then with (frames that are done, frames).

    Raises:
        InputError: `data` is no folder with point clouds in training/velodyne, or an argument makes no sense.
        OutputError: a file cannot be written.
    """
    began = time.monotonic()
    root = Path(data)
    if workers is not None and workers < 1:
        raise InputError(f"workers is {workers}; give a number of at least 1.")
    velodyne = root / "training" / "velodyne"
    if not velodyne.is_dir():
        raise InputError(f"{velodyne}: no such folder. Give a data set in KITTI's layout (data/README.md shows it).")
    lidar_only = is_lidar_only(root)
    found = check_splits(root, [splits] if isinstance(splits, str) else splits)
    names = found.all_frames() or ([] if found.frames else _clouds(root))

    records = _prepare_frames(root, lidar_only, names, workers, force, progress)
    kept = sum(1 for fresh, record in records.values() if not fresh and not record.failed)
    frames = [records[name][1] for name in names]
    _write_merged_index(root, lidar_only, frames)
    train = found.frames.get(SPLIT, ())
    database = _update_database(root, train, {record.name: record for record in frames}) if train else None

    usable = [record for record in frames if not record.failed]
    counts = Counter({name: sum(record.objects.get(name, 0) for record in usable) for name in KITTI_TYPES})
    report = PrepareReport(
        root=root,
        version=__version__,
        lidar_only=lidar_only,
        splits={name: len(members) for name, members in found.frames.items()},
        made=len(usable) - kept,
        kept=kept,
        failed=len(frames) - len(usable),
        points_read=sum(record.points_read for record in usable),
        points_kept=sum(record.points_kept for record in usable),
        objects={name: count for name, count in counts.items() if count},
        without_objects=sum(1 for record in usable if not set(record.objects) - {"DontCare"}),
        database={} if database is None else _count_objects(database),
        findings=(*found.findings, *_compare_frames(root, frames, named=bool(found.frames)), *_all_findings(frames)),
        seconds=time.monotonic() - began,
    )
    write_if_changed(prepared_folder(root) / "report.txt", report_text(report))
    return report


def prepare_frame(root: Path, name: str, *, lidar_only: bool) -> FrameRecord:
    """Check one frame and, unless there are errors, write its prepared file.

    Raises:
        OutputError: the file cannot be written.
    """
    (inputs,) = stamp_inputs(root, [name])
    check = FrameCheck(root, name, inputs, lidar_only)
    check.read()
    points = np.empty((0, 4), np.float32)
    frame = None
    if check.points is not None and check.calibration is not None and all(map(is_sane, check.labels)):
        try:
            points = crop_to_view(root, name, check.points, check.calibration, lidar_only=lidar_only)
        except InputError:
            points = check.points  # the image is damaged, and found to be already
        check.check_kept(points)
        labels, boxes = boxes_in_space(check.labels, check.calibration, input_path(root, "label_2", name))
        inside = points_in_boxes(points, boxes)  # [N, M]
        object_counts = inside.sum(axis=0).astype(np.int64)
        check.check_objects(boxes, object_counts)
        frame = PreparedFrame(
            points=points,
            boxes=boxes,
            types=np.array([KITTI_TYPES.index(label.type) for label in labels], dtype=np.uint8),
            difficulty=difficulties(labels, boxes, object_counts),
            object_counts=object_counts,
            object_points=points[np.nonzero(inside.T)[1]],
        )
    record = FrameRecord(
        name=name,
        inputs=inputs,
        points_read=check.points_read,
        points_kept=len(points),
        points_checksum=check.points_checksum,
        objects=dict(Counter(label.type for label in check.labels)),
        findings=tuple(check.findings),
    )
    if record.failed:
        prepared_path(root, name).unlink(missing_ok=True)
    elif frame is not None:
        write_prepared(root, frame, record)
    return record


def _prepare_frames(
    root: Path, lidar_only: bool, names: Sequence[str], workers: int | None, force: bool, progress: Progress | None
) -> dict[str, tuple[bool, FrameRecord]]:
    """The record of every frame, and whether it is of this call."""
    done: dict[str, tuple[bool, FrameRecord]] = {}

    def add(fresh: bool, record: FrameRecord) -> None:
        done[record.name] = fresh, record
        if progress is not None:
            progress(len(done), len(names))

    if progress is not None:
        progress(0, len(names))
    if not force:
        inputs = dict(zip(names, stamp_inputs(root, names), strict=True))
        # Threads: reading and adding up bytes is all there is to do.
        with ThreadPoolExecutor(workers or os.cpu_count()) as threads:
            for record in threads.map(partial(read_record, root), names):
                if record is not None and record.inputs == inputs[record.name]:
                    add(False, record)
    rest = [name for name in names if name not in done]
    processes = workers or min(os.cpu_count() or 1, len(rest) // _FRAMES_A_WORKER)
    for record in _work(root, lidar_only, rest, min(processes, len(rest))):
        add(True, record)
    return done


def _work(root: Path, lidar_only: bool, names: Sequence[str], processes: int) -> Iterator[FrameRecord]:
    """Prepare frames, in any order."""
    if processes <= 1:
        for name in names:
            yield prepare_frame(root, name, lidar_only=lidar_only)
        return
    tasks = [names[start : start + _FRAMES_A_TASK] for start in range(0, len(names), _FRAMES_A_TASK)]
    for records in in_processes(partial(_prepare_several, root, lidar_only), tasks, processes, root=root):
        yield from records


def _prepare_several(root: Path, lidar_only: bool, names: Sequence[str]) -> list[FrameRecord]:
    return [prepare_frame(root, name, lidar_only=lidar_only) for name in names]


def _write_merged_index(root: Path, lidar_only: bool, records: Sequence[FrameRecord]) -> None:
    """Write the index; frames of other splits that are in it stay, to be checked when they are read."""
    try:
        old = read_index(root)
        others = old.frames if old.lidar_only == lidar_only else {}
    except InputError:
        others = {}
    merged = {**others, **{record.name: record for record in records}}
    write_index(root, lidar_only, [merged[name] for name in sorted(merged)])


def _update_database(root: Path, train: Sequence[str], records: Mapping[str, FrameRecord]) -> LabelDatabase:
    """The label database of the train split, written anew if it is not of these frames."""
    folder = prepared_folder(root)
    made_of = fingerprint(train, [records[name].inputs for name in train])
    try:
        database = LabelDatabase(folder / FILE)
        database.check_content()
        if database.fingerprint == made_of:
            return database
    except InputError:
        pass  # missing or damaged: made now
    names = [name for name in train if not records[name].failed]
    return write_label_database(folder, names, [read_objects(root, name) for name in names], made_of)


def _count_objects(database: LabelDatabase) -> dict[str, tuple[int, ...]]:
    """How many objects of each difficulty the database has of each type."""
    levels = range(len(DIFFICULTY_NAMES))
    return {
        name: tuple(int(((database.types == name) & (database.difficulty == level)).sum()) for level in levels)
        for name in KITTI_TYPES
        if (database.types == name).any()
    }


def _all_findings(frames: Sequence[FrameRecord]) -> Iterator[Finding]:
    return chain.from_iterable(record.findings for record in frames)


def _compare_frames(root: Path, frames: Sequence[FrameRecord], *, named: bool) -> Iterator[Finding]:
    """What is odd in a frame next to the others, and files that belong to none."""
    counts = [record.points_read for record in frames if record.points_read]
    median = statistics.median(counts) if counts else 0.0
    first: dict[int, str] = {}
    images = sum(record.inputs[INPUTS.index("image_2")] is not None for record in frames)
    for record in frames:
        place = _relative(root, "velodyne", record.name)
        if 0 < record.points_read < _LEAST_SHARE_OF_MEDIAN * median:
            message = f"{record.points_read} points, half of the frames have more than {median:.0f}; cut short?"
            yield Finding(WARNING, "small point clouds", place, message)
        if record.points_read and record.points_checksum in first:
            message = f"the same bytes as frame {first[record.points_checksum]}'s."
            yield Finding(WARNING, "point clouds that are there twice", place, message)
        first.setdefault(record.points_checksum, record.name)
        if record.inputs[INPUTS.index("image_2")] is None and images > len(frames) / 2:
            message = "no such file, though most frames have an image; the size of most of KITTI's is taken."
            yield Finding(WARNING, "missing images", _relative(root, "image_2", record.name), message)
    if not named:
        return
    known = {record.name for record in frames}
    for folder in INPUTS:
        left = sorted(_names(root, folder) - known)
        if left:
            message = f"{len(left)} files of frames that no checked split names, {left[0]} the first of them."
            yield Finding(WARNING, "files that no split names", f"training/{folder}", message)


def _clouds(root: Path) -> list[str]:
    return sorted(_names(root, "velodyne"))


def _names(root: Path, folder: str) -> set[str]:
    """Names of the frames with a file in a folder."""
    paths = (root / "training" / folder).glob(f"*{SUFFIXES[folder]}")
    return {path.stem for path in paths if not path.name.startswith(".")}


def _relative(root: Path, folder: str, name: str) -> str:
    return input_path(root, folder, name).relative_to(root).as_posix()
