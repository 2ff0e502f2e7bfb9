"""SUSTechPOINTS' label files: one JSON a frame, a list of objects with `psr` (position, scale, rotation) and a class.

The tool (github.com/naurril/SUSTechPOINTS) labels in the frame of the point cloud; `scale` is length, width, height
and the angles are about x, y, z, in rad.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lidar_ebm.boxes import Boxes
from lidar_ebm.formats.box_format import Context
from lidar_ebm.formats.fields import Node, glimpse, has_keys, read_json, write_json
from lidar_ebm.formats.frame_files import all_recognised, files_of_frames, files_to_write
from lidar_ebm.formats.rotations import Tilts, heading_of_euler
from lidar_ebm.formats.rows import BoxRows, check_boxes, value_or_none

TITLE = "SUSTechPOINTS label JSON, one file a frame"
COLUMNS = frozenset({"track", "attribute"})


def recognise(path: Path) -> bool:
    """Tell if the file, or the folder's files, are such labels."""

    def test(file: Path) -> bool | None:
        text = glimpse(file)
        return None if text.strip() == "[]" else has_keys(text, "psr", "obj_type")

    return all_recognised(path, ".json", test)


def read(path: Path, context: Context) -> dict[str, Boxes]:
    """Boxes by frame; a file's name is its frame's."""
    tilts = Tilts()
    frames = {}
    for name, file in files_of_frames(path, ".json").items():
        root = read_json(file)
        entries = root["objs"] if isinstance(root.value, dict) else root
        rows = BoxRows(file)
        for entry in entries.elements():
            _read_object(entry, rows, tilts)
        frames[name] = rows.boxes()
    tilts.warn(path)
    return frames


def write(path: Path, frames: Mapping[str, Boxes], context: Context) -> list[Path]:
    """Write a file a frame: `path` itself for a single one (.json), otherwise files in that folder."""
    check_boxes(frames, path)
    written = []
    for file, _, boxes in files_to_write(path, frames, ".json"):
        write_json(file, [_written(row) for row in boxes.rows()])
        written.append(file)
    return written


def _read_object(entry: Node, rows: BoxRows, tilts: Tilts) -> None:
    psr = entry["psr"]
    scale = psr["scale"]
    size = scale.size(*scale.named_numbers("x", "y", "z"))
    yaw = heading_of_euler(psr["rotation"].named_numbers("x", "y", "z"), tilts)
    track, attribute = entry.optional("obj_id"), entry.optional("obj_attr")
    rows.add(
        entry["obj_type"].text(),
        [*psr["position"].named_numbers("x", "y", "z"), *size, yaw],
        track=None if track is None else track.text() or None,
        attribute=None if attribute is None else attribute.text() or None,
    )


def _written(row: Mapping[str, Any]) -> dict[str, Any]:
    box = row["box"].tolist()
    axes = ("x", "y", "z")
    entry: dict[str, Any] = {
        "psr": {
            "position": dict(zip(axes, box[:3], strict=True)),
            "scale": dict(zip(axes, box[3:6], strict=True)),
            "rotation": {"x": 0.0, "y": 0.0, "z": box[6]},
        },
        "obj_type": row["name"],
        "obj_id": value_or_none(row, "track") or "",
    }
    attribute = value_or_none(row, "attribute")
    return entry if attribute is None else {**entry, "obj_attr": attribute}
