"""Argoverse 2's annotations.feather: boxes of all sweeps of a log, in the ego frame at each sweep's time.

Ego frame: x forward, y left, z up, origin at the rear axle; sweeps in sensors/lidar lie in the same frame. A box has
its geometric centre, a quaternion w, x, y, z, and length, width, height; frames are named by their time in nanoseconds.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import Context
from lidar_ebm.formats.columns import check_scores, numbers, texts
from lidar_ebm.formats.rotations import Tilts
from lidar_ebm.formats.rows import check_boxes
from lidar_ebm.geometry.poses import quaternions_of_yaw, rotation_matrix, yaw_of
from lidar_ebm.system.files import atomic_write

TITLE = "Argoverse 2 annotations.feather (a log's folder or the file)"
COLUMNS = frozenset({"scores", "points", "track"})
CHANNELS = ("intensity", "laser", "time")  # 0..255; 0..63; s from the sweep's time on

_FILE = "annotations.feather"
_CENTER, _SIZE = ("tx_m", "ty_m", "tz_m"), ("length_m", "width_m", "height_m")
_ROTATION = ("qw", "qx", "qy", "qz")
_ARROW, _FEATHER = b"ARROW1", b"FEA1"


def recognise(path: Path) -> bool:
    """Tell if a folder has annotations.feather, or a feather file names their columns."""
    try:
        file = path / _FILE if path.is_dir() else path
        with file.open("rb") as opened:
            head = opened.read(1 << 14)
    except OSError:
        return False
    return head.startswith((_ARROW, _FEATHER)) and b"timestamp_ns" in head and b"length_m" in head


def read(path: Path, context: Context) -> dict[str, Boxes]:
    """Boxes of each sweep by its time in nanoseconds, by time; in the ego frame.

    Raises:
        InputError: pyarrow is not installed, or the file is damaged or lacks a column.
    """
    file = path / _FILE if path.is_dir() else path
    columns = _read_feather(file, ("timestamp_ns", "category", *_SIZE, *_ROTATION, *_CENTER))
    times = columns["timestamp_ns"]
    if times.dtype.kind not in "iu":
        raise InputError(f"{file}: timestamp_ns are no whole numbers; write nanoseconds.")
    boxes = _boxes(file, columns)
    order = np.argsort(times, kind="stable")
    stamps, starts = np.unique(times[order], return_index=True)
    parts = np.split(order, starts[1:]) if len(stamps) else []
    return {str(stamp): boxes.select(part) for stamp, part in zip(stamps.tolist(), parts, strict=True)}


def write(path: Path, frames: Mapping[str, Boxes], context: Context) -> list[Path]:
    """Write annotations.feather, or with scores a table as Argoverse 2's evaluation takes detections.

    `path` is the file (.feather), or a log's folder. Frames without boxes leave no trace in this format.

    Raises:
        InputError: pyarrow is not installed, a frame is not named by its time, or some frames only have scores.
        OutputError: the file cannot be written.
    """
    check_boxes(frames, path)
    check_scores(frames, path)
    arrow, feather = _pyarrow(path)
    file = path if path.suffix == ".feather" else path / _FILE
    times = [_time(name, file) for name in frames]
    boxes = Boxes.concatenate(list(frames.values()))
    rows = boxes.boxes
    columns: dict[str, Any] = {
        "timestamp_ns": np.repeat(np.array(times, np.int64), [len(each) for each in frames.values()]),
        "track_uuid": [""] * len(boxes) if boxes.track is None else boxes.track.tolist(),
        "category": boxes.names.tolist(),
        **dict(zip(_SIZE, rows[:, 3:6].T, strict=True)),
        **dict(zip(_ROTATION, quaternions_of_yaw(rows[:, 6]).T, strict=True)),
        **dict(zip(_CENTER, rows[:, :3].T, strict=True)),
    }
    if boxes.points is not None:
        columns["num_interior_pts"] = boxes.points
    if boxes.scores is not None:
        columns["score"] = boxes.scores
    table = arrow.table({name: arrow.array(values) for name, values in columns.items()})
    with atomic_write(file) as opened:
        feather.write_feather(table, opened, compression="uncompressed")
    return [file]


def read_points(path: str | os.PathLike[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Points of one sweep, sensors/lidar/TIME.feather.

    Returns:
        Points [N, 6] float32 in the ego frame, as they lie there, and the names of the channels after x, y, z:
        `CHANNELS`.

    Raises:
        InputError: pyarrow is not installed, or the file is damaged or lacks a column.
    """
    names = ("x", "y", "z", "intensity", "laser_number", "offset_ns")
    columns = _read_feather(Path(path), names)
    points = [numbers(columns[name], (None,), f"{path}: {name}") for name in names]
    points[5] = points[5] * 1e-9
    return np.column_stack(points).astype(np.float32), CHANNELS


def _boxes(path: Path, columns: Mapping[str, np.ndarray]) -> Boxes:
    count = len(columns["category"])

    def stacked(names: Sequence[str]) -> np.ndarray:
        return np.column_stack([numbers(columns[name], (count,), f"{path}: {name}") for name in names])

    quaternions = stacked(_ROTATION)
    if not quaternions.any(axis=1).all():
        row = int(np.flatnonzero(~quaternions.any(axis=1))[0])
        raise InputError(f"{path}: the quaternion of row {row} is all zeros; correct it or remove the row.")
    rotations = rotation_matrix(quaternions)
    tilts = Tilts()
    for cosine in rotations[:, 2, 2]:
        tilts.add(cosine)
    tilts.warn(path)
    given: dict[str, np.ndarray] = {}
    if "score" in columns:
        given["scores"] = numbers(columns["score"], (count,), f"{path}: score")
    if "num_interior_pts" in columns:
        given["points"] = numbers(columns["num_interior_pts"], (count,), f"{path}: num_interior_pts").astype(np.int64)
    if "track_uuid" in columns:
        given["track"] = texts(columns["track_uuid"], count, f"{path}: track_uuid")
    return Boxes(
        np.column_stack((stacked(_CENTER), stacked(_SIZE), yaw_of(rotations))),
        texts(columns["category"], count, f"{path}: category"),
        **given,
    )


def _time(name: str, path: Path) -> int:
    if not name.isascii() or not name.isdecimal() or int(name[:19]) >= 2**63 or len(name) > 19:
        raise InputError(f"{path}: frame {name!r} is not named by its time in nanoseconds, which this format needs.")
    return int(name)


def _pyarrow(path: Path) -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.feather")
    except ImportError as error:
        raise InputError(
            f"{path}: Argoverse 2's feather files need pyarrow, which is not installed: pip install "
            "'lidar-ebm[argoverse2]'."
        ) from error


def _read_feather(path: Path, needed: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns [N] of a feather file by name."""
    arrow, feather = _pyarrow(path)
    try:
        table = feather.read_table(str(path), memory_map=False)
        table.validate(full=True)
        columns = {name: table.column(name).to_numpy() for name in table.column_names}
    except (OSError, ValueError, arrow.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InputError(f"{path}: cannot be read as a feather file ({reason[:200]}). Copy it again.") from error
    for name in needed:
        if name not in columns:
            raise InputError(f"{path}: has no column {name!r}; there are {', '.join(columns)[:300]}.")
    return columns
