"""Boxes as JSON in the LiDAR frame: this program's own schema, described in docs/formats.md."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lidar_ebm.boxes import Boxes
from lidar_ebm.formats.box_format import Context, closest
from lidar_ebm.formats.fields import Node, glimpse, has_keys, read_json, write_json
from lidar_ebm.formats.frame_files import all_recognised, files_of_frames, files_to_write
from lidar_ebm.formats.rows import BoxRows, check_boxes, value_or_none

TITLE = "boxes as JSON in the LiDAR frame (this program's own)"
COLUMNS = frozenset(Boxes.column_names())

_MARK = "lidar_ebm.boxes"
_NUMBERS = ("f", "expected_iou", "flip_probability", "effective_samples", "alpha", "truncated", "occluded")
_VECTORS = {"velocity": 2, "image_rectangle": 4}
_MATRICES = ("covariance", "samples")
_TEXTS = ("track", "attribute", "difficulty")
_KEYS = ("class", "center", "size", "yaw", "score", *_VECTORS, *_TEXTS, "points", *_NUMBERS, *_MATRICES)


def recognise(path: Path) -> bool:
    """Tell if the file, or the folder's files, are boxes in this schema."""

    def test(file: Path) -> bool | None:
        text = glimpse(file)
        if text.strip() == "[]":
            return None
        return has_keys(text, _MARK) or has_keys(text, "class", "center", "size", "yaw")

    return all_recognised(path, ".json", test)


def read(path: Path, context: Context) -> dict[str, Boxes]:
    """Boxes by frame: a file with one or many frames, or a folder of such files."""
    frames: dict[str, Boxes] = {}
    unknown: Counter[str] = Counter()
    for stem, file in files_of_frames(path, ".json").items():
        for name, entries in _frames_of(read_json(file), stem).items():
            if name in frames:
                entries.fail(f"frame {name!r} stands in two files. Remove one of them.")
            rows = BoxRows(entries.path)
            for entry in entries.elements():
                _read_box(entry, rows)
                unknown.update(key for key in entry.entries_raw() if key not in _KEYS)
            frames[name] = rows.boxes()
    for key, count in unknown.items():
        warnings.warn(f"{path}: {key!r} of {count} boxes is not read{closest(key, _KEYS)}.", stacklevel=2)
    return frames


def write(path: Path, frames: Mapping[str, Boxes], context: Context) -> list[Path]:
    """Write all frames into one file, or (a path without .json) a file a frame."""
    check_boxes(frames, path)
    head = {"format": _MARK, "version": 1}
    if path.suffix.lower() == ".json" and len(frames) != 1:
        write_json(path, {**head, "frames": {name: _entries(boxes) for name, boxes in frames.items()}})
        return [path]
    written = []
    for file, name, boxes in files_to_write(path, frames, ".json"):
        write_json(file, {**head, "frame": name, "boxes": _entries(boxes)})
        written.append(file)
    return written


def _frames_of(root: Node, stem: str) -> dict[str, Node]:
    """Lists of boxes by frame."""
    if isinstance(root.value, list):
        return {stem: root}
    version = root.optional("version")
    if version is not None and version.whole() != 1:
        version.fail(f"version {version.whole()} is newer than this program, which reads 1. Update it.")
    mark = root.optional("format")
    if mark is not None and mark.text() != _MARK:
        mark.fail(f"this is no file of boxes but {mark.shown()}; expected {_MARK!r}.")
    if root.optional("frames") is not None:
        return root["frames"].entries()
    frame = root.optional("frame")
    return {stem if frame is None else frame.text(): root["boxes"]}


def _read_box(entry: Node, rows: BoxRows) -> None:
    size = entry["size"]
    box = [*entry["center"].numbers(3), *size.size(*size.numbers(3)), entry["yaw"].number()]
    columns: dict[str, Any] = {}
    for key in entry.entries_raw():
        value = entry.optional(key)
        if value is None:
            continue
        if key == "score":
            columns["scores"] = value.number()
        elif key == "points":
            columns[key] = value.whole()
        elif key in _NUMBERS:
            columns[key] = value.number()
        elif key in _TEXTS:
            columns[key] = value.text()
        elif key in _VECTORS:
            columns[key] = [number.number() for number in _of_length(value, _VECTORS[key])]
        elif key in _MATRICES:
            lines = value.elements()
            columns[key] = [line.numbers(len(lines[0].elements())) for line in lines]
    name = entry["class"]
    if not name.text():
        name.fail("the name of the class is empty. Give one.")
    rows.add(name.text(), box, **columns)


def _of_length(value: Node, count: int) -> list[Node]:
    value.numbers(count)
    return value.elements()


def _entries(boxes: Boxes) -> list[dict[str, Any]]:
    entries = []
    for row in boxes.rows():
        box = row["box"].tolist()
        entry = {"class": row["name"], "center": box[:3], "size": box[3:6], "yaw": box[6]}
        for column in Boxes.column_names():
            value = value_or_none(row, column)
            if value is not None:
                entry["score" if column == "scores" else column] = value
        entries.append(entry)
    return entries
