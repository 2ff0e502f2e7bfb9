"""Rolling shutter: a sweep's rays are sent one azimuth after the other, while the sensor and the things move.

The turn is cut into sectors of about a millisecond, within which everything stands still. A sweep's time is that at
which the sensor looks straight ahead, in the middle of the turn; it turns clockwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lidar_ebm.errors import InputError
from lidar_ebm.geometry.poses import inverse_pose
from lidar_ebm.simulation.sensor import Echoes, RayGrid, Returns, cast
from lidar_ebm.simulation.solids import Solid
from lidar_ebm.simulation.street import Ground

RollingShutter = Literal["none", "raw", "compensated"]
"""none: all rays at one instant; raw: points as each ray meets them; compensated: the sensor's own motion removed."""

ROLLING_SHUTTERS: Final[tuple[RollingShutter, ...]] = get_args(RollingShutter)

_SECTOR_TIME = 0.001  # s

See = Callable[[float], tuple[Solid, NDArray[np.int64], NDArray[np.float64]]]
"""The scene at some time (s) before or after that of the sweep: solid in the LiDAR frame of then, owner of each piece,
and the LiDAR's pose in the ground's frame."""


def check_rolling_shutter(value: str) -> RollingShutter:
    """The kind of rolling shutter that a text names.

    Raises:
        InputError: it is none.
    """
    for kind in ROLLING_SHUTTERS:
        if value == kind:
            return kind
    raise InputError(f"rolling_shutter {value!r}: choose one of {', '.join(ROLLING_SHUTTERS)}.")


def cast_turning(
    see: See, ground: Ground, grid: RayGrid, *, seed: int, period: float, actor_count: int
) -> tuple[Echoes, NDArray[np.float64]]:
    """Cast a sweep sector by sector.

    Args:
        see: gives the scene at a time.
        ground: the height field.
        grid: of the sweep, a whole turn or a part of one.
        seed: as `cast` takes it.
        period: s that a whole turn takes.
        actor_count: number of labelled things.

    Returns:
        Echoes, and for each azimuth [C] the time at which it was cast, s after that of the sweep.
    """
    width = max(1, math.floor(grid.turn * _SECTOR_TIME / period))
    parts, times = [], np.empty(len(grid.azimuths))
    for begin in range(0, len(grid.azimuths), width):
        end = min(begin + width, len(grid.azimuths))
        time = period * (0.5 - (grid.first + (begin + end) / 2) / grid.turn)
        solid, owners, pose = see(time)
        part = grid.columns(begin, end)
        parts.append(cast(solid, owners, ground, part, seed=seed, pose=pose, actor_count=actor_count))
        times[begin:end] = time
    return Echoes.concatenate(parts), times


def compensate(
    returns: Returns, times: NDArray[np.float64], pose_at: Callable[[float], NDArray[np.float64]]
) -> NDArray[np.float32]:
    """Points [N, 4] of a sweep in the LiDAR frame of the sweep's time; what moves by itself stays smeared.

    Args:
        returns: of the sweep, each point in the LiDAR frame of its own time.
        times: [C] of the azimuths, s after that of the sweep.
        pose_at: the LiDAR's pose [4, 4] at a time.
    """
    points = returns.points.copy()
    now = inverse_pose(pose_at(0.0))
    own = times[returns.column]
    for time in np.unique(own):
        move = now @ pose_at(float(time))
        chosen = own == time
        points[chosen, :3] = points[chosen, :3].astype(np.float64) @ move[:3, :3].T + move[:3, 3]
    return points
