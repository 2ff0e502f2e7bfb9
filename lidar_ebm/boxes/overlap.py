"""Overlap of upright boxes in double precision, without torch (numba, CPU)."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from lidar_ebm.errors import InputError

SIZE = 7


def ground_overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union [N, M] of the rectangles of boxes [N, 7] and [M, 7] as seen from above."""
    return _overlaps(_as_boxes(a, "a"), _as_boxes(b, "b"), False)


def volume_overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """3-D intersection over union [N, M] of boxes [N, 7] and [M, 7]; 0 where a box has no extent."""
    return _overlaps(_as_boxes(a, "a"), _as_boxes(b, "b"), True)


def center_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Horizontal distances [N, M] of the centres of boxes [N, 7] and [M, 7], m."""
    a, b = _as_boxes(a, "a"), _as_boxes(b, "b")
    return np.hypot(a[:, None, 0] - b[None, :, 0], a[:, None, 1] - b[None, :, 1])


@njit(cache=True, nogil=True)
def rectangle_intersection(
    offset_x: float,
    offset_y: float,
    length_a: float,
    width_a: float,
    angle_a: float,
    length_b: float,
    width_b: float,
    angle_b: float,
) -> float:
    """Area that two rectangles share, the first's centre being at `offset` from the second's, angles counter-clockwise.

    In b's frame, where b is [-L, L] x [-W, W], Green's theorem gives the area as the integral of clamp(y, -W, W) along
    a's boundary over the x within [-L, L]: piecewise linear on each edge, so exact with three trapezoids. No decision
    between inside and outside is taken, which makes identical and touching rectangles ordinary cases.
    """
    if length_a == 0.0 or width_a == 0.0 or length_b == 0.0 or width_b == 0.0:
        return 0.0
    reach = 0.5 * (math.hypot(length_a, width_a) + math.hypot(length_b, width_b))
    if offset_x * offset_x + offset_y * offset_y > reach * reach:
        return 0.0
    cos_b, sin_b = math.cos(angle_b), math.sin(angle_b)
    center_x = cos_b * offset_x + sin_b * offset_y
    center_y = cos_b * offset_y - sin_b * offset_x
    cos, sin = math.cos(angle_a - angle_b), math.sin(angle_a - angle_b)
    length_x, length_y = 0.5 * length_a * cos, 0.5 * length_a * sin  # half the length, as a vector
    width_x, width_y = -0.5 * width_a * sin, 0.5 * width_a * cos  # half the width, as a vector
    half_length, half_width = 0.5 * length_b, 0.5 * width_b
    area = 0.0
    along, across = 1.0, 1.0
    for _ in range(4):  # corners counter-clockwise: (+, +), (-, +), (-, -), (+, -)
        x0 = center_x + along * length_x + across * width_x
        y0 = center_y + along * length_y + across * width_y
        along, across = -across, along
        x1 = center_x + along * length_x + across * width_x
        y1 = center_y + along * length_y + across * width_y
        area -= _strip_integral(x0, y0, x1, y1, half_length, half_width)
    smaller = min(length_a * width_a, length_b * width_b)
    return min(max(area, 0.0), smaller)


@njit(cache=True, nogil=True)
def _strip_integral(x0: float, y0: float, x1: float, y1: float, half_length: float, half_width: float) -> float:
    """Integral of clamp(y, -W, W) dx along the edge from (x0, y0) to (x1, y1), for x within [-L, L]."""
    dx, dy = x1 - x0, y1 - y0
    if dx == 0.0:
        return 0.0
    t0 = min(max((-half_length - x0) / dx, 0.0), 1.0)
    t1 = min(max((half_length - x0) / dx, 0.0), 1.0)
    if t0 > t1:
        t0, t1 = t1, t0
    if t0 == t1:
        return 0.0
    from_y, to_y = y0 + t0 * dy, y0 + t1 * dy
    change = to_y - from_y
    s0 = s1 = 0.0
    if change != 0.0:
        s0 = min(max((-half_width - from_y) / change, 0.0), 1.0)
        s1 = min(max((half_width - from_y) / change, 0.0), 1.0)
        if s0 > s1:
            s0, s1 = s1, s0
    a = min(max(from_y, -half_width), half_width)
    b = min(max(from_y + s0 * change, -half_width), half_width)
    c = min(max(from_y + s1 * change, -half_width), half_width)
    d = min(max(to_y, -half_width), half_width)
    mean = 0.5 * (s0 * (a + b) + (s1 - s0) * (b + c) + (1.0 - s1) * (c + d))
    return mean * (t1 - t0) * dx


@njit(cache=True, nogil=True, error_model="numpy")
def _overlaps(a: np.ndarray, b: np.ndarray, volume: bool) -> np.ndarray:
    table = np.zeros((len(a), len(b)), dtype=np.float64)
    for i in range(len(a)):
        for j in range(len(b)):
            height = 1.0
            if volume:
                top = min(a[i, 2] + 0.5 * a[i, 5], b[j, 2] + 0.5 * b[j, 5])
                height = top - max(a[i, 2] - 0.5 * a[i, 5], b[j, 2] - 0.5 * b[j, 5])
                if not height > 0.0:
                    continue
            area = rectangle_intersection(
                a[i, 0] - b[j, 0], a[i, 1] - b[j, 1], a[i, 3], a[i, 4], a[i, 6], b[j, 3], b[j, 4], b[j, 6]
            )
            if not area > 0.0:
                continue
            shared = area * height
            content_a, content_b = a[i, 3] * a[i, 4], b[j, 3] * b[j, 4]
            if volume:
                content_a *= a[i, 5]
                content_b *= b[j, 5]
            table[i, j] = shared / (content_a + content_b - shared)
    return table


def _as_boxes(boxes: np.ndarray, name: str) -> np.ndarray:
    array = np.ascontiguousarray(boxes, dtype=np.float64)
    if array.size == 0:
        return array.reshape(0, SIZE)
    if array.ndim != 2 or array.shape[1] != SIZE:
        raise InputError(f"{name}: expected boxes [N, 7] (x, y, z, l, w, h, yaw), got shape {list(array.shape)}.")
    return array
