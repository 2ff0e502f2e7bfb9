"""Difficulty of finding a labelled object, by KITTI's limits; 0 easy, 1 moderate, 2 hard, 3 beyond all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lidar_ebm.formats.kitti.label import Label

BEYOND = 3
DIFFICULTY_NAMES = ("easy", "moderate", "hard", "beyond")
# Of easy, moderate and hard: maximum occlusion and truncation, minimum height of the 2-D box in pixels (KITTI's own).
IMAGE_LIMITS = ((0, 0.15, 40.0), (1, 0.30, 25.0), (2, 0.50, 25.0))
# The same where nobody looked at an image, as in LiDAR-only data: distance below, in m, and minimum number of points.
# Ours: KITTI has none.
LIDAR_LIMITS = ((30.0, 50), (50.0, 20), (80.0, 5))


def difficulties(labels: Sequence[Label], boxes: np.ndarray, point_counts: np.ndarray) -> np.ndarray:
    """The lowest difficulty that each label belongs to.

    KITTI's limits are on occlusion, truncation and the height of the 2-D box. Where nobody looked at an image (the 2-D
    box has no extent, or the occlusion is -1, unknown) horizontal distance from the LiDAR and points in the box decide.

    Args:
        labels: M labels.
        boxes: [M, 7] their boxes, LiDAR frame.
        point_counts: [M] points in them.

    Returns:
        [M] int8, 0 … 3.
    """
    levels = [
        _by_image(label)
        if has_image_box(label) and label.occluded >= 0
        else _by_points(float(np.hypot(box[0], box[1])), int(count))
        for label, box, count in zip(labels, boxes, point_counts, strict=True)
    ]
    return np.array(levels, dtype=np.int8)


def has_image_box(label: Label) -> bool:
    """Tell if the label says where the object is in the image."""
    x1, y1, x2, y2 = label.bbox
    return x2 > x1 and y2 > y1


def _by_image(label: Label) -> int:
    height = label.bbox[3] - label.bbox[1]
    for level, (occluded, truncated, min_height) in enumerate(IMAGE_LIMITS):
        if label.occluded <= occluded and label.truncated <= truncated and height >= min_height:
            return level
    return BEYOND


def _by_points(distance: float, count: int) -> int:
    for level, (farthest, min_points) in enumerate(LIDAR_LIMITS):
        if distance < farthest and count >= min_points:
            return level
    return BEYOND
