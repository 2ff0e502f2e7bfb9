"""Voxels → sparse features at ever coarser grids → one dense volume seen from above."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lidar_ebm.config.detector import DetectorSettings, StageConfig
from lidar_ebm.detector.sparse_ops import BackendName, Kernel, SparsePlan, check_backend, plan_sparse_conv
from lidar_ebm.types import SparseFeatures, Voxels

SUBMANIFOLD = Kernel((3, 3, 3), submanifold=True)
POINTWISE = Kernel((1, 1, 1), submanifold=True)


@dataclass(frozen=True)
class BackboneOutput:
    """Maps and stages that the backbone makes of a batch."""

    dense: Tensor  # [B, C*D, H, W]
    occupied: Tensor  # [B, H, W] bool, cells with an occupied voxel above them
    stages: tuple[SparseFeatures, ...]  # after each stage's submanifold convolutions, fine to coarse


class RowNorm(nn.BatchNorm1d):
    """Batch normalisation of features [V, C] that also takes V = 0 and 1, which have no variance to train on.

    Such a batch is normalised by the running statistics and leaves them as they are.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Normalise [V, C]."""
        if features.shape[0] > 1:
            return super().forward(features)
        return F.batch_norm(features, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class SparseLayer(nn.Module):
    """Sparse convolution without bias, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: Kernel) -> None:
        super().__init__()
        self.kernel = kernel
        self.weight = nn.Parameter(torch.empty(out_channels, *kernel.size, in_channels))
        self.norm = RowNorm(out_channels, eps=1e-3, momentum=0.01)
        # The uniform initialisation of torch's own convolutions, whose fan-in torch would misread from this layout.
        bound = 1 / math.sqrt(in_channels * math.prod(kernel.size))
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, features: Tensor, plan: SparsePlan) -> Tensor:
        """Features [V, Cin] → [V', Cout]."""
        return F.relu(self.norm(plan.convolve(features, self.weight)))


class SubmanifoldLayers(nn.Module):
    """3×3×3 layers on the same cells, which share one rulebook."""

    def __init__(self, widths: Sequence[int], backend: BackendName) -> None:
        super().__init__()
        self.backend = backend
        self.layers = nn.ModuleList(SparseLayer(a, b, SUBMANIFOLD) for a, b in pairwise(widths))

    def forward(self, volume: SparseFeatures) -> SparseFeatures:
        """The same cells with new features; without any layer, the same features."""
        if len(self.layers) == 0:
            return volume
        plan = plan_sparse_conv(volume.indices, volume.spatial_shape, volume.batch_size, SUBMANIFOLD, self.backend)
        features = volume.features
        for layer in self.layers:
            features = layer(features, plan)
        return replace(volume, features=features)


class SparseStage(nn.Module):
    """One strided convolution, then submanifold ones on the cells that it reached."""

    def __init__(self, in_channels: int, config: StageConfig, backend: BackendName) -> None:
        super().__init__()
        self.backend = backend
        self.down = SparseLayer(in_channels, config.channels, Kernel((3, 3, 3), config.stride, padding=(1, 1, 1)))
        self.submanifold = SubmanifoldLayers([config.channels] * (config.layers + 1), backend)

    def forward(self, volume: SparseFeatures) -> SparseFeatures:
        """The next coarser volume."""
        kernel = self.down.kernel
        plan = plan_sparse_conv(volume.indices, volume.spatial_shape, volume.batch_size, kernel, self.backend)
        (dx, dy, dz), (stride_z, stride_y, stride_x) = volume.voxel_size, kernel.stride
        coarse = SparseFeatures(
            features=self.down(volume.features, plan),  # [V', C]
            indices=plan.indices,
            spatial_shape=plan.spatial_shape,
            batch_size=volume.batch_size,
            voxel_size=(dx * stride_x, dy * stride_y, dz * stride_z),
            origin=volume.origin,
        )
        return self.submanifold(coarse)


class SparseBackbone(nn.Module):
    """The sparse 3-D convolutions of SA-SSD, with widths, depths and strides from the configuration.

    Raises:
        InputError: the configuration asks for spconv, which is not installed.
    """

    def __init__(self, config: DetectorSettings) -> None:
        super().__init__()
        settings = config.backbone
        check_backend(settings.backend)
        self.backend: BackendName = settings.backend
        self.voxel_size = config.voxels.size
        self.origin = config.voxels.range[:3]
        stem = [3 + len(config.points.channels)] + [settings.stem_channels] * settings.stem_layers
        self.stem = SubmanifoldLayers(stem, self.backend)
        widths = [stem[-1]] + [stage.channels for stage in settings.stages]
        self.stages = nn.ModuleList(
            SparseStage(width, stage, self.backend) for width, stage in zip(widths[:-1], settings.stages, strict=True)
        )
        self.output = SparseLayer(widths[-1], settings.out_channels, POINTWISE)

    def forward(self, voxels: Voxels) -> BackboneOutput:
        """Run on a batch of voxels, any frame of which, or every one, may be empty."""
        volume = SparseFeatures(
            voxels.features, voxels.indices, voxels.spatial_shape, voxels.batch_size, self.voxel_size, self.origin
        )
        volume = self.stem(volume)
        stages = []
        for stage in self.stages:
            volume = stage(volume)
            stages.append(volume)
        plan = plan_sparse_conv(volume.indices, volume.spatial_shape, volume.batch_size, POINTWISE, self.backend)
        dense, occupied = see_from_above(replace(volume, features=self.output(volume.features, plan)))
        return BackboneOutput(dense, occupied, tuple(stages))


def see_from_above(volume: SparseFeatures) -> tuple[Tensor, Tensor]:
    """A dense map [B, C*D, H, W] with zeros at empty cells, and where it is occupied [B, H, W] bool.

    Channel c of height cell z is channel c*D + z. The map's memory is channels-last.
    """
    (depth, height, width), channels = volume.spatial_shape, volume.features.shape[1]
    batch, z, y, x = volume.indices.long().unbind(1)
    column = (batch * height + y) * width + x  # [V]
    columns = volume.batch_size * height * width
    # [B*H*W, D, C] over memory [B, H, W, C, D]: rows of features go in as they are, and no transposed copy follows.
    dense = torch.empty_strided(
        (columns, depth, channels),
        (channels * depth, 1, depth),
        dtype=volume.features.dtype,
        device=volume.features.device,
    ).zero_()
    dense.index_put_((column, z), volume.features)
    occupied = torch.zeros(columns, dtype=torch.bool, device=dense.device)
    occupied[column] = True
    dense = dense.transpose(1, 2).reshape(volume.batch_size, height, width, channels * depth).permute(0, 3, 1, 2)
    return dense, occupied.view(volume.batch_size, height, width)
