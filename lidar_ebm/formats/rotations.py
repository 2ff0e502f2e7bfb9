"""Rotations in space as a heading, for boxes that stand upright here; what is tilted is counted and said."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

_TILT = 1e-3  # rad; less is rounding


class Tilts:
    """Count of boxes whose own vertical is not that of the LiDAR frame."""

    def __init__(self) -> None:
        self.boxes = 0
        self.tilted = 0
        self.largest = 0.0  # rad

    def add(self, vertical: float) -> None:
        """Count a box; `vertical` is the cosine between its vertical and the frame's."""
        angle = math.acos(min(1.0, max(-1.0, vertical)))
        self.boxes += 1
        self.tilted += angle > _TILT
        self.largest = max(self.largest, angle)

    def warn(self, path: Any) -> None:
        """Say how many boxes lost their tilt."""
        if self.tilted:
            warnings.warn(
                f"{path}: {self.tilted} of {self.boxes} boxes are tilted, by up to {math.degrees(self.largest):.1f} "
                "degrees; they are read upright, with their heading.",
                stacklevel=2,
            )


def heading_of_euler(angles: Sequence[float], tilts: Tilts, *, order: str = "zyx") -> float:
    """Heading of a box turned by Euler angles, rad.

    Args:
        angles: about the box's x, y and z axes.
        tilts: where the box is counted.
        order: "zyx" for Rz · Ry · Rx, "xyz" for Rx · Ry · Rz.
    """
    x, y, z = angles
    cx, cy, cz, sx, sy, sz = math.cos(x), math.cos(y), math.cos(z), math.sin(x), math.sin(y), math.sin(z)
    tilts.add(cx * cy)
    if abs(x) < 1e-12 and abs(y) < 1e-12:
        return z
    if order == "zyx":
        return z if cy >= 0 else z + math.pi
    return math.atan2(cx * sz + sx * sy * cz, cy * cz)


def heading_of_quaternion(quaternion: Sequence[float], tilts: Tilts) -> float | None:
    """Heading of a box turned by a quaternion (x, y, z, w) of any length, rad; None where it is zero."""
    length = math.hypot(*quaternion)
    if not (length > 0 and math.isfinite(length)):
        return None
    x, y, z, w = (value / length for value in quaternion)
    if x == 0 and y == 0:
        tilts.add(1.0)
        return 2 * math.atan2(z, w)
    tilts.add(1 - 2 * (x * x + y * y))
    return math.atan2(2 * (x * y + w * z), 1 - 2 * (y * y + z * z))
