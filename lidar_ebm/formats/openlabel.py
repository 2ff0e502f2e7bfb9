"""ASAM OpenLABEL 1.0 JSON: cuboids of objects, in frames or without.

A cuboid's `val` is x, y, z of the centre, the rotation (a quaternion x, y, z, w, or angles about x, y, z in rad that
mean Rz · Ry · Rx), and the sizes along the object's own x, y, z. An object's key is its track.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import Context
from lidar_ebm.formats.fields import Node, glimpse, has_keys, read_json, write_json
from lidar_ebm.formats.frame_files import all_recognised, files_of_frames, files_to_write, numbers_of_frames
from lidar_ebm.formats.rotations import Tilts, heading_of_euler, heading_of_quaternion
from lidar_ebm.formats.rows import BoxRows, check_boxes, value_or_none

TITLE = "ASAM OpenLABEL 1.0 JSON (cuboids)"
COLUMNS = frozenset({"scores", "track", "points"})

_LIDAR_WORDS = ("lidar", "velo", "laser")
_COORDINATES = "lidar"
_NUMBERS = {"scores": "score", "points": "points"}  # columns and what they are called in `attributes.num`


def recognise(path: Path) -> bool:
    """Tell if the file, or the folder's files, are OpenLABEL."""
    return all_recognised(path, ".json", lambda file: has_keys(glimpse(file), "openlabel"))


def read(path: Path, context: Context) -> dict[str, Boxes]:
    """Boxes by frame: the numbers of the file's frames; a file without frames is one, called as the file."""
    frames: dict[str, Boxes] = {}
    tilts = Tilts()
    systems: set[str] = set()
    files = files_of_frames(path, ".json")
    for stem, file in files.items():
        root = read_json(file)["openlabel"]
        kinds = {} if root.optional("objects") is None else root["objects"].entries()
        boxes_by_name = _read_frames(root, stem, kinds, tilts, systems, file)
        for name, boxes in boxes_by_name.items():
            frame = name if len(files) == 1 else stem if len(boxes_by_name) == 1 else f"{stem}_{name}"
            if frame in frames:
                raise InputError(f"{file}: frame {frame!r} stands in two files. Remove one of them.")
            frames[frame] = boxes
    if len(systems) > 1:
        raise InputError(
            f"{path}: cuboids in several coordinate systems ({', '.join(sorted(systems))}); one alone can be read."
        )
    for system in systems:
        if not any(word in system.lower() for word in _LIDAR_WORDS):
            warnings.warn(
                f"{path}: cuboids are in the coordinate system {system!r}, which is taken for the LiDAR frame.",
                stacklevel=2,
            )
    tilts.warn(path)
    return frames


def write(path: Path, frames: Mapping[str, Boxes], context: Context) -> list[Path]:
    """Write all frames into one file where they are called by numbers, otherwise a file a frame."""
    check_boxes(frames, path)
    numbers = numbers_of_frames(list(frames))
    if path.suffix.lower() == ".json" and numbers is not None and [str(n) for n in numbers.values()] == list(frames):
        write_json(path, _document(frames))
        return [path]
    written = []
    for file, name, boxes in files_to_write(path, frames, ".json"):
        write_json(file, _document({name: boxes}, one=True))
        written.append(file)
    return written


def _read_frames(
    root: Node, stem: str, kinds: Mapping[str, Node], tilts: Tilts, systems: set[str], file: Path
) -> dict[str, Boxes]:
    listed = root.optional("frames")
    frames = {}
    if listed is None or not listed.entries_raw():
        rows = BoxRows(file)
        for key, node in kinds.items():
            _read_object(key, node, kinds, rows, tilts, systems)
        return {stem: rows.boxes()}
    static = sum(_has_cuboids(node) for node in kinds.values())
    if static:
        warnings.warn(
            f"{file}: {static} objects have cuboids for all frames at once; they are left out of the frames.",
            stacklevel=3,
        )
    for name, frame in listed.entries().items():
        rows = BoxRows(file)
        objects = frame.optional("objects")
        for key, node in ({} if objects is None else objects.entries()).items():
            _read_object(key, node, kinds, rows, tilts, systems)
        frames[name] = rows.boxes()
    return frames


def _has_cuboids(node: Node) -> bool:
    data = node.optional("object_data")
    return data is not None and data.optional("cuboid") is not None


def _read_object(
    key: str, node: Node, kinds: Mapping[str, Node], rows: BoxRows, tilts: Tilts, systems: set[str]
) -> None:
    data = node.optional("object_data")
    cuboids = None if data is None else data.optional("cuboid")
    if cuboids is None:
        return  # an object that is drawn in images alone
    kind = node if node.optional("type") is not None else kinds.get(key)
    if kind is None:
        node.fail(f"object {key!r} has no type; it must stand in 'objects'.")
    for cuboid in cuboids.elements():
        system = cuboid.optional("coordinate_system") or node.optional("coordinate_system")
        if system is not None:
            systems.add(system.text())
        rows.add(kind["type"].text(), _box(cuboid["val"], tilts), track=key or None, **_attributes(cuboid))


def _box(value: Node, tilts: Tilts) -> list[float]:
    count = len(value.elements())
    if count not in (9, 10):
        value.fail(f"expected 10 numbers (with a quaternion) or 9 (with angles), got {count}.")
    numbers = value.numbers(count)
    if count == 9:
        yaw: float | None = heading_of_euler(numbers[3:6], tilts)
    else:
        yaw = heading_of_quaternion(numbers[3:7], tilts)
    if yaw is None:
        value.fail(f"{numbers[3:7]} is no rotation: a quaternion must not be zero.")
    return [*numbers[:3], *value.size(*numbers[-3:]), yaw]


def _attributes(cuboid: Node) -> dict[str, float]:
    attributes = cuboid.optional("attributes")
    listed = None if attributes is None else attributes.optional("num")
    values: dict[str, float] = {}
    for attribute in [] if listed is None else listed.elements():
        name = attribute.optional("name")
        for column, wanted in _NUMBERS.items():
            if name is not None and name.value == wanted:
                value = attribute["val"]
                values[column] = value.whole() if column == "points" else value.number()
    return values


def _document(frames: Mapping[str, Boxes], *, one: bool = False) -> dict[str, Any]:
    objects: dict[str, dict[str, str]] = {}
    listed: dict[str, Any] = {}
    for frame, boxes in frames.items():
        there: dict[str, Any] = {}
        for row in boxes.rows():
            key = value_or_none(row, "track")
            # A key has one class and stands in a frame once; one that is made up is no other frame's.
            while key is None or key in there or objects.get(key, {}).get("type", row["name"]) != row["name"]:
                key = f"{frame}-{len(objects)}" if key is None else f"{key}'"
            objects[key] = {"name": key, "type": row["name"]}
            there[key] = {"object_data": {"cuboid": [_cuboid(row)]}}
        listed[frame] = {"objects": there}
    content: dict[str, Any] = {
        "metadata": {"schema_version": "1.0.0"},
        "coordinate_systems": {_COORDINATES: {"type": "sensor_cs", "parent": "", "children": []}},
        "objects": objects,
    }
    if one:
        for each in listed.values():
            for key, node in each["objects"].items():
                objects[key] |= node
    else:
        content["frames"] = listed
    return {"openlabel": content}


def _cuboid(row: Mapping[str, Any]) -> dict[str, Any]:
    box = row["box"].tolist()
    half = box[6] / 2
    rotation = [0.0, 0.0, math.sin(half), math.cos(half)]
    cuboid: dict[str, Any] = {
        "name": "cuboid",
        "coordinate_system": _COORDINATES,
        "val": [*box[:3], *rotation, *box[3:6]],
    }
    values = {name: value_or_none(row, column) for column, name in _NUMBERS.items()}
    numbers = [{"name": name, "val": value} for name, value in values.items() if value is not None]
    return cuboid | ({"attributes": {"num": numbers}} if numbers else {})
