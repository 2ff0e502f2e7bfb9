from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from torch import Tensor

from cuda_ops.box_overlap.reference import box_iou_3d
from lidar_ebm.boxes import Boxes
from lidar_ebm.config.config import Config
from lidar_ebm.config.loading import load_config
from lidar_ebm.energy.uncertainty import estimate_uncertainty, knows_flips

BOXES = torch.tensor([[20.0, -6.0, -0.9, 3.9, 1.6, 1.5, 0.4], [35.0, 9.0, -1.0, 4.3, 1.7, 1.6, 3.1]])


@cache
def gaussian() -> tuple[Tensor, Tensor, Tensor]:
    """Means [2, 7] a little off the boxes, covariances [2, 7, 7] with the far end of the car unsure, and inverses."""
    generator = torch.Generator().manual_seed(2)
    stds = torch.tensor([0.05, 0.03, 0.02, 0.05, 0.04, 0.03, 0.015])
    mix = torch.randn(2, 7, 7, generator=generator)
    covariance = 0.3 * mix @ mix.mT / 7 + torch.eye(7)
    ends = torch.zeros(2, 7)
    ends[:, 0], ends[:, 3] = 0.15 / stds[0], 0.3 / stds[3]  # longer and further away, together
    covariance = (covariance + ends.unsqueeze(2) * ends.unsqueeze(1)) * stds * stds.unsqueeze(1)
    return BOXES + torch.randn(2, 7, generator=generator) * 0.5 * stds, covariance, covariance.inverse()


def difference(a: Tensor, b: Tensor) -> Tensor:
    offset = a - b
    turn = torch.remainder(offset[..., 6:] + math.pi, 2 * math.pi) - math.pi
    return torch.cat([offset[..., :6], turn], dim=-1)


def gaussian_energy(y: Tensor) -> Tensor:
    mean, _, inverse = gaussian()
    offset = difference(y, mean.unsqueeze(1))
    return 7.0 - 0.5 * torch.einsum("nsi,nij,nsj->ns", offset, inverse, offset)


def two_mode_energy(y: Tensor) -> Tensor:
    """A tenth of the mass of the first box, and three quarters of the second's, lies at the yaw turned by π."""
    share = torch.tensor([0.1, 0.75]).unsqueeze(1)
    turned = y + torch.tensor([0.0] * 6 + [math.pi])
    return torch.logaddexp(gaussian_energy(y) + (1 - share).log(), gaussian_energy(turned) + share.log())


def settings(*overrides: str) -> Config:
    return load_config(None, ["uncertainty.samples=256", *overrides])


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_a_gaussian_energy_has_its_covariance_around_the_box(temperature: float) -> None:
    mean, covariance, _ = gaussian()
    found = estimate_uncertainty(gaussian_energy, BOXES, settings(), temperature=temperature, random=seeded())
    error = mean - BOXES
    expected = temperature * covariance + error.unsqueeze(2) * error.unsqueeze(1)
    stds = expected.diagonal(dim1=1, dim2=2).sqrt()
    scale = stds.unsqueeze(1) * stds.unsqueeze(2)
    torch.testing.assert_close(found.covariance / scale, expected / scale, rtol=0, atol=0.12)
    assert bool((torch.linalg.eigvalsh(found.covariance) > 0).all())
    assert float(found.effective_samples.min()) > 600
    assert found.flip_probability is None


def test_expected_iou_is_the_mean_over_draws_of_the_density() -> None:
    mean, covariance, _ = gaussian()
    found = estimate_uncertainty(gaussian_energy, BOXES, settings(), temperature=1.0, random=seeded())
    draws = torch.distributions.MultivariateNormal(mean, covariance).sample((3000,))  # [3000, 2, 7]
    brute = torch.stack([box_iou_3d(BOXES[row : row + 1], draws[:, row])[0].mean() for row in range(2)])
    torch.testing.assert_close(found.expected_iou, brute, rtol=0, atol=0.01)
    kept = torch.stack([box_iou_3d(BOXES[row : row + 1], found.samples[row])[0].mean() for row in range(2)])
    torch.testing.assert_close(kept, brute, rtol=0, atol=0.06)


def test_the_flip_probability_is_the_share_of_the_turned_mode() -> None:
    config = settings("energy.noise.flip_share=0.5")
    found = estimate_uncertainty(two_mode_energy, BOXES, config, temperature=1.0, random=seeded())
    assert found.flip_probability is not None
    torch.testing.assert_close(found.flip_probability, torch.tensor([0.1, 0.75]), rtol=0, atol=0.01)
    one = estimate_uncertainty(gaussian_energy, BOXES, config, temperature=1.0, random=seeded())
    assert one.flip_probability is not None
    assert float(one.flip_probability.max()) < 1e-6
    # The covariance is that of the mode at the box, whatever lies at the other.
    torch.testing.assert_close(found.covariance, one.covariance, rtol=0.2, atol=2e-3)


def test_only_energies_that_saw_flips_know_of_them() -> None:
    assert not knows_flips(settings().energy)
    assert knows_flips(settings("energy.noise.flip_share=0.2").energy)
    gradients = settings("energy.noise.flip_share=0.2", "energy.objective.method=dsm")
    assert not knows_flips(gradients.energy)


def test_plain_importance_sampling_says_that_it_found_little() -> None:
    found = estimate_uncertainty(gaussian_energy, BOXES, settings("uncertainty.rounds=0"), temperature=1.0)
    assert float(found.effective_samples.max()) < 60


def test_no_boxes_are_no_trouble() -> None:
    none = estimate_uncertainty(lambda y: y.sum(-1), BOXES[:0], settings(), temperature=1.0)
    assert none.covariance.shape == (0, 7, 7)
    assert none.samples.shape[::2] == (0, 7)
    assert none.expected_iou.shape == (0,)


def test_columns_are_what_boxes_take() -> None:
    found = estimate_uncertainty(gaussian_energy, BOXES, settings("uncertainty.rounds=1"), temperature=1.0)
    boxes = Boxes(BOXES, ["Car"] * len(BOXES), **found.columns())
    assert boxes.flip_probability is None
    assert boxes.select([1]).covariance == pytest.approx(found.covariance[1:].numpy())
