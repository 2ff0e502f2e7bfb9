"""Points of labelled objects, to be cut out of their frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.geometry.boxes import points_in_boxes
from lidar_ebm.types import TIME_LAG


def cut_out_objects(points: np.ndarray, channels: Sequence[str], boxes: Boxes) -> tuple[np.ndarray, np.ndarray]:
    """Number of points [M] int64 of each box, and the points themselves, those of the first box first.

    Of points with a time lag t those of an object with velocity v lie in its box moved by -v t: where it was when they
    were measured. An object whose velocity is not known is taken to stand still.

    Args:
        points: [N, 3 + C] float32, LiDAR frame.
        channels: names of the C columns.
        boxes: M boxes, LiDAR frame.
    """
    if TIME_LAG not in channels or boxes.velocity is None:
        inside = points_in_boxes(points, boxes.boxes)  # [N, M]
        return inside.sum(axis=0).astype(np.int64), points[np.nonzero(inside.T)[1]]
    lags = points[:, 3 + list(channels).index(TIME_LAG)]
    velocity = np.nan_to_num(boxes.velocity).astype(np.float32)
    order = np.argsort(points[:, 0], kind="stable")
    sorted_x, oldest = points[order, 0], np.float32(lags.max(initial=0))
    objects = []
    for box, (vx, vy) in zip(boxes.boxes, velocity, strict=True):
        # Nearly all points lie outside the circle around the box: the kernel is given the few others.
        reach = np.float32(np.hypot(box[3], box[4]) / 2 + 0.01)
        behind = np.sort([0, -vx * oldest])  # of where the box is now, on its way
        first, last = np.searchsorted(sorted_x, box[0] + behind + np.array((-reach, reach)))
        strip = np.sort(order[first:last])
        x, y = points[strip, 0] + vx * lags[strip], points[strip, 1] + vy * lags[strip]
        near = (np.abs(x - np.float32(box[0])) <= reach) & (np.abs(y - np.float32(box[1])) <= reach)
        there = np.column_stack((x[near], y[near], points[strip[near], 2]))
        objects.append(strip[near][points_in_boxes(there, box[None])[:, 0]])
    counts = np.array([len(each) for each in objects], np.int64)
    return counts, points[np.concatenate([np.zeros(0, np.int64), *objects])]
