"""The gradient in the map on a GPU with all its sums in a fixed order, as deterministic algorithms ask for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cuda_ops import _native
from cuda_ops.box_sampling.reference import box_grid, corners


def add_in_order(
    sums: Tensor,
    gradient: Tensor,
    boxes: Tensor,
    batch_index: Tensor,
    grid_size: Sequence[int],
    place: Sequence[float],
    parts: bool,
) -> None:
    """Add a gradient of box sampling to the map `sums` [B, C, H, W], which is zero, in place.

    Args:
        sums: float32 or float64 and dense.
        gradient: [N, C, across, along], or with `parts` [N, K], contiguous and of the same type.
        boxes: [N, 7].
        batch_index: [N].
        grid_size: across, along.
        place: origin x, y and cell size dx, dy.
        parts: channel k * G + g belongs to grid point g alone, of G.
    """
    across, along = grid_size
    points, count = across * along, len(boxes)
    frames, _, height, width = sums.shape
    frame_stride, channel_stride, row_stride, column_stride = sums.stride()
    xy = box_grid(boxes, (across, along)).flatten(0, 2)  # [N * G, 2]
    row, column, weight, inside = corners(
        xy, (height, width), origin=(place[0], place[1]), cell_size=(place[2], place[3])
    )
    frame = batch_index.repeat_interleave(points)[:, None]  # [N * G, 1]
    target = frame * frame_stride + row * row_stride + column * column_stride  # [N * G, 4]
    if parts:
        own_channel = torch.arange(points, device=boxes.device).repeat(count)[:, None]  # [N * G, 1]
        target = target + own_channel * channel_stride
        rows = (gradient / points)[:, None].expand(-1, points, -1).flatten(0, 1)  # [N * G, K]
    else:
        rows = gradient.flatten(2).transpose(1, 2).flatten(0, 1)  # [N * G, C]
    target = torch.where(inside & (frame >= 0) & (frame < frames), target, -1)
    target, order = target.flatten().sort(stable=True)  # [N * G * 4]
    rows, weight = rows.contiguous(), weight.to(sums.dtype).contiguous()
    _native.call(
        "box_sampling_sum_runs",
        sums.device,
        rows,
        _native.dtype_code(sums.dtype),
        len(target),
        rows.shape[1],
        weight,
        target,
        order,
        channel_stride * (points if parts else 1),
        sums,
    )
