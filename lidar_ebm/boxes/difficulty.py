"""Words for how hard a box is to see, by its distance and the points in it, all around the sensor."""

from __future__ import annotations

import math

import numpy as np

# Of near, middle and far: distance below, in m, and smallest number of points.
LIMITS = (("near", 30.0, 50), ("middle", 50.0, 20), ("far", 80.0, 5))
BEYOND = "beyond"
DIFFICULTIES = (*(name for name, _, _ in LIMITS), BEYOND)  # the easiest first


def difficulty_by_points(box: np.ndarray, points: int) -> str:
    """The first word of `LIMITS` whose distance and points a box [7] keeps within; `BEYOND` where there is none."""
    distance = math.hypot(box[0], box[1])
    return next((name for name, farthest, fewest in LIMITS if distance < farthest and points >= fewest), BEYOND)
