"""Limits within which labels count, by difficulty and distance, and the forms in which overlaps may be asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeAlias

from lidar_ebm.errors import InputError

OverlapChoice: TypeAlias = float | Sequence[float]
Overlaps: TypeAlias = OverlapChoice | Mapping[str, OverlapChoice | Mapping[str, OverlapChoice]]


@dataclass(frozen=True)
class Difficulty:
    """Limits within which a label counts; beyond any of them it is ignored. Where none is given there is none."""

    name: str
    max_occluded: float = math.inf
    max_truncated: float = math.inf
    min_height: float = 0.0  # of the 2-D box, pixels; detections of any class have to reach it too
    min_distance: float = 0.0  # m, horizontal, from the camera, or from the LiDAR where there is none
    max_distance: float = math.inf  # m; detections from there on are no false positives, nor those before min_distance
    min_points: int = 0  # LiDAR points in the box
    band: tuple[float, float] | None = None  # m, [from, to): narrowed to it, for figures by distance

    def __str__(self) -> str:
        limits = (
            (self.max_occluded < math.inf, f"occluded ≤ {self.max_occluded:g}"),
            (self.max_truncated < math.inf, f"truncated ≤ {self.max_truncated:g}"),
            (self.min_height > 0, f"height ≥ {self.min_height:g} px"),
            (self.min_distance > 0, f"distance ≥ {self.min_distance:g} m"),
            (self.max_distance < math.inf, f"distance < {self.max_distance:g} m"),
            (self.min_points > 0, f"points ≥ {self.min_points}"),
        )
        return f"{self.name}: {', '.join(text for given, text in limits if given) or 'no limits'}"


def with_bands(difficulties: Sequence[Difficulty], distances: Sequence[float]) -> list[Difficulty]:
    """Each difficulty for all distances, then for each band between two neighbours of `distances` (m).

    Raises:
        InputError: the distances do not rise, or there is only one.
    """
    if any(not (0 <= low < high) for low, high in pairwise(distances)) or len(distances) == 1:
        given = ", ".join(f"{value:g}" for value in distances)
        raise InputError(f"distances {given}: give two or more, rising, in metres, for example 0,20,40,80")
    bands = [(float(low), float(high)) for low, high in pairwise(distances)]
    return [*difficulties, *(replace(each, band=band) for each in difficulties for band in bands)]
