"""Calibration of each frame of a label folder: given, beside it, or the fixed axes of a LiDAR-only data set."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import Context
from lidar_ebm.formats.kitti.calibration import FIXED_AXES, Calibration
from lidar_ebm.formats.kitti.dialects import read_calibration_dialect


def camera_finder(labels: Path, context: Context) -> Callable[[str], tuple[Calibration, bool]]:
    """Function from a frame's name to its calibration, and whether that is of a real camera.

    Args:
        labels: folder of the label files.
        context: calibrations that were given.

    Raises:
        InputError: (the function) a frame has no calibration; the message says where one is looked up.
    """
    if context.camera_of is not None:
        given = context.camera_of
        return lambda name: (given(name), True)
    if context.calibration is not None:
        return _FromFiles(context.calibration)
    folder = labels.absolute().parent / "calib"
    if folder.is_dir():
        return _FromFiles(folder)
    if _is_lidar_only(labels):
        warnings.warn(
            f"{labels}: there is no folder calib beside it; these are taken for labels of a LiDAR-only data set, in "
            "the fixed axes of one.",
            stacklevel=3,
        )
        return lambda name: (FIXED_AXES, False)

    def refuse(name: str) -> tuple[Calibration, bool]:
        raise InputError(
            f"{labels}: boxes stand in the camera's frame, and there is no calibration for frame {name}. Give `calib` "
            f"(a file, or a folder with {name}.txt), or put one at {folder / (name + '.txt')}."
        )

    return refuse


class _FromFiles:
    """Calibrations from a file for all frames, or a folder with one a frame; each file is read once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: dict[Path, Calibration] = {}

    def __call__(self, name: str) -> tuple[Calibration, bool]:
        """Calibration of a frame."""
        path = self._path
        if path.is_dir() and not (path / "calib_velo_to_cam.txt").is_file():
            path = path / f"{name}.txt"
        if path not in self._read:
            self._read[path] = read_calibration_dialect(path)
            try:
                _ = self._read[path].heading_to_lidar  # raises where the camera lies on its side
            except InputError as error:
                raise InputError(f"{path}: {error}") from error
        return self._read[path], True


def _is_lidar_only(labels: Path) -> bool:
    data = labels.absolute().parent
    return (data / "velodyne").is_dir() and not (data / "image_2").is_dir()
