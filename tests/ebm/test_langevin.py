"""Langevin chains: the step itself, and the density that they keep to, around angles and at bounds too."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from lidar_ebm.ebm.langevin import langevin
from lidar_ebm.ebm.random_numbers import GroupedGenerator
from lidar_ebm.ebm.targets import TargetSpace

SPACE = TargetSpace(
    ("position", "angle", "size"), (None, 2 * math.pi, None), (-math.inf, -math.inf, 0.5), (1, 0.1, 0.1)
)


def quadratic(y: Tensor) -> Tensor:
    return -0.5 * y.square().sum(-1)


def periodic(y: Tensor) -> Tensor:
    """A normal position, a von Mises angle with its mode at the cut, and a size that is exponential from the bound."""
    return -0.5 * y[..., 0].square() - y[..., 1].cos() - 2 * y[..., 2]


def ends(alpha: float, *, adjust: bool, steps: int, chains: int = 4000) -> Tensor:
    start = torch.tensor([0.5, 3.0, 0.6]).expand(1, chains, 3)
    random = torch.Generator().manual_seed(0)
    return langevin(periodic, start, steps=steps, step_length=alpha, random=random, space=SPACE, adjust=adjust).y[0]


def test_takes_the_step_of_the_formula() -> None:
    y0 = torch.randn(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    alpha = torch.tensor([0.1, 0.2, 0.4], dtype=torch.float64)
    result = langevin(quadratic, y0, steps=2, step_length=(0.1, 0.2, 0.4), random=torch.Generator().manual_seed(2))
    random = torch.Generator().manual_seed(2)
    expected = y0
    for _ in range(2):
        kick = torch.randn(2, 5, 3, dtype=torch.float64, generator=random)
        expected = expected - alpha**2 / 2 * expected + alpha * kick
    torch.testing.assert_close(result.y, expected, rtol=0, atol=1e-12)
    assert torch.equal(result.accepted, torch.ones(2, 5, dtype=torch.float64))


@pytest.mark.parametrize(("alpha", "adjust", "steps"), [(0.2, False, 150), (1.0, True, 60)])
def test_chains_have_the_density_in_every_kind_of_dimension(alpha: float, adjust: bool, steps: int) -> None:
    """By Kolmogorov and Smirnov: unadjusted with small steps, adjusted with steps whose error would show."""
    y = ends(alpha, adjust=adjust, steps=steps)
    assert SPACE.contains(y).all()
    assert (y[:, 1].abs() <= math.pi).all()
    assert stats.kstest(y[:, 0], stats.norm().cdf).pvalue > 0.001
    from_mode = torch.remainder(y[:, 1], 2 * math.pi) - math.pi
    assert stats.kstest(from_mode, stats.vonmises(1).cdf).pvalue > 0.001
    tolerance = 0 if adjust else 0.025  # a step too coarse for the steepest dimension
    assert stats.kstest(y[:, 2] - 0.5, stats.expon(scale=0.5).cdf).statistic < 0.031 + tolerance


def test_adjusting_takes_out_the_error_of_long_steps() -> None:
    """Unadjusted, a normal density comes out too wide by 1 / (1 - α²/4)."""
    random = torch.Generator().manual_seed(0)
    start = torch.zeros(1, 20_000, 1)
    plain = langevin(quadratic, start, steps=30, step_length=1.2, random=random).y
    adjusted = langevin(quadratic, start, steps=30, step_length=1.2, random=random, adjust=True)
    torch.testing.assert_close(plain.var(), torch.tensor(1 / (1 - 1.2**2 / 4)), rtol=0, atol=0.06)
    torch.testing.assert_close(adjusted.y.var(), torch.tensor(1.0), rtol=0, atol=0.04)
    assert 0.5 < adjusted.accepted.mean() < 0.98
    assert (adjusted.accepted <= 1).all()


def test_a_start_outside_the_space_is_brought_into_it() -> None:
    y0 = torch.tensor([[[0.0, 7.0, -3.0]]])
    assert torch.equal(langevin(periodic, y0, steps=0, step_length=0.1, space=SPACE).y, SPACE.constrain(y0))
    assert SPACE.contains(langevin(periodic, y0, steps=3, step_length=0.1, space=SPACE).y).all()


@pytest.mark.parametrize("adjust", [False, True])
def test_each_row_is_alone(adjust: bool) -> None:
    y0 = torch.rand(4, 3, 3, generator=torch.Generator().manual_seed(1)) + 0.5

    def walk(y: Tensor, seeds: list[int]) -> Tensor:
        random = GroupedGenerator(seeds, torch.arange(len(y)))
        return langevin(periodic, y, steps=5, step_length=0.4, random=random, space=SPACE, adjust=adjust).y

    together = walk(y0, [1, 2, 3, 4])
    for row in range(4):
        torch.testing.assert_close(walk(y0[row : row + 1], [row + 1]), together[row : row + 1])


@pytest.mark.parametrize("adjust", [False, True])
def test_leaves_parameters_and_the_callers_gradient_mode_alone(adjust: bool) -> None:
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    y0 = torch.randn(5, 2, 3, requires_grad=True)
    for enabled in (False, True):
        with torch.set_grad_enabled(enabled):
            result = langevin(lambda y: net(y).squeeze(-1), y0, steps=3, step_length=0.5, adjust=adjust)
            assert torch.is_grad_enabled() == enabled
        assert not result.y.requires_grad
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("adjust", [False, True])
def test_evaluates_once_a_step(adjust: bool) -> None:
    calls = []

    def energy(y: Tensor) -> Tensor:
        calls.append(y.shape)
        return quadratic(y)

    langevin(energy, torch.zeros(4, 2, 3), steps=6, step_length=0.1, adjust=adjust)
    assert len(calls) == 6 + adjust


def test_steps_into_nowhere_are_rejected() -> None:
    y0 = torch.full((1, 500, 1), 0.5)
    result = langevin(
        lambda y: (1 - y.squeeze(-1)).log(),
        y0,
        steps=20,
        step_length=0.5,
        random=torch.Generator().manual_seed(0),
        adjust=True,
    )
    assert (result.y < 1).all()
    assert (result.accepted < 1).any()


@pytest.mark.parametrize("adjust", [False, True])
def test_no_rows_and_flat_energies(adjust: bool) -> None:
    result = langevin(quadratic, torch.zeros(0, 4, 2), steps=3, step_length=0.1, adjust=adjust)
    assert result.y.shape == (0, 4, 2)
    assert result.accepted.shape == (0, 4)
    flat = langevin(lambda y: torch.ones(y.shape[:2]), torch.zeros(2, 4, 2), steps=3, step_length=0.1, adjust=adjust)
    assert (flat.accepted == 1).all()
    assert (flat.y != 0).all()


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="steps: -1"):
        langevin(quadratic, torch.zeros(1, 1, 1), steps=-1, step_length=0.1)
    with pytest.raises(ValueError, match="int64"):
        langevin(quadratic, torch.zeros(1, 1, 1, dtype=torch.int64), steps=1, step_length=0.1)
