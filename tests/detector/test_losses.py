"""The shared losses against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from lidar_ebm.detector.losses import PRIOR_BIAS, residual_loss, sigmoid_focal_loss, smooth_l1


def test_focal_loss_is_its_formula() -> None:
    logits = torch.randn(200, dtype=torch.float64) * 3
    targets = torch.rand(200) < 0.3
    probability = logits.sigmoid()
    expected = torch.where(
        targets,
        -0.25 * (1 - probability) ** 2 * probability.log(),
        -0.75 * probability**2 * (1 - probability).log(),
    )
    torch.testing.assert_close(sigmoid_focal_loss(logits, targets), expected)


def test_focal_loss_without_focus_is_half_of_cross_entropy() -> None:
    logits, targets = torch.randn(50), torch.rand(50) < 0.5
    expected = F.binary_cross_entropy_with_logits(logits, targets.float(), reduction="none") / 2
    torch.testing.assert_close(sigmoid_focal_loss(logits, targets, alpha=0.5, gamma=0.0), expected)


def test_focal_loss_gradient() -> None:
    logits = torch.randn(20, dtype=torch.float64, requires_grad=True)
    targets = torch.rand(20) < 0.5
    assert torch.autograd.gradcheck(lambda x: sigmoid_focal_loss(x, targets), (logits,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_focal_loss_of_extreme_logits_is_finite(dtype: torch.dtype) -> None:
    logits = torch.tensor([-200.0, 200.0, -200.0, 200.0], dtype=dtype, requires_grad=True)
    losses = sigmoid_focal_loss(logits, torch.tensor([0, 1, 1, 0]))
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses, torch.tensor([0.0, 0.0, 50.0, 150.0]))
    losses.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_prior_bias_scores_one_percent() -> None:
    assert 1 / (1 + math.exp(-PRIOR_BIAS)) == pytest.approx(0.01)


def test_smooth_l1_meets_at_beta() -> None:
    difference = torch.tensor([0.0, 0.05, 0.2, -3.0], dtype=torch.float64)
    beta = 1 / 9
    expected = torch.where(difference.abs() < beta, difference**2 / (2 * beta), difference.abs() - beta / 2)
    torch.testing.assert_close(smooth_l1(difference, torch.zeros(4, dtype=torch.float64)), expected)


def test_residual_loss_does_not_see_half_turns() -> None:
    target = torch.randn(30, 7)
    turned = target.clone()
    turned[:, 6] += math.pi * torch.randint(-2, 3, (30,))
    torch.testing.assert_close(residual_loss(turned, target), torch.zeros(30), atol=1e-10, rtol=0)
    quarter = target.clone()
    quarter[:, 6] += math.pi / 2
    torch.testing.assert_close(residual_loss(quarter, target), torch.full((30,), 1 - 1 / 18))


def test_residual_loss_sums_over_the_box() -> None:
    prediction, target = torch.randn(10, 7), torch.randn(10, 7)
    difference = prediction - target
    difference[:, 6] = difference[:, 6].sin()
    expected = F.smooth_l1_loss(difference, torch.zeros(10, 7), beta=1 / 9, reduction="none").sum(dim=1)
    torch.testing.assert_close(residual_loss(prediction, target), expected)
    assert residual_loss(prediction[:0], target[:0]).shape == (0,)
