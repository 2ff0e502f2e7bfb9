"""SM and DSM against derivatives by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lidar_ebm.ebm.losses import DSM, SM
from lidar_ebm.ebm.targets import TargetSpace
from tests.ebm.losses.recorder import Recorder, seeded, targets

SPACE = TargetSpace(("angle", "size"), (2 * math.pi, None), (-math.inf, 0.05), (0.1, 0.2))


def test_sm_is_the_trace_and_half_the_squared_slope() -> None:
    energy, y = Recorder(), targets()
    loss = SM()(energy, y)
    (shown,) = energy.shown
    assert torch.equal(shown, y.unsqueeze(1))
    expected = (energy.trace(y) + 0.5 * energy.slope(y).square().sum(-1)).mean()
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
    got, want = (torch.autograd.grad(value, energy.weights)[0] for value in (loss, expected))
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


def test_sm_trace_of_a_correlated_normal_density_is_that_of_its_precision() -> None:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(7, 7, dtype=torch.float64, generator=generator)
    precision = root @ root.T
    y = torch.randn(4, 7, dtype=torch.float64, generator=generator)
    loss = SM()(lambda c: -0.5 * torch.einsum("nsi,ij,nsj->ns", c, precision, c), y)
    expected = (-precision.trace() + 0.5 * (y @ precision).square().sum(-1)).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


def test_sm_leaves_targets_far_from_a_bound_alone_and_weighs_others_down() -> None:
    energy = Recorder()
    y = torch.tensor([[0.5, 1.0], [-3.0, 0.3]], dtype=torch.float64)
    torch.testing.assert_close(SM(SPACE)(energy, y), SM()(energy, y), rtol=0, atol=1e-12)
    near = torch.tensor([[0.5, 0.1]], dtype=torch.float64)  # a quarter of a scale above the bound
    slope, weight = energy.slope(near), 0.25
    second = torch.tensor([-math.sin(0.5) * 0.1 - 12 * 0.1 * 0.25, -1.4], dtype=torch.float64)
    angle, size = (second + 0.5 * slope.square()).unbind(-1)
    expected = angle + weight * size + slope[:, 1] / 0.2
    torch.testing.assert_close(SM(SPACE)(energy, near), expected.squeeze(), rtol=0, atol=1e-12)


def test_sm_wraps_what_f_is_shown() -> None:
    energy = Recorder()
    SM(SPACE)(energy, torch.tensor([[2 * math.pi + 1, 1.0]], dtype=torch.float64))
    torch.testing.assert_close(energy.shown[0][0, 0, 0].item(), 1.0)


class Square(torch.autograd.Function):
    """y², whose derivative is computed by an operation of its own that has none, as with a native kernel."""

    @staticmethod
    def forward(ctx: Any, y: Tensor) -> Tensor:
        ctx.save_for_backward(y)
        return y.square()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return SquareSlope.apply(gradient, *ctx.saved_tensors)


class SquareSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: Tensor, y: Tensor) -> Tensor:
        return 2 * gradient * y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        raise RuntimeError("the kernel has one derivative")


def test_sm_says_that_an_operation_has_no_second_derivative() -> None:
    with pytest.raises(ValueError, match=r"needs second derivatives.*only once.*the kernel has one derivative"):
        SM()(lambda c: -Square.apply(c.tanh()).sum(-1), targets())


def test_sm_learns_from_a_linear_energy_only_at_a_bound() -> None:
    """An exponential density of rate r above the bound: the loss is lowest at r."""
    rate, space = 2.0, TargetSpace(("size",), (None,), (1.0,), (0.5,))
    y = 1 + torch.distributions.Exponential(rate).icdf((torch.arange(20_000, dtype=torch.float64)[:, None] + 0.5) / 2e4)
    slope = torch.tensor(-rate, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(SM(space)(lambda c: slope * c.squeeze(-1), y), slope)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-3)
    with pytest.raises(ValueError, match="f is linear in y"):
        SM()(lambda c: slope * c.squeeze(-1), y)


@pytest.mark.parametrize("loss", [SM(), DSM([0.1, 0.2], 3)])
def test_an_energy_without_a_slope_is_refused(loss: SM | DSM) -> None:
    weight = torch.ones((), requires_grad=True)
    for energy in (lambda c: torch.ones(c.shape[:2]), lambda c: weight * torch.ones(c.shape[:2])):
        with pytest.raises(ValueError, match="does not depend on y"):
            loss(energy, targets())


def test_dsm_is_the_distance_to_the_slope_of_the_label_noise() -> None:
    energy, y = Recorder(), targets()
    stds = torch.tensor([0.1, 0.3], dtype=torch.float64)
    loss = DSM([0.1, 0.3], 15)(energy, y, random=seeded())
    (noisy,) = energy.shown  # one call for all targets
    kick = torch.randn(6, 15, 2, dtype=torch.float64, generator=seeded())
    torch.testing.assert_close(noisy, y.unsqueeze(1) + stds * kick, rtol=0, atol=1e-12)
    expected = (energy.slope(noisy) + (noisy - y.unsqueeze(1)) / stds**2).square().sum(-1).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    got, want = (torch.autograd.grad(value, energy.weights)[0] for value in (loss, expected))
    torch.testing.assert_close(got, want, rtol=1e-9, atol=0)


def test_dsm_takes_the_shorter_way_around_and_stays_within_bounds() -> None:
    energy, y = Recorder(), torch.tensor([[3.1, 0.1], [-3.1, 0.3]], dtype=torch.float64)
    stds = torch.tensor([0.1, 0.3], dtype=torch.float64)
    loss = DSM(stds, 500, SPACE)(energy, y, random=seeded())
    (noisy,) = energy.shown
    assert SPACE.contains(noisy).all()
    assert (noisy[0, :, 0] < 0).any()
    offset = SPACE.difference(noisy, y.unsqueeze(1))
    assert offset.abs().max() < 2
    expected = (energy.slope(noisy) + offset / stds**2).square().sum(-1).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=0)


def test_dsm_slope_of_very_wide_noise_on_an_angle_is_none() -> None:
    """The noise is uniform then, and a difference over σ² would have a jump half a turn away."""
    space = TargetSpace.angles(1)
    y = torch.zeros(3, 1, dtype=torch.float64)
    loss = DSM([20.0], 50, space)(lambda c: c.sin().sum(-1) * 0, y, random=seeded())
    torch.testing.assert_close(loss, torch.zeros((), dtype=torch.float64))


@pytest.mark.parametrize("loss", [SM(), DSM([0.1, 0.2], 3)])
def test_keeps_to_the_callers_gradient_mode(loss: SM | DSM) -> None:
    net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    with torch.no_grad():
        value = loss(lambda c: net(c).squeeze(-1), targets(), random=seeded())
    assert not value.requires_grad
    assert loss(lambda c: net(c).squeeze(-1), targets(), random=seeded()) == value


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="samples: 0"):
        DSM([0.1], 0)
    with pytest.raises(ValueError, match="stds"):
        DSM([-0.1], 1)
