"""An energy that reads voxel features in 3-D: the detector's sparse stages at a grid of places in and around each box.

What the studies compare with the energies of the package, which read the map seen from above and the raw points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from lidar_ebm.config.config import Config
from lidar_ebm.detector.detector import Detector
from lidar_ebm.energy.box_features import BoxContext
from lidar_ebm.energy.energy_head import EnergyHead
from lidar_ebm.energy.wide_linear import WideLinear
from lidar_ebm.runs.model import Model
from lidar_ebm.types import Batch, BevFeatures, FrameFeatures, SparseFeatures

GRID = (7, 4, 3)  # places along l, w and h
BEYOND = 1.2  # how much larger than the box their outermost ones span
HIDDEN = 256


@dataclass(frozen=True)
class VoxelBevFeatures(BevFeatures):
    """The maps, and the stages that they were made of."""

    stages: tuple[SparseFeatures, ...]


@dataclass(frozen=True)
class VoxelContext(BoxContext):
    """View of the frames around N boxes, the stages' dense volumes among it."""

    volumes: tuple[Tensor, ...] = field(kw_only=True)  # [B, C, D, H, W] each
    stages: tuple[SparseFeatures, ...] = field(kw_only=True)  # where the volumes' cells lie
    batch_index: Tensor = field(kw_only=True)  # [N] int64


def dense(stage: SparseFeatures) -> Tensor:
    """A stage as a volume [B, C, D, H, W], zeros where nothing is."""
    volume = stage.features.new_zeros(stage.batch_size, *stage.spatial_shape, stage.features.shape[1])
    volume[tuple(stage.indices.long().unbind(1))] = stage.features
    return volume.permute(0, 4, 1, 2, 3)


def places(boxes: Tensor) -> Tensor:
    """The grid of places in and around boxes [..., 7]: [..., P, 3], LiDAR frame, m."""
    lines = [torch.linspace(-BEYOND / 2, BEYOND / 2, count, device=boxes.device, dtype=boxes.dtype) for count in GRID]
    grid = torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1).view(-1, 3)  # [P, 3] shares of l, w, h
    x, y, z = (grid * boxes[..., None, 3:6]).unbind(-1)
    cos, sin = boxes[..., 6:].cos(), boxes[..., 6:].sin()
    turned = torch.stack([cos * x - sin * y, sin * x + cos * y, z], dim=-1)
    return turned + boxes[..., None, :3]


def sample(volume: Tensor, stage: SparseFeatures, where: Tensor, batch_index: Tensor) -> Tensor:
    """A stage's volume [B, C, D, H, W] at places [N, S, P, 3] in the frames batch_index [N]: [N, S, P C]."""
    depth, height, width = stage.spatial_shape
    size = where.new_tensor(stage.voxel_size) * where.new_tensor([width, height, depth])
    relative = 2 * (where - where.new_tensor(stage.origin)) / size - 1
    sampled = where.new_empty(*where.shape[:3], volume.shape[1])
    for frame in range(len(volume)):
        rows = batch_index == frame
        grid = relative[rows].flatten(0, 1).unsqueeze(0).unsqueeze(3)  # [1, n S, P, 1, 3]
        values = functional.grid_sample(volume[frame : frame + 1], grid, align_corners=False)  # [1, C, n S, P, 1]
        sampled[rows] = values[0, ..., 0].permute(1, 2, 0).unflatten(0, (-1, where.shape[1]))
    return sampled.flatten(2)


class VoxelEnergyHead(EnergyHead):
    """f(x, y) of the stages' features in and around the box, alone or with the raw points' energy added."""

    def __init__(self, config: Config, *, with_points: bool) -> None:
        sizes = [item.anchor_size for item in config.classes]
        super().__init__(config.energy_settings, map_channels=config.bev.channels, sizes=sizes)
        self.with_points = with_points
        channels = sum(stage.channels for stage in config.backbone.stages)
        last = nn.Linear(HIDDEN, 1)
        nn.init.normal_(last.weight, std=0.001)  # f starts flat, as published
        first = WideLinear(channels * GRID[0] * GRID[1] * GRID[2] + 4, HIDDEN)
        self.voxels = nn.Sequential(first, nn.ReLU(), WideLinear(HIDDEN, HIDDEN), nn.ReLU(), last)

    @property
    def needs_bev(self) -> bool:
        """The stages come with the maps."""
        return True

    def context(
        self,
        batch: Batch,
        bev: BevFeatures | None,
        boxes: Tensor,
        batch_index: Tensor,
        *,
        seed: int | Sequence[int] = 0,
        class_index: Tensor | None = None,
    ) -> BoxContext:
        """View that f has around boxes [N, 7]; see `EnergyHead.context`."""
        if not isinstance(bev, VoxelBevFeatures):
            raise ValueError("this energy reads voxels, which a VoxelDetector gives it")
        context = super().context(batch, bev, boxes, batch_index, seed=seed, class_index=class_index)
        volumes = tuple(dense(stage) for stage in bev.stages)
        return VoxelContext(context.bev, context.points, volumes=volumes, stages=bev.stages, batch_index=batch_index)

    def forward(self, context: BoxContext, boxes: Tensor) -> Tensor:
        """f [N, S] of boxes [N, S, 7]."""
        assert isinstance(context, VoxelContext)
        where = places(boxes)
        seen = [
            sample(volume, stage, where, context.batch_index)
            for volume, stage in zip(context.volumes, context.stages, strict=True)
        ]
        # The place itself says nothing of a car, but for its height above the ground.
        shape = torch.cat([boxes[..., 2:3], boxes[..., 3:6].log()], dim=-1)
        f = self.voxels(torch.cat([*seen, shape], dim=-1)).squeeze(-1)
        return f + super().forward(context, boxes) if self.with_points else f


def voxel_model(config: Config, *, with_points: bool) -> Model:
    """A model whose energy is told of the stages."""
    energy = VoxelEnergyHead(config, with_points=with_points)
    return Model(config, detector=VoxelDetector(config.detector_settings), energy=energy)


class VoxelDetector(Detector):
    """A detector that hands on the stages with the maps."""

    def encode(self, batch: Batch) -> FrameFeatures:
        """Points → voxels → sparse features → maps, and the features with the maps."""
        features = super().encode(batch)
        maps = {field.name: getattr(features.bev, field.name) for field in fields(features.bev)}
        return replace(features, bev=VoxelBevFeatures(**maps, stages=features.stages))
