"""Boxes as the numbers that a center head tells of them at the cell of their centre, and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lidar_ebm.config.detector import ClassConfig
from lidar_ebm.geometry.boxes import wrap_angle
from lidar_ebm.types import BevGrid

# Places of a box's numbers. Offset: cells from the cell's centre. Height: m above the class's. Size: logarithms of the
# ratios to the class's. Yaw: sine and cosine. Velocity: m/s, where boxes have one.
OFFSET, HEIGHT, SIZE, YAW, VELOCITY = slice(0, 2), slice(2, 3), slice(3, 6), slice(6, 8), slice(8, 10)
MAX_LOG_SIZE = 4.0  # bounds the sizes that an untrained head can propose


def number_count(box_dimensions: int) -> int:
    """Number of values that stand for a box of D numbers: yaw is two."""
    return box_dimensions + 1


def class_references(classes: Sequence[ClassConfig]) -> Tensor:
    """Height of the centre and sizes of each class, which a box's are measured by: [K, 4] z, l, w, h, m."""
    return torch.tensor([(item.anchor_center_z, *item.anchor_size) for item in classes])


def center_cells(boxes: Tensor, grid: BevGrid) -> tuple[Tensor, Tensor, Tensor]:
    """Rows [M] and columns [M] of the cells under the centres of boxes [M, D], and which [M] are cells of the grid."""
    (height, width), place = grid.shape, _places(boxes, grid)
    column, row = torch.floor(place + 0.5).long().unbind(1)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return row, column, inside


def encode_centers(boxes: Tensor, row: Tensor, column: Tensor, grid: BevGrid, reference: Tensor) -> Tensor:
    """Numbers [M, D + 1] of boxes [M, D] at cells row [M], column [M].

    Args:
        reference: [M, 4] of the boxes' classes, from `class_references`.
    """
    offset = _places(boxes, grid) - torch.stack((column, row), dim=1)
    yaw = boxes[:, 6:7]
    return torch.cat(
        (
            offset,
            boxes[:, 2:3] - reference[:, :1],
            torch.log(boxes[:, 3:6] / reference[:, 1:]),
            yaw.sin(),
            yaw.cos(),
            boxes[:, 7:],
        ),
        dim=1,
    )


def decode_centers(numbers: Tensor, row: Tensor, column: Tensor, grid: BevGrid, reference: Tensor) -> Tensor:
    """Boxes [N, D] from numbers [N, D + 1] at cells row [N], column [N]: the inverse of `encode_centers`."""
    place = torch.stack((column, row), dim=1) + numbers[:, OFFSET]
    size = numbers[:, SIZE].clamp(-MAX_LOG_SIZE, MAX_LOG_SIZE).exp() * reference[:, 1:]
    sine, cosine = numbers[:, YAW].unbind(1)
    return torch.cat(
        (
            place * numbers.new_tensor(grid.cell_size) + numbers.new_tensor(grid.origin),
            numbers[:, HEIGHT] + reference[:, :1],
            size,
            wrap_angle(torch.atan2(sine, cosine))[:, None],
            numbers[:, VELOCITY],
        ),
        dim=1,
    )


def mirror_signs(axes: str, count: int) -> Tensor:
    """Signs [count] that the numbers of a box have in a frame mirrored along `axes` ("x", "y" or "xy")."""
    signs = torch.ones(count)
    for axis, turned in (("x", (0, 7, 8)), ("y", (1, 6, 9))):  # offset, cosine or sine, velocity
        if axis in axes:
            signs[[place for place in turned if place < count]] *= -1
    return signs


def _places(boxes: Tensor, grid: BevGrid) -> Tensor:
    """Centres [M, 2] of boxes in cells from the centre of cell (0, 0): along x, along y."""
    return (boxes[:, :2] - boxes.new_tensor(grid.origin)) / boxes.new_tensor(grid.cell_size)
