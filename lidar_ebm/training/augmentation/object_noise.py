"""Each object moved and turned by itself, with the points inside its box."""

from __future__ import annotations

import numpy as np

from lidar_ebm.config.augmentation import ObjectNoiseConfig
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.geometry.boxes import wrap_angle
from lidar_ebm.geometry.moving import displacement, first_owner
from lidar_ebm.geometry.rectangles import choose_moves, footprints


def move_objects(frame: Sample, rng: np.random.Generator, settings: ObjectNoiseConfig) -> Sample:
    """The frame with every object moved and turned by itself, points and box together; the given one stays as it is.

    Object by object, moves are drawn until one takes the box where it overlaps no other labelled box, of whatever
    class, seen from above; after `settings.attempts` failures the object stays where it is. A point in several boxes
    goes with the first of them. Points in no box stay where they are, even where an object now stands. Where boxes have
    velocities, these turn with them, and points of earlier sweeps are moved with the object as it came.

    Args:
        frame: LiDAR frame, the time lag of its points last where boxes have velocities.
        rng: the only source of chance; drawn from for every box and attempt alike, whatever collides.
        settings: `config.augmentation.object_noise`.
    """
    size = (len(frame.boxes), settings.attempts)
    shifts = rng.normal(0.0, settings.center_std, (*size, 3))  # [M, A, 3] m
    turns = rng.uniform(-settings.rotation, settings.rotation, (*size, 1))  # [M, A, 1] rad
    moves = np.concatenate((shifts[..., :2], turns), axis=2)
    chosen = choose_moves(footprints(frame.boxes[:, :7]), moves, footprints(frame.others))
    moved = np.flatnonzero(chosen >= 0)
    if not len(moved):
        return frame

    boxes = frame.boxes.astype(np.float64)
    shift, turn = np.zeros((len(boxes), 3)), np.zeros(len(boxes))
    shift[moved] = shifts[moved, chosen[moved]]
    turn[moved] = turns[moved, chosen[moved], 0]

    points = frame.points.copy()
    owner = first_owner(points, frame.boxes)  # [N], -1 for none
    rows = np.flatnonzero(owner >= 0)
    owner = owner[rows]
    came = displacement(points[rows], boxes[owner])  # by which each was behind
    x, y, z = (points[rows, :3] - came - boxes[owner, :3]).T
    cos, sin = np.cos(turn[owner]), np.sin(turn[owner])
    offset = np.stack((cos * x - sin * y, sin * x + cos * y, z), axis=1)
    offset += np.stack((cos * came[:, 0] - sin * came[:, 1], sin * came[:, 0] + cos * came[:, 1], came[:, 2]), axis=1)
    points[rows, :3] = offset + boxes[owner, :3] + shift[owner]

    boxes[:, :3] += shift
    if boxes.shape[1] > 7:
        vx, vy = boxes[:, 7:9].T.copy()
        boxes[:, 7], boxes[:, 8] = np.cos(turn) * vx - np.sin(turn) * vy, np.sin(turn) * vx + np.cos(turn) * vy
    boxes[:, 6] += turn
    boxes = boxes.astype(np.float32)
    boxes[:, 6] = wrap_angle(boxes[:, 6])
    return Sample(frame.frame_id, points, boxes, frame.class_index, frame.others)
