"""Heatmaps that a center head is taught: a Gaussian around the centre of every label, as large as the label allows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lidar_ebm.config.detector import DetectorSettings
from lidar_ebm.detector.heads.center_boxes import center_cells, encode_centers
from lidar_ebm.types import LabelBatch


@dataclass(frozen=True)
class CenterTargets:
    """Targets of a batch: heatmaps, and the numbers of the M labels whose centres lie on the map."""

    heat: Tensor  # [B, K, H, W] float32, 1 at the cell of a label's centre, falling around it
    labels: Tensor  # [M] int64, rows of the labels in the batch's boxes
    batch_index: Tensor  # [M] int64
    class_index: Tensor  # [M] int64
    row: Tensor  # [M] int64
    column: Tensor  # [M] int64
    numbers: Tensor  # [M, D + 1] float32, as `encode_centers` makes them; NaN where a velocity is unknown


@torch.no_grad()
def center_targets(boxes: LabelBatch, config: DetectorSettings, references: Tensor) -> CenterTargets:
    """Targets of a batch's labels.

    Args:
        boxes: the labels.
        config: classes, grid, and how large the Gaussians are.
        references: [K, 4] from `class_references`.
    """
    grid = config.bev_grid
    row, column, inside = center_cells(boxes.boxes, grid)
    labels = torch.nonzero(inside)[:, 0]
    row, column, own = row[labels], column[labels], boxes.boxes[labels]
    frame, class_index = boxes.batch_index[labels], boxes.class_index[labels]
    size = own[:, 3:5] / min(grid.cell_size)  # cells
    radius = gaussian_radius(size, config.center_head.minimum_overlap).floor()
    radius = radius.clamp(config.center_head.minimum_radius, max(grid.shape)).long()
    shape = boxes.batch_size, len(config.classes), *grid.shape
    return CenterTargets(
        heat=draw_gaussians(frame, class_index, row, column, radius, shape),
        labels=labels,
        batch_index=frame,
        class_index=class_index,
        row=row,
        column=column,
        numbers=encode_centers(own, row, column, grid, references[class_index]),
    )


def gaussian_radius(size: Tensor, minimum_overlap: float) -> Tensor:
    """Way along both axes at once that leaves an upright rectangle's IoU with where it was at `minimum_overlap`.

    The first of CornerNet's three cases (Law and Deng, 2018), the one in which a box keeps its size: with side l and w,
    (l - r)(w - r) is the area that is shared.

    Args:
        size: [..., 2].

    Returns:
        [...] in the units of the sizes.
    """
    total, area = size.sum(-1), size.prod(-1)
    left = area * (1 - minimum_overlap) / (1 + minimum_overlap)
    return (total - (total.square() - 4 * left).clamp(min=0).sqrt()) / 2


def draw_gaussians(
    frame: Tensor, class_index: Tensor, row: Tensor, column: Tensor, radius: Tensor, shape: tuple[int, int, int, int]
) -> Tensor:
    """Heatmaps [B, K, H, W] of M centres, each the maximum of its Gaussians.

    Args:
        frame: [M] int64, and so are class_index, row, column and radius. A Gaussian ends at its radius along either
            axis, which is three standard deviations and half a cell.
        shape: B, K, H, W.
    """
    _, classes, height, width = shape
    heat = torch.zeros(shape, device=row.device)
    if len(row) == 0:
        return heat
    reach = int(radius.max())
    step = torch.arange(-reach, reach + 1, device=row.device)
    along_y, along_x = step[:, None], step[None, :]
    y, x = row[:, None, None] + along_y, column[:, None, None] + along_x  # [M, S, 1], [M, 1, S]
    spread = (2 * radius + 1)[:, None, None] / 6
    value = torch.exp(-(along_y.square() + along_x.square()) / (2 * spread.square()))  # [M, S, S]
    far = torch.maximum(along_y.abs(), along_x.abs()) > radius[:, None, None]
    outside = (y < 0) | (y >= height) | (x < 0) | (x >= width)
    value = value.masked_fill(far | outside, 0.0)  # which changes no maximum
    plane = (frame * classes + class_index)[:, None, None] * height
    cell = (plane + y.clamp(0, height - 1)) * width + x.clamp(0, width - 1)
    heat.view(-1).scatter_reduce_(0, cell.flatten(), value.flatten(), "amax")
    return heat
