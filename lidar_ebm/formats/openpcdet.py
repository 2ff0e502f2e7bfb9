"""OpenPCDet's result.pkl: a pickled list with a dictionary of arrays for each frame.

`boxes_lidar` has our own convention (geometric centre, l, w, h, heading counter-clockwise from +x), but does not wrap
the heading; columns eight and nine are a velocity. KITTI's camera keys stand beside it where the data set is KITTI.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import Context
from lidar_ebm.formats.columns import check_scores, entry, numbers, text, texts
from lidar_ebm.formats.kitti.calibration import Calibration
from lidar_ebm.formats.kitti.calibrations import camera_finder
from lidar_ebm.formats.kitti.camera_frame import observation_angle, rectangle_of, to_camera
from lidar_ebm.formats.pickle_files import pickle_head, read_pickle
from lidar_ebm.formats.pickle_writer import dump_pickle
from lidar_ebm.formats.rows import check_boxes
from lidar_ebm.geometry.upright import wrap_angle
from lidar_ebm.system.files import atomic_write

TITLE = "OpenPCDet's result.pkl (detections of all frames in one file)"
COLUMNS = frozenset({"scores", "velocity", "image_rectangle", "alpha", "truncated", "occluded"})

_COLUMN_KEYS = {"scores": "score", "alpha": "alpha", "truncated": "truncated", "occluded": "occluded"}


def recognise(path: Path) -> bool:
    """Tell if a pickle begins with a list and soon names OpenPCDet's keys."""
    head = pickle_head(path, 1 << 20) if path.is_file() else b""
    return b"boxes_lidar" in head and b"gt_boxes_lidar" not in head


def read(path: Path, context: Context) -> dict[str, Boxes]:
    """Boxes of each frame by its `frame_id`, in the file's order.

    Raises:
        InputError: the pickle is refused or damaged, or a frame's arrays cannot be used.
    """
    content = read_pickle(path)
    if not isinstance(content, list):
        raise InputError(
            f"{path}: holds {type(content).__name__} instead of a list of frames. Give the result.pkl that OpenPCDet's "
            "tools/test.py writes."
        )
    frames: dict[str, Boxes] = {}
    for index, frame in enumerate(content):
        name = _frame_name(entry(frame, "frame_id", f"{path}: frame {index}"), f"{path}: frame {index}: frame_id")
        if name in frames:
            raise InputError(f"{path}: frame {name!r} stands there twice. Keep one of the two.")
        frames[name] = _read_frame(frame, f"{path}: frame {name}")
    return frames


def write(path: Path, frames: Mapping[str, Boxes], context: Context) -> list[Path]:
    """Write result.pkl as OpenPCDet's evaluations take it; `pred_labels` number the classes from 1.

    With calibrations in the context KITTI's keys in the camera's frame are written too (the image rectangles only
    where they are known, or computed from `context.image_size`), which its KITTI evaluation needs.

    The numbers are those of `context.classes`, or without them of the names' first appearance; OpenPCDet's evaluations
    go by name. Boxes without scores are written without, which its evaluations do not take.

    Raises:
        InputError: a class is not among `context.classes`.
        OutputError: the file cannot be written.
    """
    check_boxes(frames, path)
    check_scores(frames, path)
    classes = context.classes
    if classes is None:
        classes = tuple(dict.fromkeys(str(name) for boxes in frames.values() for name in boxes.names))
    numbered = {name: index for index, name in enumerate(classes, start=1)}
    cameras = None if context.camera_of is None and context.calibration is None else camera_finder(path, context)
    content = []
    for name, boxes in frames.items():
        content.append(_frame_content(name, boxes, numbered, path))
        if cameras is not None:
            content[-1].update(_camera_keys(boxes, cameras(name)[0], context))
    with atomic_write(path) as file:
        file.write(dump_pickle(content))
    return [path]


def _frame_name(value: Any, where: str) -> str:
    """A frame's name; some data sets number their frames."""
    return text(str(value) if type(value) is int else value, where)


def _read_frame(frame: Mapping[str, Any], where: str) -> Boxes:
    if "boxes_lidar" not in frame:
        raise InputError(
            f"{where}: has no 'boxes_lidar', so this is no result.pkl of OpenPCDet's. The pickle of mmdetection3d's "
            "KittiMetric has the format mmdet3d_kitti."
        )
    rows = frame["boxes_lidar"]
    width = rows.shape[1] if isinstance(rows, np.ndarray) and rows.ndim == 2 else 7
    if width not in (7, 9):
        raise InputError(f"{where}: boxes_lidar has {width} columns; OpenPCDet writes 7, or 9 with a velocity.")
    velocities = np.zeros((0, 2))
    boxes = numbers(rows if width == 7 else rows[:, :7], (None, 7), f"{where}: boxes_lidar")
    if width == 9:
        velocities = numbers(rows[:, 7:], (None, 2), f"{where}: boxes_lidar", may_be_nan=True)
    boxes[:, 6] = wrap_angle(boxes[:, 6])
    count = len(boxes)
    columns = read_columns(frame, count, where)
    if width == 9:
        columns["velocity"] = velocities
    # A frame without boxes has numbers for names: zeros(0).
    return Boxes(boxes, texts(entry(frame, "name", where), count, f"{where}: name"), **columns)


def read_columns(frame: Mapping[str, Any], count: int, where: str) -> dict[str, np.ndarray]:
    """Scores and what KITTI's keys say of `count` boxes, for `Boxes`; the keys that are there.

    Raises:
        InputError: one is no array of numbers, or of another length.
    """
    columns = {
        column: numbers(frame[key], (count,), f"{where}: {key}", may_be_nan=column != "scores")
        for column, key in _COLUMN_KEYS.items()
        if key in frame
    }
    if "bbox" in frame:
        columns["image_rectangle"] = numbers(frame["bbox"], (count, 4), f"{where}: bbox", may_be_nan=True)
    return columns


def _frame_content(name: str, boxes: Boxes, numbered: Mapping[str, int], path: Path) -> dict[str, Any]:
    unknown = sorted(set(boxes.names.tolist()) - numbered.keys())
    if unknown:
        raise InputError(f"{path}: class {unknown[0]!r} of frame {name} is not in `classes` ({', '.join(numbered)}).")
    rows = boxes.boxes if boxes.velocity is None else np.column_stack((boxes.boxes, boxes.velocity))
    content: dict[str, Any] = {"name": boxes.names if len(boxes) else np.zeros(0)}
    for column, key in _COLUMN_KEYS.items():
        value = getattr(boxes, column)
        if value is not None:
            content[key] = shortest(value)
    if boxes.image_rectangle is not None:
        content["bbox"] = shortest(boxes.image_rectangle)
    content["boxes_lidar"] = shortest(rows)
    content["pred_labels"] = np.array([numbered[str(each)] for each in boxes.names], np.int64)
    content["frame_id"] = name
    return content


def _camera_keys(boxes: Boxes, camera: Calibration, context: Context) -> dict[str, np.ndarray]:
    """KITTI's keys of boxes in a camera's frame; rectangles where they are known or the image's size is."""
    placed = [to_camera(box, camera) for box in boxes.boxes]
    keys = {
        "dimensions": np.array([(box.length, box.height, box.width) for box in placed]).reshape(-1, 3),
        "location": np.array([(box.x, box.y, box.z) for box in placed]).reshape(-1, 3),
        "rotation_y": np.array([box.rotation_y for box in placed]),
    }
    if boxes.alpha is None:
        keys["alpha"] = np.array([observation_angle(box) for box in placed])
    if boxes.image_rectangle is None and context.image_size is not None:
        rectangles = [rectangle_of(box, camera, context.image_size) or (0.0, 0.0, 0.0, 0.0) for box in placed]
        keys["bbox"] = np.array(rectangles).reshape(-1, 4)
    for key, column in (("truncated", boxes.truncated), ("occluded", boxes.occluded)):
        if column is None:
            keys[key] = np.zeros(len(boxes))
    return keys


def shortest(values: np.ndarray) -> np.ndarray:
    """The numbers as float32 where that says the same, as OpenPCDet writes them, else float64."""
    with np.errstate(over="ignore"):
        short = values.astype(np.float32)
    return short if np.array_equal(short, values, equal_nan=True) else values
