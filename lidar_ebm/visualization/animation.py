"""Moving pictures of a frame: around it, along it, and its boxes climbing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from lidar_ebm.errors import InputError
from lidar_ebm.files import atomic_write
from lidar_ebm.progress import progress_bar
from lidar_ebm.visualization.offscreen import OffscreenScene, offscreen_scene
from lidar_ebm.visualization.scene_frames import SceneFrame
from lidar_ebm.visualization.scene_geometry import Coloring, Pose

KINDS = ("turntable", "fly", "refinement")
SIZE = (800, 450)  # width and height, pixels: half a frame's GIF would be, at full size, some tens of megabytes
COLORS = 64  # the palette's and their edges; more make the file larger, not better
TURNS = 60  # pictures of a turn
CENTER = (22.0, 0.0, -1.0)  # m, what a turn goes around: the middle of what the camera sees
RADIUS, HEIGHT = 34.0, 16.0  # m
FLIGHT = (-12.0, 38.0)  # m, x of the eye
MILLISECONDS = 100  # a picture
STEP_MILLISECONDS, REST_MILLISECONDS = 350, 1500  # a refinement step; before it begins and after it ends


def write_animation(frame: SceneFrame, kind: str, path: Path, *, pose: Pose, color: Coloring = "height") -> Path:
    """Write a GIF that loops.

    Args:
        frame: what is shown.
        kind: "turntable" (once around), "fly" (along x), or "refinement" (step by step, from `pose`).
        path: of the file.
        pose: for "refinement".
        color: of the points.

    Raises:
        InputError: the kind is unknown, a frame has no refinement to show, or Open3D is missing.
        OutputError: the file cannot be written.
    """
    scene = offscreen_scene()
    if kind == "turntable":
        images, durations = _move(scene, frame, turntable(), color), [MILLISECONDS] * TURNS
    elif kind == "fly":
        images, durations = _move(scene, frame, flight(), color), [MILLISECONDS] * TURNS
    elif kind == "refinement":
        images = _climb(scene, frame, pose, color)
        durations = [REST_MILLISECONDS, *[STEP_MILLISECONDS] * (len(images) - 2), REST_MILLISECONDS]
    else:
        raise InputError(f"--animate {kind!r}: choose one of {', '.join(KINDS)}.")
    with atomic_write(path) as file:
        images[0].save(
            file, format="gif", save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=False
        )
    return path


def turntable() -> list[Pose]:
    """Places all around the middle of a frame, beginning behind the sensor."""
    angles = math.pi + 2 * math.pi * np.arange(TURNS) / TURNS
    return [Pose((CENTER[0] + RADIUS * math.cos(a), CENTER[1] + RADIUS * math.sin(a), HEIGHT), CENTER) for a in angles]


def flight() -> list[Pose]:
    """Places along x, looking ahead and down, slower at both ends."""
    shares = (1 - np.cos(np.pi * np.arange(TURNS) / (TURNS - 1))) / 2
    eyes = FLIGHT[0] + (FLIGHT[1] - FLIGHT[0]) * shares
    return [Pose((float(x), 0.0, 6.0), (float(x) + 20.0, 0.0, -2.0)) for x in eyes]


def _move(scene: OffscreenScene, frame: SceneFrame, poses: Sequence[Pose], color: Coloring) -> list[Image.Image]:
    scene.show(frame, color=color)
    images = []
    with progress_bar("Drawing", len(poses)) as bar:
        for pose in poses:
            images.append(_small(scene.look(frame, pose)))
            bar.advance()
    return images


def _climb(scene: OffscreenScene, frame: SceneFrame, pose: Pose, color: Coloring) -> list[Image.Image]:
    if frame.steps == 0:
        raise InputError(f"frame {frame.name}: there is no refinement to show. Name a run that refines with --run.")
    images = []
    with progress_bar("Drawing", frame.steps + 1) as bar:
        for step in range(frame.steps + 1):
            images.append(_small(scene.render(frame.at_step(step), pose, color=color)))
            bar.advance()
    return images


def _small(picture: np.ndarray) -> Image.Image:
    small = Image.fromarray(picture).resize(SIZE, Image.Resampling.LANCZOS)
    return small.quantize(COLORS, dither=Image.Dither.NONE)
