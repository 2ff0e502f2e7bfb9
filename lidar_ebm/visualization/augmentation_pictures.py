"""Panels that show from above what was done to a frame, such as each part of the augmentation, side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.lines import Line2D

from lidar_ebm.visualization import palette
from lidar_ebm.visualization.bev_plot import BoxLayer, draw_bev
from lidar_ebm.visualization.views import View

COLUMNS = 3
NEAR_VIEW: View = (0.0, -20.0, 36.0, 20.0)  # where points are so dense that objects can be made out


@dataclass(frozen=True)
class Panel:
    """A frame after one change."""

    title: str
    points: np.ndarray  # [N, >= 3] LiDAR frame, m
    labels: np.ndarray  # [M, 7]
    added: np.ndarray  # [K, 7] labels of objects from other frames
    before: np.ndarray  # [L, 7] former places of the labels that moved


def plot_panels(
    panels: Sequence[Panel], path: str | os.PathLike[str], *, view: View = NEAR_VIEW, size: tuple[int, int] = (960, 690)
) -> Path:
    """Write panels as one PNG.

    Args:
        panels: row by row.
        path: of the picture.
        view: the part of the ground that every panel shows.
        size: width and height of the picture, pixels.

    Raises:
        OutputError: the file cannot be written.
    """
    figure, theme = palette.new_figure(size), palette.theme()
    rows = -(-len(panels) // COLUMNS)
    for number, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, COLUMNS, number)
        layers = [
            BoxLayer("was", panel.before, theme.muted_text, linestyle="dotted", linewidth=1.2),
            BoxLayer("label", panel.labels, theme.label, linewidth=1.8),
            BoxLayer("added", panel.added, theme.region, linewidth=1.8),
        ]
        draw_bev(axes, panel.points, layers=layers, view=view, point_size=0.9)
        first_column, last_row = number % COLUMNS == 1, number > (rows - 1) * COLUMNS
        palette.style_axes(
            axes,
            x_label="y left (m)" if last_row else "",
            y_label="x forward (m)" if first_column else "",
            title=panel.title,
        )
    figure.legend(
        handles=[
            Line2D([], [], color=theme.label, linewidth=1.8, label="label"),
            Line2D([], [], color=theme.region, linewidth=1.8, label="label of an object from another frame"),
            Line2D([], [], color=theme.muted_text, linewidth=1.2, linestyle="dotted", label="where it was"),
        ],
        loc="lower center",
        ncols=3,
        frameon=False,
        fontsize=palette.LABEL_SIZE,
    )
    figure.tight_layout(rect=(0.0, 0.04, 1.0, 1.0))
    return palette.save_figure(figure, path)
