"""The auxiliary point head: in training only, it asks the backbone what each point belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from cuda_ops.point_ops.op import interpolate, points_in_boxes, three_nearest
from lidar_ebm.config.detector import DetectorSettings
from lidar_ebm.detector.losses import PRIOR_BIAS, precise, sigmoid_focal_loss, smooth_l1
from lidar_ebm.system.synchronised import shared_count
from lidar_ebm.types import LabelBatch, SparseFeatures, Voxels


@dataclass(frozen=True)
class PointPredictions:
    """For the mean point of every voxel of the input."""

    logits: Tensor  # [V] of lying in a labelled box
    offsets: Tensor  # [V, 3] from the point to the centre of its box, m


@dataclass(frozen=True)
class PointTargets:
    """Points that lie in a labelled box, and the way to its centre."""

    foreground: Tensor  # [V] bool
    offsets: Tensor  # [V, 3] m, zero for background


class PointHead(nn.Module):
    """The backbone's stages, interpolated at the voxels' mean points, through one hidden linear layer.

    It is thrown away at inference; in training it makes the coarse stages keep where surfaces are and which box they
    belong to (SA-SSD's auxiliary network).
    """

    def __init__(self, config: DetectorSettings) -> None:
        super().__init__()
        channels = config.point_head.channels
        self.config = config
        self.hidden = nn.Linear(sum(stage.channels for stage in config.backbone.stages), channels, bias=False)
        self.foreground = nn.Linear(channels, 1)
        self.foreground.bias = nn.Parameter(torch.tensor([PRIOR_BIAS]))
        self.offset = nn.Linear(channels, 3)

    def forward(self, voxels: Voxels, stages: Sequence[SparseFeatures]) -> PointPredictions:
        """Predict for every voxel of the input.

        Args:
            voxels: the backbone's input, V voxels.
            stages: the backbone's stages, in the configuration's order.
        """
        points, batch_index = voxels.features[:, :3], voxels.indices[:, 0].long()
        interpolated = []
        for stage in stages:
            distance, index = three_nearest(
                points, stage.centers(), batch_index, stage.indices[:, 0].long(), voxels.batch_size
            )
            interpolated.append(interpolate(stage.features, index, distance))  # [V, C]
        hidden = self.hidden(torch.cat(interpolated, dim=1))  # [V, channels]
        return PointPredictions(self.foreground(hidden)[:, 0], self.offset(hidden))

    def count(self, boxes: LabelBatch, voxels: Voxels) -> int:
        """Points in labelled boxes of a batch: the count that `loss` divides by."""
        return int(point_targets(voxels, boxes).foreground.sum())

    def loss(
        self, predictions: PointPredictions, boxes: LabelBatch, voxels: Voxels, *, count: float | None = None
    ) -> dict[str, Tensor]:
        """Focal loss of the foreground, smooth-L1 of the offsets of the points in boxes.

        Args:
            predictions: of the batch.
            boxes: its labels.
            voxels: the backbone's input.
            count: what the sums are divided by; None for this batch's points in boxes, shared by all processes.

        Returns:
            `point_foreground` and `point_offset`, each a sum over the batch, divided by the count and weighted by the
            configuration.
        """
        targets = point_targets(voxels, boxes)
        weight = self.config.point_head.weight
        divisor = shared_count(targets.foreground.sum()) if count is None else count
        foreground = sigmoid_focal_loss(
            predictions.logits,
            targets.foreground,
            alpha=self.config.anchor_head.focal_alpha,
            gamma=self.config.anchor_head.focal_gamma,
        )
        offset = smooth_l1(precise(predictions.offsets[targets.foreground]), targets.offsets[targets.foreground])
        return {
            "point_foreground": weight * foreground.sum() / divisor,
            "point_offset": weight * offset.sum() / divisor,
        }


@torch.no_grad()
def point_targets(voxels: Voxels, boxes: LabelBatch) -> PointTargets:
    """Targets of the voxels' mean points; a point's own box is the first labelled one of its frame that holds it."""
    points = voxels.features[:, :3]
    own = points_in_boxes(
        points,
        boxes.boxes[:, :7],
        point_batch_index=voxels.indices[:, 0],
        batch_index=boxes.batch_index,
        first=True,
    )  # [V], -1 for background
    foreground = own >= 0
    # With a row for background, there is one to read even where nothing is labelled.
    centers = functional.pad(boxes.boxes[:, :3], (0, 0, 1, 0))  # [1 + M, 3]
    return PointTargets(foreground, torch.where(foreground.unsqueeze(1), centers[own + 1] - points, 0.0))
