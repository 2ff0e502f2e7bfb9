"""Places on the ground that are taken over time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lidar_ebm.geometry.rectangles import overlaps_any
from lidar_ebm.simulation.tracks import Path

_STEP = 0.2  # s between the times that are looked at


class Timetable:
    """Rectangles seen from above at many times; a new path is accepted only where it is free all the time."""

    def __init__(self, duration: float) -> None:
        self.times = np.arange(0.0, duration + _STEP, _STEP)
        self._rectangles = np.zeros((len(self.times), 64, 5))
        self._count = 0

    def claim(self, path: Path, length: float, width: float, *, gap: float, ahead: float = 0.0) -> bool:
        """Take a path for a thing (m) if it keeps `gap` metres to all that are taken; False if it cannot.

        Args:
            path: places of the thing's centre.
            length, width: of the thing.
            gap: m on all sides.
            ahead: m by which the centre lies before the path's places.
        """
        places = np.array([path.place(float(t)) for t in self.times])  # [T, 3]
        centers = places[:, :2] + ahead * np.stack([np.cos(places[:, 2]), np.sin(places[:, 2])], axis=1)
        size = np.broadcast_to([length, width], (len(places), 2))
        own = np.column_stack([centers, size, places[:, 2]])
        grown = own + np.array([0.0, 0.0, 2 * gap, 2 * gap, 0.0])
        if any(overlaps_any(grown[k], self._rectangles[k, : self._count]) for k in range(len(own))):
            return False
        if self._count == self._rectangles.shape[1]:
            self._rectangles = np.concatenate([self._rectangles, np.zeros_like(self._rectangles)], axis=1)
        self._rectangles[:, self._count] = own
        self._count += 1
        return True

    def footprints(self) -> NDArray[np.float64]:
        """All rectangles [N, 5] that are taken at any of the times."""
        return np.unique(self._rectangles[:, : self._count].reshape(-1, 5), axis=0)
