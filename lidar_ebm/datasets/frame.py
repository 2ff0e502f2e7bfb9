"""One frame of any data set: points with named channels, and boxes and a camera where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.geometry.camera import Camera
from lidar_ebm.types import REFLECTANCE, TIME_LAG

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


def take_channels(points: np.ndarray, channels: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """Points [N, 3 + W] float32 with the wanted channels alone, in their order, of points with any.

    Where there is no reflectance or time lag it is 0: of one sweep, all points are of now.

    Raises:
        InputError: the points lack another channel.
    """
    if tuple(channels) == tuple(wanted):
        return points
    lacking = [name for name in wanted if name not in (*channels, REFLECTANCE, TIME_LAG)]
    if lacking:
        raise InputError(
            f"points have no channel {lacking[0]!r}; they have {', '.join(channels) or 'none'}. Take it out of "
            "points.channels, or give points with it."
        )
    taken = np.zeros((len(points), 3 + len(wanted)), np.float32)
    taken[:, :3] = points[:, :3]
    for column, name in enumerate(wanted, start=3):
        if name in channels:
            taken[:, column] = points[:, 3 + list(channels).index(name)]
    return taken


def four_columns(points: np.ndarray, channels: Sequence[str]) -> np.ndarray:
    """Points [N, 4] float32 (x, y, z, reflectance) of points with any channels; reflectance 0 where there is none."""
    return take_channels(points, channels, (REFLECTANCE,))


def newest_sweeps(points: np.ndarray, channels: Sequence[str], count: int) -> np.ndarray:
    """The points [N, 3 + C] of the newest `count` sweeps, told apart by their time lag; all of those without one."""
    if TIME_LAG not in channels or not len(points):
        return points
    lag = points[:, 3 + list(channels).index(TIME_LAG)]
    lags = lag[np.concatenate(([True], lag[1:] != lag[:-1]))]  # few, where sweeps come one after the other
    lags = np.unique(lags)
    return points if len(lags) <= count else points[lag <= lags[count - 1]]
