"""Upright boxes as arrays, for rooms that load no torch: angles and corners as `geometry.boxes` has them."""

from __future__ import annotations

import numpy as np


def wrap_angle(angle: np.ndarray) -> np.ndarray:
    """Angles in rad brought to [-π, π); what lies there already keeps its bits."""
    wrapped = np.mod(angle + np.pi, 2 * np.pi) - np.pi
    wrapped = np.where(wrapped >= np.pi, -np.pi, wrapped)
    return np.where((angle >= -np.pi) & (angle < np.pi), angle, wrapped)


def corners_3d(boxes: np.ndarray) -> np.ndarray:
    """Corners [N, 8, 3] in m of boxes [N, 7]: front left, front right, rear right, rear left; bottom, then top."""
    along, across = np.array([1.0, 1.0, -1.0, -1.0]) / 2, np.array([1.0, -1.0, -1.0, 1.0]) / 2
    x, y = boxes[:, 3:4] * along, boxes[:, 4:5] * across  # [N, 4]
    cosine, sine = np.cos(boxes[:, 6:7]), np.sin(boxes[:, 6:7])
    ground = np.stack((boxes[:, 0:1] + x * cosine - y * sine, boxes[:, 1:2] + x * sine + y * cosine), axis=-1)
    half = boxes[:, 5:6] / 2
    z = np.repeat(np.concatenate((boxes[:, 2:3] - half, boxes[:, 2:3] + half), axis=1), 4, axis=1)  # [N, 8]
    return np.concatenate((np.tile(ground, (1, 2, 1)), z[..., None]), axis=-1)
