"""`Boxes` with what KITTI's rules ask for, in the form that scoring works on: no files in between."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.kitti.objects import Objects, check_objects, objects_from_numbers
from lidar_ebm.evaluation.kitti.rules import UNKNOWN_ANGLE, UNKNOWN_LOCATION
from lidar_ebm.formats.kitti.files import read_calibration
from lidar_ebm.geometry.camera import Camera
from lidar_ebm.geometry.projection import clip_to_image, project_boxes
from lidar_ebm.geometry.upright import wrap_angle

_NO_BOX = np.array([UNKNOWN_LOCATION] * 3 + [-1.0] * 3 + [UNKNOWN_ANGLE])


def pack_camera_boxes(
    frames: Sequence[Boxes], transforms: Sequence[np.ndarray], *, need_scores: bool, names: Sequence[str] | None = None
) -> Objects:
    """Flatten the boxes of each frame and bring them into its camera's frame.

    A box that is NaN throughout is an object without a box in space, such as a region to ignore. What is not known
    (NaN, or no column at all) is as result files have it: rectangle -1, alpha -10; labels count as wholly visible.

    Args:
        frames: boxes of each frame, LiDAR frame.
        transforms: of each frame [4, 4], LiDAR → rectified camera.
        need_scores: these are results, each of which must have a finite score.
        names: what to call each frame in a message.

    Raises:
        InputError: there is not one camera a frame, points are known for some frames only, or a number is missing.
    """
    if len(transforms) != len(frames):
        raise InputError(f"cameras: {len(transforms)} for {len(frames)} frames; give one a frame.")
    columns = []
    for frame, transform in zip(frames, transforms, strict=True):
        scores = np.full(len(frame), np.nan) if frame.scores is None else frame.scores
        columns.append(
            np.column_stack(
                (
                    _filled(frame.truncated, 0.0, (len(frame),)),
                    _filled(frame.occluded, 0.0, (len(frame),)),
                    _filled(frame.alpha, UNKNOWN_ANGLE, (len(frame),)),
                    _filled(frame.image_rectangle, -1.0, (len(frame), 4)),
                    to_kitti_boxes(frame.boxes, transform),
                    scores,
                )
            )
        )
    counted = [frame.points is not None for frame in frames if len(frame)]
    if any(counted) and not all(counted):
        raise InputError("points: given for some frames only; give them for every frame or for none")
    points = [frame.points for frame in frames if len(frame) and frame.points is not None]
    objects = objects_from_numbers(
        [len(frame) for frame in frames],
        [str(name) for frame in frames for name in frame.names],
        np.concatenate([np.zeros((0, 15)), *columns]),
        np.concatenate(points) if points else None,
    )
    check_objects(objects, need_scores=need_scores, names=names)
    return objects


def has_rectangle(boxes: Boxes) -> np.ndarray:
    """Mask [N] of the boxes whose rectangle in the image is known and has an extent."""
    if boxes.image_rectangle is None:
        return np.zeros(len(boxes), dtype=np.bool_)
    return np.asarray((boxes.image_rectangle[:, 2:] > boxes.image_rectangle[:, :2]).all(axis=1))


def add_rectangles(boxes: Boxes, camera: Camera) -> Boxes:
    """The boxes with the extent in the image of those that have no rectangle, and with alpha where it is unknown."""
    wanted = ~has_rectangle(boxes) & np.isfinite(boxes.boxes).all(axis=1)
    extents = clip_to_image(project_boxes(boxes.boxes, camera), camera.image_size)
    rectangle = np.full((len(boxes), 4), np.nan) if boxes.image_rectangle is None else boxes.image_rectangle
    x, _, z, *_, rotation_y = to_kitti_boxes(boxes.boxes, camera.lidar_to_camera).T
    alpha = np.full(len(boxes), np.nan) if boxes.alpha is None else boxes.alpha
    unknown = wanted & (np.isnan(alpha) | (alpha == UNKNOWN_ANGLE))
    return boxes.with_columns(
        image_rectangle=np.where(wanted[:, None], extents, rectangle),
        alpha=np.where(unknown, wrap_angle(rotation_y - np.arctan2(x, z)), alpha),
    )


def to_kitti_boxes(boxes: np.ndarray, lidar_to_camera: np.ndarray) -> np.ndarray:
    """Boxes [N, 7] of the LiDAR frame as KITTI gives them, [N, 7]: x, y, z of the bottom face's centre, height, width,
    length, rotation_y; placeholders for boxes that are NaN throughout."""
    x, y, z, length, width, height, yaw = boxes.T
    centers = np.column_stack((x, y, z)) @ lidar_to_camera[:3, :3].T + lidar_to_camera[:3, 3]
    heading_to_lidar = np.linalg.inv(lidar_to_camera)[:2][:, [0, 2]]  # (x, z) of the camera → (x, y) of the LiDAR
    headings = np.column_stack((np.cos(yaw), np.sin(yaw))) @ np.linalg.inv(heading_to_lidar).T
    rotation_y = np.arctan2(-headings[:, 1], headings[:, 0])
    rotation_y = np.where(rotation_y >= np.pi, -np.pi, rotation_y)
    rows = np.column_stack(
        (centers[:, 0], centers[:, 1] + height / 2, centers[:, 2], height, width, length, rotation_y)
    )
    return np.where(np.isnan(boxes).all(axis=1, keepdims=True), _NO_BOX, rows)


def read_transforms(folder: Path, names: Sequence[str]) -> list[np.ndarray]:
    """LiDAR → rectified camera [4, 4] of each frame, from `folder/NAME.txt`.

    Raises:
        InputError: a file is missing or malformed.
    """
    return [read_calibration(folder / f"{name}.txt").lidar_to_rect for name in names]


def _filled(values: np.ndarray | None, default: float, shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, default) if values is None else np.where(np.isnan(values), default, values)
