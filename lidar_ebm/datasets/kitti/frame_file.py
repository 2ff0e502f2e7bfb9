"""A point-cloud file, with what stands beside it where it lies in KITTI's layout."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.calibration import Calibration
from lidar_ebm.formats.kitti.files import read_calibration, read_image_size
from lidar_ebm.formats.point_clouds import read_point_file
from lidar_ebm.geometry.projection import crop_to_camera_view


@dataclass(frozen=True, eq=False)
class FrameFile:
    """One frame, of which only the points have to be known."""

    name: str
    points: np.ndarray  # [N, 4] float32: x, y, z (m, LiDAR frame), reflectance 0..1
    calibration: Calibration | None
    image: Path | None
    labels: Path | None

    def image_size(self) -> tuple[int, int] | None:
        """Width and height of the image in pixels; most of KITTI's where there is none.

        Raises:
            InputError: the image is damaged.
        """
        return None if self.image is None else read_image_size(self.image)

    def points_in_view(self) -> np.ndarray:
        """The points that the camera sees, as labels are of them alone; all where there is no calibration.

        Raises:
            InputError: the image is damaged.
        """
        if self.calibration is None:
            return self.points
        return self.points[np.asarray(crop_to_camera_view(self.points, self.calibration, self.image_size()))]


def read_frame_file(path: str | Path, *, calibration: str | Path | None = None) -> FrameFile:
    """Read FOLDER/velodyne/NAME.bin, or any other point-cloud file.

    FOLDER/calib/NAME.txt, FOLDER/image_2/NAME.png and FOLDER/label_2/NAME.txt are taken where they are there.

    Args:
        path: a .bin, .npy, .pcd or .ply file.
        calibration: another calibration file, or a folder with NAME.txt.

    Raises:
        InputError: the points or the calibration cannot be used, or the given calibration is not there.
    """
    path = Path(path)
    # As it was named: where it is a link, or in a linked folder, the others stand beside the link.
    name, folder = path.stem, Path(os.path.abspath(path)).parent.parent  # noqa: PTH100 (Path has no such thing)
    if calibration is not None:
        given = Path(calibration)
        known: Path | None = given / f"{name}.txt" if given.is_dir() else given
    else:
        known = _existing(folder / "calib" / f"{name}.txt")
    return FrameFile(
        name,
        read_point_file(path),
        None if known is None else read_calibration(known, need_headings=True),
        _existing(folder / "image_2" / f"{name}.png"),
        _existing(folder / "label_2" / f"{name}.txt"),
    )


def check_names(paths: Sequence[str | Path]) -> None:
    """Refuse point-cloud files that would write one file.

    Raises:
        InputError: two of them differ in their folders or endings alone.
    """
    names = [Path(path).stem for path in paths]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{twice[0]}: two of the given files have this name and would write one file. Rename one.")


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None
