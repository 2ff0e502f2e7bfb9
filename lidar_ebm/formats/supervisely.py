"""Supervisely's point-cloud annotations: a file a cloud, or an episode of frames with objects that they share.

A `cuboid_3d` is turned by `rotation.z` about its `position`; its length lies along its own y, and its front is at
-y: the tool's own importers of driving data write (width, length, height) and an angle of yaw + π/2.
"""

from __future__ import annotations

import math
import uuid
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import Context
from lidar_ebm.formats.fields import Node, glimpse, has_keys, read_json, write_json
from lidar_ebm.formats.frame_files import check_frame_name, list_files
from lidar_ebm.formats.rotations import Tilts, heading_of_euler
from lidar_ebm.formats.rows import BoxRows, check_boxes, value_or_none

TITLE = "Supervisely point clouds and episodes JSON"
COLUMNS = frozenset({"track"})

_KIND = "cuboid_3d"
_AXES = ("x", "y", "z")
_TRACK = "track"  # tag that keeps the name of a track, which a key cannot
_EPISODE, _MAP = "annotation.json", "frame_pointcloud_map.json"
_CLOUDS = (".pcd", ".bin", ".ply", ".las", ".laz", ".npy")


def recognise(path: Path) -> bool:
    """Tell if the file, or those that a project or data set has, are such annotations."""
    try:
        files = _files(path)
    except (InputError, OSError):
        return False
    return bool(files) and all(_is_annotation(file) for file in list(files.values())[:20])


def read(path: Path, context: Context) -> dict[str, Boxes]:
    """Boxes by point cloud: of a file, a data set, or a project, whose data sets' names come first then."""
    files = _files(path)
    if not files:
        raise InputError(f"{path}: there is no {_EPISODE} and no folder ann. Give a file, a data set or a project.")
    tilts = Tilts()
    frames: dict[str, Boxes] = {}
    others = 0
    for name, file in files.items():
        root = read_json(file)
        objects = _Objects(root)
        if root.optional("frames") is None:
            figures_by_frame: dict[str, Node | None] = {name: root["figures"]}
        else:
            prefix = name.rpartition("/")[0]
            names = _names_of_frames(file, root)
            figures_by_frame = {(f"{prefix}_{frame}" if prefix else frame): figures for frame, figures in names.items()}
        for frame, figures in figures_by_frame.items():
            rows = BoxRows(file)
            for figure in [] if figures is None else figures.elements():
                if figure["geometryType"].text() == _KIND:
                    _read_figure(figure, objects, rows, tilts)
                else:
                    others += 1
            frame = frame.replace("/", "_")
            if frame in frames:
                root.fail(f"point cloud {frame!r} stands in two files. Rename one of them.")
            frames[frame] = rows.boxes()
    if others:
        warnings.warn(f"{path}: {others} figures that are no cuboids are left out.", stacklevel=2)
    tilts.warn(path)
    return frames


def write(path: Path, frames: Mapping[str, Boxes], context: Context) -> list[Path]:
    """Write a single frame to a .json file, or a project with one episode to a folder."""
    check_boxes(frames, path)
    for name in frames:
        check_frame_name(path, name)
    objects: dict[str, dict[str, Any]] = {}
    figures = [[_figure(row, f"{name}/{i}", objects) for i, row in enumerate(b.rows())] for name, b in frames.items()]
    head = {"description": "", "key": _key("episode", *frames), "tags": [], "objects": list(objects.values())}
    if path.suffix.lower() == ".json":
        if len(frames) != 1:
            raise InputError(f"{path}: {len(frames)} frames do not go into one file; give a folder for an episode.")
        write_json(path, {**head, "figures": figures[0]})
        return [path]
    folder = path / "episode"
    listed = [{"index": index, "figures": own} for index, own in enumerate(figures)]
    classes = dict.fromkeys(item["classTitle"] for item in objects.values())
    meta = {
        "classes": [{"title": name, "shape": _KIND, "color": _color(name), "geometry_config": {}} for name in classes],
        "tags": [{"name": _TRACK, "value_type": "any_string", "color": "#808080"}],
        "projectType": "point_cloud_episodes",
    }
    contents = {
        path / "meta.json": meta,
        folder / _MAP: {str(index): f"{name}.pcd" for index, name in enumerate(frames)},
        folder / _EPISODE: {**head, "framesCount": len(frames), "frames": listed},
    }
    for file, content in contents.items():
        write_json(file, content)
    return list(contents)


class _Objects:
    """Classes and tracks of a file's objects by their key (or, of older exports, their number)."""

    def __init__(self, root: Node) -> None:
        self._objects: dict[str, tuple[str, str]] = {}
        for node in root["objects"].elements():
            key = node.optional("key") or node["id"]
            track = key.text()
            tags = node.optional("tags")
            for tag in [] if tags is None else tags.elements():
                if isinstance(tag.value, dict) and tag.value.get("name") == _TRACK:
                    track = tag["value"].text()
            for identity in (node.optional("key"), node.optional("id")):
                if identity is not None:
                    self._objects[identity.text()] = (node["classTitle"].text(), track)

    def of(self, figure: Node) -> tuple[str, str]:
        """Class and track of a figure."""
        key = figure.optional("objectKey") or figure["objectId"]
        if key.text() not in self._objects:
            key.fail(f"there is no object {key.shown()} in 'objects'.")
        return self._objects[key.text()]


def _is_annotation(file: Path) -> bool:
    text = glimpse(file)
    return has_keys(text, "objects") and ('"figures"' in text or '"framesCount"' in text)


def _files(path: Path) -> dict[str, Path]:
    """Annotation files by "data set/cloud" or, where there is one data set, by the cloud's name."""
    if not path.is_dir():
        return {_cloud(path.stem): path}
    data_set = _data_set(path)
    if data_set:
        return data_set
    try:
        parts = {folder.name: _data_set(folder) for folder in sorted(path.iterdir()) if folder.is_dir()}
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Check the permissions.") from error
    parts = {name: files for name, files in parts.items() if files}
    if len(parts) == 1:
        return next(iter(parts.values()))
    return {f"{part}/{name}": file for part, files in parts.items() for name, file in files.items()}


def _data_set(folder: Path) -> dict[str, Path]:
    if (folder / _EPISODE).is_file():
        return {"": folder / _EPISODE}
    ann = folder / "ann" if (folder / "ann").is_dir() else folder
    files = list_files(ann, ".json")
    if ann == folder and not all(_is_annotation(file) for file in files[:3]):
        return {}
    return {_cloud(file.stem): file for file in files}


def _cloud(name: str) -> str:
    return next((name.removesuffix(suffix) for suffix in _CLOUDS if name.endswith(suffix)), name)


def _names_of_frames(file: Path, root: Node) -> dict[str, Node | None]:
    """Figures of an episode's frames, by the names of their point clouds; by number where no map is beside it."""
    listed: dict[str, Node] = {}
    for frame in root["frames"].elements():
        index = str(frame["index"].whole())
        if index in listed:
            frame.fail(f"frame {index} stands there twice. Remove one of them.")
        listed[index] = frame["figures"]
    table = file.parent / _MAP
    if not table.is_file():
        return dict(listed)
    names = {index: _cloud(name.text()) for index, name in read_json(table).entries().items()}
    missing = [index for index in listed if index not in names]
    if missing:
        raise InputError(f"{table}: frame {missing[0]} of {file.name} is missing. Add it.")
    if len(set(names.values())) != len(names):
        raise InputError(f"{table}: a point cloud stands there twice. Correct it.")
    return {name: listed.get(index) for index, name in names.items()}


def _read_figure(figure: Node, objects: _Objects, rows: BoxRows, tilts: Tilts) -> None:
    geometry = figure.optional("geometry") or figure["points"]  # `points` in older exports
    angles = geometry["rotation"].named_numbers(*_AXES)
    dimensions = geometry["dimensions"]
    width, length, height = dimensions.size(*dimensions.named_numbers(*_AXES))
    yaw = heading_of_euler(angles, tilts, order="xyz") - math.pi / 2
    name, track = objects.of(figure)
    rows.add(name, [*geometry["position"].named_numbers(*_AXES), length, width, height, yaw], track=track or None)


def _figure(row: Mapping[str, Any], where: str, objects: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Figure of a box; its object is added to `objects` where it is not there yet."""
    x, y, z, length, width, height, yaw = row["box"].tolist()
    track = value_or_none(row, "track")
    identity = (where,) if track is None else (row["name"], track)
    key = _key(*identity)
    tags = [] if track is None else [{"name": _TRACK, "value": track, "key": _key("tag", *identity)}]
    objects.setdefault(key, {"key": key, "classTitle": row["name"], "tags": tags})
    geometry = {
        "position": dict(zip(_AXES, (x, y, z), strict=True)),
        "rotation": {"x": 0.0, "y": 0.0, "z": yaw + math.pi / 2},
        "dimensions": dict(zip(_AXES, (width, length, height), strict=True)),
    }
    return {"key": _key("figure", where), "objectKey": key, "geometryType": _KIND, "geometry": geometry}


def _key(*parts: str) -> str:
    """Key of 32 hexadecimal digits, the same for the same thing."""
    return uuid.uuid5(uuid.NAMESPACE_URL, "\n".join(parts)).hex


def _color(name: str) -> str:
    return f"#{_key('color', name)[:6]}"
