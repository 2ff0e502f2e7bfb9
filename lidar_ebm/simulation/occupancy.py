"""Places on the ground that are taken."""

from __future__ import annotations

import numpy as np

from lidar_ebm.geometry.rectangles import overlaps_any


class Occupancy:
    """Rectangles seen from above; a new one is accepted only where it overlaps none."""

    def __init__(self) -> None:
        self._rectangles = np.zeros((64, 5))
        self._count = 0

    def claim(self, x: float, y: float, length: float, width: float, yaw: float, *, gap: float) -> bool:
        """Take a rectangle (m, rad) if it keeps `gap` metres to all that are taken; whether it could."""
        grown = np.array([x, y, length + 2 * gap, width + 2 * gap, yaw])
        if overlaps_any(grown, self._rectangles[: self._count]):
            return False
        if self._count == len(self._rectangles):
            self._rectangles = np.concatenate([self._rectangles, np.zeros((self._count + 64, 5))])
        self._rectangles[self._count] = x, y, length, width, yaw
        self._count += 1
        return True

    def block(self, rectangles: np.ndarray) -> None:
        """Take rectangles [N, 5] (x, y, length, width, yaw), though they overlap one another."""
        self._rectangles = np.concatenate([self._rectangles[: self._count], np.asarray(rectangles, np.float64)])
        self._count = len(self._rectangles)
