"""A point-cloud file, with what stands beside it where it lies in KITTI's layout."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lidar_ebm.datasets.kitti.raw_frame import read_upright_calibration
from lidar_ebm.errors import InputError
from lidar_ebm.formats.image_size import find_image, read_image_size
from lidar_ebm.formats.kitti.calibration import Calibration, image_size_of
from lidar_ebm.formats.point_clouds import ReflectanceScale, read_point_file
from lidar_ebm.geometry.camera import Camera
from lidar_ebm.geometry.projection import crop_to_camera_view

SWEEP_SUFFIX = ".pcd.bin"  # of nuScenes' files


@dataclass(frozen=True, eq=False)
class FrameFile:
    """One frame, of which only the points have to be known."""

    name: str
    points: np.ndarray  # [N, 4] float32: x, y, z (m, LiDAR frame), reflectance 0..1
    calibration: Calibration | None
    image: Path | None
    labels: Path | None
    calibration_file: Path | None = None  # to be named in messages
    turned: bool = False  # the file's x is to the right and its y ahead

    def camera(self) -> Camera | None:
        """The camera, with the size of the image, or that which P2 tells; None without a calibration.

        Raises:
            InputError: the image is damaged, or P2 is of no camera or of another image.
        """
        if self.calibration is None:
            return None
        size = None if self.image is None else read_image_size(self.image)
        try:
            return self.calibration.camera(size)
        except InputError as error:
            raise InputError(f"{self.calibration_file or self.name}: {error}") from error

    def in_view(self) -> np.ndarray | None:
        """Mask [N] of the points that the camera sees, as labels are of them alone; None without a calibration.

        Raises:
            InputError: as `camera`.
        """
        camera = self.camera()
        return None if camera is None else crop_to_camera_view(self.points, camera)

    def points_in_view(self) -> np.ndarray:
        """The points that the camera sees; all where there is no calibration.

        Raises:
            InputError: as `camera`.
        """
        seen = self.in_view()
        return self.points if seen is None else self.points[seen]


def read_frame_file(
    path: str | Path,
    *,
    calibration: str | Path | None = None,
    scale: ReflectanceScale | None = None,
    columns: str | None = None,
    dtype: str | None = None,
) -> FrameFile:
    """Read FOLDER/velodyne/NAME.bin, or any other point-cloud file.

    FOLDER/calib/NAME.txt, FOLDER/label_2/NAME.txt and an image FOLDER/image_2/NAME of any kind are taken where they are
    there. Sweeps of nuScenes, NAME.pcd.bin, are turned from their sensor's axes to x forward, y left.

    Args:
        path: a .bin, .npy, .pcd or .ply file.
        calibration: another calibration file, or a folder with NAME.txt.
        scale: full scale of the reflectance; decided by this file alone where None.
        columns: names of the columns of files that have none.
        dtype: type of the numbers of a .bin file.

    Raises:
        InputError: the points or the calibration cannot be used, or the given calibration is not there.
    """
    path = Path(path)
    # As it was named: where it is a link, or in a linked folder, the others stand beside the link.
    name, folder = path.stem, Path(os.path.abspath(path)).parent.parent  # noqa: PTH100 (Path has no such thing)
    if calibration is not None:
        given = Path(calibration)
        calibration_path: Path | None = given / f"{name}.txt" if given.is_dir() else given
    else:
        calibration_path = _existing(folder / "calib" / f"{name}.txt")
    points = read_point_file(path, scale=scale, columns=columns, dtype=dtype)
    turned = path.name.endswith(SWEEP_SUFFIX)
    if turned:
        points[:, :2] = points[:, [1, 0]] * np.array([1, -1], np.float32)
    return FrameFile(
        name,
        points,
        None if calibration_path is None else _read_calibration(calibration_path),
        find_image(folder / "image_2", name),
        _existing(folder / "label_2" / f"{name}.txt"),
        calibration_path,
        turned,
    )


def _read_calibration(path: Path) -> Calibration:
    calibration = read_upright_calibration(path)
    try:
        _ = image_size_of(calibration.p2)  # raises where P2 is of no camera
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return calibration


def check_names(paths: Sequence[str | Path]) -> None:
    """Refuse point-cloud files that would write one file.

    Raises:
        InputError: two of them differ in their folders or endings alone.
    """
    first: dict[str, str | Path] = {}
    for path in paths:
        name = Path(path).stem
        if name in first:
            raise InputError(
                f"{first[name]} and {path}: two of the given files have one name and would write one file. Rename one."
            )
        first[name] = path


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None
