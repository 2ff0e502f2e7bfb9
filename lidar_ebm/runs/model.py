"""The whole program on one page: how a batch of points becomes detections, and what each part is trained on."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from cuda_ops.box_overlap.op import nms_bev
from lidar_ebm.config.config import Config
from lidar_ebm.detector.bev import BevNetwork
from lidar_ebm.detector.heads.anchor import AnchorHead, AnchorPredictions
from lidar_ebm.detector.part_score import PartScore
from lidar_ebm.detector.point_head import PointHead
from lidar_ebm.detector.sparse_backbone import SparseBackbone
from lidar_ebm.detector.voxelize import voxelize
from lidar_ebm.ebm.ascent import Ascent
from lidar_ebm.energy.energy_head import EnergyHead
from lidar_ebm.energy.uncertainty import BoxUncertainty, estimate_uncertainty
from lidar_ebm.types import Batch, Detections, FrameFeatures, LossCounts, Proposals

OWN_COUNTS = LossCounts()


class Detector(nn.Module):
    """SA-SSD with an energy head: `encode` → `propose` → `refine`; `detect` is all three."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.backbone = SparseBackbone(config)
        self.bev = BevNetwork(config)
        self.anchor_head = AnchorHead(config)
        self.point_head = PointHead(config) if config.point_head.enabled else None
        self.part_score = PartScore(config) if config.part_score.enabled else None
        self.energy = EnergyHead(config)

    def encode(self, batch: Batch) -> FrameFeatures:
        """Points → voxels → sparse features → bird's-eye-view maps."""
        voxels = voxelize(
            batch.points, batch.point_batch_index, batch.batch_size, self.config.voxels, limited=self.training
        )
        volume = self.backbone(voxels)
        return FrameFeatures(voxels, volume.stages, self.bev(volume.dense, volume.occupied))

    def propose(self, features: FrameFeatures) -> Proposals:
        """Bird's-eye-view maps → scored boxes, of which none overlaps another of its class and frame."""
        settings = self.config.detection
        predictions = self.anchor_head(features.bev)
        if self.part_score is None:
            proposals = self.anchor_head.decode(predictions, settings.score_threshold, settings.max_candidates)
        else:
            floor = self.config.part_score.score_threshold
            proposals = self.anchor_head.decode(predictions, floor, settings.max_candidates)
            proposals = replace(proposals, scores=self.part_score(features.bev, proposals).sigmoid())
        found = proposals.select(proposals.scores > settings.score_threshold)
        kept = nms_bev(found.boxes, found.scores, settings.nms_iou, labels=found.labels, batch_index=found.batch_index)
        kept = kept[torch.argsort(found.batch_index[kept], stable=True)]  # frame by frame, falling score within
        found = found.select(kept)
        return found.select(found.rank_in_class() < settings.max_detections)

    def refine(
        self,
        batch: Batch,
        features: FrameFeatures,
        proposals: Proposals,
        steps: int | None = None,
        *,
        record: bool = False,
    ) -> Ascent:
        """Climb f from every proposal of every frame at once; `record` keeps the boxes after every step."""
        context = self.energy.context(batch, features.bev, proposals.boxes, proposals.batch_index)
        return self.energy.refine(context, proposals.boxes, steps=steps, record=record)

    def uncertainty(
        self, batch: Batch, features: FrameFeatures, proposals: Proposals, boxes: Tensor, temperature: float
    ) -> BoxUncertainty:
        """Sample p(y | x) around boxes [N, 7] that were refined from these proposals."""
        context = self.energy.context(batch, features.bev, proposals.boxes, proposals.batch_index)
        random = torch.Generator().manual_seed(self.config.seed)  # the same frames, the same numbers
        return estimate_uncertainty(
            partial(self.energy, context), boxes, self.config, temperature=temperature, random=random
        )

    def detect(self, batch: Batch, steps: int | None = None) -> list[Detections]:
        """Points → refined boxes with the detector's scores and their f, a `Detections` a frame."""
        return self.detect_before_after(batch, steps)[1]

    @torch.inference_mode(False)  # a climb needs gradients, and a caller's inference mode would forbid them
    @torch.no_grad()
    def detect_before_after(
        self, batch: Batch, steps: int | None = None, *, temperature: float | None = None
    ) -> tuple[list[Detections], list[Detections]]:
        """What `detect` finds without and with refinement, row for row; the latter with their uncertainty, if a
        temperature for it is given."""
        features = self.encode(batch)
        proposals = self.propose(features)
        ascent = self.refine(batch, features, proposals, steps)
        rows = [torch.nonzero(proposals.batch_index == b).flatten() for b in range(batch.batch_size)]
        scores, labels = proposals.scores, proposals.labels
        before = [Detections(proposals.boxes[r], scores[r], labels[r], ascent.f0[r]) for r in rows]
        after = [Detections(ascent.y[r], scores[r], labels[r], ascent.f[r]) for r in rows]
        if temperature is not None:
            known = self.uncertainty(batch, features, proposals, ascent.y, temperature)
            after = [known.attach(found, r) for found, r in zip(after, rows, strict=True)]
        return before, after

    def detector_losses(
        self, batch: Batch, features: FrameFeatures, counts: LossCounts = OWN_COUNTS
    ) -> dict[str, Tensor]:
        """Every loss of the detector, weighted, by name."""
        predictions = self.anchor_head(features.bev)
        losses = self.anchor_head.loss(predictions, batch.boxes, count=counts.anchors)
        if self.point_head is not None:
            points = self.point_head(features.voxels, features.stages)
            losses |= self.point_head.loss(points, batch.boxes, features.voxels, count=counts.points)
        if self.part_score is not None:
            candidates = self._part_candidates(predictions)
            losses |= self.part_score.loss(features.bev, candidates, batch.boxes, count=counts.part_boxes)
        return losses

    @torch.no_grad()
    def loss_counts(self, batch: Batch, features: FrameFeatures) -> LossCounts:
        """What `detector_losses` and the energy's loss would divide by, if this batch were all."""
        predictions = self.anchor_head(features.bev)
        points = parts = None
        if self.point_head is not None:
            points = self.point_head.count(batch.boxes, features.voxels)
        if self.part_score is not None:
            parts = self.part_score.count(self._part_candidates(predictions), batch.boxes)
        anchors = self.anchor_head.count(predictions, batch.boxes)
        return LossCounts(anchors, points, parts, len(batch.boxes.boxes))

    def _part_candidates(self, predictions: AnchorPredictions) -> Proposals:
        settings = self.config.part_score
        return self.anchor_head.decode(predictions, settings.score_threshold, settings.max_training_boxes)
