"""Boxes in memory, as a model has them, in the form that scoring works on: no files in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.kitti.objects import Objects, check_objects, objects_from_numbers
from lidar_ebm.evaluation.kitti.rules import UNKNOWN_ANGLE
from lidar_ebm.formats.kitti.calibration import FIXED_AXES, Calibration
from lidar_ebm.formats.kitti.conversion import boxes_to_camera

if TYPE_CHECKING:
    from torch import Tensor

    Values: TypeAlias = Sequence[float] | np.ndarray | Tensor


@dataclass(frozen=True, eq=False)
class FrameBoxes:
    """The objects of one frame in the LiDAR frame, in arrays or in tensors of any device.

    Without `bbox` they can be scored in bird's-eye view and in 3-D with `lidar_only`; without `alpha`, which goes with
    it, not in AOS.
    """

    boxes: np.ndarray | Tensor  # [N, 7] x, y, z, l, w, h, yaw (z at the centre; m, rad)
    types: Sequence[str]  # N class names
    scores: Values | None = None  # [N]; None: these are labels
    bbox: np.ndarray | Tensor | None = None  # [N, 4] x1, y1, x2, y2, pixels
    alpha: Values | None = None  # [N] rad
    truncated: Values | None = None  # [N] 0..1; None: nothing is
    occluded: Values | None = None  # [N] 0..3; None: nothing is
    points: Values | None = None  # [N] LiDAR points in the box, of labels
    calibration: Calibration | None = None  # None: KITTI's nominal one


def pack_frame_boxes(frames: Sequence[FrameBoxes], *, need_scores: bool) -> Objects:
    """Flatten the boxes of each frame and bring them into the camera frame.

    Raises:
        InputError: fields of one frame differ in length or have another shape, a number is NaN or infinite, results
            lack a score, or points are given for some frames only.
    """
    nominal = FIXED_AXES
    columns = []
    for index, frame in enumerate(frames):
        count = len(frame.types)
        boxes = _array(frame.boxes, (count, 7), f"frame {index}: boxes")
        columns.append(
            np.column_stack(
                (
                    _filled(frame.truncated, 0.0, count, f"frame {index}: truncated"),
                    _filled(frame.occluded, 0.0, count, f"frame {index}: occluded"),
                    _filled(frame.alpha, UNKNOWN_ANGLE, count, f"frame {index}: alpha"),
                    np.zeros((count, 4))
                    if frame.bbox is None
                    else _array(frame.bbox, (count, 4), f"frame {index}: bbox"),
                    boxes_to_camera(boxes, frame.calibration or nominal),
                    _filled(frame.scores, np.nan, count, f"frame {index}: scores"),
                    _filled(frame.points, np.nan, count, f"frame {index}: points"),
                )
            )
        )
    numbers = np.concatenate([np.zeros((0, 16)), *columns])
    counted = [frame.points is not None for frame in frames if len(frame.types)]
    if any(counted) and not all(counted):
        raise InputError("points: given for some frames only; give them for every frame or for none")
    objects = objects_from_numbers(
        [len(frame.types) for frame in frames],
        [name for frame in frames for name in frame.types],
        numbers[:, :15],
        numbers[:, 15].astype(np.int64) if any(counted) else None,
    )
    check_objects(objects, need_scores=need_scores)
    return objects


def _filled(values: Values | None, default: float, count: int, name: str) -> np.ndarray:
    return np.full(count, default) if values is None else _array(values, (count,), name)


def _array(values: Values, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Values of any kind as float64; an empty one may have any shape."""
    detach = getattr(values, "detach", None)
    array = np.asarray(values if detach is None else detach().cpu().numpy(), dtype=np.float64)
    if array.size == 0 and shape[0] == 0:
        return array.reshape(shape)
    if array.shape != shape:
        raise InputError(f"{name}: expected shape {list(shape)} (one row for each type), got {list(array.shape)}")
    return array
