"""Paths of things over time, all at constant speed: standing, straight on, or along a road.

Frame: that of the street (x, y in metres, z up); t in seconds from the beginning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lidar_ebm.simulation.street import Road, wrap


class Path(Protocol):
    """A way through time."""

    @property
    def speed(self) -> float:
        """Speed over ground along the heading, m/s."""

    def place(self, t: float) -> tuple[float, float, float]:
        """x, y (m) and yaw (rad) at a time."""


@dataclass(frozen=True)
class Standing:
    """A thing that stays."""

    x: float
    y: float
    yaw: float

    @property
    def speed(self) -> float:
        """Zero."""
        return 0.0

    def place(self, t: float) -> tuple[float, float, float]:
        """The same place at all times."""
        return self.x, self.y, self.yaw


@dataclass(frozen=True)
class Straight:
    """A thing that goes straight ahead."""

    x: float  # at t = 0
    y: float
    yaw: float
    speed: float  # m/s

    def place(self, t: float) -> tuple[float, float, float]:
        """Place on the line."""
        way = self.speed * t
        return self.x + way * math.cos(self.yaw), self.y + way * math.sin(self.yaw), self.yaw


@dataclass(frozen=True)
class AlongRoad:
    """A thing that keeps its distance from the middle of a road."""

    road: Road
    s: float  # m along the middle, at t = 0
    d: float  # m to the left of it
    speed: float  # m/s over ground
    forward: bool  # along growing s
    turn: float = 0.0  # rad, heading against the road's, a little askew

    def place(self, t: float) -> tuple[float, float, float]:
        """Place on the arc; the heading is that of the way."""
        way = self.speed * t / (1.0 - self.road.curvature * self.d)
        s = self.s + (way if self.forward else -way)
        yaw = self.road.heading_at(s) + (0.0 if self.forward else math.pi) + self.turn
        return *self.road.point(s, self.d), wrap(yaw)


def velocity_at(path: Path, t: float) -> NDArray[np.float64]:
    """Velocity over ground [2] at a time, m/s, from the path's places just before and after."""
    if path.speed == 0.0:
        return np.zeros(2)
    step = 1e-3
    before, after = path.place(t - step), path.place(t + step)
    return np.array([after[0] - before[0], after[1] - before[1]]) / (2 * step)
