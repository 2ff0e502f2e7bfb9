"""Voxels against a plain loop over the points."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lidar_ebm.config.detector import VoxelConfig
from lidar_ebm.detector.voxelize import _said, voxelize
from lidar_ebm.errors import InputError

CONFIG = VoxelConfig(range=(0, -2, -1, 4, 2, 1), size=(0.5, 0.25, 0.5), max_voxels=40)


def loop_over_points(points: Tensor, batch_index: Tensor, config: VoxelConfig) -> dict[tuple[int, ...], Tensor]:
    """Mean of each voxel's points."""
    members: dict[tuple[int, ...], list[Tensor]] = {}
    low, size, (depth, height, width) = config.range[:3], config.size, config.grid_shape
    for point, frame in zip(points, batch_index.tolist(), strict=True):
        x, y, z = (int(np.floor((float(point[a]) - low[a]) / size[a])) for a in range(3))
        if 0 <= x < width and 0 <= y < height and 0 <= z < depth:
            members.setdefault((frame, z, y, x), []).append(point)
    return {cell: torch.stack(rows).mean(0) for cell, rows in members.items()}


def random_points(count: int, batch_size: int) -> tuple[Tensor, Tensor]:
    """Points in and around the range, frames mixed, none in frame 1 and none in the last."""
    points = torch.rand(count, 4) * torch.tensor([5.0, 5.0, 2.5, 1.0]) - torch.tensor([0.5, 2.5, 1.25, 0.0])
    frames = torch.randint(0, batch_size - 1, (count,))
    return points, torch.where(frames == 1, 0, frames)


@pytest.mark.parametrize("limited", [False, True])
def test_agrees_with_a_loop(limited: bool) -> None:
    """A limit that does not bind changes nothing, and without training none does."""
    config = CONFIG.model_copy(update={"max_voxels": 20_000 if limited else 1})
    points, frames = random_points(1500, 4)
    voxels = voxelize(points, frames, 4, config, limited=limited)
    expected = loop_over_points(points, frames, config)
    cells = [tuple(row) for row in voxels.indices.tolist()]
    assert cells == sorted(expected)  # ordered, and the same ones
    torch.testing.assert_close(voxels.features, torch.stack([expected[cell] for cell in cells]))
    assert voxels.indices.dtype == torch.int32
    assert (voxels.spatial_shape, voxels.batch_size) == (config.grid_shape, 4)


@pytest.mark.filterwarnings("ignore:.*are left out in training")
@pytest.mark.parametrize("limited", [False, True])
def test_the_order_of_the_points_changes_nothing(limited: bool) -> None:
    points, frames = random_points(3000, 4)
    first = voxelize(points, frames, 4, CONFIG, limited=limited)
    for seed in range(5):
        order = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))
        other = voxelize(points[order], frames[order], 4, CONFIG, limited=limited)
        assert torch.equal(other.indices, first.indices)
        torch.testing.assert_close(other.features, first.features, rtol=1e-6, atol=1e-6)


def test_what_the_limit_of_training_keeps_is_spread_evenly_and_said_once() -> None:
    config = CONFIG.model_copy(update={"max_voxels": 300})
    points, frames = random_points(20_000, 3)
    _said.clear()
    with pytest.warns(UserWarning, match=r"\d\d% of the voxels .* voxels\.max_voxels=300"):
        few = voxelize(points, frames, 3, config, limited=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        voxelize(points, frames, 3, config, limited=True)
    every = voxelize(points, frames, 3, config)
    own = {tuple(row): features for row, features in zip(every.indices.tolist(), every.features, strict=True)}
    assert few.indices[:, 0].bincount(minlength=3).tolist() == [300, 0, 0]
    for row, features in zip(few.indices.tolist(), few.features, strict=True):
        torch.testing.assert_close(own[tuple(row)], features, rtol=1e-6, atol=1e-6)
    for axis in (1, 2, 3):  # a quarter of the voxels along each axis holds about a quarter of those kept
        middle = every.indices[:, axis].float().quantile(0.5)
        share = (few.indices[:, axis] < middle).float().mean() / (every.indices[:, axis] < middle).float().mean()
        assert 0.8 < float(share) < 1.2


@pytest.mark.filterwarnings("ignore:.*are left out in training")
def test_frames_do_not_depend_on_each_other() -> None:
    points, frames = random_points(800, 4)
    together = voxelize(points, frames, 4, CONFIG, limited=True)
    for frame in range(4):
        mine = frames == frame
        alone = voxelize(points[mine], torch.zeros_like(frames[mine]), 1, CONFIG, limited=True)
        rows = together.indices[:, 0] == frame
        assert torch.equal(together.indices[rows, 1:], alone.indices[:, 1:])
        torch.testing.assert_close(together.features[rows], alone.features, rtol=1e-6, atol=1e-6)


def test_points_out_of_range_and_not_finite_are_left_out() -> None:
    nan, inf = float("nan"), float("inf")
    rows = [
        [nan, 0, 0, 0],
        [1, nan, 0, 0],
        [1, 0, inf, 0],
        [-inf, 0, 0, 0],
        [4, 0, 0, 0],
        [1, 2, 0, 0],
        [-1e-6, 0, 0, 0],
        [0, -2, -1, nan],
        [0, -2, -1, inf],
    ]
    points = torch.tensor([*rows, [0.0, -2.0, -1.0, 0.5]])  # the last lies on the low corner, which is inside
    voxels = voxelize(points, torch.zeros(10, dtype=torch.int64), 1, CONFIG)
    assert voxels.indices.tolist() == [[0, 0, 0, 0]]
    assert torch.equal(voxels.features, points[-1:])


def test_points_just_below_the_upper_end_stay_in_the_grid() -> None:
    config = VoxelConfig()
    high = torch.tensor(config.range[3:])
    below = torch.nextafter(high, torch.zeros(3))
    points = torch.cat([below, torch.ones(1)])[None]
    voxels = voxelize(points, torch.zeros(1, dtype=torch.int64), 1, config)
    assert voxels.indices.tolist() == [[0, *(n - 1 for n in config.grid_shape)]]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_no_points(batch_size: int) -> None:
    voxels = voxelize(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), batch_size, CONFIG)
    assert voxels.features.shape == (0, 4)
    assert voxels.indices.shape == (0, 4)
    assert voxels.batch_size == batch_size


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected \[N, 3 \+ C\]"):
        voxelize(torch.zeros(5, 3), torch.zeros(5, dtype=torch.int64), 1, CONFIG)
    with pytest.raises(InputError, match="one batch index for each point"):
        voxelize(torch.zeros(5, 4), torch.zeros(4, dtype=torch.int64), 1, CONFIG)


def test_a_real_frame(kitti_frames: Path) -> None:
    raw = np.fromfile(kitti_frames / "training" / "velodyne" / "000003.bin", dtype=np.float32).reshape(-1, 4)
    config = VoxelConfig(max_voxels=1_000_000)
    voxels = voxelize(torch.from_numpy(raw), torch.zeros(raw.shape[0], dtype=torch.int64), 1, config)
    # Every mean lies in its own voxel (up to rounding), and all the points in range have a voxel.
    low, size = torch.tensor(config.range[:3]), torch.tensor(config.size)
    place = (voxels.features[:, :3] - low) / size - voxels.indices[:, [3, 2, 1]]
    assert place.min() > -1e-3
    assert place.max() < 1 + 1e-3
    inside = ((raw[:, :3] >= config.range[:3]) & (raw[:, :3] < np.float32(config.range[3:]))).all(1)
    cells = np.floor((raw[inside, :3] - np.float32(config.range[:3])) / np.float32(config.size)).astype(int)
    assert voxels.indices.shape[0] == np.unique(cells, axis=0).shape[0]
