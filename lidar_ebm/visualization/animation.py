"""Moving pictures of a frame: around it, along it, and along a refinement path."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from lidar_ebm.errors import InputError
from lidar_ebm.system.files import atomic_write
from lidar_ebm.system.progress import progress_bar
from lidar_ebm.visualization.offscreen import render
from lidar_ebm.visualization.palette import Theme, theme
from lidar_ebm.visualization.scene import SceneFrame
from lidar_ebm.visualization.scene_geometry import Pose, inside_color, outside_color, ramp_of
from lidar_ebm.visualization.views import is_all_around

KINDS = ("turntable", "fly", "refinement")
SIZE = (800, 450)  # width and height, pixels: half a frame's GIF would be, at full size, some tens of megabytes
BLENDS = (1.0, 0.75, 0.5, 0.25)  # shares of a colour over the background, that smooth edges are drawn with
RAMP = 12  # colours of points
TURNS = 60  # pictures of a turn
CENTER = (22.0, 0.0, -1.0)  # m, what a turn goes around: the middle of what lies ahead
RADIUS, HEIGHT = 34.0, 16.0  # m
BEGIN, LONGEST = -12.0, 50.0  # m, of a flight: x of the eye at first, and the longest way
AHEAD = 20.0  # m, where the eye looks
MILLISECONDS = 100  # a picture
STEP_MILLISECONDS, REST_MILLISECONDS = 350, 1500  # a refinement step; before it begins and after it ends


def write_animation(frame: SceneFrame, kind: str, path: Path, *, pose: Pose, color: str = "height") -> Path:
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
    if kind == "turntable":
        shown = [(frame, place) for place in turntable(frame)]
    elif kind == "fly":
        shown = [(frame, place) for place in flight(frame.points)]
    elif kind == "refinement":
        if frame.steps == 0:
            raise InputError(f"frame {frame.name}: there is no refinement to show; detect with a run that refines.")
        shown = [(frame.at_step(step), pose) for step in range(frame.steps + 1)]
    else:
        raise InputError(f"animate {kind!r}: choose one of {', '.join(KINDS)}.")
    images = _draw(shown, color)
    durations = [MILLISECONDS] * TURNS
    if kind == "refinement":
        durations = [REST_MILLISECONDS, *[STEP_MILLISECONDS] * (len(images) - 2), REST_MILLISECONDS]
    with atomic_write(path) as file:
        images[0].save(
            file, format="gif", save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=False
        )
    return path


def turntable(frame: SceneFrame) -> list[Pose]:
    """Places all around the middle of a frame, beginning behind it: around the sensor where it looks all around."""
    around = is_all_around(frame.points, frame.boxes(), camera=frame.camera is not None)
    center = (0.0, 0.0, CENTER[2]) if around else CENTER
    angles = math.pi + 2 * math.pi * np.arange(TURNS) / TURNS
    return [Pose((center[0] + RADIUS * math.cos(a), center[1] + RADIUS * math.sin(a), HEIGHT), center) for a in angles]


def flight(points: np.ndarray) -> list[Pose]:
    """Places along x, looking ahead and down, slower at both ends; it ends where nearly all of points [N, 4] are behind
    what it looks at."""
    far = float(np.quantile(points[:, 0], 0.9)) if len(points) else math.inf
    length = min(max(far - AHEAD - BEGIN, AHEAD), LONGEST)
    eyes = BEGIN + length * (1 - np.cos(np.pi * np.arange(TURNS) / (TURNS - 1))) / 2
    return [Pose((float(x), 0.0, 6.0), (float(x) + AHEAD, 0.0, -2.0)) for x in eyes]


def _draw(shown: Sequence[tuple[SceneFrame, Pose]], color: str) -> list[Image.Image]:
    colors = _color_table(shown[0][0], color, theme())
    images = []
    with progress_bar("Drawing", len(shown)) as bar:
        for frame, pose in shown:
            picture = Image.fromarray(render(frame, pose, color=color, size=SIZE))
            images.append(picture.quantize(palette=colors, dither=Image.Dither.NONE))
            bar.advance()
    return images


def _color_table(frame: SceneFrame, color: str, theme: Theme) -> Image.Image:
    """The colours that pictures of a frame are made of, so that few small boxes keep theirs."""
    names = [theme.text, *(each.color for each in frame.sets), *([theme.muted_text] if frame.has_arrows() else [])]
    named = [to_rgb(name) for name in dict.fromkeys(names)]
    ramp = ramp_of(color, theme)(np.linspace(0, 1, RAMP))[:, :3]
    pure = np.array([*named, inside_color(theme), outside_color(theme), *ramp])
    back = np.array(to_rgb(theme.background))
    blended = np.concatenate([back[None], *(back + share * (pure - back) for share in BLENDS)])[:256]
    table = Image.new("P", (1, 1))
    table.putpalette(np.round(255 * blended).astype(np.uint8).tobytes())
    return table
