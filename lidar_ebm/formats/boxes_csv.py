"""Boxes as a table of comma-separated values in the LiDAR frame, described in docs/formats.md."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import Context, closest
from lidar_ebm.formats.fields import glimpse, read_text
from lidar_ebm.formats.frame_files import all_recognised, files_of_frames
from lidar_ebm.formats.rows import BoxRows, check_boxes, value_or_none
from lidar_ebm.formats.text_lists import parse_or_nan
from lidar_ebm.system.files import atomic_write

TITLE = "boxes as CSV in the LiDAR frame (this program's own)"

_BOX = ("x", "y", "z", "l", "w", "h", "yaw")
_LONG = {"length": "l", "width": "w", "height": "h"}  # also read
_NUMBERS = ("f", "expected_iou", "flip_probability", "effective_samples", "alpha", "truncated", "occluded")
_TEXTS = ("track", "attribute", "difficulty")
_VECTORS = {"velocity": ("vx", "vy"), "image_rectangle": ("x1", "y1", "x2", "y2")}
_OPTIONAL = ("score", "vx", "vy", "points", *_TEXTS, *_NUMBERS, "x1", "y1", "x2", "y2")
COLUMNS = frozenset(("scores", "points", *_TEXTS, *_NUMBERS, *_VECTORS))


def recognise(path: Path) -> bool:
    """Tell if the file, or the folder's files, have the table's header."""

    def test(file: Path) -> bool:
        header = [_key(cell) for cell in _cells(glimpse(file).partition("\n")[0])]
        return {"class", *_BOX} <= set(header)

    return all_recognised(path, ".csv", test)


def read(path: Path, context: Context) -> dict[str, Boxes]:
    """Boxes by frame: the column `frame` says which, or the file's name where there is no such column."""
    frames: dict[str, BoxRows] = {}
    for stem, file in files_of_frames(path, ".csv").items():
        header, lines = _table(file)
        if "frame" not in header:
            if stem in frames:
                raise InputError(f"{file}: frame {stem!r} stands in two files. Remove one of them.")
            frames[stem] = BoxRows(file)
        for where, cells in lines:
            row = dict(zip(header, cells, strict=True))
            frame = row.get("frame", stem)
            if not frame:
                raise InputError(f"{where}: the cell 'frame' is empty. Fill it in.")
            rows = frames.setdefault(frame, BoxRows(file))
            if any(cell for key, cell in row.items() if key != "frame"):  # otherwise a frame without boxes
                _read_row(row, where, rows)
    return {name: rows.boxes() for name, rows in frames.items()}


def write(path: Path, frames: Mapping[str, Boxes], context: Context) -> list[Path]:
    """Write all frames into one table; a path without .csv is a folder that gets `boxes.csv`."""
    check_boxes(frames, path)
    there = {column for boxes in frames.values() for column in boxes.columns()}
    keys = [key for key in _OPTIONAL if _column_of(key) in there]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["frame", "class", *_BOX, *keys])
    for name, boxes in frames.items():
        if not len(boxes):
            writer.writerow([name, *[""] * (1 + len(_BOX) + len(keys))])
        for row in boxes.rows():
            cells = [_written(row, key) for key in keys]
            writer.writerow([name, row["name"], *row["box"].tolist(), *cells])
    target = path if path.suffix.lower() == ".csv" else path / "boxes.csv"
    for name in frames:
        if not name or name != name.strip() or "\x00" in name:
            raise InputError(f"{path}: frame {name!r} cannot stand in a table; rename it. Nothing was written.")
    with atomic_write(target, "w") as file:
        file.write(text.getvalue())
    return [target]


def _cells(line: str) -> list[str]:
    return line.split(max(",;\t", key=line.count))


def _key(cell: str) -> str:
    key = cell.strip().strip('"').lower()
    return _LONG.get(key, key)


def _table(file: Path) -> tuple[list[str], Iterator[tuple[str, list[str]]]]:
    """Header, and each line as "file:line" and its cells."""
    text = read_text(file)
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    try:
        header = [_key(cell) for cell in next(reader, [])]
    except csv.Error as error:
        raise InputError(f"{file}:1: this is no table ({error}). Write it again.") from error
    missing = [key for key in ("class", *_BOX) if key not in header]
    if missing:
        raise InputError(f"{file}:1: the header lacks {', '.join(missing)}; it has {', '.join(header)}.")
    keys = ("frame", "class", *_BOX, *_OPTIONAL)
    for key in header:
        if key not in keys:
            raise InputError(f"{file}:1: unknown column {key!r}{closest(key, keys)}. Rename or remove it.")
        if header.count(key) > 1:
            raise InputError(f"{file}:1: column {key!r} stands there twice. Remove one.")
    return header, _lines(file, reader, len(header))


def _lines(file: Path, reader: Any, count: int) -> Iterator[tuple[str, list[str]]]:
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise InputError(f"{file}:{reader.line_num}: cannot be read ({error}). Correct the line.") from error
        if cells is None:
            return
        if not cells:
            continue
        where = f"{file}:{reader.line_num}"
        if len(cells) != count:
            raise InputError(f"{where}: {len(cells)} cells; the header has {count}. Correct the line.")
        yield where, [cell.strip() for cell in cells]


def _read_row(row: Mapping[str, str], where: str, rows: BoxRows) -> None:
    box = [_number(row[key], key, where) for key in _BOX]
    if min(box[3:6]) < 0:
        raise InputError(f"{where}: sizes must not be negative, got {box[3:6]}.")
    if not row["class"]:
        raise InputError(f"{where}: the cell 'class' is empty. Fill it in.")
    columns: dict[str, Any] = {key: row[key] for key in _TEXTS if row.get(key)}
    columns |= {key: _number(row[key], key, where) for key in _NUMBERS if row.get(key)}
    if row.get("score"):
        columns["scores"] = _number(row["score"], "score", where)
    if row.get("points"):
        points = _number(row["points"], "points", where)
        if not points.is_integer() or abs(points) > 2**53:
            raise InputError(f"{where}: field 'points' is {row['points']!r}, which is no whole number.")
        columns["points"] = int(points)
    for column, keys in _VECTORS.items():
        if any(row.get(key) for key in keys):
            columns[column] = [_number(row.get(key, ""), key, where) for key in keys]
    rows.add(row["class"], box, **columns)


def _number(text: str, key: str, where: str) -> float:
    number = parse_or_nan(text)
    if not math.isfinite(number):
        raise InputError(f"{where}: field {key!r} is {text!r}, which is no finite number.")
    return number


def _column_of(key: str) -> str:
    if key == "score":
        return "scores"
    return next((column for column, keys in _VECTORS.items() if key in keys), key)


def _written(row: Mapping[str, Any], key: str) -> Any:
    column = _column_of(key)
    value = value_or_none(row, column)
    if value is None:
        return ""
    return value[_VECTORS[column].index(key)] if column in _VECTORS else value
