"""Between the LiDAR frame, KITTI's rectified camera frame (x right, y down, z forward) and the left colour image.

KITTI gives an object by the centre of its bottom face, its sizes and one angle, `rotation_y`, about the camera's y
axis. This program gives it upright in the LiDAR frame. The two verticals differ by the camera's tilt, under one degree
on KITTI's car, which no seven numbers in the LiDAR frame can express; it is neglected. The rest is exact: the geometric
centre (the location raised by half the height along the *camera's* vertical, then transformed, so that the box stays
where it was labelled) and the heading (its direction seen from above in the LiDAR frame, which on KITTI is
-(rotation_y + pi/2) to 0.02 degrees; a camera that looks elsewhere is taken into account).

numpy arrays are computed and returned in float64, so that a label goes to a box and back without losing its decimals;
tensors keep their dtype and device.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lidar_ebm.formats.kitti.calibration import Calibration
from lidar_ebm.geometry.arrays import Array, as_given, as_tensor
from lidar_ebm.geometry.boxes import corners_3d
from lidar_ebm.geometry.camera import DEFAULT_IMAGE_SIZE

# Edges of a box as pairs of indices into corners_3d: bottom, top, uprights.
_EDGES = np.array([(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)])
# What lies nearer to the image plane than this, in metres, is cut off before projection, which is undefined at 0.
_NEAR = 0.01


def lidar_to_camera(points: Array, calibration: Calibration) -> Array:
    """Points [N, >= 3] in the LiDAR frame → [N, 3] in the rectified camera frame, m."""
    return _transform(points, calibration.lidar_to_rect)


def camera_to_lidar(points: Array, calibration: Calibration) -> Array:
    """Points [N, >= 3] in the rectified camera frame → [N, 3] in the LiDAR frame, m."""
    return _transform(points, calibration.rect_to_lidar)


def project_to_image(points: Array, calibration: Calibration) -> tuple[Array, Array]:
    """Project points of the LiDAR frame into the left colour image.

    Args:
        points: [N, >= 3] LiDAR frame, m.
        calibration: of this frame.

    Returns:
        Pixels [N, 2] (u right, v down) and depths [N] in m along the optical axis. Only pixels with a depth above 0 are
        in front of the camera; at depth 0 they are infinite or NaN.
    """
    projection = calibration.p2 @ calibration.lidar_to_rect  # [3, 4]
    homogeneous = as_tensor(_transform(points, projection))
    depth = homogeneous[:, 2]
    return as_given(homogeneous[:, :2] / depth[:, None], points), as_given(depth, points)


def crop_to_camera_view(
    points: Array, calibration: Calibration, image_size: tuple[int, int] = DEFAULT_IMAGE_SIZE
) -> Array:
    """Mask [N] bool of the points [N, >= 3] (LiDAR frame) that the left colour camera sees.

    `image_size` is (width, height) in pixels. KITTI labels only what is in this image.
    """
    pixels, depth = (as_tensor(part) for part in project_to_image(points, calibration))
    width, height = image_size
    u, v = pixels.unbind(-1)
    return as_given((depth > 0) & (u >= 0) & (u < width) & (v >= 0) & (v < height), points)


def project_boxes(boxes: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Extents of boxes in the image plane, not cut to the image.

    Args:
        boxes: [M, 7] LiDAR frame.
        calibration: of this frame.

    Returns:
        [M, 4] float64 (x1, y1, x2, y2) in pixels around what of each box is in front of the camera; NaN where nothing
        is.
    """
    corners = corners_3d(np.asarray(boxes, dtype=np.float64).reshape(-1, 7)).reshape(-1, 3)
    return _extents(_transform(corners, calibration.p2 @ calibration.lidar_to_rect).reshape(-1, 8, 3))


def _extents(homogeneous: np.ndarray) -> np.ndarray:
    """Image extents [M, 4] of boxes whose corners [M, 8, 3], in the order of `corners_3d`, are projected already.

    The corners are (u * depth, v * depth, depth).
    """
    start, end = homogeneous[:, _EDGES[:, 0]], homogeneous[:, _EDGES[:, 1]]  # [M, 12, 3]
    rise = end[..., 2] - start[..., 2]
    crossing = (start[..., 2] < _NEAR) != (end[..., 2] < _NEAR)
    share = np.divide(_NEAR - start[..., 2], rise, out=np.zeros_like(rise), where=crossing)
    cuts = start + share[..., None] * (end - start)  # where edges pass the near plane; elsewhere their start again
    vertices = np.concatenate((homogeneous, cuts), axis=1)  # [M, 20, 3]
    ahead = vertices[..., 2] >= _NEAR * (1 - 1e-6)
    pixels = vertices[..., :2] / np.where(ahead, vertices[..., 2], np.nan)[..., None]
    low = np.where(ahead[..., None], pixels, np.inf).min(axis=1, initial=np.inf)
    high = np.where(ahead[..., None], pixels, -np.inf).max(axis=1, initial=-np.inf)
    rectangles = np.concatenate((low, high), axis=1)
    return np.where(ahead.any(axis=1, keepdims=True), rectangles, np.nan)


def clip_to_image(rectangles: np.ndarray, image_size: tuple[int, int] = DEFAULT_IMAGE_SIZE) -> np.ndarray:
    """Rectangles [M, 4] (x1, y1, x2, y2) cut to pixels 0 … width - 1, 0 … height - 1; zeros where nothing is left."""
    limit = np.array([image_size[0] - 1, image_size[1] - 1] * 2, dtype=np.float64)
    clipped = np.clip(rectangles, 0, limit)
    visible = (clipped[:, 2:] > clipped[:, :2]).all(axis=1, keepdims=True)  # [M, 1], False for NaN
    return np.where(visible, clipped, 0.0)


def _transform(points: Array, matrix: np.ndarray) -> Array:
    """Points [N, >= 3] through an affine map [>= 3, 4] → [N, 3]; arrays in float64, tensors in their own dtype."""
    tensor = as_tensor(points)[:, :3]
    if not isinstance(points, Tensor):
        tensor = tensor.to(torch.float64)
    affine = torch.as_tensor(matrix[:3], dtype=tensor.dtype, device=tensor.device)
    return as_given(tensor @ affine[:, :3].T + affine[:, 3], points)
