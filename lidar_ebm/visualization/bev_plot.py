"""Bird's-eye views of a frame: points, labels, and boxes before and after refinement.

Pictures are drawn as a driver sees the street: x (forward) points up, y (left) points left. So matplotlib's data
coordinates are (y, x), with the horizontal axis running from high y to low y.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from lidar_ebm.geometry.boxes import corners_3d, corners_bev, wrap_angle
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.box_arrays import ARROW_LEGEND, arrow_segments, has_arrows, split_velocity
from lidar_ebm.visualization.views import View, view_of

FloatArray = NDArray[np.floating[Any]]

# z of the lowest and highest colour, m: the ground and two metres above it, from a sensor on a vehicle's roof
HEIGHT_LIMITS = (-2.0, 1.0)
MAX_ZOOMS = 6
ARROW_WIDTH = 1.8  # points, of arrows at most


@dataclass(frozen=True)
class BoxLayer:
    """Boxes that are drawn alike."""

    name: str  # in the legend
    boxes: ArrayLike  # [M, 7] LiDAR frame, m, rad; [M, 9] with vx, vy, m/s, which arrows show
    color: str
    scores: ArrayLike | None = None  # [M], written beside the boxes
    linestyle: Literal["solid", "dashed", "dotted", "dashdot"] = "solid"
    linewidth: float = 1.5  # points
    caption: str = ""  # in the legend in place of the name and the number of boxes

    def legend(self) -> str:
        """Text of the layer's row in a legend."""
        return self.caption or f"{self.name} ({len(_boxes(self.boxes))})"


def label_layer(boxes: ArrayLike) -> BoxLayer:
    """Labels [M, 7 or 9] as every picture shows them: wide, so that they stay visible under what is drawn over them."""
    return BoxLayer("label", boxes, palette.theme().label, linewidth=3.8)


def before_layer(boxes: ArrayLike, scores: ArrayLike | None = None) -> BoxLayer:
    """Detections [M, 7 or 9] before refinement as every picture shows them."""
    return BoxLayer("before refinement", boxes, palette.theme().before, scores, linestyle="dashed")


def after_layer(boxes: ArrayLike, scores: ArrayLike | None = None) -> BoxLayer:
    """Detections [M, 7 or 9] after refinement as every picture shows them."""
    return BoxLayer("after refinement", boxes, palette.theme().after, scores)


def draw_bev(
    axes: Axes,
    points: ArrayLike,
    *,
    layers: Sequence[BoxLayer] = (),
    view: View | None = None,
    height_limits: tuple[float, float] = HEIGHT_LIMITS,
    point_size: float = 1.0,
    colors: ArrayLike | None = None,
) -> None:
    """Draw points and boxes into `axes`, whose data coordinates become (y, x) in metres.

    Args:
        points: [N, >= 3] x, y, z (m), LiDAR frame; non-finite ones are left out.
        layers: drawn in this order, later ones over earlier ones; boxes with a non-finite number are left out.
        view: the part of the ground shown, by default `view_of` points and layers; what lies outside is left out.
        height_limits: z (m) of the lowest and the highest colour of the points.
        point_size: diameter of a point in typographic points.
        colors: [N, 3] 0..1 of the points, in place of those by height; later points are drawn over earlier ones.

    Raises:
        ValueError: the view, the boxes or the colours have another shape than they should.
    """
    if view is None:
        view = view_of(points, *(_boxes(layer.boxes) for layer in layers))
    low_x, low_y, high_x, high_y = view
    if not (low_x < high_x and low_y < high_y):
        raise ValueError(f"a view is (low x, low y, high x, high y) in metres, low below high, not {view}")
    _draw_points(axes, np.asarray(points), view, height_limits, point_size, colors)
    for order, layer in enumerate(layers):
        _draw_boxes(axes, layer, view, order)
    if any(has_arrows(layer.boxes) for layer in layers):
        color = palette.theme().muted_text
        axes.plot([], [], color=color, linewidth=ARROW_WIDTH, marker=">", markersize=5.0, label=ARROW_LEGEND)
    axes.set_xlim(high_y, low_y)
    axes.set_ylim(low_x, high_x)
    axes.set_aspect("equal")


def plot_bev(
    points: ArrayLike,
    path: str | os.PathLike[str],
    *,
    layers: Sequence[BoxLayer] = (),
    view: View | None = None,
    colors: ArrayLike | None = None,
    title: str = "",
    size: tuple[int, int] = (1100, 1000),
) -> Path:
    """Write a bird's-eye view of one frame to `path` as PNG of `size` (width, height) pixels.

    For `points`, `layers`, `view` and `colors` see `draw_bev`.

    Raises:
        OutputError: the file cannot be written.
    """
    figure = palette.new_figure(size)
    axes = figure.add_axes((0.07, 0.07, 0.90, 0.87))
    draw_bev(axes, points, layers=layers, view=view, colors=colors)
    palette.style_axes(axes, x_label="y left (m)", y_label="x forward (m)", title=title)
    add_layer_legend(axes)
    return palette.save_figure(figure, path)


def plot_refinement(
    points: ArrayLike,
    labels: ArrayLike,
    before: ArrayLike,
    after: ArrayLike,
    path: str | os.PathLike[str],
    *,
    iou_before: ArrayLike,
    iou_after: ArrayLike,
    scores: ArrayLike | None = None,
    view: View | None = None,
    title: str = "",
    zooms: int = MAX_ZOOMS,
    size: tuple[int, int] = (1700, 800),
) -> Path:
    """Write a bird's-eye view with a closer look at the boxes that refinement moved most, as PNG, to `path`.

    Refinement moves boxes by centimetres, which an overview cannot show. The panels take the boxes whose corners moved
    furthest, those that overlap a label (by `iou_before` or `iou_after`) before those that overlap none.

    Args:
        points: [N, >= 3] x, y, z (m), LiDAR frame.
        labels: [L, 7] labelled boxes, or [L, 9] with their velocities.
        before: [M, 7 or 9] detections before refinement.
        after: [M, 7 or 9] the same detections after refinement, row for row.
        iou_before: [M] 3-D IoU of `before` with the label that it overlaps best; 0 or NaN where it overlaps none.
        iou_after: [M] the same of `after`.
        scores: [M], written beside the boxes of the overview.
        view: the part of the ground that the overview shows; by default `view_of` points and boxes.
        zooms: maximum number of panels, 0 to 6.
        size: width and height of the picture, pixels.

    Raises:
        ValueError: boxes or IoUs do not fit each other.
        OutputError: the file cannot be written.
    """
    points, count = np.asarray(points), len(_boxes(before))
    wide = [np.column_stack(split_velocity(each)) for each in (labels, before, after)]  # [., 9]
    labels, before, after = (each[:, :7] for each in wide)
    if len(after) != count:
        raise ValueError(f"{count} boxes before refinement but {len(after)} after: they are compared row for row")
    if not 0 <= zooms <= MAX_ZOOMS:
        raise ValueError(f"0 to {MAX_ZOOMS} panels can be drawn, not {zooms}")
    ious = np.stack([_per_box(values, count, "IoU") for values in (iou_before, iou_after)], axis=1)  # [M, 2]
    for boxes in (before, after):
        if not np.isfinite(boxes).all():
            raise ValueError("boxes before and after refinement must be finite to be compared")
    view = view or view_of(points, labels, before, after)
    overview = [label_layer(wide[0]), before_layer(wide[1]), after_layer(wide[2], scores)]

    figure = palette.new_figure(size)
    axes = add_overview(figure)
    draw_bev(axes, points, layers=overview, view=view)
    palette.style_axes(axes, x_label="y left (m)", y_label="x forward (m)", title=title)
    add_layer_legend(axes)

    chosen = _furthest_moved(before, after, ious, zooms)
    for number, index in enumerate(chosen, start=1):
        panel = add_panel(figure, number)
        _draw_zoom(panel, number, points, wide[0], wide[1][index], wide[2][index], ious[index])
        mark_box(axes, number, after[index], view)
    if chosen:
        write_above_panels(figure, "boxes that moved furthest, x forward is up, one square of the grid is 1 m")
    return palette.save_figure(figure, path)


def add_overview(figure: Figure) -> Axes:
    """Axes for a bird's-eye view in the left half of a picture with panels."""
    return figure.add_axes((0.045, 0.075, 0.47, 0.86))


def add_panel(figure: Figure, number: int) -> Axes:
    """Axes for the `number`-th panel, 1 to 6, in the right half of a picture."""
    row, column = divmod(number - 1, 3)
    return figure.add_axes((0.535 + 0.155 * column, 0.575 - 0.455 * row, 0.145, 0.31))


def write_above_panels(figure: Figure, note: str) -> None:
    """Write a line above the panels that says what they show."""
    figure.text(0.7625, 0.95, note, ha="center", va="bottom", fontsize=palette.LABEL_SIZE, color=palette.theme().text)


def view_around(boxes: FloatArray) -> View:
    """A square view that holds the outlines of boxes [M, 7], M > 0, and 0.6 m around them."""
    outline = corners_bev(boxes).reshape(-1, 2)  # [4 M, 2]
    low, high = outline.min(axis=0), outline.max(axis=0)
    center, half = (low + high) / 2, (high - low).max() / 2 + 0.6
    return (center[0] - half, center[1] - half, center[0] + half, center[1] + half)


def style_panel(panel: Axes, title: str, note: str) -> None:
    """A frame, a grid of one metre, a title above and a note below."""
    palette.style_axes(panel)
    panel.set_title(title, fontsize=palette.LABEL_SIZE, color=palette.theme().text)
    panel.set_xlabel(note, fontsize=palette.TICK_SIZE, color=palette.theme().muted_text)
    panel.spines[:].set_visible(True)
    panel.spines[:].set_color(palette.theme().muted_text)
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MultipleLocator(1.0))
        axis.set_major_formatter(NullFormatter())


def _boxes(boxes: ArrayLike) -> FloatArray:
    """Boxes [M, 7] without their velocities."""
    return split_velocity(boxes)[0]


def _per_box(values: ArrayLike, count: int, what: str) -> FloatArray:
    array = np.asarray(values, dtype=np.float64).reshape(-1)
    if len(array) != count:
        raise ValueError(f"{count} boxes but {len(array)} numbers of {what}: one for each box is needed")
    return array


def _draw_points(
    axes: Axes,
    points: NDArray[Any],
    view: View,
    height_limits: tuple[float, float],
    point_size: float,
    colors: ArrayLike | None,
) -> None:
    if points.size == 0:
        return
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    low_x, low_y, high_x, high_y = view
    # Comparisons with NaN are false, so this also leaves out points without a place; z needs a check of its own.
    shown = (x >= low_x) & (x <= high_x) & (y >= low_y) & (y <= high_y) & np.isfinite(z)
    x, y, z = x[shown], y[shown], z[shown]
    if colors is not None:
        axes.scatter(y, x, c=np.asarray(colors)[shown], s=point_size**2, linewidths=0, rasterized=True, zorder=1)
        return
    order = np.argsort(z, kind="stable")  # high points over low ones
    axes.scatter(
        y[order],
        x[order],
        c=z[order],
        s=point_size**2,
        cmap=palette.theme().heights,
        vmin=height_limits[0],
        vmax=height_limits[1],
        linewidths=0,
        rasterized=True,
        zorder=1,
    )


def _draw_boxes(axes: Axes, layer: BoxLayer, view: View, order: int) -> None:
    given = _boxes(layer.boxes)
    finite = np.isfinite(given).all(axis=1)
    boxes = given[finite]
    outlines = corners_bev(boxes)[:, :, ::-1]  # [M, 4, 2] (y, x)
    # The heading mark runs from the centre through the middle of the front face and a little beyond.
    heading = np.stack([np.sin(boxes[:, 6]), np.cos(boxes[:, 6])], axis=1)  # [M, 2] (y, x)
    centers = boxes[:, [1, 0]]  # [M, 2] (y, x)
    fronts = centers + heading * (0.5 * boxes[:, 3:4] + 0.15 * boxes[:, 4:5])
    lines = LineCollection(
        list(np.concatenate([outlines, outlines[:, :1]], axis=1)),
        colors=layer.color,
        linestyles=layer.linestyle,
        linewidths=layer.linewidth,
        zorder=3 + order,
        label=palette.as_written(layer.legend()),
    )
    axes.add_collection(lines, autolim=False)
    marks = LineCollection(
        list(np.stack([centers, fronts], axis=1)), colors=layer.color, linewidths=layer.linewidth, zorder=3 + order
    )
    axes.add_collection(marks, autolim=False)
    arrows = LineCollection(
        list(arrow_segments(layer.boxes)[:, :, [1, 0]]),
        colors=layer.color,
        linewidths=min(layer.linewidth, ARROW_WIDTH),
        capstyle="round",
        zorder=3 + order,
    )
    axes.add_collection(arrows, autolim=False)
    if layer.scores is not None:
        scores = _per_box(layer.scores, len(given), "score")[finite]
        _write_scores(axes, boxes, scores, layer.color, view)


def _write_scores(axes: Axes, boxes: FloatArray, scores: FloatArray, color: str, view: View) -> None:
    """Write each box's score above it, the highest first, leaving out those that would cover one already written."""
    low_x, low_y, high_x, high_y = view
    # A text is about 3 % of the view wide and 1.5 % high.
    clearance = np.array([0.035 * (high_y - low_y), 0.018 * (high_x - low_x)])  # (y, x) m
    reach = 0.5 * (boxes[:, 3] * np.abs(np.cos(boxes[:, 6])) + boxes[:, 4] * np.abs(np.sin(boxes[:, 6])))
    places = np.stack([boxes[:, 1], boxes[:, 0] + reach + 0.2 * clearance[1]], axis=1)  # [M, 2] (y, x)
    written = np.zeros((0, 2))
    for index in np.argsort(-scores, kind="stable"):
        place = places[index]
        inside = low_x <= place[1] <= high_x and low_y <= place[0] <= high_y
        if not inside or (np.abs(written - place) < clearance).all(axis=1).any():
            continue
        axes.text(
            place[0],
            place[1],
            f"{scores[index]:.2f}",
            fontsize=palette.SMALL_SIZE,
            color=color,
            ha="center",
            va="bottom",
            zorder=9,
            bbox={
                "boxstyle": "square,pad=0.05",
                "facecolor": palette.theme().background,
                "edgecolor": "none",
                "alpha": 0.75,
            },
        )
        written = np.concatenate([written, place[None]])


def add_layer_legend(axes: Axes) -> None:
    """A legend of the layers that were drawn, if any."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left", fontsize=palette.LABEL_SIZE, framealpha=0.9).set_zorder(10)


def _furthest_moved(before: FloatArray, after: FloatArray, ious: FloatArray, count: int) -> list[int]:
    """Indices of at most `count` boxes that moved: those that overlap a label first, then the furthest moved."""
    if not len(before):
        return []
    moved = np.linalg.norm(corners_3d(after) - corners_3d(before), axis=-1).mean(axis=-1)  # [M] m
    labelled = np.nan_to_num(ious).max(axis=1) > 0
    order = np.lexsort((-moved, ~labelled))
    return [int(index) for index in order if moved[index] > 0][:count]


def _draw_zoom(
    panel: Axes,
    number: int,
    points: NDArray[Any],
    labels: FloatArray,
    before: FloatArray,
    after: FloatArray,
    ious: FloatArray,
) -> None:
    """One box [9] before and after refinement with its surroundings; the title gives its IoUs, a line below its
    move."""
    view = view_around(np.stack([before, after])[:, :7])
    bottom, top = before[2] - 0.5 * before[5], before[2] + 0.5 * before[5]
    layers = [label_layer(labels), before_layer(before[None]), after_layer(after[None])]
    draw_bev(panel, points, layers=layers, view=view, height_limits=(float(bottom), float(top)), point_size=2.5)
    first, last = np.nan_to_num(ious)
    title = f"{number}: IoU {first:.3f} → {last:.3f}" if max(first, last) > 0 else f"{number}: overlaps no label"
    style_panel(panel, title, _describe_move(before, after))


def _describe_move(before: FloatArray, after: FloatArray) -> str:
    # Adding 0.0 makes the zero that rounding leaves of a small negative number a positive one.
    forward, left, up, length, width, height = np.round(100 * (after[:6] - before[:6])) + 0.0
    turn = round(float(np.degrees(wrap_angle(after[6:7] - before[6:7]))[0]), 1) + 0.0
    text = (
        f"x {forward:+.0f}  y {left:+.0f}  z {up:+.0f} cm\nl {length:+.0f}  w {width:+.0f}  h {height:+.0f} cm  "
        f"yaw {turn:+.1f}°"
    )
    faster = np.round(after[7:] - before[7:], 2) + 0.0
    return f"{text}\nvx {faster[0]:+.2f}  vy {faster[1]:+.2f} m/s" if np.isfinite(faster).all() else text


def mark_box(axes: Axes, number: int, box: FloatArray, view: View) -> None:
    """Write a panel's number to the left of its box in the overview."""
    low_x, low_y, high_x, high_y = view
    reach = 0.5 * (box[3] * abs(np.sin(box[6])) + box[4] * abs(np.cos(box[6])))
    place = (box[1] + reach + 0.02 * (high_y - low_y), box[0])
    if low_x <= place[1] <= high_x and low_y <= place[0] <= high_y:
        axes.text(
            place[0],
            place[1],
            str(number),
            fontsize=palette.SMALL_SIZE,
            color=palette.theme().background,
            ha="center",
            va="center",
            zorder=11,
            bbox={"boxstyle": "circle,pad=0.25", "facecolor": palette.theme().text, "edgecolor": "none"},
        )
