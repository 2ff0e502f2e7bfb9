"""Number of LiDAR points in each label's box: what difficulty is made of where nobody drew 2-D boxes."""

from __future__ import annotations

import math
import stat
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numba import njit

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.kitti.objects import Objects
from lidar_ebm.evaluation.kitti.rules import UNKNOWN_ANGLE, UNKNOWN_LOCATION
from lidar_ebm.formats.kitti.calibration import FIXED_AXES
from lidar_ebm.formats.kitti.files import read_calibration, read_points
from lidar_ebm.system.files import file_kind
from lidar_ebm.system.progress import progress_bar

_MISSING_SHOWN = 5


def count_label_points(
    labels: Objects, frame_names: Sequence[str], velodyne_folder: Path, calib_folder: Path | None
) -> np.ndarray:
    """Points inside the box of each label, a point on a face among them.

    They are counted in the camera's frame, in float64, where the labels' boxes are what the files say; a box that
    stands upright in the LiDAR's frame would differ by the camera's tilt. Only frames with a box in space are read.

    Args:
        labels: of F frames.
        frame_names: F names; frame NAME has its points in `velodyne_folder/NAME.bin`.
        velodyne_folder: KITTI's `velodyne`.
        calib_folder: KITTI's `calib`; None: all frames have the nominal calibration.

    Returns:
        [N] int64; 0 for labels without a box in space, such as DontCare.

    Raises:
        InputError: files are missing, malformed or cut short; the message names them.
    """
    counts = np.zeros(len(labels.type_index), dtype=np.int64)
    frames = rows_by_frame(labels, frame_names, has_box_in_space(labels))
    _check_files([Path(velodyne_folder) / f"{name}.bin" for name, _ in frames], "the labels' points are to be counted")
    if calib_folder is not None:
        _check_files([Path(calib_folder) / f"{name}.txt" for name, _ in frames], "they say where the LiDAR stands")
    nominal = FIXED_AXES
    with progress_bar("Counting points", len(frames)) as bar:
        for name, rows in frames:
            calibration = nominal if calib_folder is None else read_calibration(Path(calib_folder) / f"{name}.txt")
            points = read_points(Path(velodyne_folder) / f"{name}.bin")
            counts[rows] = _count(points, labels.boxes[rows], calibration.lidar_to_rect)
            bar.advance()
    return counts


def has_box_in_space(objects: Objects) -> np.ndarray:
    """Mask [N] of the objects whose 3-D box is known: sizes above 0, and no placeholder for location or angle."""
    return (
        (objects.boxes[:, 3:6] > 0).all(axis=1)
        & (objects.boxes[:, :3] != UNKNOWN_LOCATION).all(axis=1)
        & (objects.boxes[:, 6] != UNKNOWN_ANGLE)
    )


def rows_by_frame(objects: Objects, frame_names: Sequence[str], wanted: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """The frames that hold objects of a mask [N], each by its name and the rows of these objects."""
    bounds = zip(frame_names, objects.offsets[:-1], objects.offsets[1:], strict=True)
    frames = ((name, start + np.flatnonzero(wanted[start:end])) for name, start, end in bounds)
    return [(name, rows) for name, rows in frames if len(rows)]


def _check_files(paths: Sequence[Path], purpose: str) -> None:
    """Say at once, not minutes into the counting, which files are not there."""
    missing = [path for path in paths if not stat.S_ISREG(file_kind(path) or 0)]
    if missing:
        shown = ", ".join(map(str, missing[:_MISSING_SHOWN])) + (", …" if len(missing) > _MISSING_SHOWN else "")
        raise InputError(
            f"{len(missing)} of {len(paths)} files are missing, though {purpose}: {shown}. Copy them there."
        )


@njit(cache=True, nogil=True)
def _count(points: np.ndarray, boxes: np.ndarray, lidar_to_rect: np.ndarray) -> np.ndarray:
    """Points [P, 4] float32 (LiDAR frame) in each of the boxes [M, 7] (as in `Objects`), [M] int64."""
    counts = np.zeros(len(boxes), dtype=np.int64)
    cos, sin, reach = np.cos(boxes[:, 6]), np.sin(boxes[:, 6]), np.empty(len(boxes))
    for j in range(len(boxes)):
        # A hair more than half the diagonal seen from above, so that rounding here leaves nothing out.
        reach[j] = 0.500001 * math.hypot(boxes[j, 4], boxes[j, 5])
    m = lidar_to_rect
    for i in range(len(points)):
        px, py, pz = np.float64(points[i, 0]), np.float64(points[i, 1]), np.float64(points[i, 2])
        x = m[0, 0] * px + m[0, 1] * py + m[0, 2] * pz + m[0, 3]
        y = m[1, 0] * px + m[1, 1] * py + m[1, 2] * pz + m[1, 3]
        z = m[2, 0] * px + m[2, 1] * py + m[2, 2] * pz + m[2, 3]
        for j in range(len(boxes)):
            dx, dz = x - boxes[j, 0], z - boxes[j, 2]
            if abs(dx) > reach[j] or abs(dz) > reach[j]:
                continue
            above = boxes[j, 1] - y  # the camera's y points down
            along = cos[j] * dx - sin[j] * dz
            across = sin[j] * dx + cos[j] * dz
            if 0.0 <= above <= boxes[j, 3] and abs(along) <= boxes[j, 5] / 2 and abs(across) <= boxes[j, 4] / 2:
                counts[j] += 1
    return counts
