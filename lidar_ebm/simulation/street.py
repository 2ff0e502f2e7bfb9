"""The road's course and the ground under it: slope, waves, camber, kerbs, roughness.

Places on a street are written as (s, d): s metres along the road's centre line from the place nearest to the sensor,
d metres to the left of it. The centre line is a circular arc (or straight).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

SENSOR_HEIGHT: Final = 1.73  # m above the ground that the car stands on
WAVES: Final = 3

# Places of the values in the array that the compiled functions read.
_X0, _Y0, _TX, _TY, _KAPPA, _KERB_LEFT, _KERB_RIGHT, _KERB_HEIGHT, _CROSS_X, _CROSS_Y, _CROSS_HALF = range(11)
_SLOPE_X, _SLOPE_Y, _CAMBER, _BASE, _ROUGHNESS, _VERGE_ROUGHNESS, _VERGE_ALBEDO, _ROAD_ALBEDO = range(11, 19)
_WAVE_START = 19
_KERB_RUN = 0.06  # m over which the kerb rises


@dataclass(frozen=True)
class Road:
    """Course of the road, in the LiDAR frame."""

    origin: tuple[float, float]  # x, y of s = 0 on the centre line, m
    heading: float  # rad at s = 0
    curvature: float  # 1 / m, positive to the left

    def heading_at(self, s: float) -> float:
        """Direction of the road at s, rad."""
        return self.heading + self.curvature * s

    def point(self, s: float, d: float) -> tuple[float, float]:
        """LiDAR (x, y) of a place on the street."""
        half = 0.5 * self.curvature * s
        chord = s * (math.sin(half) / half if abs(half) > 1e-9 else 1.0)
        heading = self.heading_at(s)
        x = self.origin[0] + chord * math.cos(self.heading + half) - d * math.sin(heading)
        y = self.origin[1] + chord * math.sin(self.heading + half) + d * math.cos(heading)
        return x, y


@dataclass(frozen=True)
class Ground:
    """The height field; `parameters` is what the compiled `ground_height` and `ground_albedo` read."""

    parameters: NDArray[np.float64]

    @classmethod
    def level(cls, *, albedo: float = 0.3) -> Ground:
        """A smooth level plane without a road, for experiments."""
        values = np.zeros(_WAVE_START + 4 * WAVES)
        values[_TX] = 1.0
        values[[_KERB_LEFT, _KERB_RIGHT, _CROSS_HALF]] = np.inf, -np.inf, -1.0
        values[_BASE] = -SENSOR_HEIGHT
        values[_ROAD_ALBEDO] = albedo
        return cls(values)

    def height(self, x: float, y: float) -> float:
        """z of the ground in the LiDAR frame (where the sensor is at z = 0), m; its roughness left out."""
        return float(ground_height(self.parameters, x, y))


def make_ground(
    road: Road,
    *,
    kerbs: tuple[float, float],
    kerb_height: float,
    crossing: tuple[float, float] | None,
    rng: np.random.Generator,
) -> Ground:
    """Draw the slopes, waves and surfaces around a road.

    `kerbs` are the d of the left (positive) and right (negative) kerb; `crossing` is (s, half width) of a side road
    that interrupts both, or None.
    """
    values = np.zeros(_WAVE_START + 4 * WAVES)
    values[[_X0, _Y0]] = road.origin
    values[[_TX, _TY]] = math.cos(road.heading), math.sin(road.heading)
    values[_KAPPA] = road.curvature
    values[[_KERB_LEFT, _KERB_RIGHT]] = kerbs
    values[_KERB_HEIGHT] = kerb_height
    if crossing is None:
        values[_CROSS_HALF] = -1.0
    else:
        values[[_CROSS_X, _CROSS_Y]] = road.point(crossing[0], 0.0)
        values[_CROSS_HALF] = crossing[1]
    values[[_SLOPE_X, _SLOPE_Y]] = rng.normal(0.0, (0.008, 0.006))  # the car's own pitch and roll included
    values[_CAMBER] = rng.uniform(0.0, 0.025)
    values[_ROUGHNESS] = rng.uniform(0.001, 0.004)
    values[_VERGE_ROUGHNESS] = rng.choice([0.004, 0.02])  # paved or grass
    values[_VERGE_ALBEDO] = rng.uniform(0.3, 0.55)
    values[_ROAD_ALBEDO] = rng.uniform(0.2, 0.45)
    for k, (wavelength, steepness) in enumerate(((14.0, 0.003), (45.0, 0.010), (110.0, 0.020))):
        direction = rng.uniform(0.0, 2 * math.pi)
        number = 2 * math.pi / (wavelength * rng.uniform(0.8, 1.25))
        amplitude = steepness * rng.uniform(0.0, 1.0) / number
        phase = rng.uniform(0.0, 2 * math.pi)
        values[_WAVE_START + 4 * k : _WAVE_START + 4 * k + 4] = (
            number * math.cos(direction),
            number * math.sin(direction),
            phase,
            amplitude,
        )
    values[_BASE] = -SENSOR_HEIGHT - ground_height(values, 0.0, 0.0)
    return Ground(values)


@njit(cache=True, nogil=True, inline="always")
def _street_place(g: NDArray[np.float64], x: float, y: float) -> tuple[float, float]:
    """(s along the tangent at s = 0, d) of a point; d is exact on the arc."""
    along = (x - g[_X0]) * g[_TX] + (y - g[_Y0]) * g[_TY]
    across = (y - g[_Y0]) * g[_TX] - (x - g[_X0]) * g[_TY]
    kappa = g[_KAPPA]
    if abs(kappa) < 1e-9:
        return along, across
    radius = 1.0 / kappa
    distance = math.sqrt(along * along + (across - radius) * (across - radius))
    return along, radius - distance if kappa > 0 else radius + distance


@njit(cache=True, nogil=True, inline="always")
def _pavement(g: NDArray[np.float64], x: float, y: float, d: float) -> float:
    """0 on the road, 1 on the pavement, between them on the kerb's face."""
    beyond = max(d - g[_KERB_LEFT], g[_KERB_RIGHT] - d)
    if g[_CROSS_HALF] > 0.0:
        along = (x - g[_CROSS_X]) * g[_TX] + (y - g[_CROSS_Y]) * g[_TY]
        beyond = min(beyond, abs(along) - g[_CROSS_HALF])
    return min(max(beyond / _KERB_RUN, 0.0), 1.0)


@njit(cache=True, nogil=True)
def ground_height(g: NDArray[np.float64], x: float, y: float) -> float:
    """Height of the smooth ground at (x, y), LiDAR frame, m."""
    _, d = _street_place(g, x, y)
    height = g[_BASE] + g[_SLOPE_X] * x + g[_SLOPE_Y] * y
    height += g[_KERB_HEIGHT] * _pavement(g, x, y, d) - g[_CAMBER] * min(abs(d), 8.0)
    for k in range(WAVES):
        w = _WAVE_START + 4 * k
        height += g[w + 3] * math.sin(g[w] * x + g[w + 1] * y + g[w + 2])
    return height


@njit(cache=True, nogil=True)
def ground_surface(g: NDArray[np.float64], x: float, y: float) -> tuple[float, float]:
    """Albedo and roughness (standard deviation, m) of the ground at (x, y)."""
    s, d = _street_place(g, x, y)
    if _pavement(g, x, y, d) > 0.5:
        return g[_VERGE_ALBEDO], g[_VERGE_ROUGHNESS]
    if abs(d) < 0.08 and s % 9.0 < 4.0:  # the dashed line in the middle
        return 0.7, g[_ROUGHNESS]
    return g[_ROAD_ALBEDO], g[_ROUGHNESS]


def wrap(angle: float) -> float:
    """An angle in [-π, π)."""
    return (angle + math.pi) % (2 * math.pi) - math.pi
