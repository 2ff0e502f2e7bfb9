"""Boxes between the LiDAR frame and KITTI's camera frame, and their rectangles in the image; NumPy alone.

KITTI gives the centre of the bottom face in the rectified camera frame (x right, y down, z forward) and one angle,
`rotation_y`, about the camera's y. The verticals of the two frames differ by the camera's tilt, which seven numbers
cannot express; it is neglected. The centre and the heading, seen from above in the LiDAR frame, are exact.
"""

from __future__ import annotations

import math

import numpy as np

from lidar_ebm.formats.kitti.calibration import Calibration
from lidar_ebm.formats.kitti.lines import Camera3D
from lidar_ebm.geometry.upright import wrap_angle

_EDGES = np.array([(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)])
_NEAR = 0.01  # m before the camera, where an edge is cut


def to_lidar(box: Camera3D, camera: Calibration) -> list[float]:
    """Box (x, y, z, l, w, h, yaw) in the LiDAR frame."""
    x, y, z = (camera.rect_to_lidar @ (box.x, box.y - box.height / 2, box.z, 1.0))[:3].tolist()
    forward, left = camera.heading_to_lidar @ (math.cos(box.rotation_y), -math.sin(box.rotation_y))
    return [x, y, z, box.length, box.width, box.height, math.atan2(left, forward)]


def to_camera(box: np.ndarray, camera: Calibration) -> Camera3D:
    """The inverse of `to_lidar`, with rotation_y in [-π, π)."""
    x, y, z = (camera.lidar_to_rect @ (*box[:3], 1.0))[:3].tolist()
    right, ahead = np.linalg.solve(camera.heading_to_lidar, (math.cos(box[6]), math.sin(box[6])))
    length, width, height = box[3:6].tolist()
    rotation_y = float(wrap_angle(np.array(math.atan2(-ahead, right))))
    return Camera3D(height, width, length, x, y + height / 2, z, rotation_y)


def observation_angle(box: Camera3D) -> float:
    """KITTI's alpha in [-π, π): rotation_y less the direction in which the camera sees the box."""
    return float(wrap_angle(np.array(box.rotation_y - math.atan2(box.x, box.z))))


def rectangle_of(box: Camera3D, camera: Calibration, image_size: tuple[int, int]) -> tuple[float, ...] | None:
    """Rectangle (x1, y1, x2, y2) around the part of a box before the camera, cut to the image; None where none is."""
    across = np.array([(0.5, 0.5), (0.5, -0.5), (-0.5, -0.5), (-0.5, 0.5)]) * (box.length, box.width)
    cosine, sine = math.cos(box.rotation_y), math.sin(box.rotation_y)
    ground = across @ np.array([(cosine, -sine), (sine, cosine)]) + (box.x, box.z)  # [4, 2] x, z
    corners = np.array([(x, y, z, 1.0) for y in (box.y, box.y - box.height) for x, z in ground])
    projected = corners @ camera.p2.T  # [8, 3] u * depth, v * depth, depth
    start, end = projected[_EDGES[:, 0]], projected[_EDGES[:, 1]]
    crossing = (start[:, 2] < _NEAR) != (end[:, 2] < _NEAR)
    start, end = start[crossing], end[crossing]
    share = (_NEAR - start[:, 2:]) / (end[:, 2:] - start[:, 2:])
    seen = np.vstack((projected[projected[:, 2] >= _NEAR], start + share * (end - start)))
    if not len(seen):
        return None
    pixels = seen[:, :2] / seen[:, 2:]
    limit = np.array(image_size, dtype=np.float64) - 1
    low, high = np.clip(pixels.min(axis=0), 0, limit), np.clip(pixels.max(axis=0), 0, limit)
    return (*low.tolist(), *high.tolist()) if (high > low).all() else None
