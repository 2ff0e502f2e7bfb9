"""Means, intervals and ranks: circular where they must be, and uniform where the density is right."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lidar_ebm.ebm.noise import GaussianMixtureNoise
from lidar_ebm.ebm.sampling import WeightedSamples, importance_samples
from lidar_ebm.ebm.targets import TargetSpace

SPACE = TargetSpace(("angle", "length"), (2 * math.pi, None), (-math.inf, -math.inf), (0.1, 0.1))
PROPOSAL = GaussianMixtureNoise([[0.6, 0.8], [1.2, 2.0]], SPACE)
SPREAD = torch.tensor([0.4, 0.7], dtype=torch.float64)


def equal(values: list[list[float]], space: TargetSpace) -> WeightedSamples:
    """One row of equally likely points."""
    y = torch.tensor(values, dtype=torch.float64).unsqueeze(0)
    return WeightedSamples.from_draws(y, torch.zeros(y.shape[:2], dtype=torch.float64), space)


def test_circular_mean_and_covariance_across_the_seam() -> None:
    samples = equal([[math.pi - 0.1, 1.0], [-math.pi + 0.3, 3.0]], SPACE)
    mean = samples.mean()
    torch.testing.assert_close(mean, torch.tensor([[-math.pi + 0.1, 2.0]]).double())
    torch.testing.assert_close(samples.covariance(), torch.tensor([[[0.04, 0.2], [0.2, 1.0]]]).double())


@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0, 3.1, -3.14])
def test_turning_everything_turns_the_answers(shift: float) -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(3, 500, 2, dtype=torch.float64, generator=generator) * SPREAD
    f = torch.randn(3, 500, dtype=torch.float64, generator=generator)
    turn = torch.tensor([shift, 0.0], dtype=torch.float64)
    plain = WeightedSamples(y, f, torch.zeros_like(f), SPACE)
    turned = WeightedSamples(SPACE.wrap(y + turn), f, torch.zeros_like(f), SPACE)
    target = torch.tensor([[0.3, 0.1]] * 3, dtype=torch.float64)
    zero = torch.zeros(3, 2, dtype=torch.float64)
    torch.testing.assert_close(SPACE.difference(turned.mean(), plain.mean() + turn), zero)
    torch.testing.assert_close(turned.covariance(), plain.covariance())
    below = turned.cumulative_probability(SPACE.wrap(target + turn))
    torch.testing.assert_close(below, plain.cumulative_probability(target))
    before, after = plain.interval(0.8), turned.interval(0.8)
    torch.testing.assert_close(after.high - after.low, before.high - before.low)
    torch.testing.assert_close(SPACE.difference(after.low, before.low + turn), zero)
    for offset in (0.0, 0.4, 0.9, 3.0):
        assert torch.equal(
            after.contains(SPACE.wrap(target + offset + turn)), before.contains(SPACE.wrap(target + offset))
        )


def test_a_period_that_is_not_a_turn() -> None:
    """85, 91 and 93 degrees, of lines that have no direction."""
    samples = equal([[85.0], [-89.0], [-87.0]], TargetSpace.angles(1, period=180.0, scales=1.0))
    torch.testing.assert_close(samples.mean(), torch.tensor([[269.0 / 3]]).double(), rtol=0, atol=0.02)
    torch.testing.assert_close(samples.std(), torch.tensor([[math.sqrt(104 / 9)]]).double(), rtol=0, atol=1e-3)


def test_quantiles_of_weighted_points() -> None:
    y = torch.tensor([[[3.0], [1.0], [2.0], [4.0]]])
    samples = WeightedSamples(y, torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log(), torch.zeros(1, 4), TargetSpace.real(1))
    for probability, expected in (
        (0.0, 1.0),
        (0.19, 1.0),
        (0.21, 2.0),
        (0.49, 2.0),
        (0.51, 3.0),
        (0.61, 4.0),
        (1.0, 4.0),
    ):
        assert samples.quantile(probability).item() == expected
    probabilities = [samples.cumulative_probability(torch.tensor([[v]])).item() for v in (0.0, 1.0, 1.5, 2.0, 3.5, 9.0)]
    torch.testing.assert_close(torch.tensor(probabilities), torch.tensor([0.0, 0.1, 0.2, 0.35, 0.6, 1.0]))
    for level in (0.0, 1.0):
        with pytest.raises(ValueError, match="level"):
            samples.interval(level)


def test_ranks_count_denser_points_and_half_of_equal_ones() -> None:
    samples = equal([[0.0], [1.0], [2.0], [3.0]], TargetSpace.real(1))
    assert samples.highest_density_rank(torch.zeros(1)).item() == 0.5
    assert samples.highest_density_rank(torch.ones(1)).item() == 0.0
    assert samples.highest_density_rank(-torch.ones(1)).item() == 1.0
    assert samples.highest_density_rank(torch.tensor([math.nan])).isnan().all()


def test_expectation_of_functions() -> None:
    samples = equal([[0.0, 1.0], [1.0, 3.0]], SPACE)
    torch.testing.assert_close(samples.expectation(lambda y: y[..., 1].square()), torch.tensor([5.0]).double())
    outer = samples.expectation(lambda y: y.unsqueeze(-1) * y.unsqueeze(-2))
    torch.testing.assert_close(outer, torch.tensor([[[0.5, 1.5], [1.5, 5.0]]]).double())


def experiment(model_spread: float) -> tuple[Tensor, Tensor]:
    """Targets from a wrapped normal times a normal, judged by a model of `model_spread` times their width."""
    generator = torch.Generator().manual_seed(1)
    rows = 1600
    mean = torch.stack(
        [torch.rand(rows, generator=generator) * 6.2 - 3.1, torch.randn(rows, generator=generator)], 1
    ).double()
    y = SPACE.wrap(mean + torch.randn(rows, 2, generator=generator).double() * SPREAD)

    def energy(candidates: Tensor) -> Tensor:
        offset = SPACE.difference(candidates, mean.unsqueeze(1))
        return -0.5 * (offset / (SPREAD * model_spread)).square().sum(-1)

    samples = importance_samples(energy, PROPOSAL, mean, 400, random=generator, space=SPACE)
    return samples.cumulative_probability(y), samples.highest_density_rank(energy(y.unsqueeze(1)).squeeze(1))


def test_ranks_are_uniform_where_the_model_is_right() -> None:
    probabilities, rank = experiment(1.0)
    for values in (*probabilities.T, rank):
        sorted_values = values.sort().values
        steps = (torch.arange(len(values)) + 0.5) / len(values)
        assert (sorted_values - steps).abs().max() < 1.63 / math.sqrt(len(values)) + 0.005  # Kolmogorov, 1 %
    for level in (0.5, 0.9, 0.95):
        tolerance = 3 * math.sqrt(level * (1 - level) / len(rank)) + 0.004
        assert abs((rank <= level).double().mean() - level) < tolerance
        covered = ((2 * probabilities - 1).abs() <= level).double().mean(0)
        assert (covered - level).abs().max() < tolerance


def test_a_model_too_sure_covers_too_little() -> None:
    probabilities, rank = experiment(0.5)
    assert (rank <= 0.9).double().mean() < 0.75
    assert (((2 * probabilities - 1).abs() <= 0.9).double().mean(0) < 0.7).all()
    _, rank = experiment(1.5)
    assert (rank <= 0.9).double().mean() > 0.96


def test_intervals_cover_what_the_distribution_function_says() -> None:
    generator = torch.Generator().manual_seed(2)
    y = torch.randn(50, 301, 2, dtype=torch.float64, generator=generator) * 2
    samples = WeightedSamples.from_draws(SPACE.wrap(y), torch.zeros(50, 301), SPACE)
    target = SPACE.wrap(torch.randn(50, 2, dtype=torch.float64, generator=generator) * 2)
    covered = (2 * samples.cumulative_probability(target) - 1).abs() <= 0.7
    assert (samples.interval(0.7).contains(target) == covered).double().mean() > 0.97  # they may differ by one sample
