"""One frame of any data set: points with named channels, and boxes and a camera where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.geometry.camera import Camera

REFLECTANCE = "reflectance"  # 0..1
# m, where the presets' anchors expect the ground; a data set that knows its sensor's height brings it there.
GROUND = -1.73


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame, in the LiDAR frame (x forward, y left, z up, m).

    Raises:
        InputError: the points have another number of columns than x, y, z and the channels.
    """

    name: str
    points: np.ndarray  # [N, 3 + C] float32: x, y, z (m), then a column for each channel
    channels: tuple[str, ...] = (REFLECTANCE,)
    boxes: Boxes | None = None  # its labels; None where nobody labelled it
    camera: Camera | None = None  # None: nothing is known of one

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 3 + len(self.channels):
            raise InputError(
                f"frame {self.name}: points have shape {list(self.points.shape)}; x, y, z and the channels "
                f"{', '.join(self.channels) or '(none)'} make [N, {3 + len(self.channels)}]."
            )

    def channel(self, name: str) -> np.ndarray:
        """A channel by name, [N] float32; zeros where the points do not have it."""
        if name not in self.channels:
            return np.zeros(len(self.points), np.float32)
        return self.points[:, 3 + self.channels.index(name)]


def four_columns(points: np.ndarray, channels: Sequence[str]) -> np.ndarray:
    """Points [N, 4] float32 (x, y, z, reflectance) of points with any channels; reflectance 0 where there is none."""
    columns = list(channels)
    if REFLECTANCE not in columns:
        return np.column_stack((points[:, :3], np.zeros(len(points), np.float32)))
    return points[:, [0, 1, 2, 3 + columns.index(REFLECTANCE)]]
