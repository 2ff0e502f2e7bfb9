"""A data set as a folder of one's own: points/, labels/, dataset.yaml; labels all around, no camera."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lidar_ebm.datasets.folder.settings import FILE
from lidar_ebm.datasets.frame import Frame, four_columns
from lidar_ebm.datasets.writing import labels_of
from lidar_ebm.formats.point_clouds.bin import write_bin
from lidar_ebm.formats.reading import write_boxes
from lidar_ebm.geometry.camera import Camera
from lidar_ebm.system.files import atomic_write

CAMERA: Camera | None = None
OWN_FILES = (FILE,)

_SETTINGS = """# Simulated streets with labels all around, in the LiDAR frame.
points: points
labels: {folder: labels, format: json}
splits: SPLITS
sensor:
  axes: x forward, y left, z up
  height: 1.73      # above the ground, m
  reflectance: 1.0  # the files' value that is 1.0
"""


def frame_paths(root: Path, name: str) -> tuple[Path, Path]:
    """Point cloud and labels of a frame; labels are written last, so that they mark the end."""
    return root / "points" / f"{name}.bin", root / "labels" / f"{name}.json"


def write_frame(root: Path, frame: Frame) -> None:
    """Write a frame's two files.

    Raises:
        InputError: the frame has no labels.
        OutputError: a file cannot be written.
    """
    boxes = labels_of(frame)
    cloud, labels = frame_paths(root, frame.name)
    write_bin(cloud, four_columns(frame.points, frame.channels))
    write_boxes(labels, {frame.name: boxes}, "boxes_json")


def write_splits(root: Path, splits: Mapping[str, Sequence[str]]) -> None:
    """Write dataset.yaml and the lists of its splits.

    Raises:
        OutputError: a file cannot be written.
    """
    for split, names in splits.items():
        with atomic_write(root / f"{split}.txt", "w") as file:
            file.writelines(f"{name}\n" for name in names)
    lists = ", ".join(f"{split}: {split}.txt" for split in splits)
    with atomic_write(root / FILE, "w") as file:
        file.write(_SETTINGS.replace("SPLITS", f"{{{lists}}}"))
