from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lidar_ebm.ebm.adaptive_sampling import adaptive_importance_samples
from lidar_ebm.ebm.noise import GaussianMixtureNoise
from lidar_ebm.ebm.targets import TargetSpace

PLANE_AND_ANGLE = TargetSpace(("a", "b", "turn"), (None, None, 2 * math.pi), (-math.inf, 0.0, -math.inf), (0.1,) * 3)


def narrow_and_long(dims: int, seed: int) -> tuple[Tensor, Tensor]:
    """Means [2, D], and covariances [2, D, D] whose axes differ twentyfold in length and lie along no coordinate."""
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(2, dims, dims, generator=generator, dtype=torch.float64)).Q
    stds = torch.logspace(math.log10(0.02), math.log10(0.4), dims, dtype=torch.float64)
    return torch.randn(2, dims, generator=generator, dtype=torch.float64), turn @ torch.diag(stds**2) @ turn.mT


def test_a_narrow_slanted_gaussian_in_seven_dimensions_is_found() -> None:
    mean, covariance = narrow_and_long(7, seed=3)
    inverse = covariance.inverse()

    def energy(y: Tensor) -> Tensor:
        offset = y - mean.unsqueeze(1)
        return 3.0 - 0.5 * torch.einsum("nsi,nij,nsj->ns", offset, inverse, offset)

    noise = GaussianMixtureNoise([[0.1] * 7, [0.3] * 7])
    center = mean + 0.05
    random = torch.Generator().manual_seed(0)
    once = adaptive_importance_samples(energy, noise, center, 2000, rounds=0, random=random)
    found = adaptive_importance_samples(energy, noise, center, 200, rounds=9, random=random)
    assert float(once.effective_sample_size.max()) < 100
    assert float(found.effective_sample_size.min()) > 200
    torch.testing.assert_close(found.covariance(), covariance, rtol=0.25, atol=0.01)
    torch.testing.assert_close(found.mean(), mean, rtol=0, atol=0.05)
    log_z = 3.0 + 0.5 * (7 * math.log(2 * math.pi) + covariance.logdet())
    torch.testing.assert_close(found.log_z, log_z, rtol=0, atol=0.15)


def test_the_temperature_widens_what_is_fitted() -> None:
    noise = GaussianMixtureNoise([[0.3] * 2])
    found = adaptive_importance_samples(
        lambda y: -0.5 * (y / 0.1).square().sum(-1), noise, torch.zeros(1, 2), 500, rounds=3, temperature=4.0
    )
    assert found.temperature == 4.0
    torch.testing.assert_close(found.std(), torch.full((1, 2), 0.2), rtol=0.08, atol=0)


def test_draws_beyond_a_bound_or_half_a_turn_away_weigh_nothing_and_z_stays_right() -> None:
    def energy(y: Tensor) -> Tensor:
        return 0.0 * y[..., 0] - 0.5 * (y[..., 0] ** 2) - 2.0 * y[..., 1] + 0.5 * y[..., 2].cos()

    noise = GaussianMixtureNoise([[0.7, 0.7, 1.5]], PLANE_AND_ANGLE)
    center = torch.tensor([[0.3, 0.1, 3.0]], dtype=torch.float64)
    found = adaptive_importance_samples(
        energy, noise, center, 3000, rounds=4, space=PLANE_AND_ANGLE, random=torch.Generator().manual_seed(1)
    )
    assert bool(PLANE_AND_ANGLE.contains(found.y).all())
    assert 0.01 < float((found.weights == 0).double().mean()) < 0.5
    log_z = (
        0.5 * math.log(2 * math.pi) - math.log(2) + math.log(2 * math.pi * float(torch.special.i0(torch.tensor(0.5))))
    )
    assert float(found.log_z) == pytest.approx(log_z, abs=0.05)
    assert float(found.expectation(lambda y: y[..., 1])) == pytest.approx(0.5, abs=0.03)


def test_no_rows_rows_apart_and_seeds() -> None:
    noise = GaussianMixtureNoise([[0.5, 0.5]])

    def energy(y: Tensor) -> Tensor:
        return -y.square().sum(-1)

    none = adaptive_importance_samples(energy, noise, torch.zeros(0, 2), 5, rounds=2)
    assert none.y.shape == (0, 15, 2)
    first, again = (
        adaptive_importance_samples(
            energy, noise, torch.ones(3, 2), 10, rounds=2, chunk=chunk, random=torch.Generator().manual_seed(4)
        )
        for chunk in (7, 1000)
    )
    torch.testing.assert_close(first.y, again.y)

    def broken(y: Tensor) -> Tensor:
        f = energy(y)
        return torch.cat([f[:1], f[1:2] * math.nan, f[2:]])

    found = adaptive_importance_samples(
        broken, noise, torch.ones(3, 2), 10, rounds=2, random=torch.Generator().manual_seed(4)
    )
    torch.testing.assert_close(found.y[[0, 2]], first.y[[0, 2]])
    assert bool(found.f[[0, 2]].isfinite().all())


@pytest.mark.parametrize(
    "wrong", [{"samples": 0}, {"rounds": -1}, {"temperature": 0.0}, {"space": TargetSpace.real(3)}]
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    options: dict[str, object] = {"samples": 4, **wrong}
    with pytest.raises(ValueError, match=r"samples|rounds|temperature|dimensions"):
        adaptive_importance_samples(
            lambda y: y.sum(-1),
            GaussianMixtureNoise([[1.0, 1.0]]),
            torch.zeros(1, 2),
            **options,  # type: ignore[arg-type]
        )
