"""Pictures of a frame in space, by Open3D, without a display or a GPU."""

from __future__ import annotations

import ctypes.util
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image, ImageDraw, ImageFont

from lidar_ebm.errors import InputError
from lidar_ebm.files import atomic_write
from lidar_ebm.geometry.boxes import corners_3d, points_in_boxes
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.bev_plot import HEIGHT_LIMITS
from lidar_ebm.visualization.image_overlay import EDGES
from lidar_ebm.visualization.scene_frames import SceneFrame

Coloring = Literal["height", "reflectance", "distance", "boxes"]
SIZE = (1280, 720)  # width and height of the pictures, pixels
FAR = 70.0  # m, of the colours by distance
BOX_RADIUS = 0.035  # m, of the tubes that edges are drawn as: lines of Open3D's software renderer are a pixel wide
PACKAGES = "libusb-1.0-0 libgl1 libegl1 libx11-6 libvulkan1 mesa-vulkan-drivers"


@dataclass(frozen=True)
class Pose:
    """Where a picture is taken from, in the LiDAR frame, m."""

    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    field_of_view: float = 55.0  # vertical, degrees


POSES = {
    "behind": Pose((-10.0, 0.0, 7.0), (18.0, 0.0, -2.0)),
    "above": Pose((25.0, 0.0, 55.0), (25.0, 0.0, 0.0), up=(1.0, 0.0, 0.0)),
}


def point_colors(points: np.ndarray, boxes: np.ndarray, by: Coloring) -> np.ndarray:
    """Colours [N, 3], 0..1, of points [N, 4]; those by membership take points within any of boxes [M, 7] out."""
    if by == "boxes":
        inside = np.asarray(points_in_boxes(points, boxes)).any(axis=1, keepdims=True)  # [N, 1]
        return np.where(inside, to_rgb(palette.REGION), to_rgb("#B9B4AE"))
    low, high = HEIGHT_LIMITS
    shares = {
        "height": (points[:, 2] - low) / (high - low),
        "reflectance": points[:, 3],
        "distance": np.hypot(points[:, 0], points[:, 1]) / FAR,
    }
    return palette.HEIGHT_COLORS(np.clip(shares[by], 0, 1))[:, :3]


def project(places: np.ndarray, pose: Pose, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Pixels [N, 2] (right, down) of places [N, 3] in a picture of (width, height); NaN behind the eye."""
    forward = np.subtract(pose.target, pose.eye)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, pose.up)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(right, forward), forward])  # right, up, forward
    x, y, depth = ((np.asarray(places, np.float64) - pose.eye) @ axes.T).T
    scale = size[1] / 2 / math.tan(math.radians(pose.field_of_view) / 2)
    depth = np.where(depth > 0, depth, np.nan)
    return np.stack([size[0] / 2 + scale * x / depth, size[1] / 2 - scale * y / depth], axis=1)


class OffscreenScene:
    """Renders frames in `SIZE`; starting Open3D's renderer takes a moment, a picture then little.

    A process has one, from `offscreen_scene`: with a second beside it Open3D ends the process.

    Raises:
        InputError: Open3D, or a library of the system that it needs, is missing.
    """

    def __init__(self) -> None:
        self._o3d = _import_open3d()
        with _quiet():
            self._renderer = self._o3d.visualization.rendering.OffscreenRenderer(*SIZE)
            self._renderer.scene.view.set_post_processing(False)  # it would change the palette's colours
            self._renderer.render_to_image()  # of nothing: without it some frames' first picture takes half a minute

    def render(self, frame: SceneFrame, pose: Pose, *, color: Coloring = "height") -> np.ndarray:
        """A picture [H, W, 3] uint8 of a frame with all its sets of boxes, and a legend."""
        o3d, scene = self._o3d, self._renderer.scene
        boxes = np.concatenate([np.zeros((0, 7)), *(each.boxes for each in frame.sets)])
        with _quiet():
            scene.clear_geometry()
            scene.set_background([1.0, 1.0, 1.0, 1.0])
            if len(frame.points):
                cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(frame.points[:, :3].astype(np.float64)))
                cloud.colors = o3d.utility.Vector3dVector(point_colors(frame.points, boxes, color))
                scene.add_geometry("points", cloud, self._material(point_size=2.0))
            for number, each in enumerate(frame.sets):
                tubes = self._tubes(each.boxes, each.color)
                if tubes is not None:
                    scene.add_geometry(f"boxes {number}", tubes, self._material())
            self._renderer.setup_camera(pose.field_of_view, pose.target, pose.eye, pose.up)
            picture = np.asarray(self._renderer.render_to_image())
        return _with_legend(picture, frame)

    def _material(self, point_size: float = 1.0) -> Any:
        material = self._o3d.visualization.rendering.MaterialRecord()
        material.shader, material.point_size = "defaultUnlit", point_size
        return material

    def _tubes(self, boxes: np.ndarray, color: str) -> Any:
        """The edges of boxes [M, 7] and a mark from each one's middle through its front, as one mesh."""
        o3d = self._o3d
        whole = o3d.geometry.TriangleMesh()
        finite = boxes[np.isfinite(boxes).all(axis=1)].astype(np.float64)
        for box, corners in zip(finite, np.asarray(corners_3d(finite)), strict=True):
            heading = np.array([math.cos(box[6]), math.sin(box[6]), 0.0])
            mark = (box[:3], box[:3] + heading * (0.5 * box[3] + 0.4 * box[4]))
            for start, end in [*((corners[a], corners[b]) for a, b in EDGES), mark]:
                whole += _tube(o3d, start, end)
        if not whole.has_vertices():
            return None
        return whole.paint_uniform_color(to_rgb(color))


@cache
def offscreen_scene() -> OffscreenScene:
    """The process's own.

    Raises:
        InputError: Open3D, or a library of the system that it needs, is missing.
    """
    return OffscreenScene()


def write_screenshots(
    frames: list[SceneFrame], out: Path, *, pose: Pose, suffix: str, color: Coloring = "height"
) -> list[Path]:
    """Write OUT/NAME_SUFFIX.png of each frame and return the files.

    Raises:
        InputError: Open3D or a library is missing.
        OutputError: a picture cannot be written.
    """
    scene, written = offscreen_scene(), []
    for frame in frames:
        path = out / f"{frame.name}_{suffix}.png"
        with atomic_write(path) as file:
            Image.fromarray(scene.render(frame, pose, color=color)).save(file, format="png")
        written.append(path)
    return written


def _tube(o3d: Any, start: np.ndarray, end: np.ndarray) -> Any:
    """A thin cylinder between two places [3]."""
    along = end - start
    length = max(float(np.linalg.norm(along)), 1e-6)
    tube = o3d.geometry.TriangleMesh.create_cylinder(BOX_RADIUS, length, resolution=6, split=1)
    z, direction = np.array([0.0, 0.0, 1.0]), along / length
    axis = np.cross(z, direction)
    sine = float(np.linalg.norm(axis))
    turn = axis / sine * math.atan2(sine, float(direction[2])) if sine > 1e-9 else np.zeros(3)
    tube.rotate(o3d.geometry.get_rotation_matrix_from_axis_angle(turn), center=np.zeros(3))
    return tube.translate((start + end) / 2)


def _with_legend(picture: np.ndarray, frame: SceneFrame) -> np.ndarray:
    image = Image.fromarray(picture)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=16)
    draw.text((14, 10), f"Frame {frame.name}, {len(frame.points):,} points", fill=palette.TEXT, font=font)
    for row, each in enumerate(frame.sets):
        top = 36 + 22 * row
        draw.rectangle((14, top + 4, 34, top + 14), fill=each.color)
        draw.text((42, top), f"{each.name} ({len(each.boxes)})", fill=palette.TEXT, font=font)
    return np.asarray(image)


def _import_open3d() -> Any:
    try:
        import open3d
    except ImportError as error:
        raise InputError(f"Open3D cannot be loaded ({error}). `pip install 'lidar-ebm[viz]'`; {_apt()}") from error
    except OSError as error:
        raise InputError(f"Open3D lacks a library of the system ({error}); {_apt()}") from error
    if sys.platform == "linux" and ctypes.util.find_library("vulkan") is None:
        raise InputError(f"Open3D draws without a display by Vulkan, which is missing; {_apt()}")
    return open3d


def _apt() -> str:
    return f"on Debian and Ubuntu: `apt-get install {PACKAGES}`."


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Open3D's renderer writes to the standard output, below Python, out of it."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
