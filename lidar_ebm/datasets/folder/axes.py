"""Axes of a sensor by words, such as "x right, y forward, z up", and the rotation into x forward, y left, z up."""

from __future__ import annotations

import re

import numpy as np

from lidar_ebm.errors import InputError

_DIRECTIONS = {
    **dict.fromkeys(("forward", "forwards", "front", "ahead"), (1, 0, 0)),
    **dict.fromkeys(("backward", "backwards", "back", "rear"), (-1, 0, 0)),
    "left": (0, 1, 0),
    "right": (0, -1, 0),
    "up": (0, 0, 1),
    "down": (0, 0, -1),
}


def rotation_of(axes: str) -> np.ndarray:
    """Rotation [3, 3] from the files' axes into x forward, y left, z up.

    Args:
        axes: the direction of each axis, "x right, y forward, z up".

    Raises:
        InputError: an axis is missing or its direction unknown, or the three are no right-handed axes.
    """
    words = re.findall(r"([xyz])\s*[:=]?\s*([a-z]+)", axes.lower())
    directions = dict(words)
    if sorted(name for name, _ in words) != ["x", "y", "z"] or any(d not in _DIRECTIONS for d in directions.values()):
        raise InputError(
            f"axes {axes!r}: say where each axis points, for example 'x right, y forward, z up'; the directions are "
            f"{', '.join(('forward', 'backward', 'left', 'right', 'up', 'down'))}."
        )
    rotation = np.array([_DIRECTIONS[directions[axis]] for axis in "xyz"], dtype=np.float64).T  # columns: the axes
    if round(float(np.linalg.det(rotation))) != 1:
        raise InputError(
            f"axes {axes!r}: these are no right-handed axes (x to y turns about z as a right hand's fingers do). "
            "Check which of them is the other way round."
        )
    return rotation
