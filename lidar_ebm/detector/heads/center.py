"""The center head: objects at the peaks of heatmaps, and at each peak the numbers of its box.

After Yin, Zhou, Krähenbühl, "Center-based 3D Object Detection and Tracking" (2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cuda_ops.box_overlap.op import box_iou_3d
from lidar_ebm.config.detector import DetectorSettings
from lidar_ebm.detector.bev import convolution
from lidar_ebm.detector.heads.center_boxes import (
    HEIGHT,
    OFFSET,
    SIZE,
    VELOCITY,
    YAW,
    center_cells,
    class_references,
    decode_centers,
    mirror_signs,
    number_count,
)
from lidar_ebm.detector.heads.center_targets import CenterTargets, center_targets
from lidar_ebm.detector.heads.head import Head
from lidar_ebm.detector.losses import PRIOR_BIAS, heatmap_focal_loss, precise
from lidar_ebm.system.synchronised import shared_count
from lidar_ebm.types import BevFeatures, LabelBatch, Proposals


@dataclass(frozen=True)
class CenterPredictions:
    """Raw outputs for every cell, classes in the order of their indices."""

    heat: Tensor  # [B, K, H, W] logits
    numbers: Tensor  # [B, G, D + 1, H, W] of each group's boxes, as `encode_centers` makes them
    iou: Tensor | None  # [B, G, H, W] logits of the boxes' IoU with their labels


class CenterHead(Head):
    """A convolution for all, and for each group of classes a branch of heatmaps and one of boxes."""

    class_order: Tensor
    references: Tensor
    group_of_class: Tensor
    rectification: Tensor

    def __init__(self, config: DetectorSettings) -> None:
        super().__init__()
        self.config = config
        settings, groups = config.center_head, config.class_groups
        self.numbers = number_count(config.box_dimensions)
        outputs = self.numbers + settings.iou_score
        self.shared = convolution(config.bev.channels, settings.channels)
        self.heat = nn.ModuleList(_branch(settings.channels, len(group), PRIOR_BIAS) for group in groups)
        self.box = nn.ModuleList(_branch(settings.channels, outputs) for _ in groups)
        order = torch.tensor([index for group in groups for index in group])
        count = len(config.classes)
        group_of_class = torch.tensor([next(g for g, group in enumerate(groups) if k in group) for k in range(count)])
        self.register_buffer("class_order", order.argsort(), persistent=False)  # where each class's heatmap comes out
        self.register_buffer("group_of_class", group_of_class, persistent=False)  # [K]
        self.register_buffer("references", class_references(config.classes), persistent=False)  # [K, 4]
        powers = torch.tensor(settings.rectification).expand(count).clone()
        self.register_buffer("rectification", powers, persistent=False)  # [K]

    def forward(self, bev: BevFeatures) -> CenterPredictions:
        """Predictions for every cell of the maps."""
        shared = self.shared(bev.anchor)
        heat = torch.cat([branch(shared) for branch in self.heat], dim=1)[:, self.class_order]
        boxes = torch.stack([branch(shared) for branch in self.box], dim=1)  # [B, G, R, H, W]
        iou = boxes[:, :, self.numbers] if self.config.center_head.iou_score else None
        return CenterPredictions(heat, boxes[:, :, : self.numbers], iou)

    @torch.no_grad()
    def count(self, predictions: CenterPredictions, boxes: LabelBatch) -> int:
        """Labels of a batch whose centre lies on the map: the number that `loss` divides by."""
        return int(center_cells(boxes.boxes, self.config.bev_grid)[2].sum())

    def loss(
        self, predictions: CenterPredictions, boxes: LabelBatch, *, count: float | None = None
    ) -> dict[str, Tensor]:
        """Focal loss of the heatmaps, absolute errors of the boxes' numbers at the labels' cells.

        A label whose velocity is NaN teaches none. A batch without a label has a loss too: all of it is background.

        Args:
            predictions: of the batch.
            boxes: its labels.
            count: what the sums are divided by; None for this batch's labels on the map, shared by all processes.

        Returns:
            `center_heat`, `center_offset`, `center_height`, `center_size`, `center_yaw`, where boxes have one
            `center_velocity`, and with the IoU score `center_iou`; each a sum over the batch, divided by the count and
            weighted by the configuration.
        """
        settings = self.config.center_head
        targets = center_targets(boxes, self.config, self.references)
        divisor = shared_count(len(targets.labels)) if count is None else count
        group = self.group_of_class[targets.class_index]
        cells = targets.batch_index, group, slice(None), targets.row, targets.column
        numbers = precise(predictions.numbers[cells])  # [M, D + 1]
        known = targets.numbers.isfinite()
        errors = torch.where(known, numbers - targets.numbers.where(known, 0.0), 0.0).abs().sum(0)  # [D + 1]
        losses = {
            "center_heat": settings.heat_weight * heatmap_focal_loss(predictions.heat, targets.heat).sum(),
            "center_offset": settings.offset_weight * errors[OFFSET].sum(),
            "center_height": settings.height_weight * errors[HEIGHT].sum(),
            "center_size": settings.size_weight * errors[SIZE].sum(),
            "center_yaw": settings.yaw_weight * errors[YAW].sum(),
        }
        if self.config.velocity:
            losses["center_velocity"] = settings.velocity_weight * errors[VELOCITY].sum()
        if predictions.iou is not None:
            logits = precise(predictions.iou[targets.batch_index, group, targets.row, targets.column])
            overlap = self._overlap_with_labels(numbers.detach(), targets, boxes)
            iou = F.binary_cross_entropy_with_logits(logits, overlap, reduction="sum")
            losses["center_iou"] = settings.iou_weight * iou
        return {name: loss / divisor for name, loss in losses.items()}

    def _overlap_with_labels(self, numbers: Tensor, targets: CenterTargets, boxes: LabelBatch) -> Tensor:
        """Rotated 3-D IoU [M] of the boxes that are told at the labels' cells with the labels."""
        told = self._boxes(numbers, targets.row, targets.column, targets.class_index)
        return box_iou_3d(told[:, :7], boxes.boxes[targets.labels, :7], aligned=True)

    @torch.no_grad()
    def decode(
        self, predictions: CenterPredictions, score_threshold: float, count: int, *, together: int | None = None
    ) -> Proposals:
        """Boxes at the heatmaps' peaks: of each frame and class at most `count`, and of a frame at most `together`
        (None: any number), of those that score above the threshold.

        A peak is a cell that no neighbour exceeds. With the IoU score it is score^(1 - a) · iou^a that counts.
        """
        heat = predictions.heat.float().sigmoid()  # [B, K, H, W]
        batch_size, width = len(heat), heat.shape[3]
        is_peak = heat == F.max_pool2d(heat, 3, stride=1, padding=1)
        if predictions.iou is not None:
            power = self.rectification[:, None, None]
            heat = heat ** (1 - power) * predictions.iou.float().sigmoid()[:, self.group_of_class] ** power
        scores = (heat * is_peak).flatten(2)  # [B, K, H * W]
        best, cell = scores.topk(min(count, scores.shape[2]), dim=2)  # [B, K, n]
        best, order = best.flatten(1).sort(dim=1, descending=True, stable=True)
        kept = best[:, :together] > score_threshold
        frame, rank = torch.nonzero(kept, as_tuple=True)  # [N]
        chosen = order[frame, rank]
        class_index, cell = chosen // cell.shape[2], cell.flatten(1)[frame, chosen]
        row, column = cell // width, cell % width
        numbers = predictions.numbers[frame, self.group_of_class[class_index], :, row, column].float()
        boxes = self._boxes(numbers, row, column, class_index)
        return Proposals(boxes, best[frame, rank], class_index, frame, batch_size)

    def _boxes(self, numbers: Tensor, row: Tensor, column: Tensor, class_index: Tensor) -> Tensor:
        return decode_centers(numbers, row, column, self.config.bev_grid, self.references[class_index])

    def average(self, views: Sequence[tuple[CenterPredictions, str]]) -> CenterPredictions:
        """One frame's predictions from those of mirrored ones: means of probabilities and of numbers.

        Args:
            views: predictions, and the axes along which their frames are mirrored ("", "x", "y" or "xy").
        """
        mirrored = [_mirror(predictions, axes) for predictions, axes in views]
        iou = [each.iou for each in mirrored if each.iou is not None]
        return CenterPredictions(
            heat=_mean_logit([each.heat for each in mirrored]),
            numbers=torch.stack([each.numbers.float() for each in mirrored]).mean(0),
            iou=_mean_logit(iou) if iou else None,
        )


def _branch(channels: int, outputs: int, bias: float = 0.0) -> nn.Sequential:
    last = nn.Conv2d(channels, outputs, 1)
    nn.init.constant_(last.bias, bias)  # type: ignore[arg-type]  # it has one
    # Of ReLU's units few live where objects are, and few objects teach a box's numbers: SiLU learns them far sooner.
    hidden = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    return nn.Sequential(hidden, nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01), nn.SiLU(inplace=True), last)


def _mirror(predictions: CenterPredictions, axes: str) -> CenterPredictions:
    """Predictions of a frame as they would be of the mirrored one."""
    planes = [{"x": -1, "y": -2}[axis] for axis in axes]
    signs = mirror_signs(axes, predictions.numbers.shape[2]).to(predictions.numbers)
    return CenterPredictions(
        heat=predictions.heat.flip(planes),
        numbers=predictions.numbers.flip(planes) * signs[:, None, None],
        iou=None if predictions.iou is None else predictions.iou.flip(planes),
    )


def _mean_logit(logits: Sequence[Tensor]) -> Tensor:
    """Logit of the mean of probabilities."""
    return torch.stack([each.double().sigmoid() for each in logits]).mean(0).logit().float()
