"""Losses that several heads share; elementwise, so that the caller says what counts and what it is divided by."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

BOX_BETA = 1 / 9  # where the published box regressions turn from squared to absolute
# Bias of a focal classifier's last layer before training: everything scores 0.01, so that the many negatives do not
# drown the first steps (Lin et al., section 4.1).
PRIOR_BIAS = -math.log((1 - 0.01) / 0.01)


def precise(values: Tensor) -> Tensor:
    """In float32 at least, as losses and targets are."""
    return values.float() if values.dtype.itemsize < 4 else values


def sigmoid_focal_loss(logits: Tensor, targets: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss of binary logits: `-a (1 - p)^gamma log p`, p the probability given to the true side.

    After Lin et al., "Focal Loss for Dense Object Detection" (2017), equation 5. With gamma 0 and alpha 1/2 it is half
    of the binary cross-entropy.

    Args:
        logits: any shape.
        targets: the same shape, bool or 0 / 1.
        alpha: weight a of the positives; the negatives weigh 1 - alpha.
        gamma: how strongly what is already right is ignored.

    Returns:
        The loss of each element, in float32 at least.
    """
    logits = precise(logits)
    positive = targets.to(logits.dtype)
    signed = logits * (2 * positive - 1)  # the logit of the true side
    weight = alpha * positive + (1 - alpha) * (1 - positive)
    return -weight * (-signed).sigmoid() ** gamma * F.logsigmoid(signed)


def heatmap_focal_loss(logits: Tensor, targets: Tensor, *, alpha: float = 2.0, beta: float = 4.0) -> Tensor:
    """Focal loss of heatmaps whose negatives near a centre count less: penalty-reduced, as in CornerNet.

    `-(1 - p)^a log p` where the target is 1, `-(1 - target)^b p^a log(1 - p)` elsewhere.

    Args:
        logits: any shape.
        targets: the same shape, 0..1.
        alpha: how strongly what is already right is ignored.
        beta: how strongly the negatives near a centre are.

    Returns:
        The loss of each element, in float32 at least.
    """
    logits = precise(logits)
    centre = targets == 1
    signed = torch.where(centre, logits, -logits)  # the logit of the true side
    weight = torch.where(centre, 1.0, (1 - targets) ** beta)
    return -weight * (-signed).sigmoid() ** alpha * F.logsigmoid(signed)


def smooth_l1(prediction: Tensor, target: Tensor, *, beta: float = BOX_BETA) -> Tensor:
    """`d² / (2 beta)` where the difference d is below beta, `|d| - beta / 2` elsewhere; elementwise."""
    return F.smooth_l1_loss(prediction, target, reduction="none", beta=beta)


def residual_loss(prediction: Tensor, target: Tensor, *, beta: float = BOX_BETA) -> Tensor:
    """Smooth-L1 of box residuals whose last column, an angle, counts by the sine of its difference.

    The sine makes a box and the same box turned by pi equal; the direction bin tells them apart (SECOND, section 3.2).

    Args:
        prediction: [P, 7] residuals in the order of the box, the angle's difference last, rad.
        target: [P, 7].

    Returns:
        [P] losses, summed over the seven.
    """
    difference = prediction - target
    flat = smooth_l1(difference[:, :6], difference.new_zeros(()).expand_as(difference[:, :6]), beta=beta)
    turn = difference[:, 6].sin()
    return flat.sum(dim=1) + smooth_l1(turn, turn.new_zeros(()).expand_as(turn), beta=beta)
