"""Bilinear reads of a bird's-eye-view map on each box's own grid, in plain torch.

The map `[B, C, H, W]` has H along y and W along x; `origin` is the position of the centre of cell (0, 0) and
`cell_size` the distance (dx, dy) between centres, both in the boxes' frame. So a map position is
`((x - origin_x) / dx, (y - origin_y) / dy)`, whole numbers are cell centres, and a read means what
`grid_sample(..., padding_mode="zeros", align_corners=True)` means: the map is zero on every cell outside of it, and
fades to that zero over the one cell beyond its outermost centres.

Everything is differentiable, twice too, in the map and in the positions; the gradient in the positions of a bilinear
surface jumps at cell lines, where the side of the higher index is taken. A NaN coordinate reads NaN
at its position alone, unless the other coordinate is off the map; infinity lies outside, where a read is zero.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def box_grid(boxes: Tensor, grid_size: tuple[int, int]) -> Tensor:
    """Positions of the grid that spans each box, corners included.

    Args:
        boxes: [N, 7] (x, y, z, l, w, h, yaw), m and rad; z and h play no part.
        grid_size: points across the width (from the right side, -w/2, to the left) and along the length (from rear
            to front); a single point stands in the middle.

    Returns:
        [N, across, along, 2] x, y in m.
    """
    across = _fractions(grid_size[0], boxes) * boxes[:, 4, None]  # [N, across]
    along = _fractions(grid_size[1], boxes) * boxes[:, 3, None]  # [N, along]
    left, front = across[:, :, None], along[:, None, :]
    cos, sin = boxes[:, 6].cos()[:, None, None], boxes[:, 6].sin()[:, None, None]
    x = boxes[:, 0, None, None] + front * cos - left * sin
    y = boxes[:, 1, None, None] + front * sin + left * cos
    return torch.stack([x, y], dim=-1)


def bilinear_read(
    bev: Tensor, xy: Tensor, batch_index: Tensor, *, origin: tuple[float, float], cell_size: tuple[float, float]
) -> Tensor:
    """The map's values at positions between its cell centres; zero outside of the map.

    Args:
        bev: [B, C, H, W], any floating type; channels-last is read without a copy.
        xy: [P, 2] positions, m.
        batch_index: [P] int64, the frame that each position reads.
        origin: x, y of the centre of cell (0, 0), m.
        cell_size: dx, dy, m.

    Returns:
        [P, C], in the map's type.

    Raises:
        ValueError: a shape does not fit.
    """
    if bev.ndim != 4 or xy.ndim != 2 or xy.shape[1] != 2 or batch_index.shape != xy.shape[:1]:
        raise ValueError(
            "expected a map [B, C, H, W], positions [P, 2] and a batch index [P], got "
            f"{tuple(bev.shape)}, {tuple(xy.shape)} and {tuple(batch_index.shape)}"
        )
    batch_size, channels, height, width = bev.shape
    row, column, weight, _ = corners(xy, (height, width), origin=origin, cell_size=cell_size)  # [P, 4] each
    index = (batch_index[:, None] * height + row.clamp(0, height - 1)) * width + column.clamp(0, width - 1)
    table = bev.permute(0, 2, 3, 1).reshape(batch_size * height * width, channels)  # [B * H * W, C]
    values = F.embedding(index, table)  # [P, 4, C]; of torch's gathers the one with the fastest backward on a CPU
    # Not a matrix product, which autocast would round to its lower precision.
    return (weight[:, :, None] * values).sum(dim=1).to(bev.dtype)


def corners(
    xy: Tensor, size: tuple[int, int], *, origin: tuple[float, float], cell_size: tuple[float, float]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four cells around each position on a map of `size` (H, W), and what a bilinear read weighs them with.

    Args:
        xy: [P, 2] positions, m.
        size: H, W.
        origin, cell_size: as in `bilinear_read`.

    Returns:
        [P, 4] rows, columns, weights (0 off the map), and whether the cell lies on the map.
    """
    height, width = size
    # By plain numbers: tensors made of them would have to be copied to a GPU.
    x, y = ((xy[:, axis] - origin[axis]) / cell_size[axis] for axis in range(2))
    position = torch.stack([x, y], dim=1)  # [P, 2] in cells
    low = position.detach().floor()
    # In [0, 1); infinity, less itself, would be NaN, also in the gradient of the zeros read there.
    fraction = torch.where(position.isinf(), 0.0, position - low)  # [P, 2]
    # Far positions must not overflow the integers, and NaN must not become one: it stays in the weights.
    left, below = (
        torch.nan_to_num(low[:, axis], nan=0.0).clamp(-2, limit).long() for axis, limit in enumerate((width, height))
    )
    column = torch.stack([left, left + 1] * 2, dim=1)  # [P, 4]: the four cells around the position
    row = torch.stack([below, below, below + 1, below + 1], dim=1)
    right, up = fraction[:, 0], fraction[:, 1]
    weight = torch.stack([(1 - right) * (1 - up), right * (1 - up), (1 - right) * up, right * up], dim=1)  # [P, 4]
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return row, column, torch.where(inside, weight, 0.0), inside


def sample_boxes(
    bev: Tensor,
    boxes: Tensor,
    batch_index: Tensor,
    *,
    grid_size: tuple[int, int] = (4, 7),
    origin: tuple[float, float],
    cell_size: tuple[float, float],
) -> Tensor:
    """All channels of the map at every grid point of every box.

    Args:
        bev: [B, C, H, W], H along y, W along x.
        boxes: [N, 7] (x, y, z, l, w, h, yaw), m and rad.
        batch_index: [N] int64, the frame of each box.
        grid_size: points across the width (right to left) and along the length (rear to front), corners included.
        origin: x, y of the centre of cell (0, 0), m.
        cell_size: dx, dy, m.

    Returns:
        [N, C, across, along], in the map's type; gradients flow to the map and to the boxes' x, y, l, w and yaw.

    Raises:
        ValueError: a shape does not fit.
    """
    _check_boxes(boxes, batch_index)
    across, along = grid_size
    xy = box_grid(boxes, grid_size).flatten(0, 2)  # [N * across * along, 2]
    values = bilinear_read(
        bev, xy, batch_index.repeat_interleave(across * along), origin=origin, cell_size=cell_size
    )  # [N * across * along, C]
    return values.view(len(boxes), across, along, bev.shape[1]).permute(0, 3, 1, 2)


def part_sensitive_scores(
    bev: Tensor,
    boxes: Tensor,
    batch_index: Tensor,
    *,
    grid_size: tuple[int, int] = (4, 7),
    origin: tuple[float, float],
    cell_size: tuple[float, float],
) -> Tensor:
    """Channel k of the map read at grid point k of each box, averaged over the grid (SA-SSD's part-sensitive warping).

    Args:
        bev: [B, K * G, H, W], K scores of G = across * along channels each; channel k * G + g is read at point g,
            counted with the length running fastest.
        boxes, batch_index, grid_size, origin, cell_size: as in `sample_boxes`.

    Returns:
        [N, K], in the map's type; gradients as in `sample_boxes`.

    Raises:
        ValueError: a shape does not fit.
    """
    _check_boxes(boxes, batch_index)
    points = grid_size[0] * grid_size[1]
    if bev.ndim != 4 or bev.shape[1] % points:
        raise ValueError(f"expected a map [B, K * {points}, H, W] for a {grid_size} grid, got {tuple(bev.shape)}")
    batch_size, channels, height, width = bev.shape
    # Each grid point reads a map of its own: frames times points many maps of K channels.
    maps = bev.view(batch_size, channels // points, points, height, width).transpose(1, 2).flatten(0, 1)
    map_index = batch_index[:, None] * points + torch.arange(points, device=batch_index.device)  # [N, G]
    xy = box_grid(boxes, grid_size).flatten(0, 2)  # [N * G, 2]
    values = bilinear_read(maps, xy, map_index.flatten(), origin=origin, cell_size=cell_size)  # [N * G, K]
    return values.view(len(boxes), points, channels // points).mean(dim=1)


def _fractions(count: int, like: Tensor) -> Tensor:
    """`count` even steps from -1/2 to 1/2, [count]; a single one is 0."""
    if count == 1:
        return like.new_zeros(1)
    return torch.linspace(-0.5, 0.5, count, dtype=like.dtype, device=like.device)


def _check_boxes(boxes: Tensor, batch_index: Tensor) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 7 or batch_index.shape != boxes.shape[:1]:
        raise ValueError(
            f"expected boxes [N, 7] and a batch index [N], got {tuple(boxes.shape)} and {tuple(batch_index.shape)}"
        )
