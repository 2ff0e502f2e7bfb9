"""Height of the ground where an object is put."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

# How far the ground is looked for, in m and as a share of the object's distance more. Around the box: the rings that a
# LiDAR draws on the ground lie farther apart far away. And above and below its bottom: a slope leads farther there.
MARGIN, MARGIN_SHARE = 1.5, 0.08
REACH, REACH_SHARE = 1.0, 0.035
CELL = 0.5  # m
FEWEST_CELLS = 4  # with fewer the ground was not seen
# A plane is laid through the cells that lie so near to it (m) ...
NEAR_PLANE = 0.3
# ... which has to be this share of them, as it is no ground that is seen else, but a hedge, say ...
SHARE_NEAR_PLANE = 0.4
# ... and kept from tilting with the cells of one ring alone: as if so many cells said at one metre that it is level.
LEVELLING = 10.0


def ground_heights(points: np.ndarray, boxes: np.ndarray) -> NDArray[np.float64]:
    """Height of the ground under boxes, as the points around them show it.

    Of each cell around a box the lowest point counts. The lower quartile of these is a first guess: cells that show
    only a wall or a car do not raise it, nor do a few points below the ground, as reflections make them, lower it. A
    plane through the cells near to it then follows the ground's slope.

    Args:
        points: [N, >= 3] x, y, z first, m, LiDAR frame.
        boxes: [K, 7].

    Returns:
        [K] z in m; NaN where too little is seen around the box.
    """
    return _ground_heights(np.array(points[:, :3], dtype=np.float64), np.array(boxes, dtype=np.float64))


@njit(cache=True, nogil=True)
def _ground_heights(points: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    heights = np.full(len(boxes), np.nan)
    for i in range(len(boxes)):
        x, y = boxes[i, 0], boxes[i, 1]
        bottom = boxes[i, 2] - 0.5 * boxes[i, 5]
        distance = math.hypot(x, y)
        radius = 0.5 * math.hypot(boxes[i, 3], boxes[i, 4]) + MARGIN + MARGIN_SHARE * distance
        reach = REACH + REACH_SHARE * distance
        side = int(2.0 * radius / CELL) + 1
        lowest = np.full(side * side, -1, dtype=np.int64)  # row of the cell's lowest point
        for j in range(len(points)):
            dx, dy, z = points[j, 0] - x, points[j, 1] - y, points[j, 2]
            if dx * dx + dy * dy < radius * radius and abs(z - bottom) < reach:
                cell = int((dx + radius) / CELL) * side + int((dy + radius) / CELL)
                if lowest[cell] < 0 or z < points[lowest[cell], 2]:
                    lowest[cell] = j
        rows = lowest[lowest >= 0]
        if len(rows) >= FEWEST_CELLS:
            first_guess = np.sort(points[rows, 2])[len(rows) // 4]
            heights[i] = _plane_height(points[rows], x, y, first_guess)
    return heights


@njit(cache=True, nogil=True)
def _plane_height(points: NDArray[np.float64], x: float, y: float, height: float) -> float:
    """Height at (x, y) of a plane through those of the points that lie near to it, beginning with a level one; NaN
    where too few do."""
    along, across = 0.0, 0.0  # slope
    for _ in range(3):
        n = sx = sy = sz = sxx = sxy = syy = sxz = syz = 0.0
        for k in range(len(points)):
            dx, dy, z = points[k, 0] - x, points[k, 1] - y, points[k, 2]
            if abs(z - height - along * dx - across * dy) < NEAR_PLANE:
                n, sx, sy, sz = n + 1.0, sx + dx, sy + dy, sz + z
                sxx, sxy, syy = sxx + dx * dx, sxy + dx * dy, syy + dy * dy
                sxz, syz = sxz + dx * z, syz + dy * z
        if n < SHARE_NEAR_PLANE * len(points):
            return np.nan
        # Least squares about the mean, so that levelling holds back the slopes but not the height.
        a, b, c = sxx - sx * sx / n + LEVELLING, sxy - sx * sy / n, syy - sy * sy / n + LEVELLING
        u, v = sxz - sx * sz / n, syz - sy * sz / n
        along, across = (u * c - v * b) / (a * c - b * b), (v * a - u * b) / (a * c - b * b)
        height = (sz - along * sx - across * sy) / n
    return height
