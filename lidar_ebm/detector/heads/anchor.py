"""The anchor head: for every anchor a class score, a residual to the box, and which way the box faces."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lidar_ebm.config.detector import DetectorSettings
from lidar_ebm.detector.heads.anchors import (
    IGNORED,
    POSITIVE,
    Anchors,
    anchors_per_cell,
    assign_targets,
    covered_anchors,
    make_anchors,
    resolve_direction,
)
from lidar_ebm.detector.heads.head import Head
from lidar_ebm.detector.losses import PRIOR_BIAS, precise, residual_loss, sigmoid_focal_loss
from lidar_ebm.geometry.boxes import decode_boxes
from lidar_ebm.system.synchronised import shared_count
from lidar_ebm.types import BevFeatures, LabelBatch, Proposals

RESIDUALS = 7
DIRECTIONS = 2
MAX_LOG_SIZE = math.log(1000 / 16)  # bounds the sizes that an untrained head can propose


@dataclass(frozen=True)
class AnchorPredictions:
    """Raw outputs for the A anchors of each frame, in the order of `make_anchors`."""

    logits: Tensor  # [B, A] of the anchor's own class
    residuals: Tensor  # [B, A, 7]
    directions: Tensor  # [B, A, 2] logits of the direction bins
    covered: Tensor  # [B, A] bool, anchors over something; the others neither train nor propose


class AnchorHead(Head):
    """1×1 convolutions on the anchor map.

    Anchors are specific to a class: each has one logit, for its own class, and is matched with labels of that class
    only. Where boxes have a velocity its own have that of a thing at rest, zero.
    """

    anchor_boxes: Tensor
    anchor_class_index: Tensor

    def __init__(self, config: DetectorSettings) -> None:
        super().__init__()
        self.config = config
        count = anchors_per_cell(config)
        self.classification = nn.Conv2d(config.bev.channels, count, 1)
        self.box = nn.Conv2d(config.bev.channels, count * RESIDUALS, 1)
        self.direction = nn.Conv2d(config.bev.channels, count * DIRECTIONS, 1)
        for layer in (self.classification, self.box, self.direction):
            nn.init.normal_(layer.weight, std=0.01)
        self.classification.bias = nn.Parameter(torch.full((count,), PRIOR_BIAS))
        anchors = make_anchors(config)
        self.register_buffer("anchor_boxes", anchors.boxes, persistent=False)  # follows from the configuration
        self.register_buffer("anchor_class_index", anchors.class_index, persistent=False)

    @property
    def anchors(self) -> Anchors:
        """The anchors, on the head's device."""
        return Anchors(self.anchor_boxes, self.anchor_class_index)

    def forward(self, bev: BevFeatures) -> AnchorPredictions:
        """Predict from the anchor map, [B, C, H, W]."""
        return AnchorPredictions(
            logits=_per_anchor(self.classification(bev.anchor), 1)[..., 0],
            residuals=_per_anchor(self.box(bev.anchor), RESIDUALS),
            directions=_per_anchor(self.direction(bev.anchor), DIRECTIONS),
            covered=covered_anchors(bev.occupied, self.config),
        )

    def count(self, predictions: AnchorPredictions, boxes: LabelBatch) -> int:
        """Positive anchors of a batch: the count that `loss` divides by."""
        return len(assign_targets(self.anchors, boxes, predictions.covered, self.config).anchor_index)

    def loss(
        self, predictions: AnchorPredictions, boxes: LabelBatch, *, count: float | None = None
    ) -> dict[str, Tensor]:
        """Focal loss of the classes, smooth-L1 of the residuals, cross-entropy of the directions.

        Anchors that cover nothing and those between the two IoU thresholds do not count; residuals and directions are
        those of the positives. A batch without a label has a loss too: all of its anchors are background.

        Args:
            predictions: of the batch.
            boxes: its labels.
            count: what the sums are divided by; None for this batch's positives, shared by all processes.

        Returns:
            `anchor_class`, `anchor_box` and `anchor_direction`, each a sum over the batch, divided by the count and
            weighted by the configuration.
        """
        settings = self.config.anchor_head
        targets = assign_targets(self.anchors, boxes, predictions.covered, self.config)
        positives = shared_count(len(targets.anchor_index)) if count is None else count
        counted = targets.state != IGNORED  # [B, A]
        rows = targets.batch_index, targets.anchor_index
        classes = sigmoid_focal_loss(
            predictions.logits[counted],
            targets.state[counted] == POSITIVE,
            alpha=settings.focal_alpha,
            gamma=settings.focal_gamma,
        )
        residuals = residual_loss(precise(predictions.residuals[rows]), targets.residuals)
        directions = F.cross_entropy(precise(predictions.directions[rows]), targets.directions, reduction="none")
        return {
            "anchor_class": settings.class_weight * classes.sum() / positives,
            "anchor_box": settings.box_weight * residuals.sum() / positives,
            "anchor_direction": settings.direction_weight * directions.sum() / positives,
        }

    @torch.no_grad()
    def decode(
        self, predictions: AnchorPredictions, score_threshold: float, count: int, *, together: int | None = None
    ) -> Proposals:
        """Boxes of the best anchors: of each frame and class at most `count`, and of a frame at most `together` (None:
        any number), of those that score above the threshold."""
        scores = predictions.logits.float().sigmoid().masked_fill(~predictions.covered, 0.0)  # [B, A]
        best, index = (each[:, :together] for each in self._best_of_classes(scores, count))  # [B, k]
        batch_index, rank = torch.nonzero(best > score_threshold, as_tuple=True)  # [N]
        anchor_index = index[batch_index, rank]
        residuals = predictions.residuals[batch_index, anchor_index].float()  # [N, 7]
        residuals[:, 3:6] = residuals[:, 3:6].clamp(-MAX_LOG_SIZE, MAX_LOG_SIZE)
        boxes = decode_boxes(residuals, self.anchor_boxes[anchor_index])
        direction = predictions.directions[batch_index, anchor_index].argmax(dim=1)
        boxes[:, 6] = resolve_direction(boxes[:, 6], direction)
        return Proposals(
            boxes=F.pad(boxes, (0, self.config.box_dimensions - 7)),  # of velocity this head knows nothing
            scores=best[batch_index, rank],
            class_index=self.anchor_class_index[anchor_index],
            batch_index=batch_index,
            batch_size=len(scores),
        )

    def _best_of_classes(self, scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Of each frame and class the `count` highest of scores [B, A], falling: scores and anchors, [B, k] each."""
        classes = self.config.classes
        per_cell = anchors_per_cell(self.config)
        cells = scores.view(len(scores), -1, per_cell)  # [B, H * W, R]
        candidates, first = [], 0
        for item in classes:
            yaws = len(item.anchor_yaws)
            own = cells[:, :, first : first + yaws].flatten(1)
            best, index = own.topk(min(count, own.shape[1]), dim=1)
            candidates.append((best, index // yaws * per_cell + first + index % yaws))
            first += yaws
        best, anchors = (torch.cat(column, dim=1) for column in zip(*candidates, strict=True))
        if len(classes) > 1:
            best, order = best.sort(dim=1, descending=True, stable=True)
            anchors = anchors.gather(1, order)
        return best, anchors


def _per_anchor(output: Tensor, values: int) -> Tensor:
    """[B, R * values, H, W] -> [B, A, values], anchors in the order (H, W, class, yaw)."""
    return output.permute(0, 2, 3, 1).reshape(len(output), -1, values)
