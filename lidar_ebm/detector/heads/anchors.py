"""Anchors on the bird's-eye-view grid, and which of them stand for which label."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lidar_ebm.config.detector import DetectorSettings
from lidar_ebm.geometry.boxes import encode_boxes, nearest_axis_aligned_iou, wrap_angle
from lidar_ebm.types import BevGrid, LabelBatch

# Where the half turns of the two direction bins begin. Headings crowd along the axes of a road, so the bins change on
# its diagonals.
DIRECTION_OFFSET = math.pi / 4

IGNORED, NEGATIVE, POSITIVE = -1, 0, 1


@dataclass(frozen=True)
class Anchors:
    """Every anchor, in the order (H, W, class, yaw): the last changes fastest."""

    boxes: Tensor  # [A, 7] float32, LiDAR frame, m, rad
    class_index: Tensor  # [A] int64, the class that the anchor is for


@dataclass(frozen=True)
class AnchorTargets:
    """Targets of the anchors of a batch; the positives are listed, [P] of them."""

    state: Tensor  # [B, A] int8: IGNORED, NEGATIVE or POSITIVE
    batch_index: Tensor  # [P] int64
    anchor_index: Tensor  # [P] int64
    label_index: Tensor  # [P] int64, row of the label in the batch's boxes
    residuals: Tensor  # [P, 7] float32, from the anchor to its label
    directions: Tensor  # [P] int64, direction bin of the label


def anchors_per_cell(config: DetectorSettings) -> int:
    """Number of anchors that stand on one cell: the yaws of all classes together."""
    return sum(len(item.anchor_yaws) for item in config.classes)


def make_anchors(config: DetectorSettings) -> Anchors:
    """One anchor for every cell of the bird's-eye-view grid, class and yaw of that class.

    Returns:
        Anchors at the cells' centres, each with its class's size, centre height (z is the box's centre) and one yaw.
    """
    x, y = _cell_centers(config.bev_grid)
    templates = torch.tensor(
        [(item.anchor_center_z, *item.anchor_size, yaw) for item in config.classes for yaw in item.anchor_yaws]
    )  # [R, 5] z, l, w, h, yaw
    classes = torch.tensor([index for index, item in enumerate(config.classes) for _ in item.anchor_yaws])
    height, width, count = len(y), len(x), len(templates)
    boxes = torch.empty(height, width, count, 7)
    boxes[..., 0] = x[None, :, None]
    boxes[..., 1] = y[:, None, None]
    boxes[..., 2:] = templates
    return Anchors(boxes.view(-1, 7), classes.repeat(height * width))


def covered_anchors(occupied: Tensor, config: DetectorSettings) -> Tensor:
    """Mask of the anchors that stand over something: their footprint holds the centre of an occupied cell.

    The footprint is turned to the nearest axis, as in the IoU that assigns targets. The rest is empty air: such anchors
    neither train nor propose.

    Args:
        occupied: [B, H, W] bool, cells of the bird's-eye-view map over a non-empty column.

    Returns:
        [B, A] bool, in the order of `make_anchors`.
    """
    cell_x, cell_y = config.bev_grid.cell_size
    image = occupied[:, None].to(torch.float32)  # [B, 1, H, W]
    covered = []
    for item in config.classes:
        length, width, _ = item.anchor_size
        for yaw in item.anchor_yaws:
            along_x, along_y = (length, width) if abs(math.cos(yaw)) >= abs(math.sin(yaw)) else (width, length)
            reach_x = math.floor(along_x / 2 / cell_x + 1e-6)  # whole cells from the centre
            reach_y = math.floor(along_y / 2 / cell_y + 1e-6)
            # Two one-dimensional maxima are the maximum over the rectangle.
            reached = F.max_pool2d(image, (1, 2 * reach_x + 1), stride=1, padding=(0, reach_x))
            reached = F.max_pool2d(reached, (2 * reach_y + 1, 1), stride=1, padding=(reach_y, 0))
            covered.append(reached[:, 0] > 0)
    return torch.stack(covered, dim=-1).flatten(1)  # [B, H, W, R] -> [B, A]


def direction_bin(yaw: Tensor) -> Tensor:
    """The half turn of two that a heading lies in, [...] int64: 0 for [pi/4, 5 pi/4), 1 for the rest."""
    turn = torch.remainder(yaw - DIRECTION_OFFSET, 2 * math.pi)
    return (turn >= math.pi).long()


def resolve_direction(yaw: Tensor, direction: Tensor) -> Tensor:
    """The heading that is `yaw` or its opposite, whichever lies in the direction bin; rad in [-pi, pi).

    The inverse of `direction_bin`: the residual fixes a box up to a half turn, the bin says which. Within rounding of
    the line between the bins `yaw` is kept.
    """
    middle = DIRECTION_OFFSET + math.pi / 2 + math.pi * direction.to(yaw.dtype)
    opposite = (yaw - middle).cos() < -1e-5
    return wrap_angle(yaw + math.pi * opposite)


@torch.no_grad()
def assign_targets(anchors: Anchors, boxes: LabelBatch, covered: Tensor, config: DetectorSettings) -> AnchorTargets:
    """Compare anchors with the labels of their class by nearest axis-aligned bird's-eye-view IoU.

    An anchor is positive from its class's `positive_iou` on, for the label that it overlaps most; background below
    `negative_iou`; ignored between, and wherever it covers nothing. Of those that count, each label's best anchor is
    positive for it whatever their IoU, as long as they overlap, even where it overlaps another label more; of labels
    that share a best anchor one gets it.

    Args:
        anchors: from `make_anchors(config)`.
        boxes: the batch's labels, M of them; a velocity is passed over.
        covered: [B, A] bool from `covered_anchors`: the anchors that count.

    Returns:
        The targets, positives in the order of frame and class.
    """
    device, labels = covered.device, boxes.boxes[:, :7]
    state = torch.where(covered, NEGATIVE, IGNORED).to(torch.int8)
    matches: list[tuple[Tensor, Tensor, Tensor]] = []
    for frame in range(boxes.batch_size):
        for index, item in enumerate(config.classes):
            rows = torch.nonzero((boxes.batch_index == frame) & (boxes.class_index == index))[:, 0]  # [m]
            if len(rows) == 0:
                continue
            near = _anchors_near(labels[rows], index, config)
            near = near[covered[frame, near]]  # [n]
            iou = nearest_axis_aligned_iou(anchors.boxes[near], labels[rows])  # [n, m]
            label, positive, ignored = _match(iou, item.positive_iou, item.negative_iou)
            state[frame, near[ignored]] = IGNORED
            state[frame, near[positive]] = POSITIVE
            matches.append((torch.full_like(near[positive], frame), near[positive], rows[label[positive]]))
    empty = torch.empty(0, dtype=torch.long, device=device)
    batch_index, anchor_index, label_index = (
        torch.cat(column) for column in (zip(*matches, strict=True) if matches else ([empty], [empty], [empty]))
    )
    targets = labels[label_index]
    return AnchorTargets(
        state=state,
        batch_index=batch_index,
        anchor_index=anchor_index,
        label_index=label_index,
        residuals=encode_boxes(targets, anchors.boxes[anchor_index]),
        directions=direction_bin(targets[:, 6]),
    )


def _match(iou: Tensor, positive_iou: float, negative_iou: float) -> tuple[Tensor, Tensor, Tensor]:
    """Each anchor's label [n], and whether the anchor is positive [n] or ignored [n], from their IoU [n, m], m > 0."""
    if len(iou) == 0:
        nothing = torch.zeros(0, dtype=torch.bool, device=iou.device)
        return nothing.long(), nothing, nothing
    best, label = iou.max(dim=1)
    highest = iou.max(dim=0)
    forced = torch.zeros_like(iou, dtype=torch.bool)
    forced[highest.indices, torch.arange(iou.shape[1], device=iou.device)] = highest.values > 0
    # An anchor that is the best one of several labels goes to the one it overlaps most.
    is_forced = forced.any(dim=1)
    label = torch.where(is_forced, torch.where(forced, iou, -1.0).argmax(dim=1), label)
    positive = (best >= positive_iou) | is_forced
    return label, positive, (best >= negative_iou) & ~positive


def _anchors_near(boxes: Tensor, label: int, config: DetectorSettings) -> Tensor:
    """Indices of the anchors of one class that can overlap any of `boxes` [m, 7], so that few pairs are compared."""
    x, y = (axis.to(boxes) for axis in _cell_centers(config.bev_grid))
    size = config.classes[label].anchor_size
    reach = (boxes[:, 3:5].amax(dim=1, keepdim=True) + max(size[:2])) / 2  # [m, 1]
    columns = (x - boxes[:, 0, None]).abs() < reach  # [m, W]
    rows = (y - boxes[:, 1, None]).abs() < reach  # [m, H]
    cells = torch.nonzero((rows[:, :, None] & columns[:, None, :]).any(dim=0).flatten())  # [n, 1]
    first = sum(len(item.anchor_yaws) for item in config.classes[:label])
    own = torch.arange(first, first + len(config.classes[label].anchor_yaws), device=boxes.device)
    return (cells * anchors_per_cell(config) + own).flatten()


def _cell_centers(grid: BevGrid) -> tuple[Tensor, Tensor]:
    """x of the columns [W] and y of the rows [H], m."""
    height, width = grid.shape
    x = torch.arange(width, dtype=torch.float64) * grid.cell_size[0] + grid.origin[0]
    y = torch.arange(height, dtype=torch.float64) * grid.cell_size[1] + grid.origin[1]
    return x.float(), y.float()
