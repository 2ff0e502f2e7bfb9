"""From the LiDAR frame into a camera's frame and image; arrays in float64, so that decimals come back as they were."""

from __future__ import annotations

import numpy as np

from lidar_ebm.geometry.camera import Camera
from lidar_ebm.geometry.upright import corners_3d

# Edges of a box as pairs of indices into corners_3d: bottom, top, uprights.
_EDGES = np.array([(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)])
# What lies nearer to the image plane than this, in metres, is cut off before projection, which is undefined at 0.
_NEAR = 0.01


def project_to_image(points: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Project points [N, >= 3] of the LiDAR frame into the image.

    Returns:
        Pixels [N, 2] (u right, v down) and depths [N] in m along the optical axis. Only pixels with a depth above 0 are
        in front of the camera; at depth 0 they are infinite or NaN.
    """
    homogeneous = transform(points, camera.lidar_to_image)
    depth = homogeneous[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        return homogeneous[:, :2] / depth[:, None], depth


def crop_to_camera_view(points: np.ndarray, camera: Camera) -> np.ndarray:
    """Mask [N] bool of the points [N, >= 3] (LiDAR frame) that lie in front of the camera and within its image."""
    pixels, depth = project_to_image(points, camera)
    width, height = camera.image_size
    u, v = pixels.T
    return (depth > 0) & (u >= 0) & (u < width) & (v >= 0) & (v < height)


def project_boxes(boxes: np.ndarray, camera: Camera) -> np.ndarray:
    """Extents of boxes [M, 7] (LiDAR frame) in the image plane, not cut to the image.

    Returns:
        [M, 4] float64 (x1, y1, x2, y2) in pixels around what of each box is in front of the camera; NaN where nothing
        is.
    """
    corners = corners_3d(np.asarray(boxes, dtype=np.float64).reshape(-1, 7)).reshape(-1, 3)
    return image_extents(transform(corners, camera.lidar_to_image).reshape(-1, 8, 3))


def image_extents(homogeneous: np.ndarray) -> np.ndarray:
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


def clip_to_image(rectangles: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Rectangles [M, 4] (x1, y1, x2, y2) cut to pixels 0 … width - 1, 0 … height - 1; zeros where nothing is left."""
    limit = np.array([image_size[0] - 1, image_size[1] - 1] * 2, dtype=np.float64)
    clipped = np.clip(rectangles, 0, limit)
    visible = (clipped[:, 2:] > clipped[:, :2]).all(axis=1, keepdims=True)  # [M, 1], False for NaN
    return np.where(visible, clipped, 0.0)


def transform(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points [N, >= 3] through an affine map [>= 3, 4] → [N, 3] float64."""
    return np.asarray(points[:, :3], dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
