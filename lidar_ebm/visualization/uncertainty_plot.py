"""Bird's-eye views of detections with how sure the energy is of them: drawn boxes, and where the centre lies."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import ArrayLike

from lidar_ebm.boxes import Boxes
from lidar_ebm.boxes.boxes import BOX_SIZE
from lidar_ebm.geometry.boxes import corners_bev
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.bev_plot import (
    MAX_ZOOMS,
    FloatArray,
    add_overview,
    add_panel,
    after_layer,
    before_layer,
    draw_bev,
    mark_box,
    style_panel,
    view_around,
    write_above_panels,
)
from lidar_ebm.visualization.box_arrays import as_array, split_velocity
from lidar_ebm.visualization.views import View, view_of

LEVEL = 0.9  # probability of the centre's region
_RADIUS = float(np.sqrt(-2 * np.log(1 - LEVEL)))  # of that region, in standard deviations of a plane's Gaussian
_CIRCLE = np.stack([f(np.linspace(0, 2 * np.pi, 49)) for f in (np.cos, np.sin)])  # [2, 49]


def plot_uncertainty(
    points: ArrayLike,
    before: ArrayLike,
    after: Boxes,
    path: str | os.PathLike[str],
    *,
    view: View | None = None,
    title: str = "",
    size: tuple[int, int] = (1700, 800),
) -> Path:
    """Write a bird's-eye view with a closer look at the boxes that the energy is least sure of, as PNG, to `path`.

    Args:
        points: [N, >= 3] x, y, z (m), LiDAR frame.
        before: [M, 7 or 9] detections before refinement.
        after: the same after it, with their uncertainty. Panels show those of the lowest expected IoU.
        view: the part of the ground that the overview shows; by default `view_of` points and boxes.
        size: width and height of the picture, pixels.

    Raises:
        ValueError: the detections come without uncertainty.
        OutputError: the file cannot be written.
    """
    if after.covariance is None or after.samples is None or after.expected_iou is None:
        raise ValueError("these detections come without uncertainty: detect with it, or draw them with plot_bev")
    refined, covariance, samples, overlap = (
        np.asarray(values, dtype=np.float64)
        for values in (after.boxes, after.covariance, after.samples[..., :BOX_SIZE], after.expected_iou)
    )
    wide_before, wide_after = np.column_stack(split_velocity(before)), np.column_stack(split_velocity(as_array(after)))
    before = wide_before[:, :BOX_SIZE]
    flip = after.flip_probability
    view = view or view_of(points, before, refined)
    figure = palette.new_figure(size)
    axes = add_overview(figure)
    draw_bev(axes, points, layers=[before_layer(wide_before), after_layer(wide_after, after.scores)], view=view)
    draw_uncertainty(axes, refined, covariance, samples)
    palette.style_axes(axes, x_label="y left (m)", y_label="x forward (m)", title=title)
    handles, names = axes.get_legend_handles_labels()
    legend = figure.legend(
        handles,
        names,
        loc="lower center",
        bbox_to_anchor=(0.7625, 0.965),
        ncols=4,
        borderaxespad=0,
        fontsize=palette.TICK_SIZE,
    )  # beside the overview, where it covers no box
    legend.set_frame_on(False)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1.0)
            handle.set_linewidth(1.5)  # type: ignore[attr-defined]  # every one is a collection of lines
    chosen = np.argsort(overlap, kind="stable")[:MAX_ZOOMS]
    for number, index in enumerate(chosen.tolist(), start=1):
        panel, row = add_panel(figure, number), slice(index, index + 1)
        shown = np.concatenate([refined[row], before[row], samples[index]])
        bottom, top = refined[index, 2] + np.array([-0.5, 0.5]) * refined[index, 5]
        draw_bev(
            panel,
            points,
            layers=[before_layer(wide_before[row]), after_layer(wide_after[row])],
            view=view_around(shown[np.isfinite(shown).all(axis=1)]),
            height_limits=(float(bottom), float(top)),
            point_size=2.5,
        )
        draw_uncertainty(panel, refined[row], covariance[row], samples[row])
        flipped = None if flip is None else float(flip[index])
        style_panel(panel, f"{number}: expected IoU {overlap[index]:.3f}", _describe(covariance[index], flipped))
        mark_box(axes, number, refined[index], view)
    if len(chosen):
        write_above_panels(figure, "least certain boxes, x forward is up, one square of the grid is 1 m")
    return palette.save_figure(figure, path)


def draw_uncertainty(axes: Axes, boxes: FloatArray, covariance: FloatArray, samples: FloatArray) -> None:
    """Draw outlines of samples [M, K, 7], and the 90 % region of the centres of boxes [M, 7] as a Gaussian has it.

    Args:
        axes: prepared by `draw_bev`.
        boxes: [M, 7].
        covariance: [M, D, D], of which the rows and columns of x and y are used.
        samples: [M, K, 7].
    """
    drawn = samples.reshape(-1, 7)
    outlines = corners_bev(drawn[np.isfinite(drawn).all(axis=1)])[:, :, ::-1]  # [., 4, 2] (y, x)
    finite = np.isfinite(covariance).all(axis=(1, 2)) & np.isfinite(boxes).all(axis=1)
    values, vectors = np.linalg.eigh(covariance[finite][:, :2, :2])  # [m, 2], [m, 2, 2]
    axis_ends = vectors * np.sqrt(values.clip(min=0))[:, None] * _RADIUS  # [m, 2, 2], an axis a column
    ellipses = boxes[finite, :2, None] + axis_ends @ _CIRCLE  # [m, 2, 49] (x, y)
    theme = palette.theme()
    layers = (
        (np.concatenate([outlines, outlines[:, :1]], axis=1), theme.drawn, 0.5, 0.4, 2.5, "drawn from p(y | x)"),
        (ellipses[:, ::-1].transpose(0, 2, 1), theme.region, 1.4, 1.0, 8.0, f"centre, {LEVEL:.0%} region"),
    )
    for lines, color, width, alpha, order, name in layers:
        collection = LineCollection(list(lines), colors=color, linewidths=width, alpha=alpha, zorder=order, label=name)
        axes.add_collection(collection, autolim=False)


def _describe(covariance: FloatArray, flipped: float | None) -> str:
    x, y, z, length, width, height = 100 * np.sqrt(np.diagonal(covariance)[:6])
    turn = float(np.degrees(np.sqrt(covariance[6, 6])))
    text = f"± x {x:.0f}  y {y:.0f}  z {z:.0f} cm\nl {length:.0f}  w {width:.0f}  h {height:.0f} cm  yaw {turn:.1f}°"
    if len(covariance) > BOX_SIZE:
        text += "\n± vx {:.2f}  vy {:.2f} m/s".format(*np.sqrt(np.diagonal(covariance)[BOX_SIZE:]))
    return text if flipped is None else f"{text}\nflipped: {flipped:.0%}"
