"""nuScenes' LiDAR sweeps: `.pcd.bin` files, and several of them put together in the frame of the newest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.geometry.poses import inverse_pose
from lidar_ebm.system.files import read_bytes

COLUMNS = ("x", "y", "z", "intensity", "ring")  # of a file, little-endian float32: m, 0..255, 0..31
MERGED_COLUMNS = ("x", "y", "z", "intensity", "time_lag", "ring")
_POINT_BYTES = 4 * len(COLUMNS)
_EGO_HALF = 1.0  # m: points within so much of the sensor, sideways and lengthwise, are of the vehicle that carries it


@dataclass(frozen=True, eq=False)
class Sweep:
    """One file of the LiDAR."""

    path: Path
    timestamp: int  # µs
    to_global: np.ndarray  # [4, 4] sensor frame → global frame, at the sweep's own instant


def read_sweep(path: Path) -> np.ndarray:
    """All points [N, 5] float32 of a file, in the sensor's frame: x, y, z, intensity, ring.

    Raises:
        InputError: the file is missing, cut short, or holds something that is no number.
    """
    content = read_bytes(path)
    if len(content) % _POINT_BYTES:
        raise InputError(
            f"{path}: {len(content)} bytes are no whole number of points of {_POINT_BYTES} bytes (float32 x, y, z, "
            "intensity, ring). The file is cut short or no sweep; copy it again."
        )
    points = np.frombuffer(content, "<f4").reshape(-1, len(COLUMNS))
    if not np.isfinite(points).all():
        wrong = np.flatnonzero(~np.isfinite(points).all(axis=1))
        raise InputError(
            f"{path}: {len(wrong)} of {len(points)} points hold NaN or infinity, number {wrong[0]} the first. The file "
            "is damaged; copy it again."
        )
    return points


def outside_ego_vehicle(points: np.ndarray) -> np.ndarray:
    """Mask [N] of the points [N, >= 2] of a sensor's own frame that lie beside the vehicle that carries it.

    What is taken out is a square, without its edge: a point at x = 1.0 m stays.
    """
    return (np.abs(points[:, 0]) >= _EGO_HALF) | (np.abs(points[:, 1]) >= _EGO_HALF)


def time_lag(key: int, sweep: int) -> float:
    """Seconds of a sweep before the key sweep, both in µs: each becomes a double in seconds first, as by the rules."""
    return 1e-6 * key - 1e-6 * sweep


def merge_sweeps(sweeps: Sequence[Sweep], axes: np.ndarray | None = None) -> np.ndarray:
    """Points [N, 6] float32 of all sweeps in the frame of the first: x, y, z, intensity, time lag (s), ring.

    Every sweep loses its points near the ego vehicle, and is moved by one matrix in double precision: by the vehicle's
    motion, not by the objects' own.

    Args:
        sweeps: the key sweep, then those before it, the newest first.
        axes: [4, 4] the key sweep's frame → the frame that points are wanted in; its own where None.

    Raises:
        InputError: a file is missing or damaged.
    """
    if not sweeps:
        return np.zeros((0, len(MERGED_COLUMNS)), np.float32)
    key = sweeps[0]
    to_frame = inverse_pose(key.to_global) if axes is None else axes @ inverse_pose(key.to_global)
    kept = []
    for sweep in sweeps:
        points = read_sweep(sweep.path)
        kept.append(points[outside_ego_vehicle(points)])
    merged = np.empty((sum(map(len, kept)), len(MERGED_COLUMNS)), np.float32)
    start = 0
    for sweep, points in zip(sweeps, kept, strict=True):
        rows = merged[start : start + len(points)]
        matrix = to_frame @ sweep.to_global
        rows[:, :3] = points[:, :3].astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
        rows[:, 3] = points[:, 3]
        rows[:, 4] = time_lag(key.timestamp, sweep.timestamp)
        rows[:, 5] = points[:, 4]
        start += len(points)
    return merged
