"""Pictures of a frame in space, by Open3D, without a display or a GPU."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lidar_ebm.visualization.open3d_import import import_open3d, quiet
from lidar_ebm.visualization.palette import Theme, theme
from lidar_ebm.visualization.scene_frames import SceneFrame
from lidar_ebm.visualization.scene_geometry import (
    Coloring,
    Pose,
    background,
    scene_geometries,
    switch_light_off,
    unlit_material,
)

SIZE = (1280, 720)  # width and height of the pictures, pixels


class OffscreenScene:
    """Renders frames in `SIZE`, in the theme in use; starting the renderer takes a moment, a picture then little.

    A process has one, from `offscreen_scene`: with a second beside it Open3D ends the process.

    Raises:
        InputError: Open3D, or a library of the system that it needs, is missing.
    """

    def __init__(self) -> None:
        self._o3d = import_open3d()
        with quiet():
            self._renderer = self._o3d.visualization.rendering.OffscreenRenderer(*SIZE)
            switch_light_off(self._renderer.scene)

    def render(self, frame: SceneFrame, pose: Pose, *, color: Coloring = "height") -> np.ndarray:
        """A picture [H, W, 3] uint8 of a frame with all its sets of boxes, and a legend."""
        self.show(frame, color=color)
        return self.look(frame, pose)

    def show(self, frame: SceneFrame, *, color: Coloring = "height") -> None:
        """Put a frame into the scene, for `look`."""
        scene, look = self._renderer.scene, theme()
        with quiet():
            scene.clear_geometry()
            scene.set_background(background(look))
            for name, geometry in scene_geometries(self._o3d, frame, color, look).items():
                scene.add_geometry(name, geometry, unlit_material(self._o3d, point_size=2.0))

    def look(self, frame: SceneFrame, pose: Pose) -> np.ndarray:
        """A picture [H, W, 3] uint8 of the frame that was put into the scene."""
        with quiet():
            self._renderer.setup_camera(pose.field_of_view, pose.target, pose.eye, pose.up)
            picture = np.asarray(self._renderer.render_to_image())
        return _with_legend(picture, frame, theme())


@cache
def offscreen_scene() -> OffscreenScene:
    """The process's own.

    Raises:
        InputError: Open3D, or a library of the system that it needs, is missing.
    """
    return OffscreenScene()


def _with_legend(picture: np.ndarray, frame: SceneFrame, look: Theme) -> np.ndarray:
    image = Image.fromarray(picture)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=16)
    draw.text((14, 10), f"Frame {frame.name}, {len(frame.points):,} points", fill=look.text, font=font)
    for row, each in enumerate(frame.sets):
        top = 36 + 22 * row
        draw.rectangle((14, top + 4, 34, top + 14), fill=each.color)
        draw.text((42, top), f"{each.name} ({len(each.boxes)})", fill=look.text, font=font)
    return np.asarray(image)
