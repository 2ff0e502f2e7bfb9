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
from lidar_ebm.types import REFLECTANCE


def augment(
    frame: Sample,
    rng: np.random.Generator,
    settings: AugmentationConfig,
    database: ObjectDatabase | None = None,
    classes: Sequence[ClassConfig] = (),
    channels: Sequence[str] = (REFLECTANCE,),
) -> Sample:
    """A new training frame, changed at random; the given one is left as it is.

    In this order: objects of other frames are put in (`add_objects`), each object is moved by itself (`move_objects`),
    and the whole frame is mirrored in half of the cases (along y, along x), turned and scaled (`move_frame`). Points
    and boxes may leave the voxel range: `lidar_ebm.datasets.samples.crop_to_range` takes those out.

    Args:
        frame: LiDAR frame.
        rng: the only source of chance.
        settings: `config.augmentation`.
        database: labelled objects of the training split; None for none to be put in.
        classes: `config.classes`, which `frame.class_index` counts; without them no objects are put in either.
        channels: of the frame's points, `config.points.channels`.
    """
    # Drawn first, so that how a frame is turned does not depend on what else is switched on.
    mirrored = bool(rng.random() < 0.5) and settings.flip
    angle = float(rng.uniform(-settings.rotation, settings.rotation))
    scale = float(rng.uniform(*settings.scaling))
    mirrored_x = settings.flip_x and bool(rng.random() < 0.5)

    if database is not None and settings.sampling.enabled:
        frame = add_objects(frame, rng, settings.sampling, database, classes, channels)
    if settings.object_noise.enabled:
        frame = move_objects(frame, rng, settings.object_noise)
    return move_frame(frame, mirrored=mirrored, mirrored_x=mirrored_x, angle=angle, scale=scale)


def move_frame(
    frame: Sample, *, mirrored: bool = False, mirrored_x: bool = False, angle: float = 0.0, scale: float = 1.0
) -> Sample:
    """A new frame: mirrored (y → -y, x → -x) or not, turned about the LiDAR's z axis, then scaled about the origin.

    Every point stays where it was with respect to every box, and was where it was while the box moved.

    Args:
        angle: counter-clockwise, rad.
        scale: above 0.
    """
    points = frame.points.astype(np.float64)
    count = len(frame.boxes)
    boxes = np.concatenate([frame.boxes[:, :7], frame.others]).astype(np.float64)
    velocity = frame.boxes[:, 7:].astype(np.float64)  # [M, 2 or 0]
    if mirrored:
        points[:, 1] *= -1
        boxes[:, [1, 6]] *= -1
        velocity[:, 1:] *= -1
    if mirrored_x:
        points[:, 0] *= -1
        boxes[:, 0] *= -1
        boxes[:, 6] = np.pi - boxes[:, 6]
        velocity[:, :1] *= -1
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.array([[cos, sin], [-sin, cos]])  # for row vectors: counter-clockwise by `angle`
    points[:, :2] = points[:, :2] @ rotation
    boxes[:, :2] = boxes[:, :2] @ rotation
    velocity = velocity @ rotation * scale if velocity.shape[1] else velocity
    boxes[:, 6] += angle
    points[:, :3] *= scale
    boxes[:, :6] *= scale
    boxes = boxes.astype(np.float32)
    boxes[:, 6] = wrap_angle(boxes[:, 6])
    labels = np.concatenate([boxes[:count], velocity.astype(np.float32)], axis=1)
    return Sample(frame.frame_id, points.astype(np.float32), labels, frame.class_index, boxes[count:])
