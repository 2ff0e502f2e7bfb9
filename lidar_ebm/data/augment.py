"""Random changes of whole training frames: points and labels move together."""

from __future__ import annotations

import numpy as np

from lidar_ebm.config import AugmentationConfig
from lidar_ebm.geometry.boxes import wrap_angle
from lidar_ebm.types import Frame


def augment(frame: Frame, rng: np.random.Generator, settings: AugmentationConfig) -> Frame:
    """A new frame, mirrored, turned and scaled at random; the given one is left as it is.

    Mirrored (y → -y) in half of the cases if `settings.flip`; turned about the LiDAR's z axis by an angle uniform in
    ± `settings.rotation`; scaled about the origin by a factor uniform in `settings.scaling`. Every point stays where it
    was with respect to every box. Points and boxes may leave the voxel range: `lidar_ebm.data.dataset.crop_to_range`
    takes those out.

    Args:
        frame: LiDAR frame.
        rng: the only source of chance; it is drawn from three times, whatever the settings.
        settings: `config.augmentation`.
    """
    mirrored = rng.random() < 0.5 and settings.flip
    angle = rng.uniform(-settings.rotation, settings.rotation)
    scale = rng.uniform(*settings.scaling)

    points = frame.points.astype(np.float64)
    boxes = frame.boxes.astype(np.float64)
    if mirrored:
        points[:, 1] *= -1
        boxes[:, [1, 6]] *= -1
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.array([[cos, sin], [-sin, cos]])  # for row vectors: counter-clockwise by `angle`
    points[:, :2] = points[:, :2] @ rotation
    boxes[:, :2] = boxes[:, :2] @ rotation
    boxes[:, 6] += angle
    points[:, :3] *= scale
    boxes[:, :6] *= scale
    boxes = boxes.astype(np.float32)
    boxes[:, 6] = wrap_angle(boxes[:, 6])
    return Frame(frame.frame_id, points.astype(np.float32), boxes, frame.labels)
