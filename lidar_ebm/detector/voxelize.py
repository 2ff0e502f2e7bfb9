"""Points → voxels: the mean of the points in every occupied cell."""

from __future__ import annotations

import torch
from torch import Tensor

from lidar_ebm.config.detector import VoxelConfig
from lidar_ebm.errors import InputError
from lidar_ebm.types import Voxels


def voxelize(points: Tensor, point_batch_index: Tensor, batch_size: int, config: VoxelConfig) -> Voxels:
    """Average the points of each voxel.

    Order decides what the two limits keep: a voxel averages its first `max_points_per_voxel` points in the order of
    the input, and a frame keeps the `max_voxels` voxels whose first points come first. Points outside the range,
    not-a-number and infinite ones are left out. A frame may have no point. The same input gives the same bits.

    Args:
        points: x, y, z in m and reflectance [N, 4], LiDAR frame.
        point_batch_index: the frame of each point [N], 0 ≤ index < batch_size, in any order.
        batch_size: number of frames.
        config: range, voxel size and limits.

    Returns:
        Voxels ordered by (batch, z, y, x).

    Raises:
        InputError: the shapes are not the ones above.
    """
    if points.dim() != 2 or points.shape[1] != 4 or point_batch_index.shape != points.shape[:1]:
        raise InputError(
            f"points {tuple(points.shape)} with batch index {tuple(point_batch_index.shape)}: expected [N, 4] "
            "(x, y, z, reflectance) and [N]; give one batch index for each point."
        )
    shape = config.grid_shape
    depth, height, width = shape
    low, high = points.new_tensor(config.range[:3]), points.new_tensor(config.range[3:])
    inside = ((points[:, :3] >= low) & (points[:, :3] < high)).all(1)  # False for not-a-number
    inside &= points[:, 3].isfinite()
    points, frame = points[inside], point_batch_index[inside].long()
    cells = torch.floor((points[:, :3] - low) / points.new_tensor(config.size)).long()  # [N, 3] x, y, z
    # Rounding may put a point just below the upper end into a cell past it.
    x, y, z = torch.minimum(cells, torch.tensor([width, height, depth], device=cells.device) - 1).unbind(1)
    keys, order = torch.sort(((frame * depth + z) * height + y) * width + x, stable=True)  # input order within a voxel
    keys, counts = torch.unique_consecutive(keys, return_counts=True)  # [V]
    starts = counts.cumsum(0) - counts  # [V] where each voxel's points begin in `order`

    kept = _first_come(order[starts], keys // (depth * height * width), batch_size) < config.max_voxels  # [V]
    keys, counts, starts = keys[kept], counts[kept].clamp_max(config.max_points_per_voxel), starts[kept]

    place = torch.arange(config.max_points_per_voxel, device=points.device)
    taken = place < counts[:, None]  # [V, K]
    rows = order[torch.where(taken, starts[:, None] + place, starts[:, None])]  # [V, K]
    total = (points[rows] * taken[:, :, None]).sum(1)  # [V, 4]; a sum of K terms, no atomic adds: the same bits always
    columns = [keys // (depth * height * width), keys // (height * width) % depth, keys // width % height, keys % width]
    return Voxels(
        features=total / counts[:, None],
        indices=torch.stack(columns, dim=1).to(torch.int32),
        spatial_shape=shape,
        batch_size=batch_size,
    )


def _first_come(first_point: Tensor, frame: Tensor, batch_size: int) -> Tensor:
    """Place [V] of each voxel among those of its frame, by its first point; `frame` [V] rises."""
    by_frame = torch.argsort(first_point)
    by_frame = by_frame[torch.argsort(frame[by_frame], stable=True)]  # by (frame, first point)
    voxels = torch.bincount(frame, minlength=batch_size)
    place = torch.empty_like(frame)
    place[by_frame] = torch.arange(frame.shape[0], device=frame.device)
    return place - (voxels.cumsum(0) - voxels)[frame]
