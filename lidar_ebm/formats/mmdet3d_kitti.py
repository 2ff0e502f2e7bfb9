"""pred_instances_3d.pkl of mmdetection3d's KittiMetric: KITTI's fields as arrays, one dictionary a frame.

Boxes stand in the rectified camera frame (centre of the bottom face; `dimensions` are l, h, w). A frame is named by
`sample_idx`, which each of its boxes repeats.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import Context
from lidar_ebm.formats.columns import entry, index_column, numbers, texts
from lidar_ebm.formats.kitti.calibration import Calibration
from lidar_ebm.formats.kitti.calibrations import camera_finder
from lidar_ebm.formats.kitti.camera_frame import to_lidar
from lidar_ebm.formats.kitti.lines import Camera3D
from lidar_ebm.formats.openpcdet import read_columns
from lidar_ebm.formats.pickle_files import pickle_head, read_pickle
from lidar_ebm.geometry.upright import wrap_angle

TITLE = "mmdetection3d's pred_instances_3d.pkl of KittiMetric (read only)"
COLUMNS = frozenset({"scores", "image_rectangle", "alpha", "truncated", "occluded"})
NEEDS_CAMERA = True

_DIGITS = 6  # of a KITTI frame's name


def recognise(path: Path) -> bool:
    """Tell if a pickle begins with KITTI's keys and a sample_idx, and without boxes in the LiDAR frame."""
    head = pickle_head(path, 1 << 20) if path.is_file() else b""
    return b"sample_idx" in head and b"rotation_y" in head and b"boxes_lidar" not in head


def read(path: Path, context: Context) -> dict[str, Boxes]:
    """Boxes by frame, called as KITTI's files (000123); frames without boxes have no name there and are left out.

    Raises:
        InputError: the pickle is refused or damaged, a frame's arrays cannot be used, or it has no calibration.
    """
    content = read_pickle(path)
    if not isinstance(content, list):
        raise InputError(f"{path}: holds {type(content).__name__} instead of a list of frames.")
    cameras = camera_finder(path, context)
    frames: dict[str, Boxes] = {}
    nameless = 0
    for index, frame in enumerate(content):
        where = f"{path}: frame {index}"
        count = len(texts(entry(frame, "name", where), _length(frame["name"]), f"{where}: name"))
        if count == 0:
            nameless += 1
            continue
        numbered = index_column(entry(frame, "sample_idx", where), count, f"{where}: sample_idx")
        name = f"{numbered[0]:0{_DIGITS}d}"
        if (numbered != numbered[0]).any() or numbered[0] < 0 or name in frames:
            raise InputError(f"{where}: sample_idx is not one number of its own for all boxes of the frame.")
        frames[name] = _read_frame(frame, count, cameras(name)[0], f"{path}: frame {name}")
    if nameless:
        warnings.warn(
            f"{path}: {nameless} frames without boxes are left out, for the file does not say which they are.",
            stacklevel=2,
        )
    return frames


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) or (isinstance(value, np.ndarray) and value.ndim == 1) else -1


def _read_frame(frame: Any, count: int, camera: Calibration, where: str) -> Boxes:
    location = numbers(entry(frame, "location", where), (count, 3), f"{where}: location")
    sizes = numbers(entry(frame, "dimensions", where), (count, 3), f"{where}: dimensions")
    rotation = numbers(entry(frame, "rotation_y", where), (count,), f"{where}: rotation_y")
    boxes = np.array(
        [
            to_lidar(Camera3D(height, width, length, x, y, z, angle), camera)
            for (x, y, z), (length, height, width), angle in zip(location, sizes, rotation, strict=True)
        ]
    )
    boxes[:, 6] = wrap_angle(boxes[:, 6])
    return Boxes(boxes, texts(frame["name"], count, f"{where}: name"), **read_columns(frame, count, where))
