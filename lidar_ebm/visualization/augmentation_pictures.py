"""What each part of the augmentation does to a frame, side by side from above."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.lines import Line2D

from lidar_ebm.config.augmentation import AugmentationConfig
from lidar_ebm.config.detector import ClassConfig
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.training.augmentation.augment import move_frame
from lidar_ebm.training.augmentation.object_noise import move_objects
from lidar_ebm.training.augmentation.sampling import ObjectDatabase, add_objects
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.bev_plot import BoxLayer, View, draw_bev

COLUMNS = 3
NEAR_VIEW: View = (0.0, -20.0, 36.0, 20.0)  # where points are so dense that objects can be made out


@dataclass(frozen=True)
class _Panel:
    title: str
    frame: Sample
    before: np.ndarray  # [M, 7] where the boxes were, of those that moved


def plot_augmentation(
    frame: Sample,
    database: ObjectDatabase,
    classes: Sequence[ClassConfig],
    path: str | os.PathLike[str],
    *,
    settings: AugmentationConfig | None = None,
    seed: int = 0,
    view: View = NEAR_VIEW,
    size: tuple[int, int] = (960, 690),
) -> Path:
    """Write a frame as it is, and after each part of the augmentation by itself, as one PNG.

    The parts are applied whether they are switched on or not: objects added and moved at random, the frame mirrored,
    turned by half of the greatest angle, and scaled by the greatest factor.

    Args:
        frame: LiDAR frame.
        database: objects of other frames.
        classes: what `frame.labels` count.
        settings: how much of everything; the published settings where None.
        seed: decides what is random.
        view: the part of the ground that every panel shows.
        size: width and height of the picture, pixels.

    Raises:
        OutputError: the file cannot be written.
    """
    settings = settings or AugmentationConfig()
    angle, scale = settings.rotation / 2, settings.scaling[1]
    nothing = frame.boxes[:0]
    added = add_objects(frame, np.random.default_rng(seed), settings.sampling, database, classes)
    moved = move_objects(frame, np.random.default_rng(seed), settings.object_noise)
    panels = (
        _Panel("original", frame, nothing),
        _Panel("database sampling", added, nothing),
        _Panel("object noise", moved, frame.boxes),
        _Panel("flip", move_frame(frame, mirrored=True), frame.boxes),
        _Panel(f"rotation by {np.degrees(angle):.1f}°", move_frame(frame, angle=angle), frame.boxes),
        _Panel(f"scaling by {scale:g}", move_frame(frame, scale=scale), frame.boxes),
    )
    figure = palette.new_figure(size)
    rows = -(-len(panels) // COLUMNS)
    for number, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, COLUMNS, number)
        labelled, new = np.split(panel.frame.boxes, [len(frame.boxes)])
        layers = [
            BoxLayer("was", panel.before, palette.theme().muted_text, linestyle="dotted", linewidth=1.2),
            BoxLayer("label", labelled, palette.theme().label, linewidth=1.8),
            BoxLayer("added", new, palette.theme().region, linewidth=1.8),
        ]
        draw_bev(axes, panel.frame.points, layers=layers, view=view, point_size=0.9)
        first_column, last_row = number % COLUMNS == 1, number > (rows - 1) * COLUMNS
        palette.style_axes(
            axes,
            x_label="y left (m)" if last_row else "",
            y_label="x forward (m)" if first_column else "",
            title=panel.title,
        )
    figure.legend(
        handles=[
            Line2D([], [], color=palette.theme().label, linewidth=1.8, label="label"),
            Line2D([], [], color=palette.theme().region, linewidth=1.8, label="label of an object from another frame"),
            Line2D([], [], color=palette.theme().muted_text, linewidth=1.2, linestyle="dotted", label="where it was"),
        ],
        loc="lower center",
        ncols=3,
        frameon=False,
        fontsize=palette.LABEL_SIZE,
    )
    figure.tight_layout(rect=(0.0, 0.04, 1.0, 1.0))
    return palette.save_figure(figure, path)
