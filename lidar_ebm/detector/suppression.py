"""Suppression of boxes that a higher one of their frame and group makes needless."""

from __future__ import annotations

import torch
from torch import Tensor

from cuda_ops.box_overlap.op import nms_bev
from lidar_ebm.config.detector import DetectorSettings
from lidar_ebm.types import Proposals


def suppress(proposals: Proposals, settings: DetectorSettings) -> Proposals:
    """Those that stay, frame by frame and by falling score within; of a frame and class `max_detections` at most."""
    detection, groups = settings.detection, settings.class_groups
    place = [next(g for g, group in enumerate(groups) if k in group) for k in range(len(settings.classes))]
    group_index = torch.tensor(place, device=proposals.class_index.device)[proposals.class_index]
    if detection.nms == "circle":
        radii = proposals.boxes.new_tensor([detection.nms_radii[name] for name in settings.class_names])
        kept = nms_circle(
            proposals.boxes[:, :2], proposals.scores, radii[proposals.class_index], group_index, proposals.batch_index
        )
    else:
        kept = nms_bev(
            proposals.boxes[:, :7],
            proposals.scores,
            detection.nms_iou,
            class_index=group_index,
            batch_index=proposals.batch_index,
        )
    kept = kept[torch.argsort(proposals.batch_index[kept], stable=True)]
    proposals = proposals.select(kept)
    return proposals.select(proposals.rank_in_class() < detection.max_detections)


def nms_circle(centers: Tensor, scores: Tensor, radii: Tensor, group_index: Tensor, batch_index: Tensor) -> Tensor:
    """Greedy suppression by distance: a kept box removes those whose radius holds its centre.

    Args:
        centers: [N, 2], m.
        scores: [N]; of equal ones the earlier row goes first.
        radii: [N] of the boxes that may go, m.
        group_index: [N] int64; boxes of different groups leave each other alone.
        batch_index: [N] int64; so do boxes of different frames.

    Returns:
        [K] int64 rows of the kept boxes, by falling score over all frames.
    """
    order = torch.argsort(scores, descending=True, stable=True)
    keys = torch.stack((batch_index, group_index), dim=1)[order]
    kept = torch.ones(len(order), dtype=torch.bool, device=order.device)
    for key in torch.unique(keys, dim=0):
        rows = torch.nonzero((keys == key).all(1))[:, 0]
        own = order[rows]
        distance = torch.cdist(
            centers[own].double(), centers[own].double(), compute_mode="donot_use_mm_for_euclid_dist"
        )
        removes = (distance <= radii[own]).triu(1)  # row: a higher box; column: a lower one
        kept[rows] = _keep_greedily(removes)
    return order[kept]


def _keep_greedily(removes: Tensor) -> Tensor:
    """Rows [n] of a strictly triangular matrix [n, n] that no kept row removes.

    Whoever is removed by a row that is removed itself comes back, until nothing changes: after the first round the
    first row is right for good, after the next one those that hang on it alone, and so on.
    """
    kept = torch.ones(len(removes), dtype=torch.bool, device=removes.device)
    while True:
        again = ~(removes & kept[:, None]).any(0)
        if torch.equal(again, kept):
            return kept
        kept = again
