"""A data set in nuScenes' layout: sweeps of LIDAR_TOP, and the thirteen tables of the version v1.0-trainval.

Scenes bear names out of the official lists of train and val, so every tool that knows nuScenes' splits takes them.
Beside the tables lies `scenes/NAME.json` of every scene with the rows that are its own; the tables are put together of
them, so that a data set can be made scene by scene.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from lidar_ebm.datasets.nuscenes.scene_rows import CATEGORIES, CHANNEL, TABLES, SceneRows, sensor_token, token
from lidar_ebm.datasets.scenes import RecordedScene, SceneSweep
from lidar_ebm.errors import InputError
from lidar_ebm.formats.nuscenes.classes import ATTRIBUTES
from lidar_ebm.formats.nuscenes.splits import SPLITS_FILE, official_scenes
from lidar_ebm.system.files import atomic_write, read_bytes
from lidar_ebm.types import REFLECTANCE

VERSION = "v1.0-trainval"
OWN_FILES = (VERSION, "samples", "sweeps", "scenes")

_MAP = "maps/simulated.png"
_VISIBILITY = {"1": "v0-40", "2": "v40-60", "3": "v60-80", "4": "v80-100"}


def scene_names(train: int, val: int) -> tuple[list[str], list[str]]:
    """The first so many names of nuScenes' official splits train and val, in order.

    Raises:
        InputError: the splits have fewer.
    """
    chosen = []
    for split, count in (("train", train), ("val", val)):
        names = sorted(official_scenes(split))
        if count > len(names):
            raise InputError(
                f"scenes: {count} are for {split}, and nuScenes has names for {len(names)} there. Ask for fewer, or "
                "for another share of validation."
            )
        chosen.append(names[:count])
    return chosen[0], chosen[1]


def scene_path(root: Path, name: str) -> Path:
    """The scene's own rows of the tables, which are written last."""
    return root / "scenes" / f"{name}.json"


def write_scene(root: Path, scene: RecordedScene) -> None:
    """Write a scene's sweeps, and its rows of the tables.

    Args:
        root: the data set's folder.
        scene: sweeps with the channels reflectance and ring, the last a key frame; boxes with tracks, named by
            nuScenes' categories. Visibility follows `occluded`.

    Raises:
        InputError: the scene lacks one of these.
        OutputError: a file cannot be written.
    """
    rows = SceneRows(scene)
    for sweep in scene.sweeps:
        points = _sensor_points(sweep)
        with atomic_write(root / rows.filename(sweep)) as file:
            file.write(points.astype("<f4").tobytes())
        rows.add(sweep, points)
    with atomic_write(scene_path(root, scene.name), "w") as file:
        json.dump(rows.finish(), file)


def write_tables(root: Path, splits: Mapping[str, Sequence[str]]) -> None:
    """Write the thirteen tables, the map's picture and `splits.json` of all scenes that the splits name.

    Raises:
        InputError: a scene's file is damaged.
        OutputError: a file cannot be written.
    """
    folder = root / VERSION
    names = sorted({name for scenes in splits.values() for name in scenes})
    logs: list[str] = []
    with ExitStack() as stack:
        files = {table: stack.enter_context(atomic_write(folder / f"{table}.json", "w")) for table in TABLES}
        separators = dict.fromkeys(TABLES, "[\n")
        for name in names:
            rows = _read_rows(scene_path(root, name))
            logs += [row["token"] for row in rows["log"]]
            for table, file in files.items():
                for row in rows[table]:
                    file.write(separators[table] + json.dumps(row))
                    separators[table] = ",\n"
        for table, file in files.items():
            file.write("[]\n" if separators[table] == "[\n" else "\n]\n")
    for table, common in _common_tables(logs).items():
        with atomic_write(folder / f"{table}.json", "w") as file:
            file.write("[\n" + ",\n".join(json.dumps(row) for row in common) + "\n]\n")
    with atomic_write(root / _MAP) as file:
        file.write(_white_picture(64))
    with atomic_write(folder / SPLITS_FILE, "w") as file:
        json.dump({split: list(scenes) for split, scenes in splits.items()}, file)


def _sensor_points(sweep: SceneSweep) -> np.ndarray:
    """Points [N, 5] of a file: x right, y forward, z up, intensity 0..255, ring."""
    columns = list(sweep.channels)
    if REFLECTANCE not in columns or "ring" not in columns:
        raise InputError(f"sweep {sweep.timestamp}: has the channels {', '.join(columns)}; give reflectance and ring.")
    intensity = np.round(255.0 * sweep.points[:, 3 + columns.index(REFLECTANCE)])
    ring = sweep.points[:, 3 + columns.index("ring")]
    x, y, z = sweep.points[:, :3].T
    return np.column_stack([-y, x, z, intensity, ring]).astype(np.float32)


def _common_tables(logs: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The tables that are the same in every data set, but for the logs that the map belongs to."""
    return {
        "category": [
            {"token": token("category", name), "name": name, "description": "", "index": index}
            for index, name in enumerate(CATEGORIES)
        ],
        "attribute": [{"token": token("attribute", name), "name": name, "description": ""} for name in ATTRIBUTES],
        "visibility": [
            {"token": key, "level": level, "description": f"share of the rays that reach it, {level} %"}
            for key, level in _VISIBILITY.items()
        ],
        "sensor": [{"token": sensor_token(), "channel": CHANNEL, "modality": "lidar"}],
        "map": [{"token": token("map"), "log_tokens": list(logs), "category": "semantic_prior", "filename": _MAP}],
    }


def _read_rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        rows = json.loads(read_bytes(path))
        if set(rows) != set(TABLES):
            raise ValueError("tables are missing")
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{path}: is not a scene's rows ({error}). Remove it and simulate again.") from error
    return rows


def _white_picture(size: int) -> bytes:
    """A white square as PNG: a map on which everything is drivable."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)  # 8 bits of grey
    lines = (b"\x00" + b"\xff" * size) * size
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
