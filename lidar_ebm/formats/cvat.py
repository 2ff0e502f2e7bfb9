"""CVAT's 3-D tasks as "Datumaro 3D" JSON: items with `cuboid_3d` annotations.

Position is the centre, rotation the angles about x, y, z in rad (Rx · Ry · Rz), scale the extents along the cuboid's
own x, y, z: length, width, height. CVAT's other 3-D export, tracklet XML, is read by the format kitti_raw.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import Context
from lidar_ebm.formats.fields import Node, glimpse, has_keys, read_json, write_json
from lidar_ebm.formats.frame_files import files_of_frames
from lidar_ebm.formats.rotations import Tilts, heading_of_euler
from lidar_ebm.formats.rows import BoxRows, check_boxes, value_or_none

TITLE = "CVAT 3-D task as Datumaro JSON"
COLUMNS = frozenset({"scores", "track", "attribute"})

_KIND = "cuboid_3d"


def recognise(path: Path) -> bool:
    """Tell if the file, or those in the folder `annotations`, are Datumaro's with cuboids or point clouds."""

    def test(file: Path) -> bool:
        text = glimpse(file)
        return has_keys(text, "categories", "items") and (f'"{_KIND}"' in text or '"point_cloud"' in text)

    try:
        files = files_of_frames(_folder(path), ".json")
        return all(test(file) for file in files.values())
    except (InputError, OSError):
        return False


def read(path: Path, context: Context) -> dict[str, Boxes]:
    """Boxes by item; of a folder all subsets in `annotations`."""
    tilts = Tilts()
    outside = 0
    frames: dict[str, Boxes] = {}
    for file in files_of_frames(_folder(path), ".json").values():
        root = read_json(file)
        labels = [label["name"].text() for label in root["categories"]["label"]["labels"].elements()]
        for item in root["items"].elements():
            name = item["id"].text()
            if name in frames:
                item.fail(f"item {name!r} stands there twice. Remove one of them.")
            rows = BoxRows(file)
            annotations = item.optional("annotations")
            for entry in [] if annotations is None else annotations.elements():
                if entry["type"].text() != _KIND:
                    continue
                attributes = entry.optional("attributes")
                if attributes is not None and attributes.entries_raw().get("outside") is True:
                    outside += 1  # where a track has ended
                else:
                    _read_cuboid(entry, labels, rows, tilts)
            frames[name] = rows.boxes()
    if outside:
        warnings.warn(f"{path}: {outside} cuboids that are marked as outside are left out.", stacklevel=2)
    tilts.warn(path)
    return frames


def write(path: Path, frames: Mapping[str, Boxes], context: Context) -> list[Path]:
    """Write one file; a path without .json is a folder that gets `annotations/default.json`, as CVAT has it."""
    check_boxes(frames, path)
    names = list(dict.fromkeys(name for boxes in frames.values() for name in boxes.names.tolist()))
    items = []
    for index, (name, boxes) in enumerate(frames.items()):
        entries = [_entry(number, row, names) for number, row in enumerate(boxes.rows())]
        point_cloud = {"path": f"{name}.pcd"}
        items.append({"id": name, "annotations": entries, "attr": {"frame": index}, "point_cloud": point_cloud})
    labels = [{"name": name, "parent": "", "attributes": []} for name in names]
    target = path if path.suffix.lower() == ".json" else path / "annotations" / "default.json"
    categories = {"label": {"labels": labels, "attributes": ["occluded"]}}
    write_json(target, {"info": {}, "categories": categories, "items": items})
    return [target]


def _folder(path: Path) -> Path:
    return path / "annotations" if (path / "annotations").is_dir() else path


def _read_cuboid(entry: Node, labels: list[str], rows: BoxRows, tilts: Tilts) -> None:
    field = entry["label_id"]
    label = field.whole()
    if not 0 <= label < len(labels):
        field.fail(f"there is no label {label}; the file has {len(labels)}.")
    scale = entry["scale"]
    yaw = heading_of_euler(entry["rotation"].numbers(3), tilts, order="xyz")
    box = [*entry["position"].numbers(3), *scale.size(*scale.numbers(3)), yaw]
    columns: dict[str, Any] = {}
    attributes = entry.optional("attributes")
    if attributes is not None:
        score, track, state = (attributes.optional(key) for key in ("score", "track_id", "attribute"))
        columns["scores"] = None if score is None else score.number()
        columns["track"] = None if track is None else track.text() or None
        columns["attribute"] = None if state is None else state.text() or None
    rows.add(labels[label], box, **columns)


def _entry(number: int, row: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    box = row["box"].tolist()
    attributes: dict[str, Any] = {"occluded": False}
    track = value_or_none(row, "track")
    if track is not None:
        as_number = track.isascii() and track.isdigit() and str(int(track[:18])) == track
        attributes["track_id"] = int(track) if as_number else track
    for key, column in (("score", "scores"), ("attribute", "attribute")):
        value = value_or_none(row, column)
        if value is not None:
            attributes[key] = value
    return {
        "id": number,
        "type": _KIND,
        "attributes": attributes,
        "group": 0,
        "label_id": names.index(row["name"]),
        "position": box[:3],
        "rotation": [0.0, 0.0, box[6]],
        "scale": box[3:6],
    }
