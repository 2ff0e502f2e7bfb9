"""A spinning 64-beam LiDAR: its beams, and how it sees a scene.

The sensor stands at the origin of the LiDAR frame. Every piece of the scene is drawn onto the grid of azimuth × beam
inside its own angular bounds, nearest surface first to stay (a depth buffer), so a ray is tested only against what may
lie in its way. The ground is swept once per azimuth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lidar_ebm.errors import InputError
from lidar_ebm.geometry.camera import Camera
from lidar_ebm.geometry.projection import crop_to_camera_view
from lidar_ebm.simulation.solids import Solid
from lidar_ebm.simulation.street import Ground, ground_height, ground_surface

Array = NDArray[np.float64]

# The upper block of 32 beams is spaced by 1/3 degree, the lower by about 1/2, as in the sensor that KITTI used.
ELEVATIONS: Final[Array] = np.radians(
    np.concatenate([np.linspace(2.0, -8.33, 32), np.linspace(-8.85, -24.8, 32)])
)  # [64]
AZIMUTH_STEP: Final = math.radians(0.16)
TURN: Final = 2250  # azimuths in a full turn
MAX_RANGE: Final = 120.0  # m
MIN_RANGE: Final = 0.9  # m
RANGE_NOISE: Final = 0.02  # standard deviation, m
NOTHING: Final = -2  # value of Echoes.actor where a ray meets nothing
SURROUNDINGS: Final = -1  # ground, buildings, plants, poles

_VIEW_MARGIN = 1.0  # degrees of azimuth kept on both sides of the image
_GROUND_FROM, _GROUND_RATIO = 3.0, 1.016  # first radius (m) and ratio of the radii at which the ground is looked up
_FOLIAGE_COSINE = 0.6  # leaves face all ways
_SIGNAL = 50.0  # how strong an echo is at _SIGNAL_RANGE from a white surface at right angles
_SIGNAL_RANGE = 40.0  # m
_RANDOM_DROPOUT = 0.02  # share of rays without an echo whatever they meet
_GLASS_MIRROR, _GLASS_INSIDE = 0.16, 0.14  # share of rays on glass that come back from it, and from behind it


@dataclass(frozen=True)
class RayGrid:
    """The rays that are cast: azimuths × beams."""

    azimuths: Array  # [C] rad, growing
    first: int  # place of the first azimuth in a full turn that starts at -pi
    elevations: Array  # [R] rad, falling
    in_view: NDArray[np.bool_]  # [C, R] whether what a ray meets at 20 m would lie in the image; all without a camera
    start: float = -math.pi  # rad, of the full turn's first azimuth
    step: float = AZIMUTH_STEP  # rad, between neighbouring azimuths
    turn: int = TURN  # azimuths in a full turn

    def columns(self, begin: int, end: int) -> RayGrid:
        """The rays of a part of the azimuths, `begin` to `end` (left out)."""
        part = np.ascontiguousarray(self.in_view[begin:end])
        return replace(self, azimuths=self.azimuths[begin:end], first=self.first + begin, in_view=part)


@dataclass(frozen=True)
class Echoes:
    """Things that the rays met before noise and drop-out; all arrays [C, R]."""

    depth: Array  # m
    exit_depth: Array  # m, where the ray would leave the piece again
    cosine: Array  # of the angle of incidence
    albedo: Array
    glass: NDArray[np.bool_]
    actor: NDArray[np.int32]  # index of the labelled thing, SURROUNDINGS or NOTHING
    alone: NDArray[np.int64]  # [A] rays in view that would meet each labelled thing if it were alone
    visible: NDArray[np.int64]  # [A] rays in view that do meet it

    @classmethod
    def concatenate(cls, parts: Sequence[Echoes]) -> Echoes:
        """Echoes of neighbouring azimuths of one scene, put together."""
        counts = {name: np.sum([getattr(part, name) for part in parts], axis=0) for name in ("alone", "visible")}
        grids = [field.name for field in fields(cls) if field.name not in counts]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in grids}, **counts)


@dataclass(frozen=True)
class Returns:
    """Points that the sensor sends out."""

    points: NDArray[np.float32]  # [N, 4] x, y, z (m), reflectance 0..1
    actor: NDArray[np.int32]  # [N] index of the labelled thing or SURROUNDINGS
    column: NDArray[np.int64]  # [N] place of the azimuth in the grid
    beam: NDArray[np.int64]  # [N] place of the elevation in the grid


@lru_cache(maxsize=8)
def full_grid(camera: Camera | None = None) -> RayGrid:
    """All rays of a turn; those in the camera's image are in view, or all of them without one."""
    azimuths = -math.pi + AZIMUTH_STEP * np.arange(TURN, dtype=np.float64)
    return RayGrid(azimuths, 0, ELEVATIONS, _rays_in_view(azimuths, ELEVATIONS, camera))


@lru_cache(maxsize=8)
def camera_grid(camera: Camera) -> RayGrid:
    """The rays whose azimuth and elevation the image contains anywhere, with a degree of margin in azimuth.

    Raises:
        InputError: the camera sees none of the rays.
    """
    whole = full_grid(camera)
    if not whole.in_view.any():
        raise InputError("camera: looks where the sensor has no ray; check lidar_to_camera.")
    columns = np.flatnonzero(whole.in_view.any(axis=1))
    margin = round(math.radians(_VIEW_MARGIN) / AZIMUTH_STEP)
    first, last = int(columns[0]) - margin, int(columns[-1]) + margin + 1
    # Near things are seen from 27 cm behind the camera, so a few beams below the image's edge still reach into it.
    lowest = int(np.flatnonzero(whole.in_view.any(axis=0))[-1]) + 4
    return RayGrid(
        whole.azimuths[first:last],
        first,
        ELEVATIONS[:lowest],
        np.ascontiguousarray(whole.in_view[first:last, :lowest]),
    )


def cast(
    solid: Solid,
    actors: NDArray[np.int64],
    ground: Ground,
    grid: RayGrid,
    *,
    seed: int,
    pose: Array | None = None,
    actor_count: int | None = None,
) -> Echoes:
    """Send all rays of the grid into a scene.

    Args:
        solid: everything but the ground, LiDAR frame; the pieces of one labelled thing stand in a row.
        actors: [K] index of the labelled thing that each piece belongs to, or SURROUNDINGS.
        ground: the height field.
        grid: the rays.
        seed: decides which rays pass through fences and leaves, and the ground's roughness.
        pose: [4, 4] of the LiDAR frame in the ground's frame, nearly upright; None where they are the same.
        actor_count: of labelled things, more than `actors` may name; by default as many as it names.
    """
    count = int(actors.max(initial=-1)) + 1 if actor_count is None else actor_count
    depth, exit_depth, cosine, albedo, glass, actor, alone = _cast(
        solid.planes,
        solid.albedo,
        solid.glass,
        solid.plane_starts,
        solid.corners,
        solid.corner_starts,
        solid.opacity,
        solid.free_path,
        actors,
        ground.parameters,
        np.cos(grid.azimuths),
        np.sin(grid.azimuths),
        grid.first,
        grid.start,
        grid.step,
        grid.turn,
        np.cos(grid.elevations),
        np.sin(grid.elevations),
        grid.in_view,
        np.eye(4) if pose is None else np.ascontiguousarray(pose, dtype=np.float64),
        np.uint64(seed),
        count,
    )
    visible = np.bincount(actor[grid.in_view & (actor >= 0)], minlength=count)
    return Echoes(depth, exit_depth, cosine, albedo, glass, actor, alone, visible)


def receive(echoes: Echoes, grid: RayGrid, rng: np.random.Generator) -> Returns:
    """Noise, drop-out and reflectance: what comes back of the echoes, as points."""
    column, beam = np.nonzero(echoes.actor != NOTHING)
    depth = echoes.depth[column, beam]
    albedo = echoes.albedo[column, beam]
    cosine = echoes.cosine[column, beam]
    glass = echoes.glass[column, beam]
    chance = rng.random((3, len(depth)))
    noise = rng.standard_normal((2, len(depth)))

    # Glass: some rays are mirrored back by it, some meet the inside, most are lost.
    inside = glass & (chance[0] >= _GLASS_MIRROR) & (chance[0] < _GLASS_MIRROR + _GLASS_INSIDE)
    lost = glass & (chance[0] >= _GLASS_MIRROR + _GLASS_INSIDE)
    depth = np.where(inside, depth + chance[1] * (echoes.exit_depth[column, beam] - depth), depth)
    albedo = np.where(inside, 0.3, np.where(glass, 0.1, albedo))

    # An echo falls with the square of the way and with the cosine of the angle; weak ones are missed.
    strength = _SIGNAL * albedo * np.maximum(cosine, 0.02) * (_SIGNAL_RANGE / np.maximum(depth, 5.0)) ** 2
    kept = ~lost & (chance[2] < (1.0 - _RANDOM_DROPOUT) * -np.expm1(-strength))
    kept &= (depth > MIN_RANGE) & (depth < MAX_RANGE)
    column, beam, depth = column[kept], beam[kept], depth[kept] + RANGE_NOISE * noise[0, kept]

    # The sensor makes up for the distance, not wholly, and reports hundredths.
    shown = albedo[kept] * np.maximum(cosine[kept], 0.02) ** 0.2 * np.exp(-depth / 150.0) + 0.03 * noise[1, kept]
    reflectance = np.round(np.clip(shown, 0.0, 0.99), 2)
    flat = depth * np.cos(grid.elevations)[beam]
    points = np.column_stack(
        [
            flat * np.cos(grid.azimuths)[column],
            flat * np.sin(grid.azimuths)[column],
            depth * np.sin(grid.elevations)[beam],
            reflectance,
        ]
    )
    points[:, :3] = np.round(points[:, :3], 3)
    return Returns(points.astype(np.float32), echoes.actor[column, beam], column, beam)


def _rays_in_view(azimuths: Array, elevations: Array, camera: Camera | None) -> NDArray[np.bool_]:
    """[C, R] whether the point 20 m along each ray lies in the camera's image."""
    if camera is None:
        return np.ones((len(azimuths), len(elevations)), dtype=np.bool_)
    flat = 20.0 * np.cos(elevations)
    x = np.cos(azimuths)[:, None] * flat
    y = np.sin(azimuths)[:, None] * flat
    z = np.broadcast_to(20.0 * np.sin(elevations), x.shape)
    inside = crop_to_camera_view(np.stack([x, y, z], axis=-1).reshape(-1, 3), camera)
    return np.asarray(inside).reshape(x.shape)


@njit(cache=True, nogil=True, inline="always")
def _hash(seed: int, a: int, b: int) -> float:
    """A number in (0, 1) that only the three integers decide (two rounds of the SplitMix64 finaliser)."""
    x = np.uint64(seed) + np.uint64(a) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(b) * np.uint64(0xD1B54A32D192ED03)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    return (float(x >> np.uint64(12)) + 0.5) / 4503599627370496.0


@njit(cache=True, nogil=True, inline="always")
def _ground_place(g: Array, pose: Array, x: float, y: float, z: float) -> tuple[float, float, float]:
    """(x, y) in the ground's frame of the ground below or above a place (x, y) of the LiDAR frame, and its z in the
    LiDAR frame; `z` is a guess of the last, better after each call."""
    gx = pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z + pose[0, 3]
    gy = pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z + pose[1, 3]
    height = ground_height(g, gx, gy) - pose[2, 3] - pose[2, 0] * x - pose[2, 1] * y
    return gx, gy, height / pose[2, 2]


@njit(cache=True, nogil=True)
def _sweep_ground(
    g: Array,
    pose: Array,
    cos_azimuth: Array,
    sin_azimuth: Array,
    first: int,
    cos_elevation: Array,
    sin_elevation: Array,
    seed: int,
    depth: Array,
    cosine: Array,
    albedo: Array,
    actor: NDArray[np.int32],
) -> None:
    """Along each azimuth walk outwards; the ground's angle of sight tells which beams it stops, lowest first."""
    beams = len(cos_elevation)
    tilted = pose[2, 2] < 1.0
    below = _ground_place(g, pose, 0.0, 0.0, 0.0)[2]
    for column in range(len(cos_azimuth)):
        beam = beams - 1
        radius = _GROUND_FROM
        last_radius, last_height = 0.0, below
        step = 0
        while radius < MAX_RANGE and beam >= 0:
            x, y = radius * cos_azimuth[column], radius * sin_azimuth[column]
            # A tilted sensor sees the ground's places beside its own; the last height is a good first guess.
            gx, gy, smooth = _ground_place(g, pose, x, y, last_height)
            if tilted:
                gx, gy, smooth = _ground_place(g, pose, x, y, smooth)
            _, roughness = ground_surface(g, gx, gy)
            place = (first + column) * 4096 + step
            jitter = _hash(seed, place, 1) + _hash(seed, place, 2) + _hash(seed, place, 3) - 1.5
            height = smooth + 2.0 * roughness * jitter  # three uniforms have deviation 1/2
            while beam >= 0:
                slope = sin_elevation[beam] / cos_elevation[beam]
                above_now = slope * radius - height
                if above_now > 0.0:
                    break
                above_before = slope * last_radius - last_height
                share = above_before / (above_before - above_now)
                hit = last_radius + share * (radius - last_radius)
                incline = math.atan2(height - last_height, radius - last_radius) - math.atan(slope)
                depth[column, beam] = hit / cos_elevation[beam]
                cosine[column, beam] = abs(math.sin(incline))
                hx, hy = hit * cos_azimuth[column], hit * sin_azimuth[column]
                hx, hy, _ = _ground_place(g, pose, hx, hy, slope * hit)
                brightness, _ = ground_surface(g, hx, hy)
                albedo[column, beam] = brightness
                actor[column, beam] = SURROUNDINGS
                beam -= 1
            last_radius, last_height = radius, height
            radius *= _GROUND_RATIO
            step += 1


@njit(cache=True, nogil=True)
def _angular_bounds(corners: Array, start: int, stop: int) -> tuple[float, float, float, float]:
    """Bounds (low and high azimuth, low and high tangent of the elevation) that surely contain a convex piece."""
    count = stop - start
    cx, cy = 0.0, 0.0
    for i in range(start, stop):
        cx += corners[i, 0] / count
        cy += corners[i, 1] / count
    length = math.sqrt(cx * cx + cy * cy)
    # Going towards the middle of the corners, no point of the piece is nearer than its nearest corner.
    nearest, farthest, low_z, high_z = np.inf, 0.0, np.inf, -np.inf
    for i in range(start, stop):
        x, y = corners[i, 0], corners[i, 1]
        if length > 0.0:
            nearest = min(nearest, (cx * x + cy * y) / length)
        farthest = max(farthest, math.sqrt(x * x + y * y))
        low_z = min(low_z, corners[i, 2])
        high_z = max(high_z, corners[i, 2])
    if length == 0.0 or nearest <= 0.05:
        return -math.pi, math.pi, -np.inf, np.inf
    middle = math.atan2(cy, cx)
    low_azimuth, high_azimuth = 0.0, 0.0
    for i in range(start, stop):
        # All corners lie in the half plane ahead of `middle`, so the difference needs no wrapping.
        x = (cx * corners[i, 0] + cy * corners[i, 1]) / length
        y = (cx * corners[i, 1] - cy * corners[i, 0]) / length
        turn = math.atan2(y, x)
        low_azimuth = min(low_azimuth, turn)
        high_azimuth = max(high_azimuth, turn)
    low = low_z / nearest if low_z < 0.0 else low_z / farthest
    high = high_z / nearest if high_z > 0.0 else high_z / farthest
    return middle + low_azimuth, middle + high_azimuth, low, high


@njit(cache=True, nogil=True)
def _cast(
    planes: Array,
    plane_albedo: Array,
    plane_glass: NDArray[np.bool_],
    plane_starts: NDArray[np.int64],
    corners: Array,
    corner_starts: NDArray[np.int64],
    opacity: Array,
    free_path: Array,
    actors: NDArray[np.int64],
    ground: Array,
    cos_azimuth: Array,
    sin_azimuth: Array,
    first: int,
    start: float,
    step: float,
    turn: int,
    cos_elevation: Array,
    sin_elevation: Array,
    in_view: NDArray[np.bool_],
    pose: Array,
    seed: int,
    actor_count: int,
) -> tuple[Array, Array, Array, Array, NDArray[np.bool_], NDArray[np.int32], NDArray[np.int64]]:
    columns, beams = len(cos_azimuth), len(cos_elevation)
    depth = np.full((columns, beams), np.inf)
    exit_depth = np.full((columns, beams), np.inf)
    cosine = np.zeros((columns, beams))
    albedo = np.zeros((columns, beams))
    glass = np.zeros((columns, beams), np.bool_)
    actor = np.full((columns, beams), np.int32(NOTHING), np.int32)
    met = np.full((columns, beams), np.int32(NOTHING), np.int32)  # the last labelled thing on each ray
    alone = np.zeros(actor_count, np.int64)
    _sweep_ground(
        ground, pose, cos_azimuth, sin_azimuth, first, cos_elevation, sin_elevation, seed, depth, cosine, albedo, actor
    )

    for piece in range(len(plane_starts) - 1):
        low_azimuth, high_azimuth, low, high = _angular_bounds(corners, corner_starts[piece], corner_starts[piece + 1])
        begin = math.ceil((low_azimuth - start) / step - 1e-9)
        end = min(math.floor((high_azimuth - start) / step + 1e-9), begin + turn - 1)
        top, bottom = 0, beams - 1
        while top < beams and sin_elevation[top] / cos_elevation[top] > high:
            top += 1
        while bottom >= 0 and sin_elevation[bottom] / cos_elevation[bottom] < low:
            bottom -= 1
        who = actors[piece]
        for place in range(begin, end + 1):
            column = place % turn - first
            if column < 0 or column >= columns:
                continue
            for beam in range(top, bottom + 1):
                dx = cos_elevation[beam] * cos_azimuth[column]
                dy = cos_elevation[beam] * sin_azimuth[column]
                dz = sin_elevation[beam]
                enter, leave, face = 0.0, np.inf, -1
                for plane in range(plane_starts[piece], plane_starts[piece + 1]):
                    towards = planes[plane, 0] * dx + planes[plane, 1] * dy + planes[plane, 2] * dz
                    if towards < -1e-12:
                        t = planes[plane, 3] / towards
                        if t > enter:
                            enter, face = t, plane
                    elif towards > 1e-12:
                        leave = min(leave, planes[plane, 3] / towards)
                    elif planes[plane, 3] < 0.0:
                        leave = -1.0
                    if enter > leave:
                        break
                if face < 0 or enter > leave:
                    continue
                ray = (first + column) * 4096 + beam
                if opacity[piece] < 1.0 and _hash(seed, ray, 2 * piece + 5) > opacity[piece]:
                    continue
                t = enter
                if free_path[piece] > 0.0:
                    t -= math.log(_hash(seed, ray, 2 * piece + 6)) * free_path[piece]
                    if t > leave:
                        continue
                if who >= 0 and met[column, beam] != who:
                    met[column, beam] = np.int32(who)
                    if in_view[column, beam]:
                        alone[who] += 1
                if t < depth[column, beam]:
                    depth[column, beam] = t
                    exit_depth[column, beam] = leave
                    facing = planes[face, 0] * dx + planes[face, 1] * dy + planes[face, 2] * dz
                    cosine[column, beam] = _FOLIAGE_COSINE if free_path[piece] > 0.0 else -facing
                    albedo[column, beam] = plane_albedo[face]
                    glass[column, beam] = plane_glass[face]
                    actor[column, beam] = np.int32(who)
    return depth, exit_depth, cosine, albedo, glass, actor, alone
