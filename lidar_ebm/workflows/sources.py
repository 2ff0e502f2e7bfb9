"""Frames of folders and of point-cloud files as a `FrameSource`, and result sets to draw over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.frame import Frame
from lidar_ebm.datasets.kitti.frame_file import FrameFile, read_frame_file
from lidar_ebm.datasets.kitti.layout import input_path, split_path
from lidar_ebm.datasets.kitti.raw_frame import boxes_in_space
from lidar_ebm.datasets.source import FrameSource
from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.calibration import Calibration
from lidar_ebm.formats.kitti.files import read_labels, read_split
from lidar_ebm.formats.kitti.label import Label
from lidar_ebm.geometry.camera import Camera


class FileSource:
    """Frames of point-cloud files; what stands beside a file in a data set's layout belongs to its frame."""

    def __init__(self, paths: Sequence[Path], root: Path, split: str = "") -> None:
        """Args: paths: point clouds; root: folder of the data set; split: its name, empty for all."""
        self.paths, self.root, self.split = list(paths), root, split

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of classes: not known before labels are read."""
        return ()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Frame:
        file = read_frame_file(self.paths[index])
        camera = None if file.calibration is None else file.calibration.camera(file.image_size())
        boxes = None if file.labels is None else _read_labels(file)
        return Frame(file.name, file.points, boxes=boxes, camera=camera)

    def name(self, index: int) -> str:
        """Name of a frame: its file's, without the ending."""
        return self.paths[index].stem

    def image(self, index: int) -> Path | None:
        """Image of a frame's camera, where there is one."""
        return read_frame_file(self.paths[index]).image


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
    if frame.camera is None:
        return points
    u, v, depth = (points[:, :3].astype(np.float64) @ frame.camera.lidar_to_image[:, :3].T).T + (
        frame.camera.lidar_to_image[:, 3:]
    )
    width, height = frame.camera.image_size
    seen = (depth > 0) & (u >= 0) & (u < width * depth) & (v >= 0) & (v < height * depth)
    return points[seen]


def read_results(folder: Path, frame: Frame) -> Boxes | None:
    """Boxes with scores of a frame in a folder of result files; None where it has no file for this frame.

    Raises:
        InputError: the file cannot be used.
    """
    path = folder / f"{frame.name}.txt"
    if not path.is_file():
        return None
    return _to_boxes(read_labels(path, require_score=True), _calibration_of(frame.camera), path)


def _read_labels(file: FrameFile) -> Boxes:
    assert file.labels is not None
    calibration = Calibration.nominal() if file.calibration is None else file.calibration
    return _to_boxes(read_labels(file.labels), calibration, file.labels)


def read_label_file(path: str | Path, frame: Frame) -> Boxes:
    """Labels of a frame from a file of their own.

    Raises:
        InputError: the file cannot be used.
    """
    return _to_boxes(read_labels(path), _calibration_of(frame.camera), path)


def _calibration_of(camera: Camera | None) -> Calibration:
    if camera is None:
        return Calibration.nominal()
    return Calibration(camera.projection, np.eye(3), camera.lidar_to_camera[:3])


def _to_boxes(labels: Sequence[Label], calibration: Calibration, path: str | Path) -> Boxes:
    placed, boxes = boxes_in_space(labels, calibration, path)
    scores = [label.score for label in placed]
    return Boxes(
        boxes,
        np.array([label.type for label in placed], dtype=np.str_),
        None if None in scores else np.array(scores, dtype=np.float64),
        occluded=np.array([label.occluded if label.occluded >= 0 else np.nan for label in placed], dtype=np.float64),
    )
