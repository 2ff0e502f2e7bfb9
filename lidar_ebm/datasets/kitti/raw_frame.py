"""A frame from its own files: what training sees of it before any preparation, and what is prepared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lidar_ebm.datasets.kitti.layout import input_path
from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.calibration import FIXED_AXES, Calibration
from lidar_ebm.formats.kitti.conversion import labels_to_boxes
from lidar_ebm.formats.kitti.files import PathLike, read_calibration, read_image_size
from lidar_ebm.formats.kitti.label import Label
from lidar_ebm.geometry.camera import DEFAULT_IMAGE_SIZE
from lidar_ebm.geometry.projection import crop_to_camera_view

# Beyond this, in m, a number is no place or size of an object but damage, and would overflow float32 later on.
LARGEST_NUMBER = 1e5


def frame_calibration(root: Path, name: str, *, lidar_only: bool) -> Calibration:
    """The frame's calibration; the nominal one in data without calibrations.

    Raises:
        InputError: as `read_calibration`.
    """
    if lidar_only:
        return FIXED_AXES
    return read_calibration(input_path(root, "calib", name), need_headings=True)


def frame_image_size(root: Path, name: str) -> tuple[int, int]:
    """Width and height of the frame's image in pixels; most of KITTI's where there is no image file.

    Raises:
        InputError: the image is damaged.
    """
    path = input_path(root, "image_2", name)
    return read_image_size(path) if path.exists() else DEFAULT_IMAGE_SIZE


def crop_to_view(
    root: Path, name: str, points: np.ndarray, calibration: Calibration, *, lidar_only: bool
) -> np.ndarray:
    """The points [N, 4] that the camera sees; all of them in data without calibrations.

    Raises:
        InputError: the frame's image is damaged.
    """
    if lidar_only:
        return points
    return points[np.asarray(crop_to_camera_view(points, calibration, frame_image_size(root, name)))]


def has_box(label: Label) -> bool:
    """Whether the label has a box in space; its sizes are the placeholder -1 otherwise."""
    return min(label.dimensions) > 0


def boxes_in_space(labels: Sequence[Label], calibration: Calibration, path: PathLike) -> tuple[list[Label], np.ndarray]:
    """The labels that have a box in space, and their boxes [M, 7] float64, LiDAR frame.

    Args:
        path: what a message calls the labels' file.

    Raises:
        InputError: a box has numbers that no object has.
    """
    chosen = [label for label in labels if has_box(label)]
    for label in chosen:
        if not is_sane(label):
            raise InputError(
                f"{path}: a {label.type} of {format_triple(label.dimensions)} m (height, width, length) at "
                f"{format_triple(label.location)} m. Correct or remove its line."
            )
    return chosen, labels_to_boxes(chosen, calibration)


def is_sane(label: Label) -> bool:
    """Whether the numbers of a label's box can be computed with."""
    return max(map(abs, (*label.dimensions, *label.location, label.rotation_y))) <= LARGEST_NUMBER


def format_triple(values: tuple[float, float, float]) -> str:
    """Three numbers for a message."""
    return ", ".join(f"{value:g}" for value in values)
