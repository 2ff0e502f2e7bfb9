"""Simulated LiDAR frames of streets: the door to the `simulation` rooms.

Frame i of a seed is the same, to the bit, whatever other frames are made. Frames are written as files by
`lidar_ebm.workflows.simulate`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.geometry.camera import Camera
from lidar_ebm.geometry.projection import crop_to_camera_view
from lidar_ebm.simulation.labels import label_all_around, label_view
from lidar_ebm.simulation.motion import TURN_TIME, Motion, draw_motion
from lidar_ebm.simulation.scene import Scene, make_scene
from lidar_ebm.simulation.sensor import camera_grid, cast, full_grid, receive
from lidar_ebm.simulation.shutter import RollingShutter, cast_turning, check_rolling_shutter, compensate

VERSION: Final = 1  # to be raised whenever a seed's frames change


@dataclass(frozen=True)
class SimulationSettings:
    """Settings that decide the content of every frame.

    Raises:
        InputError: the seed is negative.
    """

    seed: int
    camera: Camera | None = None  # whose view is labelled; None: all around the sensor
    full: bool = False  # points of a whole turn, though there is a camera
    rolling_shutter: RollingShutter = "none"

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; give a number of at least 0.")
        check_rolling_shutter(self.rolling_shutter)


@dataclass(frozen=True)
class SimulatedFrame:
    """One frame, with all that is known of it."""

    points: np.ndarray  # [N, 4] float32: x, y, z (m), reflectance 0..1
    boxes: Boxes  # with `label_view`'s columns of what the camera sees, or all around what has a point
    camera: Camera | None
    scene: Scene
    motion: Motion | None = None  # of the sensor and the things during the sweep; None where all stands still


def simulate_frame(settings: SimulationSettings, index: int) -> SimulatedFrame:
    """Make frame `index` in memory.

    With a camera the points are those that project into its image (all with `settings.full`) and the boxes are of what
    reaches into it, with or without a point. Without one both are all around the sensor, and every box has a point.
    """
    rng = np.random.default_rng([settings.seed, index])
    camera = settings.camera
    scene = make_scene(rng)
    solid, owners = scene.solid()
    grid = full_grid(camera) if camera is None or settings.full else camera_grid(camera)
    seed = int(rng.integers(2**63))
    motion = None
    if settings.rolling_shutter == "none":
        echoes = cast(solid, owners, scene.ground, grid, seed=seed)
        returns = receive(echoes, grid, rng)
    else:
        # Speeds come from numbers of their own: the street is that of the frame without motion.
        motion = draw_motion(scene, np.random.default_rng([settings.seed, index, 1]))
        see = partial(motion.see, scene)
        count = len(scene.actors)
        echoes, times = cast_turning(see, scene.ground, grid, seed=seed, period=TURN_TIME, actor_count=count)
        returns = receive(echoes, grid, rng)
        if settings.rolling_shutter == "compensated":
            returns = replace(returns, points=compensate(returns, times, motion.pose))
    if camera is None:
        return SimulatedFrame(returns.points, label_all_around(scene, returns.actor), None, scene, motion)
    in_image = np.asarray(crop_to_camera_view(returns.points, camera))
    counts = np.bincount(returns.actor[in_image & (returns.actor >= 0)], minlength=len(scene.actors))
    points = returns.points if settings.full else returns.points[in_image]
    return SimulatedFrame(points, label_view(scene, echoes, counts, camera), camera, scene, motion)
