"""Preparing a data set: every file checked, point clouds cropped to the camera's view, labelled objects cut out.

PREPARED/report.txt                    all that is wrong or odd
PREPARED/index.json                    what every frame was made of, and by which version
PREPARED/frames/NAME.safetensors       points, boxes, the points in each box
PREPARED/label_database.safetensors    the objects of the train split
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

import numpy as np

from lidar_ebm import __version__
from lidar_ebm.datasets.data_set import DataSet
from lidar_ebm.datasets.preparation.findings import WARNING, Finding, place_of
from lidar_ebm.datasets.preparation.index import fingerprint, read_index, write_if_changed, write_index
from lidar_ebm.datasets.preparation.label_database import FILE, SPLIT, LabelDatabase, write_label_database
from lidar_ebm.datasets.preparation.objects import cut_out_objects
from lidar_ebm.datasets.preparation.prepared_frame import (
    FrameRecord,
    PreparedFrame,
    prepared_path,
    read_record,
    write_prepared,
)
from lidar_ebm.datasets.preparation.report import PrepareReport, report_text
from lidar_ebm.datasets.stamps import stamps
from lidar_ebm.errors import InputError
from lidar_ebm.system.worker_pool import in_processes

Progress = Callable[[int, int], None]
"""Called with the number of frames that are done and the number of all."""

_FRAMES_A_TASK = 8
_FRAMES_A_WORKER = 1000  # a process takes as long to start as some hundred frames to prepare
_SMALL_SHARE = 0.25  # of the median of points in a frame; below, its file was probably cut short


def prepare(
    data: DataSet,
    *,
    workers: int | None = None,
    splits: Sequence[str] | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> PrepareReport:
    """Check a data set and prepare it for training.

    All that is wrong in the data set is in the report; it is written to PREPARED/report.txt, too. Frames that were
    prepared of the same files are kept after a check of their content, so a second call does nothing but check, and one
    after an interruption goes on.

    Args:
        data: of any kind.
        workers: processes that work at a time; by default as many as processors, if there is enough to do for them. As
            processes are started afresh ("spawn"), a script that calls this with more than one worker needs the usual
            `if __name__ == "__main__":`.
        splits: names of splits; all by default. Where there is no split at all, every point cloud is checked and
            prepared.
        force: prepare every frame anew.
        progress: called now and then with (frames that are done, frames).

    Raises:
        InputError: an argument makes no sense, or there is no such folder.
        OutputError: a file cannot be written.
    """
    began = time.monotonic()
    if workers is not None and workers < 1:
        raise InputError(f"workers is {workers}; give a number of at least 1.")
    if not data.root.is_dir():
        raise InputError(f"{data.root}: no such folder. Give the folder of the data set.")
    members, split_findings = data.check_splits([splits] if isinstance(splits, str) else splits)
    names = list(dict.fromkeys(name for each in members.values() for name in each))
    names = names or ([] if members else data.all_names())

    records = _prepare_frames(data, names, workers, force, progress)
    kept = sum(1 for fresh, record in records.values() if not fresh and not record.failed)
    frames = [records[name][1] for name in names]
    _write_merged_index(data, frames)
    train = members.get(SPLIT, ())
    database = _update_database(data, train, {record.name: record for record in frames}) if train else None

    usable = [record for record in frames if not record.failed]
    counts: Counter[str] = Counter()
    for record in usable:
        counts.update(record.objects)
    spatial = {name for record in usable for name in record.objects}
    report = PrepareReport(
        root=data.root,
        prepared=data.prepared,
        version=__version__,
        kind=data.kind,
        splits={name: len(each) for name, each in members.items()},
        made=len(usable) - kept,
        kept=kept,
        failed=len(frames) - len(usable),
        points_read=sum(record.points_read for record in usable),
        points_kept=sum(record.points_kept for record in usable),
        objects={name: counts[name] for name in sorted(spatial)},
        without_objects=sum(1 for record in usable if not record.boxes),
        difficulties=data.difficulties,
        database={} if database is None else _count_objects(database),
        findings=(*split_findings, *_compare_frames(data, frames, named=bool(members)), *_all_findings(frames)),
        seconds=time.monotonic() - began,
    )
    write_if_changed(data.prepared / "report.txt", report_text(report))
    return report


def prepare_frame(data: DataSet, name: str) -> FrameRecord:
    """Check one frame and, unless there are errors, write its prepared file.

    Raises:
        OutputError: the file cannot be written.
    """
    inputs = stamps(data.input_paths(name))
    checked = data.check(name, inputs)
    frame = checked.frame
    record = FrameRecord(
        name=name,
        inputs=inputs,
        points_read=checked.points_read,
        points_kept=0 if frame is None else len(frame.points),
        points_checksum=checked.checksum,
        objects=dict(checked.labels),
        boxes=0 if frame is None or frame.boxes is None else len(frame.boxes),
        findings=checked.findings,
        clouds=checked.clouds,
    )
    if record.failed:
        prepared_path(data.prepared, name).unlink(missing_ok=True)
    elif frame is not None and frame.boxes is not None:
        boxes = frame.boxes
        if boxes.difficulty is None:
            boxes = boxes.with_columns(difficulty=np.full(len(boxes), data.difficulties[0]))
        counts, points = cut_out_objects(frame.points, frame.channels, boxes)
        prepared = PreparedFrame(frame.points, frame.channels, boxes, counts, points)
        write_prepared(data.prepared, prepared, record)
    return record


def _prepare_frames(
    data: DataSet, names: Sequence[str], workers: int | None, force: bool, progress: Progress | None
) -> dict[str, tuple[bool, FrameRecord]]:
    """The record of every frame, and a mark if it is of this call."""
    done: dict[str, tuple[bool, FrameRecord]] = {}

    def add(fresh: bool, record: FrameRecord) -> None:
        done[record.name] = fresh, record
        if progress is not None:
            progress(len(done), len(names))

    if progress is not None:
        progress(0, len(names))
    if not force:
        # Threads: reading and adding up bytes is all there is to do.
        with ThreadPoolExecutor(workers or os.cpu_count()) as threads:
            for record in threads.map(partial(read_record, data.prepared), names):
                if record is not None and record.inputs == stamps(data.input_paths(record.name)):
                    add(False, record)
    rest = [name for name in names if name not in done]
    processes = workers or min(os.cpu_count() or 1, len(rest) // _FRAMES_A_WORKER)
    for record in _work(data, rest, min(processes, len(rest))):
        add(True, record)
    return done


def _work(data: DataSet, names: Sequence[str], processes: int) -> Iterator[FrameRecord]:
    """Prepare frames, in any order."""
    if processes <= 1:
        for name in names:
            yield prepare_frame(data, name)
        return
    tasks = [names[start : start + _FRAMES_A_TASK] for start in range(0, len(names), _FRAMES_A_TASK)]
    for records in in_processes(partial(_prepare_several, data), tasks, processes, root=data.root):
        yield from records


def _prepare_several(data: DataSet, names: Sequence[str]) -> list[FrameRecord]:
    return [prepare_frame(data, name) for name in names]


def _write_merged_index(data: DataSet, records: Sequence[FrameRecord]) -> None:
    """Write the index; frames of other splits that are in it stay, to be checked when they are read."""
    try:
        old = read_index(data.prepared, data.root)
        others = old.frames if old.kind == data.kind else {}
    except InputError:
        others = {}
    merged = {**others, **{record.name: record for record in records}}
    write_index(data.prepared, data.kind, [merged[name] for name in sorted(merged)])


def _update_database(data: DataSet, train: Sequence[str], records: Mapping[str, FrameRecord]) -> LabelDatabase:
    """The label database of the train split, written anew if it is not of these frames."""
    made_of = fingerprint(train, [records[name].inputs for name in train])
    try:
        database = LabelDatabase(data.prepared / FILE)
        database.check_content()
        if database.fingerprint == made_of:
            return database
    except InputError:
        pass  # missing or damaged: made now
    names = [name for name in train if not records[name].failed]
    return write_label_database(data.prepared, names, made_of, data.difficulties)


def _count_objects(database: LabelDatabase) -> dict[str, tuple[int, ...]]:
    """Number of objects of each difficulty that the database has of each class."""
    return {
        name: tuple(
            int(((database.types == name) & (database.difficulty == word)).sum()) for word in database.difficulties
        )
        for name in sorted(set(database.types.tolist()))
    }


def _all_findings(frames: Sequence[FrameRecord]) -> Iterator[Finding]:
    return chain.from_iterable(record.findings for record in frames)


def _compare_frames(data: DataSet, frames: Sequence[FrameRecord], *, named: bool) -> Iterator[Finding]:
    """Findings by which a frame differs from the others, and point clouds that belong to no split."""
    counts = [record.points_read / record.clouds for record in frames if record.points_read]
    median = statistics.median(counts) if counts else 0.0
    first: dict[int, str] = {}
    for record in frames:
        path = data.input_paths(record.name)[0]
        place = place_of(path, data.root)
        if 0 < record.points_read / record.clouds < _SMALL_SHARE * median:
            read = f"{record.points_read / record.clouds:.0f} points{' a sweep' if record.clouds > 1 else ''}"
            message = f"{read}, half of the frames have more than {median:.0f}; cut short?"
            yield Finding(WARNING, "small point clouds", place, message)
        if record.points_read and record.points_checksum in first:
            message = f"the same bytes as frame {first[record.points_checksum]}'s."
            yield Finding(WARNING, "point clouds that are there twice", place, message)
        first.setdefault(record.points_checksum, record.name)
    yield from data.compare({record.name: record.inputs for record in frames}, named=named)
