"""The space that boxes live in, as the energy-based regression library sees it."""

from __future__ import annotations

import math

from lidar_ebm.ebm.targets import TargetSpace

BOX_NAMES = ("x", "y", "z", "l", "w", "h", "yaw")


def box_space(min_size: float) -> TargetSpace:
    """(x, y, z, l, w, h, yaw): positions anywhere, sizes of at least `min_size` m, yaw wrapped to [-π, π).

    What counts as near is 0.1 m, and 0.05 rad of yaw: 0.1 m at the end of a car.
    """
    bounds = (-math.inf,) * 3 + (min_size,) * 3 + (-math.inf,)
    return TargetSpace(BOX_NAMES, (None,) * 6 + (2 * math.pi,), bounds, (0.1,) * 6 + (0.05,))
