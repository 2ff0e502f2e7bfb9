"""The page's section with frames in 3-D: its controls, and what its script is told of colours, arrows and places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_hex

from lidar_ebm.report.frames import CENTIMETRES, ViewedFrame
from lidar_ebm.types import TIME_LAG
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.bev_plot import HEIGHT_LIMITS
from lidar_ebm.visualization.box_arrays import (
    ARROW_LEGEND,
    ARROW_SECONDS,
    BARB_LIMIT,
    BARB_SHARE,
    BARB_TURN,
)
from lidar_ebm.visualization.scene_geometry import colorings
from lidar_ebm.visualization.views import view_of

FIELD_OF_VIEW = 40.0  # degrees, of the 3-D view's camera, as the script has it
COLOR_STOPS = 9  # of the points' colours


def scene_section(frames: Sequence[ViewedFrame]) -> str:
    """The section's HTML; empty without frames."""
    if not frames:
        return ""
    options = "".join(f"<option>{escape(frame.name)}</option>" for frame in frames)
    toggles = "".join(
        f'<label><input type="checkbox" id="show-{key}" checked><i class="swatch {key}"></i>{name}</label>'
        for key, name in (
            ("points", "points"),
            ("label", "labels"),
            ("before", "before refinement"),
            ("after", "after refinement"),
        )
    )
    if any(frame.has_velocity() for frame in frames):
        toggles += f'<label title="{ARROW_LEGEND}"><input type="checkbox" id="show-velocity" checked>velocities</label>'
    channels = dict.fromkeys(name for frame in frames for name in frame.channels)
    colors = "".join(
        f'<option value="{escape(key)}">by {escape(key.replace("_", " "))}</option>'
        for key in colorings(tuple(channels))
    )
    return (
        '<div class="bar"><button id="previous" type="button">Previous</button>'
        f'<select id="frame" aria-label="Frame">{options}</select><button id="next" type="button">Next</button>'
        f'{toggles}<label>Points <select id="color">{colors}</select></label>'
        '<label>Boxes <select id="boxes-by"><option value="set">by set</option><option value="class">by class</option>'
        "</select></label>"
        '<label>Minimum score <input id="score" type="range" min="0" max="1" step="0.01" value="0">'
        '<output id="score-text">0.00</output></label></div>'
        '<div id="stage"><canvas id="canvas" aria-label="Points and boxes in space"></canvas><p id="tip" hidden></p>'
        '<p id="scale"></p><ul id="classes" hidden></ul>'
        '<p id="no-view" hidden>This browser offers no WebGL, which the 3-D view needs.</p></div>'
        '<div class="bar"><button data-pose="behind" type="button">From behind</button>'
        '<button data-pose="above" type="button">From above</button><button id="play" type="button">Play</button>'
        '<label class="grow">Refinement step <input id="step" type="range" min="0" value="0"></label>'
        '<output id="step-text"></output></div>'
        '<p class="hint">Drag to turn, wheel to come closer, right button to move; touch a box for its figures. The '
        f"step moves the boxes after refinement along their path up f.{_about_arrows(frames)}</p>"
    )


def _about_arrows(frames: Sequence[ViewedFrame]) -> str:
    if not any(frame.has_velocity() for frame in frames):
        return ""
    return f" An arrow leads from a box to where its velocity takes it in {ARROW_SECONDS:g} s."


def view_settings(frames: Sequence[ViewedFrame], class_names: Sequence[str]) -> dict[str, Any]:
    """All that the script needs beside the frames, ready for JSON.

    Args:
        frames: that are shown.
        class_names: of the run, in their order; those of the frames' boxes come after them.
    """
    kinds = sorted({name for frame in frames for name in (*frame.label_types, *frame.types)})
    return {
        "themes": {
            name: {
                **plain_colors(theme),
                "heights": _stops(theme.heights),
                "lags": _stops(theme.lags),
                "classes": theme.class_colors(class_names, kinds),
            }
            for name, theme in palette.THEMES.items()
        },
        "units": CENTIMETRES,
        "heights": HEIGHT_LIMITS,
        "lag": TIME_LAG,
        "arrow": {"seconds": ARROW_SECONDS, "share": BARB_SHARE, "limit": BARB_LIMIT, "turn": float(BARB_TURN)},
        "above": _pose_above(frames),
    }


def plain_colors(theme: palette.Theme) -> dict[str, str]:
    """A theme's name and single colours."""
    return {key: value for key, value in asdict(theme).items() if isinstance(value, str)}


def _stops(ramp: LinearSegmentedColormap) -> list[str]:
    return [to_hex(ramp(k / (COLOR_STOPS - 1))) for k in range(COLOR_STOPS)]


def _pose_above(frames: Sequence[ViewedFrame]) -> dict[str, list[float]]:
    """Eye and target, in m, from which the view's camera sees all of the ground that frames show."""
    points = [frame.points for frame in frames]
    boxes = [each for frame in frames for each in (frame.labels, frame.path[-1])]
    low_x, low_y, high_x, high_y = view_of(
        np.concatenate([np.zeros((0, 2)), *(each[:, :2] for each in points)]), *boxes
    )
    middle, half = [(low_x + high_x) / 2, (low_y + high_y) / 2], max(high_x - low_x, high_y - low_y) / 2
    height = half / math.tan(math.radians(FIELD_OF_VIEW) / 2)
    # A little behind what it looks at: straight down, the picture's up would be undefined.
    return {"eye": [middle[0] - 0.1, middle[1], height], "target": [*middle, 0.0]}
