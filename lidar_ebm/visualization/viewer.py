"""The window that frames are seen in from anywhere, by Open3D."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from lidar_ebm.errors import InputError, OutputError
from lidar_ebm.system.files import atomic_write
from lidar_ebm.visualization.box_arrays import ARROW_LEGEND
from lidar_ebm.visualization.open3d_import import check_vulkan, import_open3d, quiet
from lidar_ebm.visualization.palette import LIGHT, Theme
from lidar_ebm.visualization.scene_geometry import pose_of, ramp_of, scale_ends
from lidar_ebm.visualization.viewer_scene import background, scene_geometries, switch_light_off
from lidar_ebm.visualization.viewer_state import KEYS, ViewerState

TITLE, SIZE, PANEL_WIDTH = "lidar_ebm", (1400, 860), 17  # the panel's in text heights
PROBLEM_WIDTH = 44  # letters in a line of the panel
PLAY_SECONDS = 0.3  # of a refinement step
OWN_KEYS = {"r": "camera from behind", "a": "camera from above", "s": "save a picture", "q": "quit"}


def check_display() -> None:
    """Refuse where no window can be opened.

    Raises:
        InputError: on Linux neither an X nor a Wayland display is there.
    """
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise InputError("there is no display to open a window on; write pictures instead.")


def open_window(state: ViewerState, *, theme: Theme = LIGHT, pictures: Path = Path()) -> None:
    """Show frames in a window, and come back when it is closed.

    Args:
        state: the frames, and what is shown of them at first.
        theme: light or dark.
        pictures: folder of the pictures that the key S saves.

    Raises:
        InputError: there is no display, or Open3D or a library of the system is missing.
    """
    check_display()
    o3d = import_open3d()
    check_vulkan()
    with quiet():
        application = o3d.visualization.gui.Application.instance
        application.initialize()
        window = _Window(o3d, application, state, theme, pictures)
        window.place_camera("behind" if len(state.frame.points) else "above")
        application.run()


class _Window:
    """Open3D's widgets around a `ViewerState`."""

    def __init__(self, o3d: Any, application: Any, state: ViewerState, theme: Theme, pictures: Path) -> None:
        self._o3d, self._gui, self._application = o3d, o3d.visualization.gui, application
        self._state, self._theme, self._pictures = state, theme, pictures
        self._texts: list[Any] = []
        self._last_step = time.monotonic()
        self._window = application.create_window(TITLE, *SIZE)
        self._scene = self._gui.SceneWidget()
        self._scene.scene = o3d.visualization.rendering.Open3DScene(self._window.renderer)
        self._scene.scene.set_background(background(theme))
        switch_light_off(self._scene.scene)
        em = self._window.theme.font_size
        self._panel = self._gui.Vert(0.3 * em, self._gui.Margins(0.7 * em, 0.7 * em, 0.7 * em, 0.7 * em))
        self._panel.background_color = self._gui.Color(*to_rgb(theme.background), 0.85)
        self._window.add_child(self._scene)
        self._window.add_child(self._panel)
        self._window.set_on_layout(self._lay_out)
        self._window.set_on_key(self._on_key)
        self._window.set_on_tick_event(self._on_tick)
        self._lines = [self._text("") for _ in range(6)]
        self._problem = self._text("", theme.after)
        self._scale = self._gui.Horiz(0.4 * em)
        self._scale_ends = self._text(""), self._text("")
        self._ramp = self._gui.ImageWidget(self._ramp_image())
        for part in (self._scale_ends[0], self._ramp, self._scale_ends[1]):
            self._scale.add_child(part)
        self._arrows = self._text(ARROW_LEGEND, theme.muted_text)
        self._legend: list[tuple[Any, Any]] = []
        self._legend_box = self._gui.Vert(0.2 * em)
        self._keys = self._gui.Horiz(1.2 * em)  # two columns, so that ten classes have room above them
        keys = list({**{key: words for key, (words, _) in KEYS.items()}, **OWN_KEYS}.items())
        for half in (keys[: (len(keys) + 1) // 2], keys[(len(keys) + 1) // 2 :]):
            column = self._gui.Vert(0.0)
            for key, what in half:
                column.add_child(self._text(f"{key.upper()}   {what}", theme.muted_text))
            self._keys.add_child(column)
        for line in self._lines:
            self._panel.add_child(line)
        self._panel.add_child(self._problem)
        self._panel.add_child(self._scale)
        self._panel.add_fixed(0.4 * em)
        self._panel.add_child(self._legend_box)
        self._panel.add_child(self._arrows)
        self._panel.add_fixed(0.4 * em)
        self._panel.add_child(self._keys)
        self._refresh()

    def place_camera(self, place: str) -> None:
        """Move the camera to one of `POSES`."""
        pose = pose_of(place, self._state.frame)
        bounds = self._o3d.geometry.AxisAlignedBoundingBox(np.array([-80.0, -80, -5]), np.array([80.0, 80, 5]))
        self._scene.setup_camera(pose.field_of_view, bounds, bounds.get_center())
        self._scene.look_at(pose.target, pose.eye, pose.up)
        self._scene.center_of_rotation = np.array(pose.target, dtype=np.float32)

    def _refresh(self) -> None:
        """Draw what the state says; the camera stays where it is."""
        state, scene = self._state, self._scene.scene
        scene.clear_geometry()
        drawn = scene_geometries(self._o3d, state.shown(), state.color, self._theme, self._window.scaling)
        for layer, name in enumerate(state.layers):
            if layer in drawn:
                scene.add_geometry(f"{layer} {name}", *drawn[layer])
                scene.show_geometry(f"{layer} {name}", name not in state.hidden)
        for text in self._texts:
            self._scene.remove_3d_label(text)
        self._texts = []
        for place, words, color in state.box_texts():
            text = self._scene.add_3d_label(np.array(place, dtype=np.float32), words)
            text.color = self._gui.Color(*to_rgb(color))
            self._texts.append(text)
        self._fill_panel()
        self._scene.force_redraw()
        self._window.post_redraw()

    def _fill_panel(self) -> None:
        state = self._state
        described = state.describe()
        for line, words in zip(self._lines, [*described, *[""] * (6 - len(described))], strict=True):
            line.text = words
        self._problem.text = textwrap.fill(state.problem or "", PROBLEM_WIDTH)
        self._problem.visible = state.problem is not None
        for end, (words, color) in zip(
            self._scale_ends, scale_ends(state.frame, state.color, self._theme), strict=True
        ):
            end.text, end.text_color = words, self._gui.Color(*color)
        self._ramp.update_image(self._ramp_image())
        self._ramp.visible = state.color != "boxes"
        self._arrows.visible = state.shown().has_arrows()
        while len(self._legend) < len(state.layers):  # rows are kept: Open3D cannot take one away again
            row = self._gui.Horiz(0.3 * self._window.theme.font_size)
            box, name = self._gui.Checkbox(""), self._text("")
            box.set_on_checked(self._toggler(len(self._legend)))
            row.add_child(box)
            row.add_child(name)
            self._legend_box.add_child(row)
            self._legend.append((box, name))
        shown = {each.name: each.legend() for each in state.frame.filtered(state.chosen).sets}
        colors = {each.name: each.color for each in state.frame.sets}
        for number, (box, name) in enumerate(self._legend):
            there = number < len(state.layers)
            box.visible = name.visible = there
            if there:
                layer = state.layers[number]
                box.checked = layer not in state.hidden
                name.text = f"{number}  {shown.get(layer, layer)}"
                name.text_color = self._gui.Color(*to_rgb(colors.get(layer, self._theme.muted_text)))
        self._panel.visible = state.panel or state.problem is not None
        self._window.set_needs_layout()

    def _ramp_image(self) -> Any:
        """The scale of points' colours as they are coloured now."""
        em = self._window.theme.font_size
        ramp = np.round(255 * ramp_of(self._state.color, self._theme)(np.linspace(0, 1, 8 * em))[:, :3])
        return self._o3d.geometry.Image(np.tile(ramp.astype(np.uint8), (max(em // 2, 1), 1, 1)))

    def _toggler(self, number: int) -> Callable[[bool], None]:
        def toggle(_: bool) -> None:
            self._state.toggle(number)
            self._refresh()

        return toggle

    def _text(self, words: str, color: str | None = None) -> Any:
        label = self._gui.Label(words)
        label.text_color = self._gui.Color(*to_rgb(color or self._theme.text))
        return label

    def _lay_out(self, context: Any) -> None:
        area = self._window.content_rect
        self._scene.frame = area
        width = PANEL_WIDTH * self._window.theme.font_size
        wanted = self._panel.calc_preferred_size(context, self._gui.Widget.Constraints())
        self._panel.frame = self._gui.Rect(area.x, area.y, max(width, wanted.width), wanted.height)

    def _on_tick(self) -> bool:
        if self._state.playing and time.monotonic() - self._last_step >= PLAY_SECONDS:
            self._last_step = time.monotonic()
            self._state.advance()
            self._refresh()
            return True
        return False

    def _on_key(self, event: Any) -> bool:
        """Do what a key says; True keeps the key from the widgets."""
        name = self._name_of(event.key)
        if event.type != self._gui.KeyEvent.Type.DOWN or name is None:
            return False
        if name in KEYS:
            KEYS[name][1](self._state)
            self._refresh()
        elif name.isdigit():
            self._state.toggle(int(name))
            self._refresh()
        elif name in ("r", "a"):
            self.place_camera("behind" if name == "r" else "above")
        elif name == "s":
            self._scene.scene.scene.render_to_image(self._save)
        elif name == "q":
            self._application.quit()
        else:
            return False
        return True

    def _name_of(self, key: int) -> str | None:
        """The name in `KEYS` of a key."""
        keys = self._gui.KeyName
        others = {int(keys.RIGHT): "n", int(keys.LEFT): "p", int(keys.SPACE): "space", int(keys.EQUALS): "+"}
        if int(key) in others:
            return others[int(key)]
        return chr(int(key)).lower() if 32 < int(key) < 127 else None

    def _save(self, image: Any) -> None:
        path = self._pictures / f"view_{self._state.frame.name}.png"
        try:
            with atomic_write(path) as file:
                Image.fromarray(np.asarray(image)).save(file, format="png")
        except OutputError as error:
            self._state.problem = str(error)
            self._fill_panel()
