"""From a batch of points to scored boxes, on one page, and what each part of the way is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lidar_ebm.config.detector import DetectorSettings
from lidar_ebm.detector.bev import BevNetwork
from lidar_ebm.detector.heads.anchor import AnchorHead
from lidar_ebm.detector.heads.center import CenterHead
from lidar_ebm.detector.heads.head import Head
from lidar_ebm.detector.part_score import PartScore
from lidar_ebm.detector.pillars import PillarEncoder, make_pillars
from lidar_ebm.detector.point_head import PointHead
from lidar_ebm.detector.sparse_backbone import SparseBackbone
from lidar_ebm.detector.suppression import suppress
from lidar_ebm.detector.voxelize import voxelize
from lidar_ebm.types import Batch, FrameFeatures, LossCounts, MirroredFeatures, Proposals

OWN_COUNTS = LossCounts()  # each loss divides by what its own batch has
# Axes along which frames are mirrored beside the frame itself, by `detection.flips`.
FLIPS = {"none": (), "x": ("x",), "y": ("y",), "both": ("x", "y", "xy")}


class Detector(nn.Module):
    """`encode` (points → maps), then `propose` (maps → boxes); with the defaults of the configuration SA-SSD."""

    def __init__(self, settings: DetectorSettings, *, head: Head | None = None) -> None:
        """Args: settings: of all parts; head: one of your own in the place of the configured one."""
        super().__init__()
        self.settings = settings
        if settings.encoder == "pillars":
            self.pillars = PillarEncoder(settings)
        else:
            self.backbone = SparseBackbone(settings)
        self.bev = BevNetwork(settings)
        if settings.head == "center":
            self.center_head: Head = CenterHead(settings) if head is None else head
        else:
            self.anchor_head: Head = AnchorHead(settings) if head is None else head
        self.point_head = PointHead(settings) if settings.point_head.enabled else None
        self.part_score = PartScore(settings) if settings.part_score.enabled else None

    @property
    def head(self) -> Head:
        """The head, whichever it is."""
        return self.center_head if self.settings.head == "center" else self.anchor_head

    def encode(self, batch: Batch) -> FrameFeatures:
        """Points → voxels or pillars → features seen from above → bird's-eye-view maps."""
        points = batch.points, batch.point_batch_index, batch.batch_size, self.settings.voxels
        if self.settings.encoder == "pillars":
            pillars = make_pillars(*points, limited=self.training)
            voxels, volume = pillars.voxels, self.pillars(pillars)
        else:
            voxels = voxelize(*points, limited=self.training)
            volume = self.backbone(voxels)
        return FrameFeatures(voxels, volume.stages, self.bev(volume.dense, volume.occupied))

    def encode_mirrored(self, batch: Batch) -> list[MirroredFeatures]:
        """The maps of the batch's frames mirrored, as `detection.flips` says; none by default."""
        return [
            MirroredFeatures(axes, self.encode(replace(batch, points=_mirrored(batch.points, axes))).bev)
            for axes in FLIPS[self.settings.detection.flips]
        ]

    def propose(self, features: FrameFeatures, mirrored: Sequence[MirroredFeatures] = ()) -> Proposals:
        """Bird's-eye-view maps → scored boxes, of which none makes another of its group and frame needless.

        Args:
            features: of the batch.
            mirrored: of the same frames mirrored; the head's predictions are averaged.
        """
        settings = self.settings.detection
        predictions = self.head(features.bev)
        if mirrored:
            views = [(self.head(each.bev), each.axes) for each in mirrored]
            predictions = self.head.average([(predictions, ""), *views])
        if self.part_score is None:
            proposals = self.head.decode(
                predictions, settings.score_threshold, settings.max_candidates, together=settings.max_proposals
            )
        else:
            floor = self.settings.part_score.score_threshold
            proposals = self.head.decode(predictions, floor, settings.max_candidates, together=settings.max_proposals)
            proposals = replace(proposals, scores=self.part_score(features.bev, proposals).sigmoid())
        return suppress(proposals.select(proposals.scores > settings.score_threshold), self.settings)

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


def _mirrored(points: Tensor, axes: str) -> Tensor:
    signs = points.new_ones(points.shape[1])
    for place, axis in enumerate("xy"):
        if axis in axes:
            signs[place] = -1
    return points * signs
