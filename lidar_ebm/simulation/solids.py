"""Solids made of convex pieces, each the intersection of half spaces `n · x <= d`.

One kind of primitive serves the whole simulator: a car is seven pieces, a tree two, a wall one. A ray meets a convex
piece in one interval, so the sensor needs one loop, and corners follow from the planes, so every outline is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

Plane = tuple[float, float, float, float]
"""(nx, ny, nz, d): the half space n · x <= d. The normal need not have length 1."""

_CORNER_TOLERANCE = 1e-7  # m


@dataclass(frozen=True)
class Solid:
    """Convex pieces with their surfaces. P planes, K pieces, V corners; lengths in metres."""

    planes: NDArray[np.float64]  # [P, 4] outward unit normal and offset
    albedo: NDArray[np.float64]  # [P] share of light that the surface sends back, in [0, 1]
    glass: NDArray[np.bool_]  # [P] True where the laser mostly passes or is mirrored away
    plane_starts: NDArray[np.int64]  # [K + 1] planes of piece k are plane_starts[k]:plane_starts[k + 1]
    corners: NDArray[np.float64]  # [V, 3]
    corner_starts: NDArray[np.int64]  # [K + 1]
    opacity: NDArray[np.float64]  # [K] chance that a ray is stopped by the piece's surface (1: massive, 0.5: a fence)
    free_path: NDArray[np.float64]  # [K] mean way in metres that a ray travels inside before it is stopped (foliage)

    @property
    def extent(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest coordinates, each [3]."""
        return self.corners.min(axis=0), self.corners.max(axis=0)

    def fitted(self, size: Sequence[float]) -> Solid:
        """The solid stretched so that it touches all six faces of a box of `size` (l, w, h) centred at the origin."""
        low, high = self.extent
        scale = np.asarray(size, dtype=np.float64) / (high - low)
        middle = (low + high) / 2
        normals = self.planes[:, :3] / scale
        length = np.linalg.norm(normals, axis=1)
        offsets = (self.planes[:, 3] - self.planes[:, :3] @ middle) / length
        planes = np.column_stack([normals / length[:, None], offsets])
        return replace(self, planes=planes, corners=(self.corners - middle) * scale)

    def placed(self, position: Sequence[float], yaw: float) -> Solid:
        """The solid turned by `yaw` (rad, counter-clockwise about +z) and then moved to `position` (m)."""
        cos, sin = math.cos(yaw), math.sin(yaw)
        rotation = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        shift = np.asarray(position, dtype=np.float64)
        normals = self.planes[:, :3] @ rotation.T
        planes = np.column_stack([normals, self.planes[:, 3] + normals @ shift])
        return replace(self, planes=planes, corners=self.corners @ rotation.T + shift)

    def moved(self, pose: NDArray[np.float64]) -> Solid:
        """The solid of a child frame in its parent frame, by the child's pose [4, 4] there."""
        normals = self.planes[:, :3] @ pose[:3, :3].T
        planes = np.column_stack([normals, self.planes[:, 3] + normals @ pose[:3, 3]])
        return replace(self, planes=planes, corners=self.corners @ pose[:3, :3].T + pose[:3, 3])


def merge(solids: Sequence[Solid]) -> Solid:
    """One solid of all pieces, in order."""

    def starts(all_starts: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
        counts = [np.diff(each) for each in all_starts]
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(counts))])

    return Solid(
        planes=np.concatenate([solid.planes for solid in solids]),
        albedo=np.concatenate([solid.albedo for solid in solids]),
        glass=np.concatenate([solid.glass for solid in solids]),
        plane_starts=starts(solid.plane_starts for solid in solids),
        corners=np.concatenate([solid.corners for solid in solids]),
        corner_starts=starts(solid.corner_starts for solid in solids),
        opacity=np.concatenate([solid.opacity for solid in solids]),
        free_path=np.concatenate([solid.free_path for solid in solids]),
    )


class SolidBuilder:
    """Collects convex pieces and makes a Solid of them."""

    def __init__(self) -> None:
        self._planes: list[Plane] = []
        self._albedo: list[float] = []
        self._glass: list[bool] = []
        self._starts = [0]
        self._opacity: list[float] = []
        self._free_path: list[float] = []

    def add(
        self,
        planes: Sequence[Plane],
        albedo: float,
        *,
        glass: Sequence[int] = (),
        opacity: float = 1.0,
        free_path: float = 0.0,
    ) -> SolidBuilder:
        """Add one piece; `glass` names the planes (by place in `planes`) that are windows. Returns the builder."""
        self._planes += planes
        self._albedo += [albedo] * len(planes)
        self._glass += [index in glass for index in range(len(planes))]
        self._starts.append(len(self._planes))
        self._opacity.append(opacity)
        self._free_path.append(free_path)
        return self

    def build(self) -> Solid:
        """The solid of all pieces added so far; it may be empty."""
        planes = np.array(self._planes, dtype=np.float64).reshape(-1, 4)
        planes /= np.linalg.norm(planes[:, :3], axis=1, keepdims=True)
        starts = np.array(self._starts, dtype=np.int64)
        corners, corner_starts = _piece_corners(planes, starts)
        return Solid(
            planes=planes,
            albedo=np.array(self._albedo, dtype=np.float64),
            glass=np.array(self._glass, dtype=np.bool_),
            plane_starts=starts,
            corners=corners,
            corner_starts=corner_starts,
            opacity=np.array(self._opacity, dtype=np.float64),
            free_path=np.array(self._free_path, dtype=np.float64),
        )


def block(x: tuple[float, float], y: tuple[float, float], z: tuple[float, float]) -> list[Plane]:
    """Planes of a box, in the order +x, -x, +y, -y, +z, -z; each argument is (low, high)."""
    return [
        (1.0, 0.0, 0.0, x[1]),
        (-1.0, 0.0, 0.0, -x[0]),
        (0.0, 1.0, 0.0, y[1]),
        (0.0, -1.0, 0.0, -y[0]),
        (0.0, 0.0, 1.0, z[1]),
        (0.0, 0.0, -1.0, -z[0]),
    ]


def profile(points: Sequence[tuple[float, float]]) -> list[Plane]:
    """Planes through the edges of a convex polygon of (x, z) points given counter-clockwise as seen from -y (x to the
    right, z up). Where the polygon is not convex, the piece becomes smaller than it."""
    planes = []
    for (x0, z0), (x1, z1) in zip(points, [*points[1:], points[0]], strict=True):
        normal_x, normal_z = z1 - z0, x0 - x1
        planes.append((normal_x, 0.0, normal_z, normal_x * x0 + normal_z * z0))
    return planes


def hull(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Corners of the convex hull of points, counter-clockwise (Andrew's monotone chain)."""
    ordered = sorted(set(points))

    def chain(run: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
        kept: list[tuple[float, float]] = []
        for point in run:
            while len(kept) >= 2:
                (x0, z0), (x1, z1) = kept[-2:]
                if (x1 - x0) * (point[1] - z0) - (z1 - z0) * (point[0] - x0) > 0.0:
                    break
                kept.pop()
            kept.append(point)
        return kept[:-1]

    return chain(ordered) + chain(reversed(ordered))


def sides(low: tuple[float, float], high: tuple[float, float]) -> list[Plane]:
    """Left and right plane leaning in or out: `low` and `high` are (z, half width) at two heights."""
    (z0, width0), (z1, width1) = low, high
    lean = (width0 - width1) / (z1 - z0)
    offset = width0 + lean * z0
    return [(0.0, 1.0, lean, offset), (0.0, -1.0, lean, offset)]


def upright_prism(
    center: tuple[float, float],
    radius: tuple[float, float],
    z: tuple[float, float],
    *,
    count: int = 8,
    top_scale: float = 1.0,
) -> list[Plane]:
    """Planes of a vertical prism with `count` sides around an ellipse of `radius` (x, y); the radius at the top is
    `top_scale` times that at the bottom."""
    planes = []
    for k in range(count):
        cos, sin = math.cos(2 * math.pi * k / count), math.sin(2 * math.pi * k / count)
        nx, ny = cos / radius[0], sin / radius[1]
        lean = (1.0 - top_scale) / (z[1] - z[0])
        planes.append((nx, ny, lean, 1.0 + lean * z[0] + nx * center[0] + ny * center[1]))
    return [*planes, (0.0, 0.0, 1.0, z[1]), (0.0, 0.0, -1.0, -z[0])]


def axle_prism(
    center: tuple[float, float], radius: tuple[float, float], y: tuple[float, float], *, count: int = 10
) -> list[Plane]:
    """Planes of a wheel: a prism along y around an ellipse of `radius` (x, z) at `center` (x, z)."""
    planes = []
    for k in range(count):
        angle = 2 * math.pi * (k + 0.5) / count - math.pi / 2
        nx, nz = math.cos(angle) / radius[0], math.sin(angle) / radius[1]
        planes.append((nx, 0.0, nz, 1.0 + nx * center[0] + nz * center[1]))
    return [*planes, (0.0, 1.0, 0.0, y[1]), (0.0, -1.0, 0.0, -y[0])]


def ball(center: tuple[float, float, float], radius: tuple[float, float, float]) -> list[Plane]:
    """Fourteen planes around an ellipsoid (six along the axes, eight across the corners)."""
    planes = []
    axes = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
    diagonals = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    for direction in axes + diagonals:
        length = math.sqrt(sum(abs(d) for d in direction))
        normal = tuple(d / length / r for d, r in zip(direction, radius, strict=True))
        offset = 1.0 + sum(n * c for n, c in zip(normal, center, strict=True))
        planes.append((normal[0], normal[1], normal[2], offset))
    return planes


@njit(cache=True, nogil=True)
def _piece_corners(
    planes: NDArray[np.float64], starts: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Corners of every piece: the points where three of its planes meet that lie inside all others."""
    pieces = len(starts) - 1
    corner_starts = np.zeros(pieces + 1, np.int64)
    corners = np.empty((64 * pieces, 3))
    count = 0
    for k in range(pieces):
        first, last = starts[k], starts[k + 1]
        for a in range(first, last):
            for b in range(a + 1, last):
                cx = planes[a, 1] * planes[b, 2] - planes[a, 2] * planes[b, 1]
                cy = planes[a, 2] * planes[b, 0] - planes[a, 0] * planes[b, 2]
                cz = planes[a, 0] * planes[b, 1] - planes[a, 1] * planes[b, 0]
                if cx * cx + cy * cy + cz * cz < 1e-10:
                    continue
                for c in range(b + 1, last):
                    determinant = planes[c, 0] * cx + planes[c, 1] * cy + planes[c, 2] * cz
                    if abs(determinant) < 1e-6:
                        continue
                    # Cramer's rule with the cross products of the normals.
                    x, y, z = _three_planes(planes[a], planes[b], planes[c], determinant)
                    inside = True
                    for other in range(first, last):
                        value = planes[other, 0] * x + planes[other, 1] * y + planes[other, 2] * z
                        if value > planes[other, 3] + _CORNER_TOLERANCE:
                            inside = False
                            break
                    if not inside:
                        continue
                    duplicate = False
                    for other in range(corner_starts[k], count):
                        distance = abs(corners[other, 0] - x) + abs(corners[other, 1] - y) + abs(corners[other, 2] - z)
                        if distance < _CORNER_TOLERANCE:
                            duplicate = True
                            break
                    if not duplicate:
                        corners[count, 0] = x
                        corners[count, 1] = y
                        corners[count, 2] = z
                        count += 1
        corner_starts[k + 1] = count
    return corners[:count].copy(), corner_starts


@njit(cache=True, nogil=True, inline="always")
def _three_planes(
    a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64], determinant: float
) -> tuple[float, float, float]:
    """The point where three planes meet; `determinant` is a · (b × c) of their normals."""
    x = a[3] * (b[1] * c[2] - b[2] * c[1]) + b[3] * (c[1] * a[2] - c[2] * a[1]) + c[3] * (a[1] * b[2] - a[2] * b[1])
    y = a[3] * (b[2] * c[0] - b[0] * c[2]) + b[3] * (c[2] * a[0] - c[0] * a[2]) + c[3] * (a[2] * b[0] - a[0] * b[2])
    z = a[3] * (b[0] * c[1] - b[1] * c[0]) + b[3] * (c[0] * a[1] - c[1] * a[0]) + c[3] * (a[0] * b[1] - a[1] * b[0])
    return x / determinant, y / determinant, z / determinant
