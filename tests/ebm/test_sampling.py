"""Importance sampling: normalisers, weights and samples against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lidar_ebm.ebm.noise import GaussianMixtureNoise
from lidar_ebm.ebm.random_numbers import GroupedGenerator
from lidar_ebm.ebm.sampling import WeightedSamples, importance_samples
from lidar_ebm.ebm.targets import TargetSpace

STDS = torch.tensor([0.5, 0.2], dtype=torch.float64)
CENTER = torch.tensor([[0.2, -0.1], [100.0, 50.0]], dtype=torch.float64)
OFFSET = torch.tensor([[3000.0], [-3000.0]], dtype=torch.float64)  # exp of neither is a number
MEANS = CENTER + torch.tensor([[0.1, 0.05]], dtype=torch.float64)
LOG_Z = OFFSET[:, 0] + math.log(2 * math.pi) + STDS.log().sum()
NOISE = GaussianMixtureNoise([[0.7, 0.3], [1.2, 0.6]])


def gaussian(y: Tensor) -> Tensor:
    return -0.5 * ((y - MEANS.to(y).unsqueeze(1)) / STDS.to(y)).square().sum(-1) + OFFSET.to(y)


def draw(samples: int, seed: int = 0, **options: object) -> WeightedSamples:
    return importance_samples(
        gaussian,
        NOISE,
        CENTER,
        samples,
        random=torch.Generator().manual_seed(seed),
        **options,  # type: ignore[arg-type]
    )


def test_normaliser_of_a_gaussian() -> None:
    samples = draw(20_000)
    assert (samples.log_z - LOG_Z).abs().max() < 0.03
    y = CENTER + 0.3
    truth = torch.distributions.Normal(MEANS, STDS).log_prob(y).sum(1)
    log_prob = samples.log_prob(gaussian(y.unsqueeze(1)).squeeze(1))
    assert (log_prob - truth).abs().max() < 0.03
    torch.testing.assert_close(samples.log_prob(gaussian(y.unsqueeze(1))), log_prob.unsqueeze(1))


def test_errors_of_log_z_are_as_large_as_they_say() -> None:
    """Over 400 repetitions: the spread of log Z, and the share of them within one and two standard errors."""
    repetitions = 400

    def energy(y: Tensor) -> Tensor:
        return -0.5 * (y / STDS).square().sum(-1)

    samples = importance_samples(
        energy, NOISE, torch.zeros(repetitions, 2).double(), 200, random=torch.Generator().manual_seed(2)
    )
    error = samples.log_z - math.log(2 * math.pi) - STDS.log().sum()
    assert abs(error.std() / samples.log_z_error.mean() - 1) < 0.15
    standardised = (error / samples.log_z_error).abs()
    assert 0.6 < (standardised < 1).double().mean() < 0.76
    assert 0.91 < (standardised < 2).double().mean() < 0.985
    # An unbiased estimate of Z itself.
    z = error.exp()
    assert (z.mean() - 1).abs() < 4 * z.std() / math.sqrt(repetitions)


def test_effective_sample_size_has_its_closed_forms() -> None:
    """All M for equal weights, one for a single heavy weight, k for k equal ones; whatever the size of f."""
    y = torch.zeros(3, 8, 1)
    f = torch.stack([torch.full((8,), 5e4), torch.tensor([9e4] + [0.0] * 7), torch.tensor([-3e4] * 2 + [-9e4] * 6)])
    samples = WeightedSamples(y, f, torch.zeros(3, 8), TargetSpace.real(1))
    torch.testing.assert_close(samples.effective_sample_size, torch.tensor([8.0, 1.0, 2.0]), rtol=1e-5, atol=0)
    torch.testing.assert_close(samples.weights.sum(1), torch.ones(3))
    assert samples.log_z_error[0] < 1e-3
    torch.testing.assert_close(samples.log_z_error[1], torch.tensor(1.0))  # sqrt((8 / 1 - 1) / 7)


def test_effective_sample_size_against_the_variance_ratio_of_gaussians() -> None:
    """q = N(0, s²), p = N(0, 1): E[w²] = s² / sqrt(2 s² - 1) for normalised weights."""
    s, count = 1.5, 200_000
    samples = importance_samples(
        lambda y: -0.5 * y.squeeze(-1).square(),
        GaussianMixtureNoise([[s]]),
        torch.zeros(1, 1).double(),
        count,
        random=torch.Generator().manual_seed(3),
    )
    expected = math.sqrt(2 * s**2 - 1) / s**2
    assert abs(samples.effective_sample_size.item() / count / expected - 1) < 0.01


def test_one_sample_admits_to_knowing_nothing() -> None:
    samples = draw(1)
    assert samples.log_z_error.isinf().all()
    assert samples.log_z.isfinite().all()


def test_wrapped_and_bounded_dimensions() -> None:
    """A wrapped normal near the seam times a normal cut off at its own mean: both have closed normalisers."""
    space = TargetSpace(("angle", "size"), (2 * math.pi, None), (-math.inf, 1.0), (0.1, 0.1))
    noise = GaussianMixtureNoise([[0.4, 0.3], [0.9, 0.8]], space)
    mu, sigma = 3.0, 0.3

    def energy(y: Tensor) -> Tensor:
        turns = torch.arange(-2, 3, dtype=y.dtype) * 2 * math.pi
        angle = (-0.5 * ((y[..., 0].unsqueeze(-1) - mu + turns) / sigma).square()).logsumexp(-1)
        size = -0.5 * ((y[..., 1] - 1.0) / 0.5).square()
        return angle + size.masked_fill(y[..., 1] < 1.0, -math.inf)

    center = torch.tensor([[3.1, 1.1], [-3.1, 1.5]], dtype=torch.float64)
    samples = importance_samples(energy, noise, center, 20_000, random=torch.Generator().manual_seed(4), space=space)
    assert space.contains(samples.y).all()
    log_z = math.log(math.sqrt(2 * math.pi) * sigma) + math.log(0.5 * math.sqrt(2 * math.pi) * 0.5)
    assert (samples.log_z - log_z).abs().max() < 0.04
    assert space.difference(samples.mean(), torch.tensor([mu, 1 + 0.5 * math.sqrt(2 / math.pi)])).abs().max() < 0.02
    assert (samples.std() - torch.tensor([0.3, 0.5 * math.sqrt(1 - 2 / math.pi)])).abs().max() < 0.02


def test_temperature_reweights_without_evaluating() -> None:
    calls = 0

    def energy(y: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return gaussian(y) - OFFSET

    samples = importance_samples(energy, NOISE, CENTER, 30_000, random=torch.Generator().manual_seed(5))
    assert calls > 1  # in parts
    before = calls
    warm = samples.at_temperature(2.0)
    assert (warm.log_z - (LOG_Z - OFFSET[:, 0] + math.log(2.0))).abs().max() < 0.04  # 2-D: σ² doubles, so does Z
    assert (warm.covariance() - 2 * STDS.square().diag()).abs().max() < 0.03
    assert torch.equal(warm.at_temperature(1.0).weights, samples.weights)
    assert calls == before
    with pytest.raises(ValueError, match="temperature"):
        samples.at_temperature(-1.0)


def test_chunks_change_nothing() -> None:
    sizes: list[int] = []

    def energy(y: Tensor) -> Tensor:
        sizes.append(y.shape[0] * y.shape[1])
        return gaussian(y)

    whole = draw(100, chunk=10_000)
    for chunk in (1, 14):
        sizes.clear()
        parts = importance_samples(energy, NOISE, CENTER, 100, random=torch.Generator().manual_seed(0), chunk=chunk)
        assert max(sizes) <= max(2, chunk)
        assert torch.equal(parts.y, whole.y)
        torch.testing.assert_close(parts.f, whole.f)  # which torch adds up


def test_resampling_follows_the_weights() -> None:
    samples = draw(4000)
    y = samples.resample(20_000, torch.Generator().manual_seed(6))
    assert y.shape == (2, 20_000, 2)
    assert (y.mean(1) - MEANS).abs().max() < 0.03
    assert (y.std(1) - STDS).abs().max() < 0.03
    assert torch.equal(y, samples.resample(20_000, torch.Generator().manual_seed(6)))


def test_weightless_samples_are_never_drawn() -> None:
    f = torch.tensor([[-math.inf, 0.0, -math.inf, 1.0, -math.inf]])
    samples = WeightedSamples(torch.arange(5.0).view(1, 5, 1), f, torch.zeros(1, 5), TargetSpace.real(1))
    y = samples.resample(5000, torch.Generator().manual_seed(7))
    assert set(y.flatten().tolist()) == {1.0, 3.0}
    assert abs((y == 3.0).double().mean() - math.e / (1 + math.e)) < 0.03


def test_rows_draw_their_own_numbers() -> None:
    """Draws of a row do not depend on the other rows in its batch."""
    center = torch.zeros(3, 2)

    def energy(y: Tensor) -> Tensor:
        return -y.square().sum(-1)

    def run(rows: Tensor, seeds: list[int]) -> tuple[Tensor, Tensor]:
        random = GroupedGenerator(seeds, torch.arange(len(seeds)))
        samples = importance_samples(energy, NOISE, rows, 20, random=random)
        return samples.log_z, samples.resample(5, random)

    together = run(center, [1, 2, 3])
    alone = run(center[1:2], [2])
    for many, one in zip(together, alone, strict=True):
        torch.testing.assert_close(many[1:2], one)


def test_draws_from_the_density_itself_know_no_normaliser() -> None:
    y = torch.randn(2, 5000, 1, generator=torch.Generator().manual_seed(8)) * 0.5 + 3
    f = -0.5 * ((y.squeeze(-1) - 3) / 0.5).square() + 70
    draws = WeightedSamples.from_draws(y, f)
    torch.testing.assert_close(draws.weights, torch.full((2, 5000), 1 / 5000))
    assert draws.log_z.isnan().all()
    assert (draws.mean() - 3).abs().max() < 0.03
    assert (draws.at_temperature(0.5).std() - 0.5 * math.sqrt(0.5)).abs().max() < 0.02


def test_no_rows_and_no_numbers() -> None:
    samples = importance_samples(lambda y: y.sum(-1), NOISE, torch.zeros(0, 2), 4)
    assert samples.log_z.shape == samples.log_z_error.shape == samples.effective_sample_size.shape == (0,)
    assert samples.resample(3).shape == (0, 3, 2)
    nowhere = importance_samples(lambda y: y.sum(-1) * math.nan, NOISE, torch.zeros(2, 2), 4)
    assert nowhere.log_z.isnan().all()
    assert nowhere.resample(3).isnan().all()


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="samples"):
        draw(0)
    with pytest.raises(ValueError, match="dimensions"):
        draw(5, space=TargetSpace.real(3))
