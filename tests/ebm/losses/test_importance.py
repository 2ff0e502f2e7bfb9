"""ML-IS and KLD-IS: the formulas, with densities as they are and not as logarithms."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from lidar_ebm.ebm.losses import KLDIS, MLIS
from lidar_ebm.ebm.noise import GaussianMixtureNoise
from lidar_ebm.ebm.targets import TargetSpace
from tests.ebm.losses.recorder import Recorder, seeded, targets

STDS = torch.tensor([[0.2, 0.3], [0.5, 1.0]], dtype=torch.float64)
LABEL_STDS = (0.15, 0.4)
SPACE = TargetSpace(("angle", "size"), (2 * math.pi, None), (-math.inf, 0.05), (0.1, 0.1))


def normal(y: Tensor, center: Tensor, std: Tensor) -> Tensor:
    """The product over dimensions of normal densities."""
    return torch.from_numpy(stats.norm.pdf(y, center, std)).prod(-1)


def density(y: Tensor, center: Tensor) -> Tensor:
    """q [N, M] at y [N, M, 2]."""
    return sum(normal(y, center.unsqueeze(1), std) for std in STDS) / len(STDS)


def test_ml_is_takes_the_normaliser_from_the_samples_alone() -> None:
    energy, y = Recorder(), targets()
    noise = GaussianMixtureNoise(STDS)
    loss = MLIS(noise, 15)(energy, y, random=seeded())
    (candidates,) = energy.shown  # one call for all targets
    draws = noise.sample(y, 15, seeded())
    assert torch.equal(candidates, torch.cat([y.unsqueeze(1), draws], dim=1))
    normaliser = (energy.f(draws).exp() / density(draws, y)).mean(1)
    torch.testing.assert_close(loss, (normaliser.log() - energy.f(y)).mean(), rtol=0, atol=1e-12)


def test_ml_is_nears_the_negative_log_likelihood() -> None:
    """f = the logarithm of a normal density times 7: log Z is log 7, whatever the label."""
    y = torch.tensor([[0.3, -0.2], [1.0, 0.5]], dtype=torch.float64)
    energy_stds = torch.tensor([0.5, 0.7], dtype=torch.float64)

    def energy(c: Tensor) -> Tensor:
        z = c / energy_stds
        return -0.5 * z.square().sum(-1) - energy_stds.log().sum() - math.log(2 * math.pi) + math.log(7)

    loss = MLIS(GaussianMixtureNoise([[1.5, 1.5]]), 200_000)(energy, y, random=seeded())
    expected = -normal(y, torch.zeros(2), energy_stds).log().mean()
    torch.testing.assert_close(loss, expected, rtol=0, atol=0.02)


def test_kld_is_weighs_samples_by_the_density_around_the_label() -> None:
    energy, y = Recorder(), targets()
    loss = KLDIS(GaussianMixtureNoise(STDS), 15, LABEL_STDS)(energy, y, random=seeded())
    (draws,) = energy.shown
    assert draws.shape == (6, 15, 2)
    f, q = energy.f(draws), density(draws, y)
    label = normal(draws, y.unsqueeze(1), torch.tensor(LABEL_STDS, dtype=torch.float64))
    expected = ((f.exp() / q).mean(1).log() - (label / q * f).mean(1)).mean()
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)


def test_kld_is_density_around_the_label_integrates_to_one_over_the_space() -> None:
    """With f = 1 everywhere the loss is log of the space's volume under q, minus the label's mass: 1 in the space."""
    y = torch.tensor([[3.1, 0.06]], dtype=torch.float64)  # at the cut of the angle, and at the bound of the size
    noise = GaussianMixtureNoise([[0.3, 0.6], [0.5, 1.0]], SPACE)
    energy = Recorder()
    loss = KLDIS(noise, 100_000, LABEL_STDS, SPACE)(lambda c: energy(c) * 0 + 1, y, random=seeded())
    (draws,) = energy.shown
    log_volume = (1 - noise.log_prob(draws, y)).exp().mean().log()
    torch.testing.assert_close(log_volume - loss, torch.ones((), dtype=torch.float64), rtol=0, atol=0.02)


def test_energies_far_from_zero_do_no_harm() -> None:
    y = targets().float()
    noise = GaussianMixtureNoise(STDS.float())
    for loss in (MLIS(noise, 9), KLDIS(noise, 9, LABEL_STDS)):
        for height in (-1000.0, 1000.0):
            assert loss(lambda c, height=height: c.sum(-1) + height, y, random=seeded()).isfinite()


def test_impossible_settings_are_refused() -> None:
    noise = GaussianMixtureNoise(STDS)
    with pytest.raises(ValueError, match="samples: 0"):
        MLIS(noise, 0)
    with pytest.raises(ValueError, match="samples: -3"):
        KLDIS(noise, -3, LABEL_STDS)
    for stds in ([0.1, 0.0], [], [math.nan, 1.0], [[0.1, 0.1]]):
        with pytest.raises(ValueError, match="label_stds"):
            KLDIS(noise, 4, stds)
