"""labelCloud's label files that give a box by its eight corners (the tool's `vertices`).

The corners run around the bottom from the rear right one, then around the top: the first and fourth differ by the
length, the first and second by the width, the first and fifth by the height.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.formats.box_format import Context
from lidar_ebm.formats.fields import Node, glimpse, has_keys
from lidar_ebm.formats.frame_files import all_recognised
from lidar_ebm.formats.labelcloud import read_files, write_files
from lidar_ebm.formats.rotations import Tilts
from lidar_ebm.formats.rows import BoxRows

TITLE = "labelCloud JSON, corners (vertices)"
COLUMNS: frozenset[str] = frozenset()

_CORNERS = np.array([(x, y, z) for z in (-0.5, 0.5) for x, y in ((-0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.5, -0.5))])
_SHARE = 0.01  # of the box's longest edge, by which corners may be off a box


def recognise(path: Path) -> bool:
    """Tell if these are such labels."""
    return all_recognised(path, ".json", lambda file: has_keys(glimpse(file), "objects", "vertices") or None)


def read(path: Path, context: Context) -> dict[str, Boxes]:
    """Boxes by frame; a file's name is its frame's."""
    return read_files(path, _read_vertices)


def write(path: Path, frames: Mapping[str, Boxes], context: Context) -> list[Path]:
    """Write a file a frame: `path` itself for a single one (.json), otherwise files in that folder."""
    return write_files(path, frames, _entry)


def _read_vertices(entry: Node, rows: BoxRows, tilts: Tilts) -> None:
    field = entry["vertices"]
    elements = field.elements()
    if len(elements) != 8:
        field.fail(f"expected 8 corners, got {len(elements)}.")
    corners = np.array([element.numbers(3) for element in elements])  # [8, 3]
    edges = corners[[3, 1, 4]] - corners[0]  # along length, width, height
    with np.errstate(over="ignore", invalid="ignore"):
        sizes = np.sqrt((edges**2).sum(axis=1))
        center = corners.mean(axis=0)
        error = np.abs(center + _CORNERS @ edges - corners).max()
        upright = abs(edges[2, 2]) / sizes[2] if sizes[2] > 0 else 1.0
    if not np.isfinite([*sizes, *center, error]).all() or error > _SHARE * max(float(sizes.max()), 1e-3):
        field.fail("the corners are not those of a box in labelCloud's order.")
    tilts.add(float(upright))
    rows.add(entry["name"].text(), [*center.tolist(), *sizes.tolist(), math.atan2(edges[0, 1], edges[0, 0])])


def _entry(box: list[float]) -> dict[str, Any]:
    cosine, sine = math.cos(box[6]), math.sin(box[6])
    local = _CORNERS * np.array(box[3:6])
    rotated = local @ np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    return {"vertices": (rotated + np.array(box[:3])).tolist()}
