"""Coverage, likelihood and temperature where the truth is known."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor

from lidar_ebm.ebm.calibration import LEVELS, HeldOut, Reliability, fit_temperature
from lidar_ebm.ebm.energy import Energy
from lidar_ebm.ebm.grid import Grid, tabulate
from lidar_ebm.ebm.noise import GaussianMixtureNoise
from lidar_ebm.ebm.sampling import WeightedSamples, importance_samples
from lidar_ebm.ebm.targets import TargetSpace

SPACE = TargetSpace(("angle", "size"), (2 * math.pi, None), (-math.inf, 0.0), (0.1, 0.1))
STDS = torch.tensor([0.3, 0.5])
TRUTH = GaussianMixtureNoise(STDS.unsqueeze(0), SPACE)  # wrapped in one dimension, cut off in the other
PROPOSAL = GaussianMixtureNoise([[0.45, 0.75], [1.0, 1.6]], SPACE)


def problem(rows: int, temperature: float, seed: int = 0) -> tuple[Energy, Tensor, Tensor]:
    """f = `temperature` times the true log-density, plus a number of each row; the modes; and targets."""
    generator = torch.Generator().manual_seed(seed)
    center = SPACE.constrain(torch.randn(rows, 2, generator=generator) * 2)
    y = TRUTH.sample(center, 1, generator)[:, 0]
    level = torch.randn(rows, 1, generator=generator) * 100
    return lambda candidates: temperature * TRUTH.log_prob(candidates, center) + level, center, y


def weighted(rows: int, temperature: float, samples: int = 400) -> tuple[WeightedSamples, Tensor, Tensor]:
    """Importance samples, the targets and their energies."""
    energy, center, y = problem(rows, temperature)
    generator = torch.Generator().manual_seed(1)
    found = importance_samples(energy, PROPOSAL, center, samples, random=generator, space=SPACE)
    return found, y, energy(y.unsqueeze(1)).squeeze(1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_finds_the_temperature(temperature: float) -> None:
    samples, _, f_at_y = weighted(1500, temperature)
    found = fit_temperature(samples, f_at_y)
    assert abs(found / temperature - 1) < 0.06  # 1500 targets in two dimensions know it to 2.6 %
    halves = [WeightedSamples(*(x[rows] for x in (samples.y, samples.f, samples.log_q)), SPACE) for rows in HALVES]
    assert math.isclose(fit_temperature(halves, [f_at_y[rows] for rows in HALVES]), found, rel_tol=1e-3)
    # Least negative log-likelihood: worse on both sides.
    nll = [-samples.at_temperature(found * factor).log_prob(f_at_y).mean() for factor in (0.9, 1.0, 1.1)]
    assert nll[1] == min(nll)


HALVES = (slice(0, 700), slice(700, 1500))


def test_finds_the_temperature_on_a_grid() -> None:
    generator = torch.Generator().manual_seed(2)
    mean = torch.randn(2000, 1, generator=generator)
    y = mean + 0.5 * torch.randn(2000, 1, generator=generator)

    def energy(candidates: Tensor) -> Tensor:
        return -2 * ((candidates - mean.unsqueeze(1)) / 0.5).square().sum(-1)  # four times too steep

    table = tabulate(energy, Grid(-7, 7, 200), 2000)
    f_at_y = energy(y.unsqueeze(1)).squeeze(1)
    found = fit_temperature(table, f_at_y)
    # In closed form T = 4 times the mean of the squared errors in units of the true variance.
    assert math.isclose(found, 4 * ((y - mean) / 0.5).square().mean().item(), rel_tol=5e-3)
    after = Reliability.of(HeldOut.of(table.at_temperature(found), y, f_at_y), ["y"], temperature=found)
    assert abs(after.nll - (0.5 * math.log(2 * math.pi * math.e) + math.log(0.5))) < 4 * after.nll_error
    assert after.effective_sample_size == math.inf
    assert after.as_dict()["effective_sample_size"] is None


def test_temperatures_without_an_optimum_are_the_bounds() -> None:
    samples, _, f_at_y = weighted(50, 1.0)
    highest = samples.f.max(dim=1).values
    assert fit_temperature(samples, highest) == 0.01
    assert fit_temperature(samples, samples.f.min(dim=1).values, bounds=(0.5, 2.0)) == 2.0
    with pytest.raises(ValueError, match="not finite"):
        fit_temperature(samples, f_at_y * math.nan)
    with pytest.raises(ValueError, match="densities for"):
        fit_temperature([samples], [f_at_y[:3]])
    with pytest.raises(ValueError, match="bounds"):
        fit_temperature(samples, f_at_y, bounds=(2.0, 1.0))


def test_the_truth_covers_what_it_claims_and_a_steep_f_after_its_temperature() -> None:
    samples, y, f_at_y = weighted(1500, 3.0)
    before = Reliability.of(HeldOut.of(samples, y, f_at_y), SPACE.names)
    right = samples.at_temperature(3.0)
    after = Reliability.of(HeldOut.of(right, y, f_at_y), SPACE.names, temperature=3.0)
    for level in LEVELS:
        place = after.levels.index(level)
        tolerance = 3 * after.standard_error(level) + 0.005
        assert abs(after.joint_coverage[place] - level) < tolerance
        assert all(abs(c - level) < tolerance for c in after.coverage[place])
        assert before.joint_coverage[place] < level - 0.1
        assert all(c < level - 0.1 for c in before.coverage[place])
    assert before.nll > after.nll + 0.1
    assert abs(after.nll + TRUTH.log_prob(y.unsqueeze(1), problem(1500, 1.0)[1]).mean().item()) < 0.02
    joint_error, errors = after.error()
    assert joint_error < 0.03
    assert max(errors) < 0.03
    assert before.error()[0] > 0.1


def test_parts_join() -> None:
    samples, y, f_at_y = weighted(1500, 1.0, samples=50)
    whole = HeldOut.of(samples, y, f_at_y)
    parts = [
        HeldOut.of(WeightedSamples(samples.y[rows], samples.f[rows], samples.log_q[rows], SPACE), y[rows], f_at_y[rows])
        for rows in HALVES
    ]
    assert Reliability.of(HeldOut.join(parts), SPACE.names) == Reliability.of(whole, SPACE.names)


def test_counts_by_hand() -> None:
    held_out = HeldOut(
        torch.tensor([[0.5, 0.99], [0.2, 0.04], [0.9, 0.5], [0.02, 0.5]]),
        torch.tensor([0.3, 0.97, 0.92, 0.5]),
        torch.tensor([-1.0, -2.0, -3.0, -6.0]),
        torch.tensor([10.0, 20.0, 30.0, 40.0]),
    )
    result = Reliability.of(held_out, ["a", "b"], levels=[0.5, 0.99])
    assert result.levels == (0.5, 0.9, 0.95, 0.99)
    assert result.joint_coverage == (0.5, 0.5, 0.75, 1.0)
    assert result.coverage == ((0.25, 0.5), (0.75, 0.5), (0.75, 0.75), (1.0, 1.0))
    assert result.nll == 3.0
    assert math.isclose(result.nll_error, math.sqrt(14 / 3) / 2, rel_tol=1e-6)
    assert result.standard_error(0.5) == 0.25
    table = result.table()
    assert "| a | 25.0 | 75.0 | 75.0 |" in table
    assert "| all together | 50.0 | 50.0 | 75.0 |" in table
    assert json.loads(json.dumps(result.as_dict(), allow_nan=False))["dimensions"]["b"]["coverage"] == [
        0.5,
        0.5,
        0.75,
        1,
    ]
    with pytest.raises(ValueError, match="levels"):
        result.table([0.42])


def test_targets_without_a_density_are_refused() -> None:
    nothing = HeldOut(torch.zeros(0, 2), torch.zeros(0), torch.zeros(0), torch.zeros(0))
    with pytest.raises(ValueError, match="0 targets"):
        Reliability.of(nothing, ["a", "b"])
    lost = HeldOut(torch.tensor([[math.nan, 0.5]]), torch.zeros(1), torch.zeros(1), torch.ones(1))
    with pytest.raises(ValueError, match="1 of 1"):
        Reliability.of(lost, ["a", "b"])
