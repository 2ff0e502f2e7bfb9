"""Boxes with seven degrees of freedom in the LiDAR frame: corners, contents, residual coding, a quick overlap.

A box is (x, y, z, l, w, h, yaw), in metres and radians: z at the geometric centre, l along the heading, yaw
counter-clockwise about +z from +x. Every function takes numpy arrays or torch tensors and returns what it was given;
those on tensors are differentiable and stay on the tensor's device. N and M may be 0 everywhere.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cuda_ops.point_ops import op as point_ops
from lidar_ebm.geometry.arrays import Array, as_given, as_tensor

# Corners of the unit box seen from above, counter-clockwise from front left: shares of l (forward) and w (left).
_CORNER_SIGNS = ((0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5), (0.5, -0.5))


def wrap_angle(angle: Array) -> Array:
    """Angles of any shape, in radians, brought to [-pi, pi); those already there come back bit for bit."""
    given = as_tensor(angle)
    wrapped = given - 2 * math.pi * torch.floor((given + math.pi) / (2 * math.pi))
    # A turn may be counted wrongly by one where the division rounds, right at the seam.
    wrapped = torch.where(wrapped < -math.pi, wrapped + 2 * math.pi, wrapped)
    wrapped = torch.where(wrapped >= math.pi, wrapped - 2 * math.pi, wrapped)
    return as_given(wrapped, angle)


def corners_bev(boxes: Array) -> Array:
    """Corners seen from above.

    Args:
        boxes: [N, 7].

    Returns:
        [N, 4, 2] (x, y) in metres, counter-clockwise: front left, rear left, rear right, front right.
    """
    tensor = as_tensor(boxes)
    signs = tensor.new_tensor(_CORNER_SIGNS)  # [4, 2]
    along, across = (tensor[:, None, 3:5] * signs).unbind(-1)  # [N, 4] each
    cos, sin = torch.cos(tensor[:, 6:7]), torch.sin(tensor[:, 6:7])  # [N, 1]
    x = tensor[:, 0:1] + along * cos - across * sin
    y = tensor[:, 1:2] + along * sin + across * cos
    return as_given(torch.stack((x, y), dim=-1), boxes)


def corners_3d(boxes: Array) -> Array:
    """All corners.

    Args:
        boxes: [N, 7].

    Returns:
        [N, 8, 3] (x, y, z) in metres: the four of `corners_bev` at the bottom, then the same four at the top.
    """
    tensor = as_tensor(boxes)
    ground = corners_bev(tensor).repeat(1, 2, 1)  # [N, 8, 2]
    half = tensor[:, 5:6].expand(-1, 4) / 2  # [N, 4]
    z = tensor[:, 2:3] + torch.cat((-half, half), dim=1)  # [N, 8]
    return as_given(torch.cat((ground, z[..., None]), dim=-1), boxes)


def points_in_boxes(points: Array, boxes: Array) -> Array:
    """Mask of the points that lie in each box; a point on a face lies inside.

    Computed in float64. A box with NaN or infinity holds no point.

    Args:
        points: [N, >= 3], x, y, z first.
        boxes: [M, 7].

    Returns:
        [N, M] bool.
    """
    return as_given(point_ops.points_in_boxes(as_tensor(points), as_tensor(boxes)), points)


def encode_boxes(boxes: Array, anchors: Array) -> Array:
    """Residuals of boxes with respect to anchors, as SECOND (Yan, Mao, Li, Sensors 2018) codes them.

    Offsets in x and y are divided by the anchor's diagonal seen from above, that in z by the anchor's height; sizes are
    log ratios; the angle is the plain difference, wrapped to [-pi, pi).

    Args:
        boxes: [..., 7] with sizes above 0.
        anchors: [..., 7], broadcast against `boxes`.

    Returns:
        [..., 7].
    """
    box, anchor = as_tensor(boxes), as_tensor(anchors)
    residuals = torch.cat(
        (
            (box[..., :3] - anchor[..., :3]) / _coding_scale(anchor),
            torch.log(box[..., 3:6] / anchor[..., 3:6]),
            wrap_angle(box[..., 6:] - anchor[..., 6:]),
        ),
        dim=-1,
    )
    return as_given(residuals, boxes)


def decode_boxes(residuals: Array, anchors: Array) -> Array:
    """Boxes from residuals: the inverse of `encode_boxes`, with yaw wrapped to [-pi, pi).

    Args:
        residuals: [..., 7].
        anchors: [..., 7], broadcast against `residuals`.

    Returns:
        [..., 7].
    """
    residual, anchor = as_tensor(residuals), as_tensor(anchors)
    boxes = torch.cat(
        (
            residual[..., :3] * _coding_scale(anchor) + anchor[..., :3],
            torch.exp(residual[..., 3:6]) * anchor[..., 3:6],
            wrap_angle(residual[..., 6:] + anchor[..., 6:]),
        ),
        dim=-1,
    )
    return as_given(boxes, residuals)


def _coding_scale(anchors: Tensor) -> Tensor:
    """Units that the residuals of x, y and z are measured in: [..., 3] from [..., 7]."""
    diagonal = torch.linalg.vector_norm(anchors[..., 3:5], dim=-1)
    return torch.stack((diagonal, diagonal, anchors[..., 5]), dim=-1)


def nearest_axis_aligned_iou(first: Array, second: Array) -> Array:
    """Overlap seen from above once every box is turned to its nearest axis direction (anchor assignment uses it).

    Args:
        first: [N, 7].
        second: [M, 7].

    Returns:
        [N, M] intersection over union in 0..1; 0 where both areas are 0.
    """
    low_a, high_a = _axis_aligned_extent(as_tensor(first))
    low_b, high_b = _axis_aligned_extent(as_tensor(second))
    overlap = torch.minimum(high_a[:, None], high_b) - torch.maximum(low_a[:, None], low_b)  # [N, M, 2]
    intersection = overlap.clamp(min=0).prod(-1)  # [N, M]
    union = (high_a - low_a).prod(-1)[:, None] + (high_b - low_b).prod(-1) - intersection
    return as_given(intersection / union.clamp(min=torch.finfo(union.dtype).tiny), first)


def _axis_aligned_extent(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Low and high corners, [N, 2] each, of boxes turned to the nearest multiple of a quarter turn."""
    sideways = torch.abs(torch.sin(boxes[:, 6:7])) > math.sqrt(0.5)  # nearer to the y axis than to the x axis
    size = torch.where(sideways, boxes[:, [4, 3]], boxes[:, 3:5])
    return boxes[:, :2] - size / 2, boxes[:, :2] + size / 2
