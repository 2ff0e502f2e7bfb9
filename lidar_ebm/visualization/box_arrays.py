"""Boxes as pictures take them, [M, 7] or with a velocity [M, 9], and the arrows that show it.

An arrow runs from a box's centre to where the centre would be `ARROW_SECONDS` later.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lidar_ebm.boxes import Boxes

FloatArray = NDArray[np.floating[Any]]

ARROW_SECONDS = 1.0
ARROW_LEGEND = f"arrow: velocity, {ARROW_SECONDS:g} s ahead"
BARB_SHARE, BARB_LIMIT = 0.3, 0.9  # length of an arrow's barbs: share of the arrow, and m at most
BARB_TURN = np.radians(150.0)  # from the arrow's direction
WIDTHS = (7, 9)  # numbers of a box: x, y, z, l, w, h, yaw, then vx, vy where a velocity is given


def as_array(boxes: Boxes) -> FloatArray:
    """Boxes [M, 7], or [M, 9] with their velocities where the column is there."""
    if boxes.velocity is None:
        return boxes.boxes
    return np.concatenate([boxes.boxes, boxes.velocity], axis=1)


def split_velocity(boxes: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Boxes [M, 7] and velocities [M, 2] (vx, vy, m/s) of an array [M, 7 or 9]; NaN where none is given.

    Raises:
        ValueError: the array has another shape.
    """
    array = np.asarray(boxes, dtype=np.float64)
    if array.size == 0:
        return np.zeros((0, 7)), np.zeros((0, 2))
    if array.ndim != 2 or array.shape[1] not in WIDTHS:
        raise ValueError(f"boxes are [M, 7] (x, y, z, l, w, h, yaw) or [M, 9] (then vx, vy), not {array.shape}")
    if array.shape[1] == WIDTHS[0]:
        return array, np.full((len(array), 2), np.nan)
    return array[:, :7], array[:, 7:]


def has_arrows(boxes: ArrayLike) -> bool:
    """Tell if any of the boxes [M, 7 or 9] has an arrow."""
    return len(arrow_segments(boxes)) > 0


def arrow_segments(boxes: ArrayLike) -> FloatArray:
    """Arrows of boxes [M, 7 or 9] as lines [3 K, 2, 3] in space, LiDAR frame, m: each a shaft, then two barbs.

    Boxes without a velocity, with one that is not finite, and those that stand have none.
    """
    given, velocity = split_velocity(boxes)
    moving = np.isfinite(velocity).all(axis=1) & (velocity != 0).any(axis=1) & np.isfinite(given).all(axis=1)
    start, velocity = given[moving, :3], velocity[moving]
    way = np.concatenate([ARROW_SECONDS * velocity, np.zeros((len(velocity), 1))], axis=1)  # [K, 3]
    tip, length = start + way, np.linalg.norm(way, axis=1, keepdims=True)
    # Of a speed that is all but zero the direction is still one, while the barbs are as short as the shaft.
    barb = way / np.maximum(length, np.finfo(np.float64).tiny) * np.minimum(BARB_SHARE * length, BARB_LIMIT)
    lines = [np.stack([start, tip], axis=1)]
    for angle in (BARB_TURN, -BARB_TURN):
        cos, sin = np.cos(angle), np.sin(angle)
        turned = np.stack(
            [cos * barb[:, 0] - sin * barb[:, 1], sin * barb[:, 0] + cos * barb[:, 1], barb[:, 2]], axis=1
        )
        lines.append(np.stack([tip, tip + turned], axis=1))
    return np.stack(lines, axis=1).reshape(-1, 2, 3)
