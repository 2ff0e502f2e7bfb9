"""One frame of a data set."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Sample:
    """One frame of a data set, as numpy arrays."""

    frame_id: str
    points: np.ndarray  # [N, 3 + C] float32: x, y, z (m), channels, reflectance 0..1 the first
    boxes: np.ndarray  # [M, D] float32: seven numbers, or nine with vx, vy (m/s, NaN where they are unknown)
    class_index: np.ndarray  # [M] int64, index into config.classes
    # [K, 7] float32 of labelled objects of other classes: nothing is learnt of them, but they take up their room
    others: np.ndarray = field(default_factory=lambda: np.zeros((0, 7), np.float32))
