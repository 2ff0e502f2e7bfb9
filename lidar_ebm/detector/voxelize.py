"""Points → voxels: the mean of the points in every occupied cell."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from lidar_ebm.config.detector import VoxelConfig
from lidar_ebm.errors import InputError
from lidar_ebm.types import Voxels

# Multiplied by this and taken modulo 2³², numbers below 2³¹ are spread evenly, and none of them meets another.
SPREAD = 2654435761
_said: set[VoxelConfig] = set()  # whose limit was spoken of already


def voxelize(
    points: Tensor, point_batch_index: Tensor, batch_size: int, config: VoxelConfig, *, limited: bool = False
) -> Voxels:
    """Average the points of each voxel: all of them, unless the configuration is one of version 0.1.

    The order of the points changes nothing then. Points outside the range, not-a-number and infinite ones are left out.
    A frame may have no point. The same input gives the same bits.

    Args:
        points: x, y, z in m and C channels [N, 3 + C], reflectance the first, LiDAR frame.
        point_batch_index: the frame of each point [N], 0 ≤ index < batch_size, in any order.
        batch_size: number of frames.
        config: range and voxel size.
        limited: keep at most `config.max_voxels` of a frame, spread evenly over it (training, whose memory they take).
            The first time that others are left out their share is said in a warning.

    Returns:
        Voxels ordered by (batch, z, y, x).

    Raises:
        InputError: the shapes are not the ones above.
    """
    if points.dim() != 2 or points.shape[1] < 4 or point_batch_index.shape != points.shape[:1]:
        raise InputError(
            f"points {tuple(points.shape)} with batch index {tuple(point_batch_index.shape)}: expected "
            "[N, 3 + C] (x, y, z, reflectance, …) and [N]; give one batch index for each point."
        )
    depth, height, width = shape = config.grid_shape
    inside, keys = cell_keys(points, point_batch_index, config)
    points = points[inside]
    first = config.max_points_per_voxel
    keys, order = torch.sort(keys, stable=first is not None)
    keys, counts = torch.unique_consecutive(keys, return_counts=True)  # [V]
    if first is None:
        # In double precision, sums rounded to single hardly ever show in which order they were added; no atomic adds.
        total = torch.segment_reduce(points[order].double(), "sum", lengths=counts, axis=0, initial=0.0, unsafe=True)
        features = (total / counts[:, None]).to(points.dtype)
    else:
        features = _mean_of_first(points, order, counts, first)
    if limited and len(keys) > config.max_voxels:
        kept = _spread(keys, depth * height * width, batch_size) < config.max_voxels
        keys, features = keys[kept], features[kept]
        if len(keys) < len(kept) and config not in _said:
            _said.add(config)
            warnings.warn(
                f"{1 - len(keys) / len(kept):.0%} of the voxels of a batch are left out in training, for frames have "
                f"more than voxels.max_voxels={config.max_voxels}. Raise it where memory allows, or make voxels.range "
                "smaller or voxels.size larger.",
                stacklevel=2,
            )
    columns = [keys // (depth * height * width), keys // (height * width) % depth, keys // width % height, keys % width]
    return Voxels(
        features=features,
        indices=torch.stack(columns, dim=1).to(torch.int32),
        spatial_shape=shape,
        batch_size=batch_size,
    )


def cell_keys(points: Tensor, point_batch_index: Tensor, config: VoxelConfig) -> tuple[Tensor, Tensor]:
    """Mask [N] of the points that lie in a voxel, and for those the voxel's number, which rises with (batch, z, y, x).

    Points outside the range, not-a-number and infinite ones lie in none.
    """
    depth, height, width = config.grid_shape
    low, high = points.new_tensor(config.range[:3]), points.new_tensor(config.range[3:])
    inside = ((points[:, :3] >= low) & (points[:, :3] < high)).all(1)  # False for not-a-number
    inside &= points[:, 3:].isfinite().all(1)
    cells = torch.floor((points[inside, :3] - low) / points.new_tensor(config.size)).long()  # [N, 3] x, y, z
    # Rounding may put a point just below the upper end into a cell past it.
    x, y, z = torch.minimum(cells, torch.tensor([width, height, depth], device=cells.device) - 1).unbind(1)
    return inside, ((point_batch_index[inside].long() * depth + z) * height + y) * width + x


def key_of_cell(indices: Tensor, config: VoxelConfig) -> Tensor:
    """Numbers [V] of voxels from their indices [V, 4] batch, z, y, x, as `cell_keys` gives them."""
    depth, height, width = config.grid_shape
    batch, z, y, x = indices.long().unbind(1)
    return ((batch * depth + z) * height + y) * width + x


def _mean_of_first(points: Tensor, order: Tensor, counts: Tensor, first: int) -> Tensor:
    """Mean [V, 3 + C] of a voxel's first points, as version 0.1 added them; `order` [N] is by voxel, then by input."""
    starts = counts.cumsum(0) - counts  # [V]
    place = torch.arange(first, device=points.device)
    taken = place < counts[:, None]  # [V, K]
    rows = order[torch.where(taken, starts[:, None] + place, starts[:, None])]  # [V, K]
    return (points[rows] * taken[:, :, None]).sum(1) / counts.clamp_max(first)[:, None]


def _spread(keys: Tensor, cells: int, batch_size: int) -> Tensor:
    """Place [V] of each voxel among those of its frame, in an order that is as good as random and its cell's own."""
    frame = keys // cells  # rises
    order = torch.argsort(frame * 2**32 + keys % cells * SPREAD % 2**32)
    voxels = torch.bincount(frame, minlength=batch_size)
    place = torch.empty_like(frame)
    place[order] = torch.arange(len(frame), device=frame.device)
    return place - (voxels.cumsum(0) - voxels)[frame]
