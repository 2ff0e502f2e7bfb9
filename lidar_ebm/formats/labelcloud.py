"""labelCloud's label files (github.com/ch-sa/labelCloud), one JSON a point cloud, with absolute rotations in degrees.

The format `centroid_abs` of the tool: centre, length, width, height, and counter-clockwise angles from the x axis,
0 to 360 degrees. What it shares with the tool's other two formats stands here too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import Context
from lidar_ebm.formats.fields import Node, glimpse, has_keys, read_json, write_json
from lidar_ebm.formats.frame_files import all_recognised, files_of_frames, files_to_write
from lidar_ebm.formats.rotations import Tilts, heading_of_euler
from lidar_ebm.formats.rows import BoxRows, check_boxes

TITLE = "labelCloud JSON, centroid with rotations in degrees (centroid_abs)"
COLUMNS: frozenset[str] = frozenset()

_AXES = ("x", "y", "z")
_SIZES = ("length", "width", "height")
_ROUNDING = 1e-6


def recognise(path: Path) -> bool:
    """Tell if these are such labels whose angles can be degrees."""
    return centroids_recognised(path, degrees=True)


def read(path: Path, context: Context) -> dict[str, Boxes]:
    """Boxes by frame; a file's name is its frame's."""
    return read_files(path, lambda entry, rows, tilts: _read_centroid(entry, rows, tilts, degrees=True))


def write(path: Path, frames: Mapping[str, Boxes], context: Context) -> list[Path]:
    """Write a file a frame: `path` itself for a single one (.json), otherwise files in that folder."""
    return write_files(path, frames, lambda box: centroid_entry(box, math.degrees(box[6]) % 360.0))


def centroids_recognised(path: Path, *, degrees: bool) -> bool:
    """Tell if these are centroid labels, and if so whether the angles can be degrees, or else radians.

    Angles below 0 are radians and those above π degrees; all of them 0 are said to be degrees.
    """
    if not all_recognised(path, ".json", lambda file: _is_label(file, "centroid", "rotations", "dimensions")):
        return False
    angles: list[float] = []
    try:
        for file in files_of_frames(path, ".json").values():
            for entry in read_json(file)["objects"].elements():
                angles += entry["rotations"].named_numbers(*_AXES)
    except InputError:
        return degrees  # damaged: its reader says how
    if not any(angles):
        return degrees
    return not any(angle < 0 for angle in angles) if degrees else max(map(abs, angles)) <= math.pi + _ROUNDING


def read_files(path: Path, read_entry: Callable[[Node, BoxRows, Tilts], None]) -> dict[str, Boxes]:
    """Boxes by frame of a label file or a folder of them, each object read by `read_entry`.

    Raises:
        InputError: a file cannot be used.
    """
    tilts = Tilts()
    frames = {}
    for name, file in files_of_frames(path, ".json").items():
        rows = BoxRows(file)
        for entry in read_json(file)["objects"].elements():
            read_entry(entry, rows, tilts)
        frames[name] = rows.boxes()
    tilts.warn(path)
    return frames


def write_files(
    path: Path, frames: Mapping[str, Boxes], entry_of: Callable[[list[float]], dict[str, Any]]
) -> list[Path]:
    """Write label files, each box by `entry_of`.

    Raises:
        InputError: a box is not finite, or several frames should go into one file.
        OutputError: a file cannot be written.
    """
    check_boxes(frames, path)
    written = []
    for file, name, boxes in files_to_write(path, frames, ".json"):
        objects = [{"name": row["name"], **entry_of(row["box"].tolist())} for row in boxes.rows()]
        head = {"folder": "pointclouds", "filename": f"{name}.pcd", "path": f"pointclouds/{name}.pcd"}
        write_json(file, {**head, "objects": objects})
        written.append(file)
    return written


def centroid_entry(box: list[float], angle: float) -> dict[str, Any]:
    """Entry of a label for a box, beside its name, the angle being that about z."""
    return {
        "centroid": dict(zip(_AXES, box[:3], strict=True)),
        "dimensions": dict(zip(_SIZES, box[3:6], strict=True)),
        "rotations": {"x": 0.0, "y": 0.0, "z": angle},
    }


def read_relative(entry: Node, rows: BoxRows, tilts: Tilts) -> None:
    """Read a centroid label whose angles are radians."""
    _read_centroid(entry, rows, tilts, degrees=False)


def _read_centroid(entry: Node, rows: BoxRows, tilts: Tilts, *, degrees: bool) -> None:
    rotations = entry["rotations"]
    angles = rotations.named_numbers(*_AXES)
    if degrees and min(angles) < 0:
        rotations.fail(f"{min(angles)} is no angle of 0 to 360 degrees; of radians the format is labelcloud_relative.")
    if not degrees and max(map(abs, angles)) > math.pi + _ROUNDING:
        rotations.fail(f"{max(angles, key=abs)} is no angle of -π to π; of degrees the format is labelcloud.")
    turns = [math.radians(angle) if degrees else angle for angle in angles]
    dimensions = entry["dimensions"]
    size = dimensions.size(*dimensions.named_numbers(*_SIZES))
    center = entry["centroid"].named_numbers(*_AXES)
    rows.add(entry["name"].text(), [*center, *size, heading_of_euler(turns, tilts)])


def _is_label(file: Path, *keys: str) -> bool | None:
    text = glimpse(file)
    if has_keys(text, "folder", "filename", "objects") and not has_keys(text, "name"):
        return None  # a frame without objects
    return has_keys(text, "objects", *keys)
