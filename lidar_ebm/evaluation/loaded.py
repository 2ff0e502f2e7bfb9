"""Labels and detections as the protocols with curves match them."""

from __future__ import annotations

from dataclasses import dataclass

from lidar_ebm.evaluation.kitti.objects import Objects
from lidar_ebm.evaluation.limits import Difficulty
from lidar_ebm.evaluation.options import ScoringOptions


@dataclass(frozen=True, eq=False)
class Loaded:
    """Labels and detections of the same frames, with all that the options left open filled in."""

    labels: Objects
    detections: Objects
    options: ScoringOptions
    classes: tuple[str, ...]
    metrics: tuple[str, ...]
    difficulties: tuple[Difficulty, ...]
    notes: tuple[str, ...]  # what departs from the protocol's rules, and what was passed over
    frames: tuple[str, ...] | None = None  # their names; None in memory
