"""Boxes and points of a frame drawn into the camera's image.

A box is drawn by its edges, cut off where they pass behind the camera; its front is shaded, and a mark on the ground
runs from its middle through the front, so that its heading can be seen.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter
from numpy.typing import ArrayLike

from lidar_ebm.geometry.boxes import corners_3d
from lidar_ebm.geometry.camera import Camera
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.bev_plot import ARROW_WIDTH, BoxLayer
from lidar_ebm.visualization.box_arrays import ARROW_LEGEND, arrow_segments, has_arrows, split_velocity

NEAR = 0.1  # m: what lies nearer to the camera's plane is cut off
HEADER = 44  # pixels above the image, for title, legend and the scale of depths
DEPTH_COLORS = colormaps["plasma_r"]  # near ones bright; told apart without colour too
DEPTH_LIMITS = (3.0, 70.0)  # m, of the scale of depths, which is logarithmic: nearness is what can be seen
# Pairs of `corners_3d`: bottom, top, uprights. The front is the corners 0, 3, 7, 4.
EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))
FRONT = (0, 3, 7, 4)


def project_edges(boxes: ArrayLike, camera: Camera) -> list[np.ndarray]:
    """Edges and heading marks of boxes in the image, as far as they lie before the camera.

    Args:
        boxes: [M, 7 or 9] LiDAR frame.
        camera: of this frame.

    Returns:
        For each box [E, 2, 2]: E segments from (u, v) to (u, v) in pixels, E at most 13 (the mark being the last if it
        is there), not cut to the image. 0 for a box behind the camera or with a number that is not finite.
    """
    corners = _to_homogeneous(corners_3d(_boxes(boxes)), camera)  # [M, 8, 3]
    marks = _to_homogeneous(_heading_marks(_boxes(boxes)), camera)  # [M, 2, 3]
    starts, ends = np.array(EDGES).T
    first = np.concatenate([corners[:, starts], marks[:, :1]], axis=1)  # [M, 13, 3]
    last = np.concatenate([corners[:, ends], marks[:, 1:]], axis=1)
    segments = np.stack([first, last], axis=2)  # [M, 13, 2, 3]
    return [_clip_segments(each) for each in segments]


def project_arrows(boxes: ArrayLike, camera: Camera) -> np.ndarray:
    """Lines [A, 2, 2] in pixels of the arrows of boxes [M, 7 or 9], as far as they lie before the camera."""
    return _clip_segments(_to_homogeneous(arrow_segments(boxes), camera))


def draw_overlay(
    axes: Axes,
    image: np.ndarray | None,
    camera: Camera,
    *,
    points: ArrayLike | None = None,
    layers: Sequence[BoxLayer] = (),
    point_size: float = 1.3,
) -> None:
    """Draw an image with points and boxes into `axes`, whose data coordinates become pixels (u right, v down).

    Args:
        image: [H, W, 3] uint8; None for an empty one of the camera's size.
        camera: of this frame.
        points: [N, >= 3] LiDAR frame, m, coloured by their depth; None for none.
        layers: boxes [M, 7 or 9] in LiDAR frame, later layers over earlier ones.
        point_size: diameter of a point in typographic points.
    """
    width, height = camera.image_size if image is None else (image.shape[1], image.shape[0])
    if image is not None:
        axes.imshow(image, interpolation="nearest", zorder=0)
    axes.set_facecolor(palette.theme().background)
    if points is not None:
        _draw_points(axes, np.asarray(points), camera, (width, height), point_size)
    for order, layer in enumerate(layers):
        _draw_boxes(axes, layer, camera, (width, height), order)
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    axes.set_aspect("auto")
    axes.set_axis_off()


def plot_overlay(
    image: np.ndarray | None,
    camera: Camera,
    path: str | os.PathLike[str],
    *,
    points: ArrayLike | None = None,
    layers: Sequence[BoxLayer] = (),
    title: str = "",
) -> Path:
    """Write an image with points and boxes to `path` as PNG: the image pixel for pixel, and a header above it.

    Args:
        image: [H, W, 3] uint8, or None for an empty image of the camera's size.
        camera: of this frame.
        path: of the picture.
        points: as for `draw_overlay`.
        layers: as for `draw_overlay`.
        title: of the picture.

    Raises:
        OutputError: the file cannot be written.
    """
    width, height = camera.image_size if image is None else (image.shape[1], image.shape[0])
    figure = palette.new_figure((width, height + HEADER))
    axes = figure.add_axes((0.0, 0.0, 1.0, height / (height + HEADER)))
    draw_overlay(axes, image, camera, points=points, layers=layers)
    theme, middle = palette.theme(), 1 - HEADER / 2 / (height + HEADER)
    figure.text(10 / width, middle, title, fontsize=palette.LABEL_SIZE, color=theme.text, va="center", parse_math=False)
    names = [palette.as_written(layer.legend()) for layer in layers]
    handles = [
        Line2D([], [], color=layer.color, linewidth=max(layer.linewidth, 2.0), label=name)
        for layer, name in zip(layers, names, strict=True)
    ]
    if any(has_arrows(layer.boxes) for layer in layers):
        handles.append(Line2D([], [], color=theme.muted_text, linewidth=ARROW_WIDTH, label=ARROW_LEGEND))
    if handles:
        figure.legend(
            handles=handles,
            loc="center",
            bbox_to_anchor=(0.5, middle),
            ncols=len(handles),
            frameon=False,
            fontsize=palette.TICK_SIZE,
        )
    if points is not None:
        place = (1 - 190 / width, (height + 26) / (height + HEADER), 170 / width, 8 / (height + HEADER))
        bar_axes = figure.add_axes(place)
        bar = figure.colorbar(ScalarMappable(_depth_norm(), DEPTH_COLORS), cax=bar_axes, orientation="horizontal")
        bar.outline.set_edgecolor(theme.muted_text)
        bar_axes.xaxis.set_major_locator(FixedLocator([3, 5, 10, 20, 40, 70]))
        bar_axes.xaxis.set_minor_locator(NullLocator())
        bar_axes.xaxis.set_major_formatter(ScalarFormatter())
        bar_axes.tick_params(labelsize=palette.SMALL_SIZE, labelcolor=theme.text, color=theme.muted_text, pad=1)
        bar_axes.text(
            -0.05,
            0.5,
            "depth (m)",
            transform=bar_axes.transAxes,
            fontsize=palette.SMALL_SIZE,
            color=theme.text,
            ha="right",
            va="center",
        )
    return palette.save_figure(figure, path)


def _boxes(boxes: ArrayLike) -> np.ndarray:
    return split_velocity(boxes)[0]


def _heading_marks(boxes: np.ndarray) -> np.ndarray:
    """On the ground, from the middle of each box [M, 7] to a little before its front: [M, 2, 3], LiDAR frame."""
    heading = np.stack([np.cos(boxes[:, 6]), np.sin(boxes[:, 6]), np.zeros(len(boxes))], axis=1)
    middle = boxes[:, :3] - np.array([0.0, 0.0, 0.5]) * boxes[:, 5:6]
    return np.stack([middle, middle + heading * (0.5 * boxes[:, 3:4] + 0.15 * boxes[:, 4:5])], axis=1)


def _to_homogeneous(places: np.ndarray, camera: Camera) -> np.ndarray:
    """Places [..., 3] of the LiDAR frame as (u * depth, v * depth, depth)."""
    projection = camera.lidar_to_image  # [3, 4]
    return places @ projection[:, :3].T + projection[:, 3]


def _clip_segments(segments: np.ndarray) -> np.ndarray:
    """Homogeneous segments [E, 2, 3] cut off at the camera's plane, in pixels: [e, 2, 2], those that are left."""
    depth = segments[..., 2]  # [E, 2]
    with np.errstate(invalid="ignore"):  # NaN compares as false, and so is left out
        kept = (depth >= NEAR).any(axis=1) & np.isfinite(segments).all(axis=(1, 2))
    clipped, depth = segments[kept].copy(), depth[kept]
    for end in (0, 1):
        behind = depth[:, end] < NEAR
        near, far = clipped[behind, end], segments[kept][behind, 1 - end]
        share = (NEAR - near[:, 2:]) / (far[:, 2:] - near[:, 2:])
        clipped[behind, end] = near + share * (far - near)
    return clipped[..., :2] / clipped[..., 2:]


def _clip_polygon(corners: np.ndarray) -> np.ndarray:
    """A homogeneous polygon [K, 3] cut off at the camera's plane, in pixels: [k, 2]."""
    kept = []
    for here, there in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if here[2] >= NEAR:
            kept.append(here)
        if (here[2] >= NEAR) != (there[2] >= NEAR):
            kept.append(here + (NEAR - here[2]) / (there[2] - here[2]) * (there - here))
    places = np.array(kept).reshape(-1, 3)
    return places[:, :2] / places[:, 2:]


def _draw_boxes(axes: Axes, layer: BoxLayer, camera: Camera, image_size: tuple[int, int], order: int) -> None:
    given = _boxes(layer.boxes)
    boxes = given[np.isfinite(given).all(axis=1)]
    homogeneous = _to_homogeneous(corners_3d(boxes), camera)  # [M, 8, 3]
    order_drawn = np.argsort(-homogeneous[..., 2].mean(axis=1), kind="stable")  # near ones over far ones
    edges = project_edges(boxes, camera)
    limit = 10.0 * max(image_size)  # what is far outside makes Agg slow and draws nothing
    segments = [part for index in order_drawn for part in edges[index] if np.abs(part).max() < limit]
    fronts = [_clip_polygon(homogeneous[index, FRONT]) for index in order_drawn]
    fronts = [front for front in fronts if len(front) > 2 and np.abs(front).max() < limit]
    shades = PolyCollection(fronts, facecolors=layer.color, edgecolors="none", alpha=0.14, zorder=2 + order)
    axes.add_collection(shades, autolim=False)
    lines = LineCollection(
        segments,
        colors=layer.color,
        linewidths=layer.linewidth,
        linestyles=layer.linestyle,
        capstyle="round",
        zorder=2.5 + order,
    )
    axes.add_collection(lines, autolim=False)
    arrows = [part for part in project_arrows(layer.boxes, camera) if np.abs(part).max() < limit]
    width = min(layer.linewidth, ARROW_WIDTH)
    shafts = LineCollection(arrows, colors=layer.color, linewidths=width, capstyle="round", zorder=2.5 + order)
    axes.add_collection(shafts, autolim=False)


def _draw_points(
    axes: Axes, points: np.ndarray, camera: Camera, image_size: tuple[int, int], point_size: float
) -> None:
    points = points[np.isfinite(points[:, :3]).all(axis=1)]
    with np.errstate(divide="ignore", invalid="ignore"):  # at the camera's plane; such points are left out
        homogeneous = _to_homogeneous(points[:, :3].astype(np.float64), camera)
        pixels, depth = homogeneous[:, :2] / homogeneous[:, 2:], homogeneous[:, 2]
    seen = depth > NEAR
    seen &= (pixels > -0.5).all(axis=1) & (pixels < np.array(image_size) - 0.5).all(axis=1)
    pixels, depth = pixels[seen], depth[seen]
    order = np.argsort(-depth, kind="stable")
    axes.scatter(
        pixels[order, 0],
        pixels[order, 1],
        c=depth[order],
        s=point_size**2,
        cmap=DEPTH_COLORS,
        norm=_depth_norm(),
        linewidths=0,
        zorder=1,
    )


def _depth_norm() -> LogNorm:
    return LogNorm(*DEPTH_LIMITS, clip=True)
