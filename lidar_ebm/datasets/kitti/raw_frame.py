"""A frame from its own files: what training sees of it before any preparation, and what is prepared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lidar_ebm.datasets.kitti.layout import input_path
from lidar_ebm.errors import InputError
from lidar_ebm.formats.image_size import find_image, read_image_size
from lidar_ebm.formats.kitti.calibration import FIXED_AXES, Calibration
from lidar_ebm.formats.kitti.conversion import labels_to_boxes
from lidar_ebm.formats.kitti.dialects import read_calibration_dialect
from lidar_ebm.formats.kitti.files import PathLike
from lidar_ebm.formats.kitti.label import Label
from lidar_ebm.geometry.camera import Camera
from lidar_ebm.geometry.projection import crop_to_camera_view

# Beyond this, in m, a number is no place or size of an object but damage, and would overflow float32 later on.
LARGEST_NUMBER = 1e5


def frame_calibration(root: Path, name: str, *, lidar_only: bool) -> Calibration:
    """The frame's calibration; the fixed axes of label files in data without calibrations.

    Raises:
        InputError: as `read_calibration_dialect`; or the camera lies on its side, so that headings say nothing.
    """
    return FIXED_AXES if lidar_only else read_upright_calibration(input_path(root, "calib", name))


def read_upright_calibration(path: Path) -> Calibration:
    """The calibration in a file.

    Raises:
        InputError: as `read_calibration_dialect`; or the camera lies on its side, so that headings say nothing.
    """
    calibration = read_calibration_dialect(path)
    try:
        _ = calibration.heading_to_lidar  # raises where there is none
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return calibration


def frame_camera(root: Path, name: str, calibration: Calibration) -> Camera:
    """The camera of a frame's calibration, with the size of its image file, or that which P2 tells.

    Raises:
        InputError: the image is damaged, or P2 is of no camera or of another image.
    """
    try:
        return calibration.camera(frame_image_size(root, name))
    except InputError as error:
        if str(error).startswith("P2"):
            raise InputError(f"{input_path(root, 'calib', name)}: {error}") from error
        raise


def frame_image_size(root: Path, name: str) -> tuple[int, int] | None:
    """Width and height in pixels of the frame's image, of any kind; None where there is no image file.

    Raises:
        InputError: the image is damaged.
    """
    path = find_image(root / "training" / "image_2", name)
    return None if path is None else read_image_size(path)


def crop_to_view(points: np.ndarray, camera: Camera | None) -> np.ndarray:
    """The points [N, 3 + C] that the camera sees; all of them without a camera."""
    return points if camera is None else points[crop_to_camera_view(points, camera)]


def has_box(label: Label) -> bool:
    """Tell if the label has a box in space; its sizes are the placeholder -1 otherwise."""
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
    """Tell if the numbers of a label's box can be computed with."""
    return max(map(abs, (*label.dimensions, *label.location, label.rotation_y))) <= LARGEST_NUMBER


def format_triple(values: tuple[float, float, float]) -> str:
    """Three numbers for a message."""
    return ", ".join(f"{value:g}" for value in values)
