"""Points and boxes in space as what is drawn: colours, tubes along edges, and places that are looked from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.colors import to_rgb

from lidar_ebm.errors import InputError
from lidar_ebm.geometry.boxes import corners_3d, points_in_boxes
from lidar_ebm.visualization.bev_plot import HEIGHT_LIMITS
from lidar_ebm.visualization.image_overlay import EDGES
from lidar_ebm.visualization.palette import Theme
from lidar_ebm.visualization.scene_frames import SceneFrame

Coloring = Literal["height", "reflectance", "distance", "boxes"]
FAR = 70.0  # m, of the colours by distance
BOX_RADIUS = 0.035  # m, of the tubes that edges are drawn as: lines of Open3D's software renderer are a pixel wide
SIDES = 6  # of a tube


@dataclass(frozen=True)
class Pose:
    """Where a picture is taken from, in the LiDAR frame, m."""

    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    field_of_view: float = 55.0  # vertical, degrees

    @classmethod
    def read(cls, text: str) -> Pose:
        """From "x,y,z,x,y,z": the eye, then what it looks at.

        Raises:
            InputError: these are not six numbers of two different places.
        """
        try:
            values = [float(part) for part in text.split(",")]
        except ValueError:
            values = []
        if len(values) != 6 or not all(map(math.isfinite, values)) or values[:3] == values[3:]:
            raise InputError(f"--pose {text!r}: give x,y,z of the eye and x,y,z of what it looks at, in m.")
        eye, target = (values[0], values[1], values[2]), (values[3], values[4], values[5])
        straight = eye[:2] == target[:2]  # down or up: then x forward is up in the picture
        return cls(eye, target, up=(1.0, 0.0, 0.0) if straight else (0.0, 0.0, 1.0))


POSES = {
    "behind": Pose((-10.0, 0.0, 7.0), (18.0, 0.0, -2.0)),
    "above": Pose((25.0, 0.0, 55.0), (25.0, 0.0, 0.0), up=(1.0, 0.0, 0.0)),
}


def project(places: np.ndarray, pose: Pose, size: tuple[int, int]) -> np.ndarray:
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


def point_colors(points: np.ndarray, boxes: np.ndarray, by: Coloring, theme: Theme) -> np.ndarray:
    """Colours [N, 3], 0..1, of points [N, 4]; those by membership take points within any of boxes [M, 7] out."""
    if by == "boxes":
        inside = np.asarray(points_in_boxes(points, boxes)).any(axis=1, keepdims=True)  # [N, 1]
        return np.where(inside, to_rgb(theme.region), theme.heights(0.25)[:3])
    low, high = HEIGHT_LIMITS
    shares = {
        "height": (points[:, 2] - low) / (high - low),
        "reflectance": points[:, 3],
        "distance": np.hypot(points[:, 0], points[:, 1]) / FAR,
    }
    return theme.heights(np.clip(shares[by], 0, 1))[:, :3]


def box_segments(boxes: np.ndarray) -> np.ndarray:
    """Lines [13 M, 2, 3] of boxes [M, 7]: edges, and a mark from each one's middle through its front. Boxes with a
    number that is not finite are left out."""
    finite = np.asarray(boxes, np.float64).reshape(-1, 7)
    finite = finite[np.isfinite(finite).all(axis=1)]
    if not len(finite):
        return np.zeros((0, 2, 3))
    edges = np.asarray(corners_3d(finite))[:, np.array(EDGES)]  # [M, 12, 2, 3]
    heading = np.stack([np.cos(finite[:, 6]), np.sin(finite[:, 6]), np.zeros(len(finite))], axis=1)
    fronts = finite[:, :3] + heading * (0.5 * finite[:, 3:4] + 0.4 * finite[:, 4:5])
    marks = np.stack([finite[:, :3], fronts], axis=1)[:, None]
    return np.concatenate([edges, marks], axis=1).reshape(-1, 2, 3)


def tubes(segments: np.ndarray, radius: float = BOX_RADIUS) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 3] and triangles [F, 3] of thin prisms along lines [S, 2, 3]."""
    along = segments[:, 1] - segments[:, 0]
    direction = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    steep = np.abs(direction[:, 2:]) > 0.9
    side = np.cross(direction, np.where(steep, [[1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0]]))
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
    other = np.cross(direction, side)
    angles = 2 * np.pi * np.arange(SIDES) / SIDES
    ring = radius * (np.cos(angles)[:, None] * side[:, None] + np.sin(angles)[:, None] * other[:, None])  # [S, 6, 3]
    # A little longer than the line, so that tubes meet without a gap in corners.
    ends = np.stack([segments[:, 0] - radius / 2 * direction, segments[:, 1] + radius / 2 * direction], axis=1)
    vertices = (ends[:, :, None] + ring[:, None]).reshape(-1, 3)  # [S · 2 · 6, 3]
    k, after = np.arange(SIDES), (np.arange(SIDES) + 1) % SIDES
    walls = np.concatenate([np.stack([k, after, k + SIDES], 1), np.stack([after, after + SIDES, k + SIDES], 1)])
    caps = np.stack([np.zeros(SIDES - 2, int), k[1:-1], k[2:]], 1)
    template = np.concatenate([walls, caps[:, ::-1], caps + SIDES])
    offsets = 2 * SIDES * np.arange(len(segments))[:, None, None]
    return vertices, (template + offsets).reshape(-1, 3)


def scene_geometries(o3d: Any, frame: SceneFrame, color: Coloring, theme: Theme) -> dict[str, Any]:
    """What is to be drawn of a frame, by name: Open3D's point cloud "points", and a mesh for each set of boxes.

    Empty ones are left out, as Open3D refuses them.
    """
    found = {}
    if len(frame.points):
        boxes = np.concatenate([np.zeros((0, 7)), *(each.boxes for each in frame.sets)])
        cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(frame.points[:, :3].astype(np.float64)))
        cloud.colors = o3d.utility.Vector3dVector(point_colors(frame.points, boxes, color, theme))
        found["points"] = cloud
    for number, each in enumerate(frame.sets):
        vertices, triangles = tubes(box_segments(each.boxes))
        if len(triangles):
            mesh = o3d.geometry.TriangleMesh(
                o3d.utility.Vector3dVector(vertices), o3d.utility.Vector3iVector(triangles.astype(np.int32))
            )
            found[f"boxes {number}"] = mesh.paint_uniform_color(to_rgb(each.color))
    return found


def background(theme: Theme) -> list[float]:
    """The theme's background [4] as Open3D wants it: unlike points' colours it makes it linear, and never back."""
    return [c * 12.92 if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055 for c in to_rgb(theme.background)] + [1.0]


def switch_light_off(scene: Any) -> None:
    """Draw an Open3DScene's colours as they are: without lamps and shadows, and without post-processing.

    Nor with several samples a pixel, which Mesa's software renderer now and then takes very long over.
    """
    scene.view.set_post_processing(False)
    scene.view.set_antialiasing(False)
    scene.view.set_sample_count(1)
    scene.view.set_shadowing(False, scene.view.ShadowType.PCF)
    scene.scene.enable_sun_light(False)
    scene.scene.enable_indirect_light(False)


def unlit_material(o3d: Any, point_size: float = 1.0) -> Any:
    """Colours as they are, without light."""
    material = o3d.visualization.rendering.MaterialRecord()
    material.shader, material.point_size = "defaultUnlit", point_size
    return material
