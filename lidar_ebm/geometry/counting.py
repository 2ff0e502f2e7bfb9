"""Points in boxes, counted by box; the native kernels do the work where torch is loaded anyway."""

from __future__ import annotations

import numpy as np

from lidar_ebm.geometry.boxes import points_in_boxes


def count_points_in_boxes(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Number [M] int64 of the points [N, >= 3] in each of the boxes [M, 7]; on a face is inside."""
    return np.asarray(points_in_boxes(points, boxes).sum(axis=0), dtype=np.int64)
