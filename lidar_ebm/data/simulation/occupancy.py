"""Which places on the ground are taken."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray


class Occupancy:
    """Rectangles seen from above; a new one is accepted only where it overlaps none."""

    def __init__(self) -> None:
        self._rectangles = np.zeros((64, 5))
        self._count = 0

    def claim(self, x: float, y: float, length: float, width: float, yaw: float, *, gap: float) -> bool:
        """Take a rectangle (m, rad) if it keeps `gap` metres to all that are taken; whether it could."""
        grown = np.array([x, y, length + 2 * gap, width + 2 * gap, yaw])
        if _overlaps_any(grown, self._rectangles[: self._count]):
            return False
        if self._count == len(self._rectangles):
            self._rectangles = np.concatenate([self._rectangles, np.zeros_like(self._rectangles)])
        self._rectangles[self._count] = x, y, length, width, yaw
        self._count += 1
        return True


@njit(cache=True, nogil=True)
def _overlaps_any(rectangle: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    """Whether a rectangle (x, y, length, width, yaw) overlaps any of [N, 5], by the separating axis theorem."""
    cos_a, sin_a = math.cos(rectangle[4]), math.sin(rectangle[4])
    for i in range(len(others)):
        other = others[i]
        dx, dy = other[0] - rectangle[0], other[1] - rectangle[1]
        reach = 0.5 * (rectangle[2] + rectangle[3] + other[2] + other[3])
        if dx * dx + dy * dy > reach * reach:
            continue
        cos_b, sin_b = math.cos(other[4]), math.sin(other[4])
        cos_ab, sin_ab = abs(cos_a * cos_b + sin_a * sin_b), abs(sin_a * cos_b - cos_a * sin_b)
        apart = (
            abs(dx * cos_a + dy * sin_a) > 0.5 * (rectangle[2] + other[2] * cos_ab + other[3] * sin_ab)
            or abs(dy * cos_a - dx * sin_a) > 0.5 * (rectangle[3] + other[2] * sin_ab + other[3] * cos_ab)
            or abs(dx * cos_b + dy * sin_b) > 0.5 * (other[2] + rectangle[2] * cos_ab + rectangle[3] * sin_ab)
            or abs(dy * cos_b - dx * sin_b) > 0.5 * (other[3] + rectangle[2] * sin_ab + rectangle[3] * cos_ab)
        )
        if not apart:
            return True
    return False
