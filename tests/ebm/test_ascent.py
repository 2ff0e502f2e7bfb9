"""Gradient ascent: where it ends, that it never descends, and what it costs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from lidar_ebm.ebm import ascend

CENTER = torch.tensor([[1.0, -2.0, 0.5], [30.0, 4.0, -1.0]])


def quadratic(y: Tensor) -> Tensor:
    return -(y - CENTER.unsqueeze(1)).square().sum(-1)


def bumpy(y: Tensor) -> Tensor:
    """Many maxima, plateaus and cliffs; each row of y alone decides its f."""
    return (3 * y).sin().sum(-1) - 0.1 * y.square().sum(-1) + torch.where(y[..., 0] > 0.3, -2.0, 0.0)


@pytest.mark.parametrize("step_length", [0.1, [0.1, 0.2, 0.4], 7.0])
def test_reaches_the_optimum_of_a_quadratic(step_length: float | list[float]) -> None:
    """Also from a step length far too long, which the halving brings down."""
    result = ascend(quadratic, CENTER + 3, steps=200, step_length=step_length)
    torch.testing.assert_close(result.y, CENTER, atol=1e-3, rtol=0)
    torch.testing.assert_close(result.f, torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(result.f0, torch.full((2,), -27.0))


def test_takes_plain_gradient_steps_while_f_rises() -> None:
    y0 = CENTER + 1
    result = ascend(quadratic, y0, steps=2, step_length=0.1)
    torch.testing.assert_close(result.y, CENTER + (y0 - CENTER) * 0.8 * 0.8)


@pytest.mark.parametrize("step_length", [0.01, 0.3, 5.0])
def test_never_lowers_f(step_length: float) -> None:
    y0 = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    result = ascend(bumpy, y0, steps=12, step_length=step_length, record=True)
    assert result.trajectory is not None
    assert torch.equal(result.trajectory[0], y0)
    assert torch.equal(result.trajectory[-1], result.y)
    values = torch.stack([bumpy(y.unsqueeze(1)).squeeze(1) for y in result.trajectory])  # [T + 1, N]
    assert (values.diff(dim=0) >= 0).all()
    assert torch.equal(values[0], result.f0)
    assert torch.equal(values[-1], result.f)
    assert (result.f > result.f0).any()


def test_halves_the_step_of_the_target_that_failed_and_of_no_other() -> None:
    """The first target overshoots (λ·curvature = 2.4): rejected, halved (1.2), accepted."""
    curvature = torch.tensor([2.4, 0.5])
    result = ascend(
        lambda y: -0.5 * curvature.unsqueeze(1) * y[..., 0].square(),
        torch.ones(2, 1),
        steps=3,
        step_length=1.0,
        record=True,
    )
    assert result.trajectory is not None
    expected = torch.tensor([[1.0, 1.0], [1.0, 0.5], [-0.2, 0.25], [0.04, 0.125]])
    torch.testing.assert_close(result.trajectory.squeeze(2), expected)


def test_each_target_is_alone() -> None:
    y0 = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    together = ascend(bumpy, y0, steps=8, step_length=0.4)
    for row, y in enumerate(y0):
        alone = ascend(bumpy, y.unsqueeze(0), steps=8, step_length=0.4)
        torch.testing.assert_close(alone.y[0], together.y[row])
        torch.testing.assert_close(alone.f[0], together.f[row])


def test_no_steps_change_nothing() -> None:
    y0 = torch.tensor([[0.0, -0.0, 7.0], [1e-30, 4.0, 5.0]])
    result = ascend(bumpy, y0, steps=0, step_length=0.1, constrain=lambda y: y.clamp(max=1.0), record=True)
    assert torch.equal(result.y.view(torch.int32), y0.view(torch.int32))
    assert torch.equal(result.f, result.f0)
    assert result.trajectory is not None
    assert result.trajectory.shape == (1, 2, 3)


@pytest.mark.parametrize("steps", [0, 1, 10])
def test_evaluates_once_a_step(steps: int) -> None:
    calls: list[bool] = []

    def energy(y: Tensor) -> Tensor:
        calls.append(torch.is_grad_enabled())
        return bumpy(y)

    ascend(energy, torch.zeros(4, 3), steps=steps, step_length=0.1)
    assert len(calls) == steps + 1
    assert sum(calls) == steps


def test_takes_steps_into_nowhere_back() -> None:
    """f is not a number beyond 1, and its gradient not finite at 0."""

    def energy(y: Tensor) -> Tensor:
        return (1 - y[..., 0]).log() * 0 + y[..., 0].clamp(min=0).sqrt()

    result = ascend(energy, torch.tensor([[0.9], [0.0], [2.0]]), steps=6, step_length=1.0)
    assert 0.9 < result.y[0] < 1
    assert result.y[1:].flatten().tolist() == [0.0, 2.0]
    assert result.f[0] > result.f0[0]
    assert math.isnan(result.f[2])


def test_stays_within_the_constraint() -> None:
    y0 = (CENTER - 1).clamp(max=0.25)
    result = ascend(quadratic, y0, steps=60, step_length=0.2, constrain=lambda y: y.clamp(max=0.25))
    torch.testing.assert_close(result.y, CENTER.clamp(max=0.25))


def test_leaves_parameters_and_the_callers_gradient_mode_alone() -> None:
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    y0 = torch.randn(5, 3, requires_grad=True)
    with torch.no_grad():
        result = ascend(lambda y: net(y).squeeze(-1), y0, steps=3, step_length=0.5)
        assert not torch.is_grad_enabled()
    assert (result.f > result.f0).all()
    assert all(parameter.grad is None for parameter in net.parameters())
    assert y0.grad is None
    assert not result.y.requires_grad
    assert not result.f.requires_grad


def test_no_targets() -> None:
    result = ascend(bumpy, torch.zeros(0, 3), steps=3, step_length=0.1, record=True)
    assert result.y.shape == (0, 3)
    assert result.f.shape == (0,)


def test_a_flat_energy_leaves_everything_where_it_is() -> None:
    y0 = torch.randn(4, 2)
    weight = torch.ones((), requires_grad=True)
    for energy in (lambda y: torch.ones(y.shape[:2]), lambda y: weight * torch.ones(y.shape[:2])):
        assert torch.equal(ascend(energy, y0, steps=3, step_length=1.0).y, y0)


def test_impossible_arguments_are_refused() -> None:
    def energy(y: torch.Tensor) -> torch.Tensor:
        return -y.square().sum(-1)

    with pytest.raises(ValueError, match="steps: -1"):
        ascend(energy, torch.zeros(1, 1), steps=-1, step_length=1.0)
    with pytest.raises(ValueError, match="int64"):
        ascend(energy, torch.zeros(1, 1, dtype=torch.int64), steps=1, step_length=1.0)
