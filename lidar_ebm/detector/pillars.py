"""Points → pillars → a map seen from above: learnt features of the points of each column, after PointPillars."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lidar_ebm.config.detector import DetectorSettings, VoxelConfig
from lidar_ebm.detector.sparse_backbone import BackboneOutput, RowNorm, see_from_above
from lidar_ebm.detector.voxelize import cell_keys, key_of_cell, voxelize
from lidar_ebm.types import SparseFeatures, Voxels


@dataclass(frozen=True)
class Pillars:
    """Columns of a batch with a point in them, and their points."""

    voxels: Voxels  # P of them, one high, with the means of their points
    points: Tensor  # [N, 3 + C] float32, those in a pillar, pillar by pillar
    counts: Tensor  # [P] int64, points of each


def make_pillars(
    points: Tensor, point_batch_index: Tensor, batch_size: int, config: VoxelConfig, *, limited: bool = False
) -> Pillars:
    """Sort points into pillars; arguments and errors as for `voxelize`, with voxels as tall as the range."""
    voxels = voxelize(points, point_batch_index, batch_size, config, limited=limited)
    inside, keys = cell_keys(points, point_batch_index, config)
    keys, order = torch.sort(keys, stable=True)
    points = points[inside][order]
    own = key_of_cell(voxels.indices, config)  # [P], rising
    if len(own) == 0:
        return Pillars(voxels, points[:0], own)
    first = torch.searchsorted(keys, own)
    last = torch.searchsorted(keys, own, right=True)
    if limited:  # pillars left out take their points with them
        place = torch.searchsorted(own, keys).clamp(max=len(own) - 1)
        points = points[own[place] == keys]
    return Pillars(voxels, points, last - first)


class PillarEncoder(nn.Module):
    """Layers that each point goes through, and the maximum over the points of each pillar.

    A point comes with its offsets from the mean of its pillar's points and from the pillar's centre.
    """

    def __init__(self, config: DetectorSettings) -> None:
        super().__init__()
        self.size, self.origin = config.voxels.size, config.voxels.range[:3]
        widths = [3 + len(config.points.channels) + 5, *config.pillars.channels]
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(RowNorm(width, eps=1e-3, momentum=0.01) for width in widths[1:])

    def forward(self, pillars: Pillars) -> BackboneOutput:
        """The map [B, C, H, W] of a batch, any frame of which may be empty; it has no stages."""
        voxels = pillars.voxels
        features = _decorate(pillars, self.size, self.origin)  # [N, 3 + C + 5]
        for layer, norm in zip(self.layers, self.norms, strict=True):
            features = F.relu(norm(layer(features)))
        # No feature is below the zero that the maximum begins with.
        highest = torch.segment_reduce(features, "max", lengths=pillars.counts, axis=0, initial=0.0, unsafe=True)
        volume = SparseFeatures(
            highest, voxels.indices, voxels.spatial_shape, voxels.batch_size, self.size, self.origin
        )
        dense, occupied = see_from_above(volume)
        return BackboneOutput(dense, occupied, ())


def _decorate(pillars: Pillars, size: tuple[float, float, float], origin: tuple[float, float, float]) -> Tensor:
    """Points [N, 3 + C], then offsets from their pillar's mean (x, y, z) and from its centre (x, y)."""
    points, voxels = pillars.points, pillars.voxels
    centers = (voxels.indices[:, [3, 2]].to(points.dtype) + 0.5) * points.new_tensor(size[:2])
    centers = centers + points.new_tensor(origin[:2])
    around = torch.cat((voxels.features[:, :3], centers), dim=1)  # [P, 5]
    around = around.repeat_interleave(pillars.counts, dim=0, output_size=len(points))
    return torch.cat((points, points[:, :3] - around[:, :3], points[:, :2] - around[:, 3:]), dim=1)
