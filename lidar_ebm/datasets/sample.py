"""One frame of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    # Scoring reads label files without torch, which takes a second and over a hundred MB to import; what needs it here
    # imports it itself.
    pass


@dataclass(frozen=True)
class Sample:
    """One frame of a data set, as numpy arrays."""

    frame_id: str
    points: np.ndarray  # [N, 4] float32: x, y, z (m), reflectance 0..1
    boxes: np.ndarray  # [M, 7] float32
    labels: np.ndarray  # [M] int64, index into config.classes
