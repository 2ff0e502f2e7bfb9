"""Simulated LiDAR frames of streets: the door to the `simulation` rooms.

Frame i of a seed is the same, to the bit, whatever other frames are made. Frames are written as files by
`lidar_ebm.workflows.simulate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.geometry.camera import Camera
from lidar_ebm.geometry.projection import crop_to_camera_view
from lidar_ebm.simulation.labels import label_all_around, label_view
from lidar_ebm.simulation.scene import Scene, make_scene
from lidar_ebm.simulation.sensor import camera_grid, cast, full_grid, receive

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

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; give a number of at least 0.")


@dataclass(frozen=True)
class SimulatedFrame:
    """One frame, with all that is known of it."""

    points: np.ndarray  # [N, 4] float32: x, y, z (m), reflectance 0..1
    boxes: Boxes  # with `label_view`'s columns of what the camera sees, or all around what has a point
    camera: Camera | None
    scene: Scene


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
    echoes = cast(solid, owners, scene.ground, grid, seed=int(rng.integers(2**63)))
    returns = receive(echoes, grid, rng)
    if camera is None:
        return SimulatedFrame(returns.points, label_all_around(scene, returns.actor), None, scene)
    in_image = np.asarray(crop_to_camera_view(returns.points, camera))
    counts = np.bincount(returns.actor[in_image & (returns.actor >= 0)], minlength=len(scene.actors))
    points = returns.points if settings.full else returns.points[in_image]
    return SimulatedFrame(points, label_view(scene, echoes, counts, camera), camera, scene)
