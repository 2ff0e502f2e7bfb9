"""A picture of f around one detection: three maps, its surroundings, and f over yaw, near and in a whole turn."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, MultipleLocator

from lidar_ebm.energy.box_space import BOX_NAMES
from lidar_ebm.energy.landscape import YAW, Landscape, Slice, unwrapped
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.bev_plot import after_layer, before_layer, draw_bev, label_layer, view_around

LEVELS = (0.5, 0.9)  # of the credible regions
LEVEL_STYLES: tuple[Any, ...] = ("solid", (0, (3, 2)))
SIZE = (1500, 1010)
AXIS_LABELS = {
    "x": "x forward (m)",
    "y": "y left (m)",
    "z": "z of the centre (m)",
    "l": "length (m)",
    "w": "width (m)",
    "h": "height (m)",
    "yaw": "yaw (°)",
    "vx": "velocity forward (m/s)",
    "vy": "velocity to the left (m/s)",
}
_TITLES: dict[tuple[str, ...], str] = {
    ("x", "y"): "Position",
    ("l", "w"): "Length and width",
    ("z", "h"): "Height above ground and height",
    ("vx", "vy"): "Velocity",
}
_MAP_WIDTH, _LEFT, _STEP = 0.25, 0.055, 0.307  # shares of the picture's width, if there are three maps
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven")
_MINUS = "\N{MINUS SIGN}"  # as matplotlib writes it at the axes
_FALL = 0.12  # share of a plane's lowest f that one colour stands for


def plot_landscape(
    landscape: Landscape, path: str | os.PathLike[str], *, title: str = "", size: tuple[int, int] = SIZE
) -> Path:
    """Write a picture of f around one detection to `path` as PNG, in the theme in use.

    Args:
        landscape: what is drawn.
        path: of the picture.
        title: what the detection is called; its class and number where empty.
        size: width and height in pixels of a picture with three maps; more make it wider.

    Raises:
        OutputError: the file cannot be written.
    """
    maps = max(3, len(landscape.planes))
    share = 3 / maps  # of the width that everything is laid out for
    figure = palette.new_figure((round(size[0] / share), size[1]))

    def place(number: int, bottom: float, height: float) -> Axes:
        return figure.add_axes(((_LEFT + number * _STEP) * share, bottom, _MAP_WIDTH * share, height))

    norm = _norm(landscape)
    for number, plane in enumerate(landscape.planes):
        axes = place(number, 0.475, 0.375)
        draw_plane(axes, landscape, plane, norm)
        title_of_map = _TITLES.get(plane.names, " and ".join(plane.names))
        axes.set_title(title_of_map, fontsize=palette.LABEL_SIZE, color=palette.theme().text)
    _add_color_bar(figure, norm, maps, share)
    draw_surroundings(place(0, 0.06, 0.33), landscape)
    draw_yaw(place(1, 0.06, 0.33), landscape, landscape.yaw)
    draw_turn(place(2, 0.06, 0.33), landscape)
    _write_heading(figure, landscape, title or f"{landscape.class_name}, box {landscape.index}")
    return palette.save_figure(figure, path)


def draw_plane(axes: Axes, landscape: Landscape, plane: Slice, norm: Normalize) -> None:
    """Draw one plane: f as colours and contours, credible regions, the path, and the boxes as points."""
    theme = palette.theme()
    # As in bird's-eye views x points up and y left; elsewhere the first number runs to the right.
    seen_from_above = plane.names in (("x", "y"), ("vx", "vy"))
    up, right = (0, 1) if seen_from_above else (1, 0)
    f = plane.f if up == 0 else plane.f.T  # [up, right]
    grid = (_shown(plane, right, plane.axes[right]), _shown(plane, up, plane.axes[up]))
    axes.pcolormesh(*grid, f, cmap=palette.ENERGY_COLORS, norm=norm, shading="gouraud", rasterized=True, zorder=0)
    heights = MaxNLocator(14).tick_values(float(norm.vmin or 0), float(norm.vmax or 1))
    lines = palette.ENERGY_COLORS(np.asarray(norm(heights)) - 0.12)  # a little darker than what they run through
    axes.contour(*grid, f, levels=heights, colors=lines, linewidths=0.6, linestyles="solid", zorder=1)
    for level, style in zip(LEVELS, LEVEL_STYLES, strict=True):
        edge = plane.threshold(level, landscape.temperature)
        axes.contour(*grid, f, levels=[edge], colors=palette.REGION, linewidths=1.6, linestyles=[style], zorder=2)
    columns = [BOX_NAMES.index(plane.names[k]) for k in (right, up)]
    path = [_shown(plane, k, landscape.path[:, column]) for k, column in zip((right, up), columns, strict=True)]
    _draw_path(axes, np.column_stack(path))
    limits = ((grid[0][0], grid[0][-1]), (grid[1][0], grid[1][-1]))
    for box, mark in _marked(landscape):
        own = [float(_shown(plane, k, box[column])) for k, column in zip((right, up), columns, strict=True)]
        place = [float(np.clip(value, *ends)) for value, ends in zip(own, limits, strict=True)]
        inside = np.allclose(place, own)
        axes.plot(*place, **mark, alpha=1.0 if inside else 0.55, clip_on=False, zorder=6)
    palette.style_axes(axes, x_label=AXIS_LABELS[plane.names[right]], y_label=AXIS_LABELS[plane.names[up]], grid=False)
    axes.set_xlim(limits[0][::-1] if seen_from_above else limits[0])
    axes.set_ylim(limits[1])
    units = {AXIS_LABELS[name].rpartition(" ")[2] for name in plane.names}
    axes.set_aspect("equal" if len(units) == 1 else "auto")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(theme.muted_text)


def _shown(plane: Slice, number: int, values: np.ndarray) -> np.ndarray:
    """Values of one of a plane's numbers as its axis shows them: angles in degrees, in the axis's own turn."""
    if plane.names[number] != "yaw":
        return np.asarray(values)
    middle = float(plane.axes[number][[0, -1]].mean())
    return np.degrees(unwrapped(values, middle - np.pi))


def draw_surroundings(axes: Axes, landscape: Landscape) -> None:
    """Draw the boxes among the points around them, seen from above."""
    proposal, refined = landscape.proposal[None, : YAW + 1], landscape.box[None, : YAW + 1]
    labels = [] if landscape.label is None else [landscape.label[None, : YAW + 1]]
    shown = [proposal, refined, *labels]
    low_x, low_y, high_x, high_y = view_around(np.concatenate(shown))
    view = (low_x - 0.6, low_y - 0.6, high_x + 0.6, high_y + 0.6)
    layers = [*map(label_layer, labels), before_layer(proposal), after_layer(refined)]
    bottom, top = landscape.box[2] + np.array([-0.5, 0.5]) * landscape.box[5]
    draw_bev(axes, landscape.points, layers=layers, view=view, height_limits=(bottom, top), point_size=2.8)
    palette.style_axes(axes, x_label=AXIS_LABELS["y"], y_label=AXIS_LABELS["x"])
    axes.set_title("Seen from above", fontsize=palette.LABEL_SIZE, color=palette.theme().text)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MultipleLocator(1.0 if high_x - low_x < 8 else 2.0))
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(palette.theme().muted_text)


def draw_yaw(axes: Axes, landscape: Landscape, curve: Slice) -> None:
    """Draw f over yaw near the refined box, with credible intervals and the path."""
    theme, yaw = palette.theme(), np.degrees(curve.axes[0])
    lowest = float(curve.f.min())
    for level, alpha in zip(LEVELS, (0.45, 0.22), strict=True):
        inside = curve.f >= curve.threshold(level, landscape.temperature)
        axes.fill_between(yaw, lowest, curve.f, where=inside, color=theme.region, alpha=alpha, linewidth=0, zorder=1)
    axes.plot(yaw, curve.f, color=theme.text, linewidth=1.6, zorder=3)
    path = np.degrees(unwrapped(landscape.path[:, YAW], landscape.box[YAW] - np.pi))
    _draw_path(axes, np.column_stack([path, np.interp(path, yaw, curve.f)]))
    _mark_yaws(axes, landscape, curve)
    axes.set_xlim(yaw[0], yaw[-1])
    _finish_curve(axes, curve, "f over yaw, near the box")


def draw_turn(axes: Axes, landscape: Landscape) -> None:
    """Draw f over a whole turn: the other ways that the box could face."""
    theme, curve = palette.theme(), landscape.turn
    yaw = np.degrees(curve.axes[0])
    axes.fill_between(yaw, float(curve.f.min()), curve.f, color=theme.muted_text, alpha=0.15, linewidth=0, zorder=1)
    axes.plot(yaw, curve.f, color=theme.text, linewidth=1.6, zorder=3)
    _mark_yaws(axes, landscape, curve)
    axes.set_xlim(yaw[0], yaw[-1])
    axes.xaxis.set_major_locator(MultipleLocator(45.0))
    _finish_curve(axes, curve, "f over a whole turn")


def _finish_curve(axes: Axes, curve: Slice, title: str) -> None:
    palette.style_axes(axes, x_label=AXIS_LABELS["yaw"], y_label="f")
    axes.set_title(title, fontsize=palette.LABEL_SIZE, color=palette.theme().text)
    axes.xaxis.set_major_formatter(_yaw_text)
    low, high = float(curve.f.min()), float(curve.f.max())
    axes.set_ylim(low - 0.02 * (high - low), high + 0.08 * (high - low))


def _yaw_text(degrees: float, _: object = None) -> str:
    """A yaw in [-180, 180)°."""
    return f"{(degrees + 180) % 360 - 180:g}".replace("-", _MINUS)


def _mark_yaws(axes: Axes, landscape: Landscape, curve: Slice) -> None:
    yaws = curve.axes[0]
    for box, mark in _marked(landscape):
        yaw = float(unwrapped(box[YAW], yaws[0]))
        if yaws[0] <= yaw <= yaws[-1]:
            axes.plot(np.degrees(yaw), np.interp(yaw, yaws, curve.f), **mark, zorder=6)


def _draw_path(axes: Axes, path: np.ndarray) -> None:
    """The ascent [1 + T, 2]: a line with a dot for every step."""
    halo = [withStroke(linewidth=3.2, foreground="#FFFFFF", alpha=0.75)]
    axes.plot(*path.T, color=palette.AFTER, linewidth=1.5, path_effects=halo, zorder=4)
    axes.plot(*path[1:-1].T, color=palette.AFTER, linestyle="none", marker="o", markersize=3.0, zorder=5)


def _marked(landscape: Landscape) -> list[tuple[np.ndarray, dict[str, Any]]]:
    """The boxes that are shown as points, and how."""
    marks = [(landscape.proposal, _mark("before")), (landscape.box, _mark("after"))]
    return marks if landscape.label is None else [(landscape.label, _mark("label")), *marks]


def _mark(kind: str) -> dict[str, Any]:
    """A point that is told from the others by colour and shape, in both themes' colours for the bright maps."""
    color, marker, size = {
        "label": (palette.LABEL, "D", 9.0),
        "before": (palette.BEFORE, "s", 7.5),
        "after": (palette.AFTER, "o", 8.0),
    }[kind]
    return {
        "color": color,
        "marker": marker,
        "markersize": size,
        "markeredgecolor": "#FFFFFF",
        "markeredgewidth": 1.3,
        "linestyle": "none",
    }


def _norm(landscape: Landscape) -> Normalize:
    """One scale of colours for all planes; the lowest f, far from any box, share a colour."""
    values = np.concatenate([plane.f.ravel() for plane in landscape.planes])
    high = float(values.max())
    low = float(np.quantile(values, _FALL))
    return Normalize(low if low < high else high - 1.0, high)


def _add_color_bar(figure: Figure, norm: Normalize, maps: int, share: float) -> None:
    theme = palette.theme()
    right = _LEFT + (maps - 1) * _STEP + _MAP_WIDTH
    axes = figure.add_axes(((right + 0.015) * share, 0.4775, 0.012 * share, 0.37))
    bar = figure.colorbar(ScalarMappable(norm, palette.ENERGY_COLORS), cax=axes, extend="min")
    bar.outline.set_edgecolor(theme.muted_text)
    axes.tick_params(labelsize=palette.TICK_SIZE, labelcolor=theme.text, color=theme.muted_text)
    axes.set_title("f", fontsize=palette.LABEL_SIZE, color=theme.text)


def _write_heading(figure: Figure, landscape: Landscape, title: str) -> None:
    theme = palette.theme()
    maps = max(3, len(landscape.planes))
    share = 3 / maps
    left, right = _LEFT * share, (_LEFT + (maps - 1) * _STEP + _MAP_WIDTH) * share
    held = _NUMBERS[len(landscape.box) - 2]
    figure.text(left, 0.972, title, fontsize=palette.TITLE_SIZE, color=theme.text, va="top", parse_math=False)
    facts = [f"score {landscape.score:.2f}", f"f {landscape.path_f[0]:.1f} → {landscape.f:.1f}".replace("-", _MINUS)]
    if landscape.overlaps is not None:
        before, after = landscape.overlaps
        facts.append(f"IoU with the label {before:.3f} → {after:.3f}")
    facts.append(f"temperature {landscape.temperature:.2f}")
    figure.text(left, 0.942, "    ".join(facts), fontsize=palette.LABEL_SIZE, color=theme.muted_text, va="top")
    figure.text(
        right,
        0.968,
        f"A map holds the other {held} numbers at the refined box;\nthe ascent's path is projected onto it.",
        fontsize=palette.TICK_SIZE,
        color=theme.muted_text,
        ha="right",
        va="top",
    )
    handles = [] if landscape.label is None else [Line2D([], [], **_mark("label"), label="label")]
    handles += [
        Line2D([], [], **_mark("before"), label="proposal"),
        Line2D([], [], color=palette.AFTER, linewidth=1.5, marker="o", markersize=3.0, label="ascent"),
        Line2D([], [], **_mark("after"), label="refined"),
    ]
    regions = [f"holds {level:.0%} of exp(f / temperature)" for level in LEVELS]
    handles += [
        Line2D([], [], color=palette.REGION, linewidth=1.6, linestyle=style, label=region)
        for region, style in zip(regions, LEVEL_STYLES, strict=True)
    ]
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(left, 0.912),
        borderpad=0.0,
        borderaxespad=0.0,
        ncols=len(handles),
        frameon=False,
        fontsize=palette.TICK_SIZE,
    )
