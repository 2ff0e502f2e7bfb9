"""Drives along a simulated street: sweeps of a LiDAR with 32 beams on a moving car, key frames with labels.

Drive i of a seed is the same, to the bit, whatever other drives are made. Sweeps are made when they are asked for. The
world is a frame of its own, as a map's would be; things are upright in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.geometry.poses import inverse_pose
from lidar_ebm.simulation.drive_street import EGO_CENTER, DriveStreet, Mover, make_drive_street, stand_height
from lidar_ebm.simulation.labels import occlusion_level
from lidar_ebm.simulation.sensor import SURROUNDINGS, Echoes, RayGrid, Returns, cast, receive
from lidar_ebm.simulation.shutter import RollingShutter, cast_turning, check_rolling_shutter, compensate
from lidar_ebm.simulation.solids import Solid, SolidBuilder, block, merge
from lidar_ebm.simulation.street import Ground, wrap
from lidar_ebm.simulation.tracks import AlongRoad, velocity_at

VERSION: Final = 1  # to be raised whenever a seed's drives change
KEY_RATE: Final = 2  # key frames a second
SWEEP_RATES: Final = (2, 4, 10, 20)  # sweeps a second
ELEVATIONS: Final = np.radians(np.linspace(10.67, -30.67, 32))
AZIMUTH_STEPS: Final = 1084  # in a full turn
CHANNELS: Final = ("reflectance", "ring")

LABEL_RANGE: Final = 70.0  # m around the car's frame up to which things are labelled
REMEMBERED: Final = 3  # key frames for which a thing that has no point any more is labelled on
_ALWAYS = 0.1  # share of the things that are labelled though no ray ever meets them
_MOUNT = (0.94, 0.0, 1.84)  # m, the sensor's place in the car's frame, whose origin lies on the ground
_STAMP_JITTER = 400  # microseconds
_TOWN = 1000.0  # m, size of the map that streets lie in


@dataclass(frozen=True)
class DriveSettings:
    """Settings that decide every drive.

    Raises:
        InputError: one of them makes no sense.
    """

    seed: int
    samples: int = 40  # key frames of a drive
    sweep_rate: int = 20  # sweeps a second
    azimuth_steps: int = AZIMUTH_STEPS
    rolling_shutter: RollingShutter = "none"

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; give a number of at least 0.")
        if not 1 <= self.samples <= 1000:
            raise InputError(f"samples is {self.samples}; give a number from 1 to 1000.")
        if self.sweep_rate not in SWEEP_RATES:
            raise InputError(f"sweep_rate is {self.sweep_rate}; choose one of {', '.join(map(str, SWEEP_RATES))}.")
        if not 16 <= self.azimuth_steps <= 4000:
            raise InputError(f"azimuth_steps is {self.azimuth_steps}; give a number from 16 to 4000.")
        check_rolling_shutter(self.rolling_shutter)

    @property
    def sweeps(self) -> int:
        """Sweeps of a drive, which begins and ends with a key frame."""
        return (self.samples - 1) * (self.sweep_rate // KEY_RATE) + 1

    @property
    def duration(self) -> float:
        """Seconds of a drive."""
        return (self.samples - 1) / KEY_RATE


@dataclass(frozen=True)
class DriveSweep:
    """One turn of the sensor."""

    stamp: int  # microseconds since the drive's beginning
    points: NDArray[np.float32]  # [N, 5] x, y, z (m, LiDAR frame), reflectance 0..1, ring 0 (lowest) to 31
    owners: NDArray[np.int32]  # [N] index of the mover that a point lies on, or SURROUNDINGS
    car_pose: NDArray[np.float64]  # [4, 4] car → world
    boxes: Boxes | None  # of a key frame, world frame, with velocity, occluded, track and attribute; else None


@dataclass(frozen=True)
class Drive:
    """A drive whose sweeps are yet to be made."""

    settings: DriveSettings
    index: int
    street: DriveStreet
    sensor_pose: NDArray[np.float64]  # [4, 4] LiDAR frame (x forward) → car
    world: NDArray[np.float64]  # [4, 4] the street's frame → world
    swing: NDArray[np.float64]  # [2, 3] amplitude (rad), period (s) and phase (rad) of the car's pitch and roll

    def car_pose(self, t: float) -> NDArray[np.float64]:
        """The car's pose [4, 4] in the street's frame at a time (s): on the ground, leaning with it and swinging."""
        return _car_pose(self.street.ground, self.street.ego, self.swing, t)

    def sweeps(self) -> Iterator[DriveSweep]:
        """All sweeps in the order of time; the first and every tenth (at 20 a second) is a key frame."""
        # Times and labels come from numbers of their own: they do not hang on the rays.
        rng, plan = (np.random.default_rng([self.settings.seed, self.index, number]) for number in (1, 2))
        stage = _Stage.of(self)
        per_key = self.settings.sweep_rate // KEY_RATE
        always = plan.random(len(self.street.movers)) < _ALWAYS
        unseen = np.where(always, 0, REMEMBERED + 1)  # key frames since a thing had a point
        for k in range(self.settings.sweeps):
            jitter = int(plan.integers(-_STAMP_JITTER, _STAMP_JITTER + 1))
            stamp = max(round(1e6 * k / self.settings.sweep_rate) + jitter, 0)
            returns, echoes = stage.turn(1e-6 * stamp, rng)
            boxes = None
            if k % per_key == 0:
                counts = np.bincount(returns.actor[returns.actor >= 0], minlength=len(always))
                unseen = np.where((counts > 0) | always, 0, unseen + 1)
                boxes = self._labels(1e-6 * stamp, np.flatnonzero(unseen <= REMEMBERED), echoes)
            ring = (len(ELEVATIONS) - 1 - returns.beam).astype(np.float32)
            points = np.column_stack([returns.points, ring])
            yield DriveSweep(stamp, points, returns.actor, self.world @ self.car_pose(1e-6 * stamp), boxes)

    def _labels(self, t: float, indices: NDArray[np.int64], echoes: Echoes) -> Boxes:
        """Boxes of the movers that `indices` name, where they are near enough."""
        car = self.car_pose(t)[:2, 3]
        turn = math.atan2(self.world[1, 0], self.world[0, 0])
        rows, chosen, velocity, occluded = [], [], [], []
        for index in indices:
            mover = self.street.movers[index]
            x, y, yaw = mover.path.place(t)
            if math.hypot(x - car[0], y - car[1]) > LABEL_RANGE:
                continue
            z = stand_height(self.street.ground, (x, y, yaw), mover.size) + mover.size[2] / 2
            center = self.world[:3, :3] @ [x, y, z] + self.world[:3, 3]
            rows.append([*center, *mover.size, wrap(yaw + turn)])
            velocity.append(self.world[:2, :2] @ velocity_at(mover.path, t))
            alone = int(echoes.alone[index])
            occluded.append(occlusion_level(1.0 - int(echoes.visible[index]) / alone if alone else 1.0))
            chosen.append(index)
        movers = [self.street.movers[index] for index in chosen]
        return Boxes(
            np.array(rows).reshape(-1, 7),
            [mover.category for mover in movers],
            velocity=np.array(velocity).reshape(-1, 2),
            occluded=occluded,
            track=[str(index) for index in chosen],
            attribute=[mover.attribute for mover in movers],
        )


def make_drive(settings: DriveSettings, index: int) -> Drive:
    """Drive `index` of a seed."""
    rng = np.random.default_rng([settings.seed, index])
    street = make_drive_street(rng, settings.duration)
    heading = float(rng.uniform(-math.pi, math.pi))
    world = _rotation(heading, 0.0, 0.0)
    ground = street.ground.height(*street.ego.place(0.0)[:2])
    world[:3, 3] = [*rng.uniform(0.3 * _TOWN, 1.7 * _TOWN, 2), -ground]
    mount = _rotation(*rng.normal((0.0, 0.012, 0.0), (0.006, 0.006, 0.008)))
    mount[:3, 3] = np.array(_MOUNT) + rng.normal(0.0, 0.004, 3)
    swing = np.column_stack([rng.uniform(0.001, 0.008, 2), rng.uniform(1.5, 6.0, 2), rng.uniform(-math.pi, math.pi, 2)])
    return Drive(settings, index, street, mount, world, swing)


@dataclass(frozen=True)
class _Stage:
    """A drive's solids in the street's frame, what stands apart from what moves."""

    drive: Drive
    standing: Solid
    standing_owners: NDArray[np.int64]
    moving: tuple[int, ...]  # indices of the movers that do
    own_car: Solid  # its roof, LiDAR frame

    @classmethod
    def of(cls, drive: Drive) -> _Stage:
        """Put together what stands once and for all."""
        ground, movers = drive.street.ground, drive.street.movers
        still = [index for index, mover in enumerate(movers) if mover.path.speed == 0.0]
        parts = [_placed(movers[index], ground, 0.0) for index in still] + [drive.street.surroundings]
        pieces = [len(part.opacity) for part in parts]
        owners = np.repeat(np.array([*still, SURROUNDINGS], np.int64), pieces)
        moving = tuple(sorted(set(range(len(movers))) - set(still)))
        roof = SolidBuilder().add(block((-0.95, 0.95), (-0.72, 0.72), (-0.7, -0.55)), 0.5).build()
        return cls(drive, merge(parts), owners, moving, roof)

    def turn(self, t: float, rng: np.random.Generator) -> tuple[Returns, Echoes]:
        """One turn of the sensor at a time."""
        settings, ground, count = self.drive.settings, self.drive.street.ground, len(self.drive.street.movers)
        seed = int(rng.integers(2**63))
        grid = turn_grid(settings.azimuth_steps, float(rng.random()))
        if settings.rolling_shutter == "none":
            solid, owners, pose = self._see(t)
            echoes = cast(solid, owners, ground, grid, seed=seed, pose=pose, actor_count=count)
            return receive(echoes, grid, rng), echoes
        echoes, times = cast_turning(
            lambda time: self._see(t + time),
            ground,
            grid,
            seed=seed,
            period=1.0 / settings.sweep_rate,
            actor_count=count,
        )
        returns = receive(echoes, grid, rng)
        if settings.rolling_shutter == "compensated":
            points = compensate(returns, times, lambda time: self._pose(t + time))
            returns = Returns(points, returns.actor, returns.column, returns.beam)
        return returns, echoes

    def _pose(self, t: float) -> NDArray[np.float64]:
        return self.drive.car_pose(t) @ self.drive.sensor_pose

    def _see(self, t: float) -> tuple[Solid, NDArray[np.int64], NDArray[np.float64]]:
        """Everything in the LiDAR frame of a time, its owners, and the LiDAR's pose in the street's frame."""
        movers, ground = self.drive.street.movers, self.drive.street.ground
        moving = [_placed(movers[index], ground, t) for index in self.moving]
        pose = self._pose(t)
        solid = merge([merge([self.standing, *moving]).moved(inverse_pose(pose)), self.own_car])
        pieces = [len(part.opacity) for part in moving]
        owners = np.repeat(np.array(self.moving, np.int64), pieces)
        return solid, np.concatenate([self.standing_owners, owners, [SURROUNDINGS]]), pose


def turn_grid(azimuth_steps: int, phase: float) -> RayGrid:
    """All rays of a turn of the sensor with 32 beams.

    Args:
        azimuth_steps: azimuths in the turn.
        phase: share 0..1 of a step by which the first lies beyond -pi; a sensor does not begin at the same place.
    """
    step = 2 * math.pi / azimuth_steps
    start = -math.pi + phase * step
    azimuths = start + step * np.arange(azimuth_steps, dtype=np.float64)
    everywhere = np.ones((azimuth_steps, len(ELEVATIONS)), np.bool_)
    return RayGrid(azimuths, 0, ELEVATIONS, everywhere, start, step, azimuth_steps)


def _placed(mover: Mover, ground: Ground, t: float) -> Solid:
    x, y, yaw = mover.path.place(t)
    z = stand_height(ground, (x, y, yaw), mover.size) + mover.size[2] / 2
    return mover.body.placed((x, y, z), yaw)


def _car_pose(ground: Ground, ego: AlongRoad, swing: NDArray[np.float64], t: float) -> NDArray[np.float64]:
    x, y, yaw = ego.place(t)
    cos, sin = math.cos(yaw), math.sin(yaw)
    # Wheels stand at the origin and 2.8 m before it, 0.8 m to both sides.
    front, side = 2 * EGO_CENTER, 0.8
    rise = ground.height(x + front * cos, y + front * sin) - ground.height(x, y)
    lean = ground.height(x - side * sin, y + side * cos) - ground.height(x + side * sin, y - side * cos)
    amplitude, period, phase = swing.T
    pitch, roll = amplitude * np.sin(2 * math.pi * t / period + phase)
    pose = _rotation(yaw, pitch - math.atan2(rise, front), roll + math.atan2(lean, 2 * side))
    pose[:3, 3] = x, y, ground.height(x, y)
    return pose


def _rotation(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Pose [4, 4] without translation: about x by roll, then about y by pitch (positive: nose down), then about z."""
    (a, b, c), (d, e, f) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    pose = np.eye(4)
    pose[:3, :3] = [
        [a * b, a * e * f - d * c, a * e * c + d * f],
        [d * b, d * e * f + a * c, d * e * c - a * f],
        [-e, b * f, b * c],
    ]
    return pose
