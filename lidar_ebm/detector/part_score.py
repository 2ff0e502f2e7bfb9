"""The part-sensitive score: how well a box fits what lies under its parts (SA-SSD's part-sensitive warping)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cuda_ops.box_overlap.op import box_iou_3d
from cuda_ops.box_sampling.op import part_sensitive_scores
from lidar_ebm.config.detector import DetectorSettings
from lidar_ebm.detector.losses import precise, sigmoid_focal_loss
from lidar_ebm.system.synchronised import shared_count
from lidar_ebm.types import BevFeatures, LabelBatch, Proposals


class PartScore(nn.Module):
    """A small map per class and grid point, read at the proposals' own grids and averaged.

    The sigmoid of a proposal's logit takes the place of the head's score: it is computed from the map where the decoded
    box lies, not where its anchor or its centre's cell stands.
    """

    def __init__(self, config: DetectorSettings) -> None:
        super().__init__()
        self.config = config
        channels = config.part_score.grid[0] * config.part_score.grid[1] * len(config.classes)
        self.maps = nn.Sequential(
            nn.Conv2d(config.bev.channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, bev: BevFeatures, proposals: Proposals) -> Tensor:
        """Logit of each of N proposals, in any order, for its own class: [N], float32 at least."""
        scores = part_sensitive_scores(
            self.maps(bev.shared),
            proposals.boxes[:, :7],
            proposals.batch_index,
            grid_size=self.config.part_score.grid,
            origin=bev.grid.origin,
            cell_size=bev.grid.cell_size,
        )  # [N, K]
        return precise(scores.gather(1, proposals.class_index[:, None])[:, 0])

    def count(self, proposals: Proposals, boxes: LabelBatch) -> int:
        """Positives of a batch, labels among them: the count that `loss` divides by."""
        return int(_matches(self.training_boxes(proposals, boxes), boxes, self.config.part_score.positive_iou).sum())

    def loss(
        self, bev: BevFeatures, proposals: Proposals, boxes: LabelBatch, *, count: float | None = None
    ) -> dict[str, Tensor]:
        """Focal loss over the labels and the proposals that the head scored above the threshold.

        A box is positive where its rotated 3-D IoU with a label of its class and frame reaches `positive_iou`. The
        gradient flows into the maps, not into the boxes.

        Args:
            bev: the maps that the proposals came from.
            proposals: from the head's `decode`, ordered by frame and falling score within it.
            boxes: the batch's labels.
            count: what the sum is divided by; None for this batch's positives, shared by all processes.

        Returns:
            `part_score`: the sum over the batch, divided by the count and weighted by the configuration.
        """
        settings = self.config.part_score
        training = self.training_boxes(proposals, boxes)
        positive = _matches(training, boxes, settings.positive_iou)
        losses = sigmoid_focal_loss(
            self(bev, training),
            positive,
            alpha=self.config.anchor_head.focal_alpha,
            gamma=self.config.anchor_head.focal_gamma,
        )
        divisor = shared_count(positive.sum()) if count is None else count
        return {"part_score": settings.weight * losses.sum() / divisor}

    def training_boxes(self, proposals: Proposals, boxes: LabelBatch) -> Proposals:
        """The labels, and of each frame's proposals above the threshold the best `max_training_boxes`."""
        settings = self.config.part_score
        chosen = proposals.select(proposals.scores > settings.score_threshold)
        # Rank within the frame: the row's number less the number of the frame's first row.
        counts = torch.bincount(chosen.batch_index, minlength=chosen.batch_size)
        first = counts.cumsum(0) - counts
        rank = torch.arange(len(chosen.boxes), device=first.device) - first[chosen.batch_index]
        chosen = chosen.select(rank < settings.max_training_boxes)
        return Proposals(
            boxes=torch.cat([chosen.boxes.detach(), boxes.boxes]),
            scores=torch.cat([chosen.scores.detach(), boxes.boxes.new_ones(len(boxes.boxes))]),
            class_index=torch.cat([chosen.class_index, boxes.class_index]),
            batch_index=torch.cat([chosen.batch_index, boxes.batch_index]),
            batch_size=boxes.batch_size,
        )


def _matches(proposals: Proposals, boxes: LabelBatch, iou_threshold: float) -> Tensor:
    """Mask of the proposals that reach the rotated 3-D IoU with a label of their class in their frame, [N] bool."""
    positive = torch.zeros_like(proposals.class_index, dtype=torch.bool)
    for frame in range(boxes.batch_size):
        own = torch.nonzero(proposals.batch_index == frame)[:, 0]  # [n]
        labels = torch.nonzero(boxes.batch_index == frame)[:, 0]  # [m]
        if len(own) == 0 or len(labels) == 0:
            continue
        iou = box_iou_3d(proposals.boxes[own, :7], boxes.boxes[labels, :7])  # [n, m]
        same = proposals.class_index[own, None] == boxes.class_index[labels]
        positive[own] = ((iou >= iou_threshold) & same).any(dim=1)
    return positive
