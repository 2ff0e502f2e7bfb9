"""Frames of folders and of point-cloud files as a `FrameSource`, and result sets of any format to draw over them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.frame import Frame
from lidar_ebm.datasets.kitti.layout import input_path, split_path
from lidar_ebm.datasets.source import FrameSource
from lidar_ebm.errors import InputError
from lidar_ebm.formats import read_boxes, read_frames
from lidar_ebm.formats.box_format import recognise_format
from lidar_ebm.formats.image_size import read_image_size
from lidar_ebm.formats.kitti.calibration import FIXED_AXES, Calibration
from lidar_ebm.formats.kitti.files import read_calibration, read_split
from lidar_ebm.formats.point_clouds import read_point_cloud, scale_reflectance
from lidar_ebm.geometry.camera import Camera
from lidar_ebm.geometry.projection import crop_to_camera_view

TEXT_FORMAT = "kitti"  # of result files that are all empty, which look like no format
FRAME_SUFFIXES = (".txt", ".json", ".csv")  # of results that have a file for each frame


class FileSource:
    """Frames of point-cloud files; what stands beside a file in a data set's layout belongs to its frame."""

    def __init__(self, paths: Sequence[Path], root: Path, split: str = "") -> None:
        """Args: paths: point clouds; root: folder of the data set; split: its name, empty for all."""
        self.paths, self.root, self.split = list(paths), root, split

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of classes: none are declared before labels are read."""
        return ()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Frame:
        path = self.paths[index]
        cloud, _ = scale_reflectance(read_point_cloud(path), None)
        calib, image, labels = (_beside(path, *place) for place in _BESIDE)
        camera = None
        if calib is not None:
            size = None if image is None else read_image_size(image)
            camera = read_calibration(calib, need_headings=True).camera(size)
        boxes = None if labels is None else _read(labels, TEXT_FORMAT, camera)
        return Frame(self.name(index), cloud.points, cloud.channels, boxes, camera)

    def name(self, index: int) -> str:
        """Name of a frame: its file's, without the ending."""
        return self.paths[index].stem

    def image(self, index: int) -> Path | None:
        """Image of a frame's camera, where there is one."""
        return _beside(self.paths[index], *_BESIDE[1])


_BESIDE = (("calib", ".txt"), ("image_2", ".png"), ("label_2", ".txt"))  # calibration, image, labels


def _beside(path: Path, folder: str, suffix: str) -> Path | None:
    # As it was named: where it is a link, or in a linked folder, the others stand beside the link.
    place = Path(os.path.abspath(path)).parent.parent / folder / f"{path.stem}{suffix}"  # noqa: PTH100 (resolves links)
    return place if place.is_file() else None


def open_source(root: str | Path, split: str | None = None) -> FrameSource:
    """Frames of a data set.

    Args:
        root: folder of the data set.
        split: name of a split; None for all frames.

    Raises:
        InputError: there is no such folder or split, or no frame.
    """
    folder = Path(root)
    names = None if split is None else read_split(split_path(folder, split))
    if names is None:
        paths = sorted((folder / "training" / "velodyne").glob("*.bin"))
    else:
        paths = [input_path(folder, "velodyne", name) for name in names]
    if not paths:
        raise InputError(f"{folder}: no frames there (training/velodyne/*.bin).")
    check_files(paths)
    return FileSource(paths, folder, split or "")


def open_files(paths: Sequence[str | Path]) -> FrameSource:
    """Frames of single point-cloud files.

    Raises:
        InputError: one of them is not there.
    """
    files = [Path(path) for path in paths]
    check_files(files)
    return FileSource(files, files[0].parent)


def check_files(paths: Sequence[Path]) -> None:
    """Refuse point clouds that are not there.

    Raises:
        InputError: one is not.
    """
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        raise InputError(f"{missing}: no such folder or point cloud. Check the name.")


def image_of(source: FrameSource, index: int) -> np.ndarray | None:
    """Image [H, W, 3] uint8 of a frame's camera; None where the source has none.

    Raises:
        InputError: it cannot be read.
    """
    find = getattr(source, "image", None)
    path = None if find is None else find(index)
    return None if path is None else read_image(path)


def read_image(path: str | Path) -> np.ndarray:
    """An image file as [H, W, 3] uint8.

    Raises:
        InputError: it is missing, or no image that can be read.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as an image ({error}). Copy it again or remove it.") from error


def points_in_view(frame: Frame) -> np.ndarray:
    """Points [N, 4] (x, y, z, reflectance) that a detector is given.

    Where a frame has a camera they are those in its image, as labels are of them alone.
    """
    points = np.column_stack((frame.points[:, :3], frame.channel("reflectance")))
    return points if frame.camera is None else points[crop_to_camera_view(points, frame.camera)]


def read_results(path: Path, frame: Frame) -> Boxes | None:
    """Boxes of a frame in results of any format: a file, or a folder; None where it has none of this frame.

    Raises:
        InputError: a file cannot be used, or its format is not recognised.
    """
    folder = path / "data" if (path / "data").is_dir() else path
    if not folder.is_dir():
        return _all_frames(folder).get(frame.name)
    for suffix in FRAME_SUFFIXES:
        file = folder / f"{frame.name}{suffix}"
        if file.is_file():
            return _read(file, _format_of(folder, suffix), frame.camera)
    if any(item.suffix in FRAME_SUFFIXES for item in folder.iterdir()) or not any(folder.iterdir()):
        return None
    return _all_frames(folder).get(frame.name)


def read_label_file(path: str | Path, frame: Frame) -> Boxes:
    """Labels of a frame from a file of their own, in any format.

    Raises:
        InputError: the file cannot be used.
    """
    return _read(Path(path), _format_of(Path(path), Path(path).suffix), frame.camera)


@lru_cache(32)
def _format_of(path: Path, suffix: str) -> str:
    try:
        return recognise_format(path)
    except InputError:
        if suffix != ".txt":
            raise
        return TEXT_FORMAT


@lru_cache(4)
def _all_frames(path: Path) -> dict[str, Boxes]:
    return read_frames(path)


def _read(path: Path, box_format: str, camera: Camera | None) -> Boxes:
    calibration = FIXED_AXES
    if camera is not None:
        calibration = Calibration(camera.projection, np.eye(3), camera.lidar_to_camera[:3])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*no box in space")  # regions to ignore are not drawn
        boxes = read_boxes(path, box_format, camera=calibration)
    if isinstance(boxes, Boxes):
        return boxes
    raise InputError(f"{path}: holds {len(boxes)} frames; give a file for each, or all of them as one result set.")
