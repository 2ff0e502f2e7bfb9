"""Points of several sweeps in boxes that move: a box of velocity v was at its centre - v t when a point of lag t was
measured.

Points are [N, 3 + C] with the time lag (s) in their last column, boxes [M, 9] with vx, vy (m/s) in theirs. Boxes of
seven numbers, and those whose velocity is NaN, stand still.
"""

from __future__ import annotations

import numpy as np

from cuda_ops.point_ops import points_in_boxes
from lidar_ebm.geometry.arrays import as_tensor


def displacement(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Way [N, 3] (m, float64) from each point's own box now to that box when the point was measured: -v t.

    Args:
        points: [N, 3 + C], time lag last.
        boxes: [N, 7 or 9], that of each point.
    """
    way = np.zeros((len(points), 3))
    if boxes.shape[1] > 7:
        way[:, :2] = -np.nan_to_num(boxes[:, 7:9].astype(np.float64)) * points[:, -1:]
    return way


def first_owner(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Row of the first box that held each point when it was measured, [N] int64, -1 where none did.

    Args:
        points: [N, 3 + C], time lag last where boxes have velocities.
        boxes: [M, 7 or 9].
    """
    still = boxes[:, :7]
    if boxes.shape[1] == 7 or not np.nan_to_num(boxes[:, 7:9]).any():
        return np.asarray(points_in_boxes(as_tensor(points), as_tensor(still), first=True))
    lags, sweep = np.unique(points[:, -1], return_inverse=True)
    moved = np.tile(still.astype(np.float64), (len(lags), 1))  # sweep by sweep
    way = np.nan_to_num(boxes[:, 7:9].astype(np.float64)) * lags[:, None, None]  # [sweeps, M, 2]
    moved[:, :2] -= way.reshape(-1, 2)
    owner = points_in_boxes(
        as_tensor(points),
        as_tensor(moved.astype(np.float32)),
        point_batch_index=as_tensor(sweep.reshape(-1)),
        batch_index=as_tensor(np.repeat(np.arange(len(lags)), len(boxes))),
        first=True,
    )
    rows = np.asarray(owner)
    return np.where(rows < 0, -1, rows % max(len(boxes), 1))
