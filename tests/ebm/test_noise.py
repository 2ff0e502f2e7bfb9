"""Gaussian mixture noise against torch.distributions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from lidar_ebm.ebm import GaussianMixtureNoise

STDS = torch.tensor([[0.05, 0.1, 0.02], [0.2, 0.4, 0.08], [0.8, 1.6, 0.32]], dtype=torch.float64)


def reference(stds: Tensor, center: Tensor) -> MixtureSameFamily:
    """The same mixture for each row of center [N, D]."""
    components = Independent(Normal(center.unsqueeze(1), stds.expand(len(center), -1, -1)), 1)
    return MixtureSameFamily(Categorical(torch.ones(len(center), len(stds), dtype=stds.dtype)), components)


@pytest.mark.parametrize("components", [1, 2, 3])
def test_log_prob_agrees_with_torch_distributions(components: int) -> None:
    generator = torch.Generator().manual_seed(components)
    stds = STDS[:components]
    center = torch.randn(5, 3, dtype=torch.float64, generator=generator) * 30
    noise = GaussianMixtureNoise(stds)
    y = noise.sample(center, 200, generator)
    expected = reference(stds, center).log_prob(y.transpose(0, 1)).T
    torch.testing.assert_close(noise.log_prob(y, center), expected, rtol=0, atol=1e-6)


def test_log_prob_is_stable_in_float32() -> None:
    """Tiny stds, and offsets of thousands of them, where the densities themselves under- and overflow."""
    noise = GaussianMixtureNoise([[1e-6] * 7, [1e-3] * 7])
    center = torch.zeros(1, 7)
    y = torch.tensor([0.0, 1e-6, 1e-3, 1.0, 1e3])[None, :, None].expand(1, 5, 7)
    log_q = noise.log_prob(y, center)
    assert log_q.isfinite().all()
    expected = reference(noise.stds.double(), center.double()).log_prob(y.transpose(0, 1).double()).T
    torch.testing.assert_close(log_q.double(), expected, rtol=1e-5, atol=1e-5)


def test_samples_share_a_component_and_have_its_moments() -> None:
    noise = GaussianMixtureNoise(torch.tensor([[0.01, 0.01], [1.0, 1.0]]))
    center = torch.tensor([[5.0, -3.0], [0.0, 100.0]])
    offset = noise.sample(center, 20_000, torch.Generator().manual_seed(0)) - center.unsqueeze(1)
    torch.testing.assert_close(offset.mean(1), torch.zeros(2, 2), atol=0.03, rtol=0)
    torch.testing.assert_close(offset.square().mean(1), torch.full((2, 2), (1e-4 + 1) / 2), atol=0.03, rtol=0)
    small = offset.abs() < 0.05  # nearly all draws of the first component, few of the second
    assert (small[..., 0] == small[..., 1]).float().mean() > 0.95


def test_same_seed_same_samples() -> None:
    noise = GaussianMixtureNoise(STDS.float())
    draws = [noise.sample(torch.zeros(2, 3), 4, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*draws)
    assert noise.sample(torch.zeros(0, 3), 4).shape == (0, 4, 3)


def test_leaves_nothing_in_checkpoints() -> None:
    assert not GaussianMixtureNoise(STDS).state_dict()


@pytest.mark.parametrize("stds", [[[0.1, 0.0]], [[0.1, -1.0]], [[0.1, float("nan")]], [0.1, 0.2], torch.zeros(0, 3)])
def test_refuses_stds_that_are_none(stds: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="stds"):
        GaussianMixtureNoise(stds)
