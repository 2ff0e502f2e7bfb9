"""A frame as it is, and after each part of the augmentation by itself, in one picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lidar_ebm.config.augmentation import AugmentationConfig
from lidar_ebm.config.detector import ClassConfig
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.training.augmentation.augment import move_frame
from lidar_ebm.training.augmentation.object_noise import move_objects
from lidar_ebm.training.augmentation.sampling import ObjectDatabase, add_objects
from lidar_ebm.visualization.augmentation_pictures import NEAR_VIEW, Panel, plot_panels
from lidar_ebm.visualization.views import View


def plot_augmentation(
    frame: Sample,
    database: ObjectDatabase,
    classes: Sequence[ClassConfig],
    path: str | os.PathLike[str],
    *,
    settings: AugmentationConfig | None = None,
    seed: int = 0,
    view: View = NEAR_VIEW,
) -> Path:
    """Write a frame as it is, and after each part of the augmentation by itself, as one PNG.

    The parts are applied even where they are switched off: objects added and moved at random, the frame mirrored,
    turned by half of the greatest angle, and scaled by the greatest factor.

    Args:
        frame: LiDAR frame.
        database: objects of other frames.
        classes: what `frame.labels` count.
        path: of the picture.
        settings: how much of everything; the published settings where None.
        seed: decides what is random.
        view: the part of the ground that every panel shows.

    Raises:
        OutputError: the file cannot be written.
    """
    settings = settings or AugmentationConfig()
    angle, scale = settings.rotation / 2, settings.scaling[1]
    nothing = frame.boxes[:0]
    added = add_objects(frame, np.random.default_rng(seed), settings.sampling, database, classes)
    moved = move_objects(frame, np.random.default_rng(seed), settings.object_noise)
    parts = (
        ("original", frame, nothing),
        ("database sampling", added, nothing),
        ("object noise", moved, frame.boxes),
        ("flip", move_frame(frame, mirrored=True), frame.boxes),
        (f"rotation by {np.degrees(angle):.1f}°", move_frame(frame, angle=angle), frame.boxes),
        (f"scaling by {scale:g}", move_frame(frame, scale=scale), frame.boxes),
    )
    count = len(frame.boxes)
    panels = [Panel(title, each.points, each.boxes[:count], each.boxes[count:], was) for title, each, was in parts]
    return plot_panels(panels, path, view=view)
