"""Motion during the one turn of a single frame: the sensor's car and what is on its way keep their speeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lidar_ebm.geometry.poses import inverse_pose
from lidar_ebm.simulation.scene import Scene
from lidar_ebm.simulation.solids import Solid

TURN_TIME: Final = 0.1  # s
_SPEEDS: Final = {"Pedestrian": (0.8, 1.8), "Cyclist": (2.5, 6.5)}  # m/s
_VEHICLE_SPEEDS = (3.0, 14.0)  # m/s


@dataclass(frozen=True)
class Motion:
    """Speeds of the sensor and of all labelled things, in the LiDAR frame of the sweep's time."""

    speed: float  # of the sensor, ahead, m/s
    yaw_rate: float  # rad/s
    velocities: NDArray[np.float64]  # [A, 2] of the things over ground, m/s

    def pose(self, time: float) -> NDArray[np.float64]:
        """The LiDAR's pose [4, 4] at a time (s, 0 in the middle of the turn): on an arc."""
        yaw = self.yaw_rate * time
        half = yaw / 2
        chord = self.speed * time * (math.sin(half) / half if abs(half) > 1e-9 else 1.0)
        cos, sin = math.cos(yaw), math.sin(yaw)
        pose = np.eye(4)
        pose[:2, :2] = [[cos, -sin], [sin, cos]]
        pose[:2, 3] = chord * math.cos(half), chord * math.sin(half)
        return pose

    def see(self, scene: Scene, time: float) -> tuple[Solid, NDArray[np.int64], NDArray[np.float64]]:
        """The scene in the LiDAR frame of a time, the owner of each piece, and the LiDAR's pose."""
        pose = self.pose(time)
        solid, owners = scene.moved(self.velocities * time).solid()
        return solid.moved(inverse_pose(pose)), owners, pose


def draw_motion(scene: Scene, rng: np.random.Generator) -> Motion:
    """Draw the speeds; the sensor's car stands now and then."""
    velocities = np.zeros((len(scene.actors), 2))
    for index, actor in enumerate(scene.actors):
        speed = float(rng.uniform(*_SPEEDS.get(actor.type, _VEHICLE_SPEEDS)))
        if actor.on_its_way:
            velocities[index] = speed * np.cos(actor.box[6]), speed * np.sin(actor.box[6])
    speed = 0.0 if rng.random() < 0.1 else float(rng.uniform(2.0, 14.0))
    return Motion(speed, float(rng.normal(0.0, 0.1)) if speed else 0.0, velocities)
