"""Detections and the labels that they belong to, with the energy around them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cuda_ops.box_overlap.op import box_iou_3d
from lidar_ebm.boxes.boxes import BOX_SIZE
from lidar_ebm.boxes.matching import match_rows
from lidar_ebm.ebm.energy import Energy
from lidar_ebm.energy.box_space import YAW
from lidar_ebm.geometry.boxes import wrap_angle
from lidar_ebm.inference.detection import detect_batch
from lidar_ebm.runs.model import Model
from lidar_ebm.types import Batch


@dataclass(frozen=True, eq=False)
class MatchedBoxes:
    """Detections that found a label."""

    energy: Energy  # f(x, y) around each of them
    boxes: Tensor  # [N, D] as detected and refined
    # [N, d] the labels' numbers that f is over; with the yaw turned by π, the same box in space, where that is nearer
    targets: Tensor
    flipped: Tensor  # [N] bool, where it was
    overlap: Tensor  # [N] 3-D IoU of box and label


@torch.no_grad()
def match_boxes(detector: Model, batch: Batch, *, steps: int | None = None, iou: float = 0.5) -> MatchedBoxes:
    """Detect in a batch with labels, and find each detection's label.

    By falling score each detection takes the label of its class that it overlaps most, of those that are left. Of an
    energy over velocities, labels whose velocity is unknown are left out, and their detections with them.

    Args:
        detector: in evaluation mode, on the batch's device.
        steps: refinement steps T; the configuration's where None.
        iou: 3-D IoU from which on box and label belong together.
    """
    detected = detect_batch(detector, batch, steps)
    proposals, boxes = detected.proposals, detected.ascent.y
    labels = batch.boxes
    same = (proposals.batch_index.unsqueeze(1) == labels.batch_index) & (
        proposals.class_index.unsqueeze(1) == labels.class_index
    )
    table = (
        torch.where(same, box_iou_3d(boxes[:, :BOX_SIZE], labels.boxes[:, :BOX_SIZE]), -1.0).double().cpu().numpy()
    )  # [N, L]
    partner = torch.from_numpy(match_rows(table, proposals.scores.cpu().numpy(), iou)).to(boxes.device)
    own = (partner >= 0).nonzero().squeeze(1)
    targets = labels.boxes[partner[own], : detector.config.energy_dimensions]
    known = ~targets.isnan().any(dim=1)
    own, targets = own[known], targets[known]

    boxes = boxes[own]
    overlap = box_iou_3d(boxes[:, :BOX_SIZE], targets[:, :BOX_SIZE], aligned=True)
    flipped = wrap_angle(targets[:, YAW] - boxes[:, YAW]).abs() > math.pi / 2
    turned = wrap_angle(targets[:, YAW] + math.pi * flipped)
    targets = torch.cat([targets[:, :YAW], turned.unsqueeze(1), targets[:, BOX_SIZE:]], dim=1)
    return MatchedBoxes(detected.refiner.select(own).f, boxes, targets, flipped, overlap)
