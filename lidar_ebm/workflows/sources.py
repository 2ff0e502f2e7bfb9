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
from lidar_ebm.datasets.data_set import DataSet
from lidar_ebm.datasets.frame import Frame, take_channels
from lidar_ebm.datasets.kitti.layout import BESIDE
from lidar_ebm.datasets.opening import open_data_set, open_source
from lidar_ebm.datasets.source import FrameSource
from lidar_ebm.errors import InputError
from lidar_ebm.formats import read_boxes, read_frames
from lidar_ebm.formats.box_format import recognise_format
from lidar_ebm.formats.image_size import IMAGE_SUFFIXES, read_image_size
from lidar_ebm.formats.kitti.calibration import FIXED_AXES, Calibration
from lidar_ebm.formats.kitti.files import read_calibration
from lidar_ebm.formats.point_clouds import read_point_cloud, scale_reflectance
from lidar_ebm.geometry.camera import Camera
from lidar_ebm.geometry.projection import crop_to_camera_view
from lidar_ebm.types import REFLECTANCE

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
        calib, image, labels = (_beside(path, *place) for place in BESIDE)
        camera = None
        if calib is not None:
            size = None if image is None else read_image_size(image)
            calibration = read_calibration(calib, need_headings=True)
            try:
                camera = calibration.camera(size)
            except InputError as error:
                raise InputError(f"{calib}: {error}") from error
        boxes = None if labels is None else _read(labels, TEXT_FORMAT, camera)
        return Frame(self.name(index), cloud.points, cloud.channels, boxes, camera)

    def name(self, index: int) -> str:
        """Name of a frame: its file's, without the ending."""
        return self.paths[index].stem

    def files(self, index: int) -> tuple[Path, ...]:
        """The point cloud of a frame, and what stands beside it."""
        beside = (_beside(self.paths[index], *place) for place in BESIDE)
        return (self.paths[index], *(path for path in beside if path is not None))


def _beside(path: Path, folder: str, suffix: str) -> Path | None:
    # As it was named: where it is a link, or in a linked folder, the others stand beside the link.
    place = Path(os.path.abspath(path)).parent.parent / folder / f"{path.stem}{suffix}"  # noqa: PTH100 (resolves links)
    return place if place.is_file() else None


class AllFrames:
    """All frames of a data set, whatever its splits say; those without label files have no boxes."""

    split = ""

    def __init__(self, data_set: DataSet) -> None:
        """Args: data_set: of any kind."""
        self.data_set, self.root, self.names = data_set, data_set.root, data_set.all_names()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes that the data set declares."""
        return self.data_set.class_names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Frame:
        paths = self.data_set.input_paths(self.names[index])
        labelled = all(paths[column].is_file() for column in self.data_set.required(with_labels=True))
        return self.data_set.read(self.names[index], with_labels=labelled)

    def name(self, index: int) -> str:
        """Name of a frame, without reading it."""
        return self.names[index]


def open_frame_source(root: str | Path, split: str | None = None) -> FrameSource:
    """Frames of a data set of any kind.

    Args:
        root: folder of the data set.
        split: name of a split; None for all frames.

    Raises:
        InputError: there is no data set or split, or no frame.
    """
    if split is not None:
        return open_source(root, split)
    source = AllFrames(open_data_set(root))
    if not len(source):
        raise InputError(f"{root}: no frames there. Name the folder of a data set, or point clouds.")
    return source


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
    data_set = getattr(source, "data_set", None)
    if isinstance(source, FileSource):
        paths = source.files(index)
    else:
        paths = () if data_set is None else data_set.input_paths(source.name(index))
    path = next((path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()), None)
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


def points_in_view(frame: Frame, channels: Sequence[str] = (REFLECTANCE,)) -> np.ndarray:
    """Points [N, 3 + C] (x, y, z, then these channels) that a detector is given.

    Where a frame has a camera they are those in its image, as labels are of them alone.

    Raises:
        InputError: the frame's points lack a channel.
    """
    return take_channels(all_channels_in_view(frame), frame.channels, channels)


def all_channels_in_view(frame: Frame) -> np.ndarray:
    """Points [N, 3 + C] with the frame's channels: those in its camera's image where it has one, else all."""
    if frame.camera is None:
        return frame.points
    return frame.points[crop_to_camera_view(frame.points, frame.camera)]


def read_results(path: Path, frame: Frame, source: FrameSource | None = None) -> Boxes | None:
    """Boxes of a frame in results of any format: a file, or a folder; None where it has none of this frame.

    Args:
        path: the results.
        frame: whose camera results in a camera's frame are of.
        source: its data set reads results in the format and axes of its own labels.

    Raises:
        InputError: a file cannot be used, or its format is not recognised.
    """
    data_set = getattr(source, "data_set", None)
    if data_set is not None and data_set.results_in_one_file:
        whole: Boxes | None = data_set.read_results(path, frame.name)
        if whole is not None:
            return whole
    folder = path / "data" if (path / "data").is_dir() else path
    if not folder.is_dir():
        return _all_frames(folder).get(frame.name)
    for suffix in FRAME_SUFFIXES:
        file = folder / f"{frame.name}{suffix}"
        if file.is_file():
            boxes: Boxes | None = None if data_set is None else data_set.read_results(folder, frame.name)
            return boxes if boxes is not None else _read(file, _format_of(folder, suffix), frame.camera)
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
