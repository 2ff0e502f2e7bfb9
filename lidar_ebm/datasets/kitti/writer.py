"""A data set in KITTI's layout, without images: point clouds, calibrations, and labels of what the camera sees.

What has no point, is farther than KITTI labels or hardly reaches into the image gets no label but a DontCare region,
as in KITTI's own files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.frame import Frame, four_columns
from lidar_ebm.datasets.kitti.layout import input_path, split_path
from lidar_ebm.datasets.writing import labels_of
from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.calibration import SIMULATED_CAMERA, Calibration
from lidar_ebm.formats.kitti.conversion import boxes_to_labels
from lidar_ebm.formats.kitti.files import write_calibration, write_labels, write_points, write_split
from lidar_ebm.formats.kitti.label import Label
from lidar_ebm.geometry.camera import Camera

CAMERA = SIMULATED_CAMERA
OWN_FILES = ("training", "ImageSets")

# What simulated classes are called in KITTI's files, where that is otherwise.
CLASS_NAMES: Final = {"sitting_person": "Person_sitting"}

LABEL_RANGE: Final = 80.0  # m; what is farther away is DontCare
MAX_TRUNCATION: Final = 0.95  # what is farther outside the image is DontCare


def frame_paths(root: Path, name: str) -> tuple[Path, Path, Path]:
    """Calibration, point cloud and labels of a frame; labels are written last, so that they mark the end."""
    return input_path(root, "calib", name), input_path(root, "velodyne", name), input_path(root, "label_2", name)


def write_frame(root: Path, frame: Frame) -> None:
    """Write a frame's three files.

    Args:
        root: the data set's folder.
        frame: with a camera, and boxes that have the columns `image_rectangle`, `truncated`, `occluded` and `points`;
            those without a rectangle are not in the image and get no line.

    Raises:
        InputError: the frame lacks one of these.
        OutputError: a file cannot be written.
    """
    boxes = labels_of(frame)
    if frame.camera is None:
        raise InputError(f"frame {frame.name}: has no camera, without which there are no labels in KITTI's files.")
    calib, velodyne, label = frame_paths(root, frame.name)
    labels = make_labels(boxes, frame.camera)
    write_calibration(calib, _calibration(frame.camera))
    write_points(velodyne, four_columns(frame.points, frame.channels))
    write_labels(label, labels)


def write_splits(root: Path, splits: Mapping[str, Sequence[str]]) -> None:
    """Write the lists of frames, and trainval of all that are in train or val.

    Raises:
        OutputError: a file cannot be written.
    """
    both = sorted({*splits.get("train", ()), *splits.get("val", ())})
    for split, names in {**splits, "trainval": both}.items():
        write_split(split_path(root, split), names)


def make_labels(boxes: Boxes, camera: Camera) -> list[Label]:
    """Lines of a label file: labels first, then DontCare regions.

    Raises:
        InputError: the boxes lack a column.
    """
    seen = boxes.select(~np.isnan(_column(boxes, "image_rectangle")).any(axis=1))
    plain = boxes_to_labels(seen.boxes, _calibration(camera), types=seen.names.tolist(), image_size=camera.image_size)
    rectangles, points = _column(seen, "image_rectangle"), _column(seen, "points")
    truncated, occluded = (np.nan_to_num(_column(seen, name), nan=-1.0) for name in ("truncated", "occluded"))
    distances = np.hypot(seen.boxes[:, 0], seen.boxes[:, 1])
    dropped = (points == 0) | (distances > LABEL_RANGE) | (truncated > MAX_TRUNCATION)
    labels, regions = [], []
    for index, label in enumerate(plain):
        x1, y1, x2, y2 = (float(value) for value in rectangles[index])
        if dropped[index]:
            regions.append(dont_care((x1, y1, x2, y2)))
        else:
            shares = float(truncated[index]), int(occluded[index])
            labels.append(replace(label, truncated=shares[0], occluded=shares[1], bbox=(x1, y1, x2, y2)))
    return labels + regions


def dont_care(bbox: tuple[float, float, float, float]) -> Label:
    """A region of the image in which nothing is labelled, with KITTI's placeholders."""
    return Label("DontCare", -1, -1, -10, bbox, (-1, -1, -1), (-1000, -1000, -1000), -10)


def _calibration(camera: Camera) -> Calibration:
    """Matrices of a calib file, whose camera is the rectified one already."""
    return Calibration(p2=camera.projection, r0_rect=np.eye(3), tr_velo_to_cam=camera.lidar_to_camera[:3])


def _column(boxes: Boxes, name: str) -> np.ndarray:
    value = boxes.columns().get(name)
    if value is None:
        raise InputError(f"boxes: column {name} is missing, which KITTI's labels say.")
    return value
