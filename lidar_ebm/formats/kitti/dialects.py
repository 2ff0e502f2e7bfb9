"""Calibration files of KITTI and of what writes like it, in every spelling.

- Object benchmark: `P2:`, `R0_rect:`, `Tr_velo_to_cam:`.
- Tracking benchmark: `P2:`, `R_rect`, `Tr_velo_cam`, the last two without colons.
- Odometry: `P2:` and `Tr:`, which leads to the rectified camera at once.
- Raw: `calib_velo_to_cam.txt` with `R:` and `T:`, and beside it `calib_cam_to_cam.txt` with `R_rect_00:`, `P_rect_02:`.
- Converters of Waymo's data: `Tr_velo_to_cam_0:`, whose camera is that of `P0:`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.formats.fields import read_text
from lidar_ebm.formats.kitti.calibration import Calibration
from lidar_ebm.formats.kitti.files import parse_matrix

PathLike = str | os.PathLike[str]

_VELO_TO_CAM, _CAM_TO_CAM = "calib_velo_to_cam.txt", "calib_cam_to_cam.txt"
_RECTIFICATIONS = ("R0_rect", "R_rect", "R_rect_00", "R_rect_0")
_SHOWN_KEYS, _SHOWN_LETTERS = 12, 20
_ADVICE = (
    "Write the lines 'P2:' (12 numbers), 'R0_rect:' (9) and 'Tr_velo_to_cam:' (12), or give the original file of "
    "KITTI's object, tracking, odometry or raw data."
)


def read_calibration_dialect(path: PathLike) -> Calibration:
    """Calibration from a file of any dialect, or from a folder of KITTI's raw calibration files.

    Raises:
        InputError: the file cannot be read, has no dialect's keys, or a matrix is damaged; the message names file and
            key.
    """
    file = Path(path)
    if file.is_dir():
        file = file / _VELO_TO_CAM
    lines = _lines(file)
    try:
        if "R" in lines and "T" in lines:
            return _raw(file, lines)
        return _one_file(file, lines)
    except InputError as error:
        if str(error).startswith(str(file.parent)):
            raise
        raise InputError(f"{file}: {error}") from error


def _one_file(file: Path, lines: Mapping[str, str]) -> Calibration:
    if "Tr_velo_to_cam_0" in lines and "Tr_velo_to_cam" not in lines:
        transform, projection = "Tr_velo_to_cam_0", "P0"
    else:
        transform = next((key for key in ("Tr_velo_to_cam", "Tr_velo_cam", "Tr") if key in lines), "")
        projection = next((key for key in ("P2", "P_rect_02") if key in lines), "P2")
    if not transform:
        raise InputError(f"{file}: Tr_velo_to_cam is missing ({_shown(lines)} are there). {_ADVICE}")
    rectification = next((key for key in _RECTIFICATIONS if key in lines), "")
    if not rectification and transform != "Tr":
        raise InputError(f"{file}: R0_rect is missing ({_shown(lines)} are there). {_ADVICE}")
    if projection not in lines:
        raise InputError(f"{file}: {projection} is missing ({_shown(lines)} are there). {_ADVICE}")
    return Calibration(
        p2=parse_matrix(file, lines, projection, (3, 4)),
        r0_rect=parse_matrix(file, lines, rectification, (3, 3)) if rectification else np.eye(3),
        tr_velo_to_cam=parse_matrix(file, lines, transform, (3, 4)),
    )


def _raw(file: Path, lines: Mapping[str, str]) -> Calibration:
    cameras = file.parent / _CAM_TO_CAM
    if not cameras.is_file():
        raise InputError(
            f"{file}: this is KITTI raw's {_VELO_TO_CAM}; {_CAM_TO_CAM}, which has R_rect_00 and P_rect_02, must lie "
            f"beside it. {_ADVICE}"
        )
    others = _lines(cameras)
    for key in ("R_rect_00", "P_rect_02"):
        if key not in others:
            raise InputError(f"{cameras}: {key} is missing. Restore the original file.")
    rotation = parse_matrix(file, lines, "R", (3, 3))
    translation = parse_matrix(file, lines, "T", (3, 1))
    return Calibration(
        p2=parse_matrix(cameras, others, "P_rect_02", (3, 4)),
        r0_rect=parse_matrix(cameras, others, "R_rect_00", (3, 3)),
        tr_velo_to_cam=np.hstack((rotation, translation)),
    )


def _lines(file: Path) -> dict[str, str]:
    """Text that follows each key, with or without a colon."""
    lines = {}
    for line in read_text(file).splitlines():
        key, _, rest = line.strip().partition(" ")
        if ":" in line:
            key, _, rest = line.partition(":")
        if key.strip():
            lines[key.strip()] = rest
    return lines


def _shown(lines: Mapping[str, str]) -> str:
    """The keys of a file for a message, which may be those of any text."""
    keys = [key if len(key) <= _SHOWN_LETTERS else f"{key[:_SHOWN_LETTERS]}…" for key in list(lines)[:_SHOWN_KEYS]]
    return ", ".join(keys + ["…"] * (len(lines) > _SHOWN_KEYS)) or "no keys"
