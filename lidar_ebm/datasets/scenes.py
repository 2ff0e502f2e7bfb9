"""Scenes to be written: sweeps of a moving sensor, of which some are key frames with labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError


@dataclass(frozen=True, eq=False)
class SceneSweep:
    """One turn of the sensor.

    Raises:
        InputError: the points have another number of columns than x, y, z and the channels.
    """

    timestamp: int  # microseconds
    points: np.ndarray  # [N, 3 + C] float32: x, y, z (m, LiDAR frame), then a column for each channel
    channels: tuple[str, ...]
    vehicle_pose: np.ndarray  # [4, 4] vehicle → world
    boxes: Boxes | None = None  # of a key frame, upright in the world frame, with tracks; None between key frames

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 3 + len(self.channels):
            raise InputError(
                f"sweep {self.timestamp}: points have shape {list(self.points.shape)}; x, y, z and the channels "
                f"{', '.join(self.channels) or '(none)'} make [N, {3 + len(self.channels)}]."
            )


@dataclass(frozen=True, eq=False)
class RecordedScene:
    """A run of sweeps in the order of time; they may be made while they are written."""

    name: str
    source: str  # origin of the scene, in words; scenes of different sources are told apart by it
    sensor_pose: np.ndarray  # [4, 4] LiDAR frame (x forward, y left, z up) → vehicle
    sweeps: Iterable[SceneSweep]
