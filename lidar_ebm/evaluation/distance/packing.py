"""`Boxes` of the LiDAR frame in the form that matching works on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.kitti.objects import Objects, objects_from_numbers
from lidar_ebm.evaluation.kitti.rules import UNKNOWN_ANGLE


def pack_upright(frames: Sequence[Boxes], *, need_scores: bool, names: Sequence[str] | None = None) -> Objects:
    """Flatten the boxes of each frame.

    Matching works on boxes with x to the right, y down and z ahead, given by the centre of the bottom face. The LiDAR's
    axes renamed are such a frame, so nothing is rotated and distances are those from the LiDAR.

    Args:
        frames: boxes of each frame.
        need_scores: these are results, each of which must have a finite score.
        names: what to call each frame in a message.

    Raises:
        InputError: a box that is not finite, or a result without a finite score; the message names frame and box.
    """
    columns = []
    for index, frame in enumerate(frames):
        where = f"frame {index if names is None else names[index]}"
        scores = np.full(len(frame), np.nan) if frame.scores is None else frame.scores
        _check(np.isfinite(frame.boxes).all(axis=1), f"{where}: ", "a number that is NaN or infinite; correct it")
        if need_scores:
            _check(np.isfinite(scores), f"{where}: ", "no finite score; results need one each, higher is better")
        x, y, z, length, width, height, yaw = frame.boxes.T
        upright = np.column_stack((-y, height / 2 - z, x, height, width, length, -yaw - np.pi / 2))
        unknown = np.zeros((len(frame), 3))
        alpha = np.full(len(frame), UNKNOWN_ANGLE)
        columns.append(np.column_stack((unknown[:, :2], alpha, np.zeros((len(frame), 4)), upright, scores)))
    counts = [len(frame) for frame in frames]
    return objects_from_numbers(
        counts,
        [str(name) for frame in frames for name in frame.names],
        np.concatenate([np.zeros((0, 15)), *columns]),
        _points(frames),
    )


def _points(frames: Sequence[Boxes]) -> np.ndarray | None:
    """Points [N] in the boxes of all frames; None where a single box's are unknown."""
    filled = [frame.points for frame in frames if len(frame)]
    counts = [points for points in filled if points is not None and (points >= 0).all()]
    return np.concatenate(counts) if counts and len(counts) == len(filled) else None


def _check(fine: np.ndarray, where: str, complaint: str) -> None:
    if not fine.all():
        raise InputError(f"{where}box {int((~fine).argmax()) + 1} has {complaint}")
