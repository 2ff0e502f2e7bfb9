"""A bird's-eye view of a frame with all its sets of boxes, points coloured by choice; it needs no Open3D."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D

from lidar_ebm.types import TIME_LAG
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.bev_plot import BoxLayer, draw_bev
from lidar_ebm.visualization.scene import LABEL, SceneFrame
from lidar_ebm.visualization.scene_geometry import (
    colored_points,
    inside_color,
    outside_color,
    ramp_of,
    scale_of,
)
from lidar_ebm.visualization.views import view_of

SIZE = (1480, 1020)  # width and height, pixels
LEGEND_LETTERS = 44  # in a line
LABEL_WIDTH, WIDTH = 3.0, 1.5  # points, of labels' lines, which stay visible under what is drawn over them


def box_layers(frame: SceneFrame) -> list[BoxLayer]:
    """Sets of boxes as pictures draw them, labels wider."""
    return [
        BoxLayer(
            each.name,
            each.boxes,
            each.color,
            linewidth=LABEL_WIDTH if each.name.partition(":")[0] == LABEL else WIDTH,
            caption=each.legend(),
        )
        for each in frame.sets
    ]


def plot_frame(frame: SceneFrame, path: Path, *, color: str = "height", size: tuple[int, int] = SIZE) -> Path:
    """Write a frame seen from above to `path` as PNG, with a legend and a scale of the points' colours.

    Args:
        frame: what is shown; one without a camera all around.
        path: of the picture.
        color: one of `scene_geometry.colorings` of its channels.
        size: width and height, pixels.

    Raises:
        OutputError: the file cannot be written.
    """
    figure = palette.new_figure(size)
    axes = figure.add_axes((0.045, 0.06, 0.665, 0.885))
    draw_frame(axes, frame, color)
    title = f"Frame {frame.name}, {len(frame.points):,} points"
    palette.style_axes(axes, x_label="y left (m)", y_label="x forward (m)", title=title)
    if color == "boxes":
        for rgb, words in (
            (inside_color(palette.theme()), "points in boxes"),
            (outside_color(palette.theme()), "other"),
        ):
            axes.add_line(Line2D([], [], color=rgb, marker="o", linestyle="none", markersize=5, label=words))
    else:
        _add_scale(figure.add_axes((0.735, 0.06, 0.15, 0.014)), frame, color)
    handles, names = axes.get_legend_handles_labels()
    if handles:  # beside the map, where it covers no box
        figure.legend(
            handles,
            [textwrap.fill(name, LEGEND_LETTERS) for name in names],
            loc="upper left",
            bbox_to_anchor=(0.725, 0.952),
            borderaxespad=0.0,
            frameon=False,
            fontsize=palette.TICK_SIZE,
        )
    return palette.save_figure(figure, path)


def draw_frame(axes: Axes, frame: SceneFrame, color: str) -> None:
    """Draw a frame's points and boxes into `axes`: high points over low ones, new sweeps over old ones."""
    theme, points = palette.theme(), frame.points
    layers = box_layers(frame)
    if all(layer.linewidth == LABEL_WIDTH for layer in layers):  # nothing is drawn over them
        layers = [replace(layer, linewidth=WIDTH) for layer in layers]
    order = np.argsort(points[:, 2], kind="stable")
    if color == TIME_LAG and color in frame.channels:
        order = np.argsort(-points[:, 3 + frame.channels.index(color)], kind="stable")
    draw_bev(
        axes,
        points[order],
        layers=layers,
        view=view_of(points, frame.boxes(), camera=frame.camera is not None),
        colors=colored_points(frame, color, theme)[order],
    )


def _add_scale(axes: Axes, frame: SceneFrame, color: str) -> None:
    """Say beside the picture what the points' colours mean."""
    theme, (words, low, high) = palette.theme(), scale_of(frame, color)
    bar = axes.figure.colorbar(
        ScalarMappable(Normalize(low, high), ramp_of(color, theme)), cax=axes, orientation="horizontal"
    )
    bar.outline.set_edgecolor(theme.muted_text)
    axes.tick_params(labelsize=palette.TICK_SIZE, labelcolor=theme.text, color=theme.muted_text)
    unit, comma, what = words.partition(", ")
    title = f"{what} ({unit})" if comma else words
    axes.set_title(title, fontsize=palette.LABEL_SIZE, color=theme.text, loc="left")
