"""2-D boxes for labels and results of programs that look at the LiDAR alone: the projection of their 3-D boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.kitti.objects import Objects
from lidar_ebm.evaluation.kitti.point_counts import has_box_in_space, rows_by_frame
from lidar_ebm.evaluation.kitti.rules import UNKNOWN_ANGLE, lacks_rectangle
from lidar_ebm.formats.image_size import find_image, read_image_size
from lidar_ebm.formats.kitti.calibration import Calibration, image_size_of
from lidar_ebm.formats.kitti.conversion import project_camera_boxes
from lidar_ebm.formats.kitti.files import read_calibration
from lidar_ebm.geometry.projection import clip_to_image
from lidar_ebm.geometry.upright import wrap_angle
from lidar_ebm.system.progress import progress_bar

_SHOWN_SIZES = 3


@dataclass(frozen=True)
class Projected:
    """Outcome of projecting."""

    count: int  # objects that now have a 2-D box that they lacked
    size_note: str  # how the image's size was got where there is no image, else empty


def project_missing_boxes(
    objects: Objects, frame_names: Sequence[str], calib_folder: Path, image_folder: Path | None
) -> tuple[Objects, Projected]:
    """Give every object that has a 3-D box but no 2-D box the extent of its 3-D box in the image.

    An object has no 2-D box where the width or height of what is stored is not positive (zeros, or -1 -1 -1 -1). What
    of the 3-D box is in front of the camera is projected, in the camera's own frame and so without rounding or tilt,
    and cut to the image; where nothing of it is there, the 2-D box is (0, 0, 0, 0). Of the same objects, alpha is
    computed where it is unknown. All others stay as they are, as do frames without such objects, of which no file is
    read.

    Args:
        objects: of F frames.
        frame_names: F names.
        calib_folder: KITTI's `calib`; frame NAME has its calibration in NAME.txt.
        image_folder: KITTI's `image_2`: the size of NAME.png (or .jpg, …) is read where it is there; elsewhere the
            image is taken to have the camera's centre in its middle.

    Raises:
        InputError: a calibration file is missing or malformed or its P2 is that of no camera, or an image is none; the
            message names it.
    """
    wanted = lacks_rectangle(objects) & has_box_in_space(objects)
    frames = rows_by_frame(objects, frame_names, wanted)
    bbox = objects.bbox.copy()
    sizes: dict[tuple[int, int], int] = {}  # those that P2 tells, and of how many frames
    with progress_bar("Projecting boxes", len(frames)) as bar:
        for name, rows in frames:
            path = Path(calib_folder) / f"{name}.txt"
            calibration = read_calibration(path)
            image = None if image_folder is None else find_image(image_folder, name)
            size = size_told(calibration, path) if image is None else read_image_size(image)
            check_center(calibration, size, path, image)
            if image is None:
                sizes[size] = sizes.get(size, 0) + 1
            bbox[rows] = clip_to_image(project_camera_boxes(objects.boxes[rows], calibration), size)
            bar.advance()
    x, z, rotation_y = objects.boxes[:, 0], objects.boxes[:, 2], objects.boxes[:, 6]
    angles = wrap_angle(rotation_y - np.arctan2(x, z))
    alpha = np.where(wanted & (objects.alpha == UNKNOWN_ANGLE), angles, objects.alpha)
    count = int((bbox[wanted, 2:] > bbox[wanted, :2]).all(axis=1).sum())
    return replace(objects, bbox=bbox, alpha=alpha), Projected(count, _size_note(sizes))


def size_told(calibration: Calibration, path: Path) -> tuple[int, int]:
    """Width and height in pixels of the image that P2 projects to: KITTI's own, or twice the centre that P2 says.

    Raises:
        InputError: P2 is that of no camera; the message names the file.
    """
    try:
        return image_size_of(calibration.p2)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def check_center(calibration: Calibration, size: tuple[int, int], path: Path, image: Path | None) -> None:
    """Refuse a P2 whose centre is at the image's border or beyond.

    Raises:
        InputError: so it is; the message names the file.
    """
    center = _center(calibration)
    if not ((center > 0) & (center < size)).all():
        raise _no_camera(path, center, f"which is outside the image {image} of {size[0]} x {size[1]} pixels")


def _center(calibration: Calibration) -> np.ndarray:
    return calibration.p2[:2, 2] / calibration.p2[2, 2] if calibration.p2[2, 2] else np.full(2, -np.inf)


def _no_camera(path: Path, center: np.ndarray, why: str) -> InputError:
    return InputError(
        f"{path}: P2 is that of no camera: its centre is ({center[0]:g}, {center[1]:g}), {why}. Write the camera's own "
        "P2, or score by distance and points (lidar_only)."
    )


def _size_note(sizes: dict[tuple[int, int], int]) -> str:
    if not sizes:
        return ""
    shown = ", ".join(f"{width} x {height}" for width, height in list(sizes)[:_SHOWN_SIZES])
    return (
        f"project: {sum(sizes.values())} frames have no image, whose size is taken from P2, twice its centre: {shown}"
        f"{', …' if len(sizes) > _SHOWN_SIZES else ''}"
    )
