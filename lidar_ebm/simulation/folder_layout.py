"""A simulated data set as a folder of one's own: points/, labels/, dataset.yaml; labels all around, no camera."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lidar_ebm.boxes import Boxes
from lidar_ebm.formats.kitti.files import write_points, write_split
from lidar_ebm.formats.reading import write_boxes
from lidar_ebm.system.files import atomic_write

SETTINGS = """# Simulated streets with labels all around, in the LiDAR frame.
points: points
labels: {folder: labels, format: json}
splits: {train: train.txt, val: val.txt}
sensor:
  axes: x forward, y left, z up
  height: 1.73      # above the ground, m
  reflectance: 1.0  # the files' value that is 1.0
"""


def folder_paths(root: Path, name: str) -> tuple[Path, Path]:
    """Point cloud and labels of a frame; labels are written last, so that they mark the end."""
    return root / "points" / f"{name}.bin", root / "labels" / f"{name}.json"


def write_folder_frame(root: Path, name: str, points: object, boxes: Boxes, called: Mapping[str, str]) -> None:
    """Write a frame's two files, with classes under other names where `called` has some.

    Raises:
        OutputError: a file cannot be written.
    """
    cloud, labels = folder_paths(root, name)
    write_points(cloud, points)  # type: ignore[arg-type]  # an array
    names = [called.get(str(each), str(each)) for each in boxes.names]
    write_boxes(labels, {name: boxes.with_columns(names=names)}, "boxes_json")


def write_folder_settings(root: Path, splits: Mapping[str, Sequence[int]], name_of: Callable[[int], str]) -> None:
    """Write dataset.yaml and the splits.

    Raises:
        OutputError: a file cannot be written.
    """
    for split, indices in splits.items():
        write_split(root / f"{split}.txt", [name_of(index) for index in indices])
    with atomic_write(root / "dataset.yaml", "w") as file:
        file.write(SETTINGS)
