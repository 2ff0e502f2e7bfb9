"""labelCloud's label files with rotations in radians, -π to π (the tool's `centroid_rel`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lidar_ebm.boxes import Boxes
from lidar_ebm.formats.box_format import Context
from lidar_ebm.formats.labelcloud import (
    centroid_entry,
    centroids_recognised,
    read_files,
    read_relative,
    write_files,
)

TITLE = "labelCloud JSON, centroid with rotations in radians (centroid_rel)"
COLUMNS: frozenset[str] = frozenset()


def recognise(path: Path) -> bool:
    """Tell if these are such labels whose angles can be radians."""
    return centroids_recognised(path, degrees=False)


def read(path: Path, context: Context) -> dict[str, Boxes]:
    """Boxes by frame; a file's name is its frame's."""
    return read_files(path, read_relative)


def write(path: Path, frames: Mapping[str, Boxes], context: Context) -> list[Path]:
    """Write a file a frame: `path` itself for a single one (.json), otherwise files in that folder."""
    return write_files(path, frames, lambda box: centroid_entry(box, box[6]))
