"""NCE: the formula, and that what it learns is the log-density."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lidar_ebm.ebm import GaussianMixtureNoise, nce_loss

STDS = torch.tensor([[0.1, 0.2], [0.5, 1.0]], dtype=torch.float64)


def test_is_cross_entropy_over_all_candidates() -> None:
    """Recompute the loss from the candidates that the energy was shown."""
    shown: list[Tensor] = []

    def energy(candidates: Tensor) -> Tensor:
        shown.append(candidates)
        return -candidates.square().sum(-1) * 3 + candidates[..., 0]

    y = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    noise = GaussianMixtureNoise(STDS)
    loss = nce_loss(energy, y, noise, 15, generator=torch.Generator().manual_seed(2))
    (candidates,) = shown  # one call for all targets
    assert candidates.shape == (6, 16, 2)
    assert torch.equal(candidates[:, 0], y)
    logits = energy(candidates) - noise.log_prob(candidates, y)
    torch.testing.assert_close(loss, F.cross_entropy(logits, torch.zeros(6, dtype=torch.int64)), rtol=0, atol=1e-12)


def test_constrains_what_f_sees_but_not_log_q() -> None:
    def clamp(y: Tensor) -> Tensor:
        return y.clamp(min=0.0)

    def energy(candidates: Tensor) -> Tensor:
        return candidates.sum(-1)

    y = torch.full((4, 2), 0.05, dtype=torch.float64)
    noise = GaussianMixtureNoise(STDS)
    constrained = nce_loss(energy, y, noise, 9, generator=torch.Generator().manual_seed(3), constrain=clamp)
    inside = nce_loss(lambda c: energy(clamp(c)), y, noise, 9, generator=torch.Generator().manual_seed(3))
    assert torch.equal(constrained, inside)


def test_no_targets_give_zero_with_gradients() -> None:
    layer = nn.Linear(2, 1)
    noise = GaussianMixtureNoise(STDS.float())
    loss = nce_loss(lambda y: layer(y).squeeze(-1), torch.zeros(0, 2), noise, 8)
    loss.backward()
    assert loss == 0
    assert not layer.weight.grad.any()


def test_learns_the_log_density_up_to_a_constant() -> None:
    """Two unequal modes in 1-D; f after training against log p where nearly all of the mass lies."""
    torch.manual_seed(0)
    weights, means, stds = torch.tensor([0.7, 0.3]), torch.tensor([-0.6, 0.8]), torch.tensor([0.3, 0.2])

    def log_density(y: Tensor) -> Tensor:
        z = (y.unsqueeze(-1) - means) / stds
        return torch.logsumexp(weights.log() - stds.log() - 0.5 * z.square() - 0.5 * math.log(2 * math.pi), dim=-1)

    net = nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    noise = GaussianMixtureNoise([[0.5], [1.5]])
    steps = 800
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        component = torch.multinomial(weights, 512, replacement=True)
        y = (means[component] + stds[component] * torch.randn(512)).unsqueeze(1)
        loss = nce_loss(lambda candidates: net(candidates).squeeze(-1), y, noise, 8)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    grid = torch.linspace(-3, 3, 1201)
    truth = log_density(grid).softmax(0)
    with torch.no_grad():
        learnt = net(grid.unsqueeze(1)).squeeze(1).log_softmax(0)
    divergence = (truth * (truth.log() - learnt)).sum()
    assert divergence < 0.01
    likely = truth > 0.1 * truth.max()
    assert (truth.log() - learnt)[likely].abs().max() < 0.5


def test_takes_samples_and_a_count_from_outside() -> None:
    def energy(candidates: Tensor) -> Tensor:
        return candidates.sin().sum(-1)

    y = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    noise = GaussianMixtureNoise(STDS)
    drawn = nce_loss(energy, y, noise, 7, generator=torch.Generator().manual_seed(5))
    samples = noise.sample(y, 7, torch.Generator().manual_seed(5))
    assert torch.equal(nce_loss(energy, y, noise, samples), drawn)
    torch.testing.assert_close(nce_loss(energy, y, noise, samples, count=2.5), 2 * drawn)
