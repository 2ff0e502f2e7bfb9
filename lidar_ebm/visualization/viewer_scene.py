"""A frame as Open3D's window draws it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import to_rgb

from lidar_ebm.visualization.palette import Theme
from lidar_ebm.visualization.scene import SceneFrame
from lidar_ebm.visualization.scene_geometry import box_segments, colored_points

POINT_SIZE, LINE_WIDTH = 2.0, 2.5  # pixels of a screen of common fineness
SAMPLES = 4  # in a pixel, for smooth edges


def scene_geometries(
    o3d: Any, frame: SceneFrame, color: str, theme: Theme, scaling: float = 1.0
) -> dict[int, tuple[Any, Any]]:
    """Open3D geometries to draw, each with its material: at 0 the points, at 1 + K the K-th set of boxes.

    Empty ones are left out, as Open3D refuses them. Edges are lines: of triangles without texture coordinates Mesa's
    software renderer makes pictures that take up to minutes.

    Args:
        o3d: the module.
        frame: what is shown.
        color: of the points.
        theme: whose colours points have.
        scaling: of the screen.
    """
    drawn: dict[int, tuple[Any, Any]] = {}
    if len(frame.points):
        cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(frame.points[:, :3].astype(np.float64)))
        cloud.colors = o3d.utility.Vector3dVector(colored_points(frame, color, theme))
        material = o3d.visualization.rendering.MaterialRecord()
        material.shader, material.point_size = "defaultUnlit", POINT_SIZE * scaling
        drawn[0] = cloud, material
    for number, each in enumerate(frame.sets):
        segments = box_segments(each.boxes)
        if len(segments):
            ends = np.arange(2 * len(segments)).reshape(-1, 2)
            lines = o3d.geometry.LineSet(
                o3d.utility.Vector3dVector(segments.reshape(-1, 3)), o3d.utility.Vector2iVector(ends)
            )
            material = o3d.visualization.rendering.MaterialRecord()
            material.shader, material.line_width = "unlitLine", LINE_WIDTH * scaling
            drawn[1 + number] = lines.paint_uniform_color(to_rgb(each.color)), material
    return drawn


def background(theme: Theme) -> list[float]:
    """The theme's background [4] as Open3D wants it: unlike points' colours it makes it linear, and never back."""
    return [c * 12.92 if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055 for c in to_rgb(theme.background)] + [1.0]


def switch_light_off(scene: Any) -> None:
    """Draw an Open3DScene's colours as they are: without lamps and shadows, and without post-processing."""
    scene.view.set_post_processing(False)
    scene.view.set_antialiasing(False)
    scene.view.set_sample_count(SAMPLES)
    scene.view.set_shadowing(False, scene.view.ShadowType.PCF)
    scene.scene.enable_sun_light(False)
    scene.scene.enable_indirect_light(False)
