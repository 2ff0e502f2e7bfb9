"""Random changes of training frames, as published: the door to the `augmentation` rooms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lidar_ebm.config.augmentation import AugmentationConfig
from lidar_ebm.config.detector import ClassConfig
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.geometry.boxes import wrap_angle
from lidar_ebm.training.augmentation.object_noise import move_objects
from lidar_ebm.training.augmentation.sampling import ObjectDatabase, add_objects


def augment(
    frame: Sample,
    rng: np.random.Generator,
    settings: AugmentationConfig,
    database: ObjectDatabase | None = None,
    classes: Sequence[ClassConfig] = (),
) -> Sample:
    """A new training frame, changed at random; the given one is left as it is.

    In this order: objects of other frames are put in (`add_objects`), each object is moved by itself (`move_objects`),
    and the whole frame is mirrored in half of the cases, turned and scaled (`move_frame`). Points and boxes may leave
    the voxel range: `lidar_ebm.datasets.samples.crop_to_range` takes those out.

    Args:
        frame: LiDAR frame.
        rng: the only source of chance.
        settings: `config.augmentation`.
        database: labelled objects of the training split; None for none to be put in.
        classes: `config.classes`, which `frame.class_index` counts; without them no objects are put in either.
    """
    # Drawn first, so that how a frame is turned does not depend on what else is switched on.
    mirrored = bool(rng.random() < 0.5) and settings.flip
    angle = float(rng.uniform(-settings.rotation, settings.rotation))
    scale = float(rng.uniform(*settings.scaling))

    if database is not None and settings.sampling.enabled:
        frame = add_objects(frame, rng, settings.sampling, database, classes)
    if settings.object_noise.enabled:
        frame = move_objects(frame, rng, settings.object_noise)
    return move_frame(frame, mirrored=mirrored, angle=angle, scale=scale)


def move_frame(frame: Sample, *, mirrored: bool = False, angle: float = 0.0, scale: float = 1.0) -> Sample:
    """A new frame: mirrored (y → -y) or not, then turned about the LiDAR's z axis, then scaled about the origin.

    Every point stays where it was with respect to every box.

    Args:
        angle: counter-clockwise, rad.
        scale: above 0.
    """
    points = frame.points.astype(np.float64)
    boxes = np.concatenate([frame.boxes, frame.others]).astype(np.float64)
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
    count = len(frame.boxes)
    return Sample(frame.frame_id, points.astype(np.float32), boxes[:count], frame.class_index, boxes[count:])
