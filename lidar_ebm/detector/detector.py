"""From a batch of points to scored boxes, on one page, and what each part of the way is trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from cuda_ops.box_overlap.op import nms_bev
from lidar_ebm.config.detector import DetectorSettings
from lidar_ebm.detector.bev import BevNetwork
from lidar_ebm.detector.heads.anchor import AnchorHead
from lidar_ebm.detector.heads.head import Head
from lidar_ebm.detector.part_score import PartScore
from lidar_ebm.detector.point_head import PointHead
from lidar_ebm.detector.sparse_backbone import SparseBackbone
from lidar_ebm.detector.voxelize import voxelize
from lidar_ebm.types import Batch, FrameFeatures, LossCounts, Proposals

OWN_COUNTS = LossCounts()  # each loss divides by what its own batch has


class Detector(nn.Module):
    """SA-SSD: `encode` (points → maps), then `propose` (maps → boxes)."""

    def __init__(self, settings: DetectorSettings, *, head: Head | None = None) -> None:
        """Args: settings: of all parts; head: one of your own in the place of the anchor head."""
        super().__init__()
        self.settings = settings
        self.backbone = SparseBackbone(settings)
        self.bev = BevNetwork(settings)
        self.head: Head = AnchorHead(settings) if head is None else head
        self.point_head = PointHead(settings) if settings.point_head.enabled else None
        self.part_score = PartScore(settings) if settings.part_score.enabled else None

    def encode(self, batch: Batch) -> FrameFeatures:
        """Points → voxels → sparse features → bird's-eye-view maps."""
        voxels = voxelize(
            batch.points, batch.point_batch_index, batch.batch_size, self.settings.voxels, limited=self.training
        )
        volume = self.backbone(voxels)
        return FrameFeatures(voxels, volume.stages, self.bev(volume.dense, volume.occupied))

    def propose(self, features: FrameFeatures) -> Proposals:
        """Bird's-eye-view maps → scored boxes, of which none overlaps another of its class and frame."""
        settings = self.settings.detection
        predictions = self.head(features.bev)
        if self.part_score is None:
            proposals = self.head.decode(
                predictions, settings.score_threshold, settings.max_candidates, together=settings.max_proposals
            )
        else:
            floor = self.settings.part_score.score_threshold
            proposals = self.head.decode(predictions, floor, settings.max_candidates, together=settings.max_proposals)
            proposals = replace(proposals, scores=self.part_score(features.bev, proposals).sigmoid())
        chosen = proposals.select(proposals.scores > settings.score_threshold)
        kept = nms_bev(
            chosen.boxes,
            chosen.scores,
            settings.nms_iou,
            class_index=chosen.class_index,
            batch_index=chosen.batch_index,
        )
        kept = kept[torch.argsort(chosen.batch_index[kept], stable=True)]  # frame by frame, falling score within
        chosen = chosen.select(kept)
        return chosen.select(chosen.rank_in_class() < settings.max_detections)

    def losses(self, batch: Batch, features: FrameFeatures, counts: LossCounts = OWN_COUNTS) -> dict[str, Tensor]:
        """Every loss of the detector, weighted, by name, divided by `counts`."""
        predictions = self.head(features.bev)
        losses = self.head.loss(predictions, batch.boxes, count=counts.anchors)
        if self.point_head is not None:
            points = self.point_head(features.voxels, features.stages)
            losses |= self.point_head.loss(points, batch.boxes, features.voxels, count=counts.points)
        if self.part_score is not None:
            candidates = self._part_candidates(predictions)
            losses |= self.part_score.loss(features.bev, candidates, batch.boxes, count=counts.part_boxes)
        return losses

    @torch.no_grad()
    def loss_counts(self, batch: Batch, features: FrameFeatures) -> LossCounts:
        """Divisors of the losses here and of the energy's, if this batch were all."""
        predictions = self.head(features.bev)
        points = parts = None
        if self.point_head is not None:
            points = self.point_head.count(batch.boxes, features.voxels)
        if self.part_score is not None:
            parts = self.part_score.count(self._part_candidates(predictions), batch.boxes)
        anchors = self.head.count(predictions, batch.boxes)
        return LossCounts(anchors, points, parts, len(batch.boxes.boxes))

    def _part_candidates(self, predictions: Any) -> Proposals:
        settings = self.settings.part_score
        return self.head.decode(predictions, settings.score_threshold, settings.max_training_boxes)
