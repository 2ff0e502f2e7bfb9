"""NCE and NCE+: the formula, and what is shown to f."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lidar_ebm.ebm.losses import NCE
from lidar_ebm.ebm.noise import GaussianMixtureNoise, UniformNoise
from lidar_ebm.ebm.targets import TargetSpace
from tests.ebm.losses.recorder import Recorder, seeded, targets

STDS = torch.tensor([[0.1, 0.2], [0.5, 1.0]], dtype=torch.float64)
SPACE = TargetSpace(("angle", "size"), (2 * math.pi, None), (-math.inf, 0.05), (0.1, 0.1))


def density(y: Tensor, center: Tensor) -> Tensor:
    """q itself, not its logarithm: the mean over components of the product over dimensions."""
    z = (y - center).unsqueeze(-2) / STDS
    return ((-0.5 * z**2).exp() / (STDS * math.sqrt(2 * math.pi))).prod(-1).mean(-1)


def test_is_cross_entropy_over_all_candidates() -> None:
    energy, y = Recorder(), targets()
    loss = NCE(GaussianMixtureNoise(STDS), 15)(energy, y, random=seeded())
    (candidates,) = energy.shown  # one call for all targets
    assert candidates.shape == (6, 16, 2)
    assert torch.equal(candidates[:, 0], y)
    ratios = energy.f(candidates).exp() / density(candidates, y.unsqueeze(1))
    torch.testing.assert_close(loss, -(ratios[:, 0] / ratios.sum(1)).log().mean(), rtol=0, atol=1e-12)


def test_a_noisy_label_is_drawn_from_the_noise_made_narrower_and_weighed_by_the_noise_at_the_label() -> None:
    energy, y = Recorder(), targets()
    noise = GaussianMixtureNoise(STDS)
    loss = NCE(noise, 15, label_noise=0.5)(energy, y, random=seeded())
    (candidates,) = energy.shown
    assert (candidates[:, 0] != y).all()
    random = seeded()
    assert torch.equal(candidates[:, 1:], noise.sample(y, 15, random))
    assert torch.equal(candidates[:, :1], GaussianMixtureNoise(STDS * 0.5).sample(y, 1, random))
    logits = energy.f(candidates) - density(candidates, y.unsqueeze(1)).log()
    torch.testing.assert_close(loss, F.cross_entropy(logits, torch.zeros(6, dtype=torch.int64)), rtol=0, atol=1e-12)


def test_clamped_noise_shows_points_of_the_space_and_takes_the_density_of_draws() -> None:
    y = torch.full((4, 2), 0.06, dtype=torch.float64)
    energy, free = Recorder(), Recorder()
    clamped = NCE(GaussianMixtureNoise(STDS, SPACE, boundary="clamped"), 9)(energy, y, random=seeded())
    unclamped = NCE(GaussianMixtureNoise(STDS), 9)(lambda c: free(SPACE.constrain(c)), y, random=seeded())
    assert torch.equal(clamped, unclamped)
    assert (energy.shown[0][..., 1] == 0.05).any()


def test_exact_noise_never_leaves_the_space() -> None:
    y = torch.tensor([[3.1, 0.06], [3.1 + 2 * math.pi, 0.06]], dtype=torch.float64)
    energy = Recorder()
    noise = GaussianMixtureNoise(STDS, SPACE)
    NCE(noise, 200, label_noise=0.9)(energy, y, random=seeded())
    (candidates,) = energy.shown
    assert SPACE.contains(candidates).all()
    assert (candidates[..., 0].abs() <= math.pi).all()
    assert (candidates[..., 0] < 0).any()


def test_a_label_that_the_noise_never_draws_adds_nothing() -> None:
    energy = Recorder()
    y = torch.tensor([[0.2, 0.3], [5.0, 0.0]], dtype=torch.float64)
    noise = UniformNoise([-1.0, -1.0], [1.0, 1.0])
    loss = NCE(noise, 9)(energy, y, random=seeded(), count=1)
    loss.backward()
    expected = F.cross_entropy(energy.f(energy.shown[0][:1]), torch.zeros(1, dtype=torch.int64))
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-6)
    assert energy.weights.grad is not None
    assert energy.weights.grad.isfinite().all()


def test_half_precision_is_summed_in_full() -> None:
    y = targets().float()
    noise = GaussianMixtureNoise(STDS.float())
    loss = NCE(noise, 500)(lambda c: (c.sum(-1) * 100).bfloat16(), y, random=seeded())
    full = NCE(noise, 500)(lambda c: (c.sum(-1) * 100).bfloat16().double(), y, random=seeded())
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), full, rtol=1e-6, atol=0)


def test_learns_a_density_with_two_modes() -> None:
    """By a network, in 1-D; f after training against log p where nearly all of the mass lies."""
    torch.manual_seed(0)
    weights, means, stds = torch.tensor([0.7, 0.3]), torch.tensor([-0.6, 0.8]), torch.tensor([0.3, 0.2])

    def log_density(y: Tensor) -> Tensor:
        z = (y.unsqueeze(-1) - means) / stds
        return torch.logsumexp(weights.log() - stds.log() - 0.5 * z.square() - 0.5 * math.log(2 * math.pi), dim=-1)

    net = nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    loss = NCE(GaussianMixtureNoise([[0.5], [1.5]]), 16)
    steps = 600
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        component = torch.multinomial(weights, 256, replacement=True)
        y = (means[component] + stds[component] * torch.randn(256)).unsqueeze(1)
        optimizer.zero_grad()
        loss(lambda candidates: net(candidates).squeeze(-1), y).backward()
        optimizer.step()
        schedule.step()
    grid = torch.linspace(-3, 3, 1201)
    truth = log_density(grid).softmax(0)
    with torch.no_grad():
        learnt = net(grid.unsqueeze(1)).squeeze(1).log_softmax(0)
    assert (truth * (truth.log() - learnt)).sum() < 0.01
    likely = truth > 0.1 * truth.max()
    assert (truth.log() - learnt)[likely].abs().max() < 0.5


def test_impossible_settings_are_refused() -> None:
    noise = GaussianMixtureNoise(STDS)
    with pytest.raises(ValueError, match="samples: 0"):
        NCE(noise, 0)
    with pytest.raises(ValueError, match="label_noise: -1"):
        NCE(noise, 4, label_noise=-1)
    with pytest.raises(ValueError, match="UniformNoise cannot be scaled"):
        NCE(UniformNoise([0.0], [1.0]), 4, label_noise=0.1)
