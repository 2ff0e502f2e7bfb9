"""Energies with a few parameters, the densities that they are to find, and how far off they are."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lidar_ebm.ebm.targets import TargetSpace

SPACE = TargetSpace(
    ("position", "angle", "size"),
    (None, 2 * math.pi, None),
    (-math.inf, -math.inf, 0.5),
    (1.0, 0.3, 0.3),
)
CENTER = torch.tensor([1.5, 2.8, 0.8])  # half a std from the cut of the angle, and from the bound of the size
STD = torch.tensor([0.7, 0.8, 0.6])

MEAN = torch.tensor([0.6, -1.2])
ROOT = torch.tensor([[0.8, 0.0], [0.5, 0.4]])  # of the covariance


class Normal2D(nn.Module):
    """f = -½ ‖F (y - m)‖², the exponent of a correlated normal density."""

    space = TargetSpace.real(2)

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(2))
        self.factor = nn.Parameter(torch.eye(2))  # Fᵀ F is the precision

    def forward(self, y: Tensor) -> Tensor:
        return -0.5 * ((y - self.mean) @ self.factor.T).square().sum(-1)

    @staticmethod
    def draw(count: int) -> Tensor:
        return MEAN + torch.randn(count, 2) @ ROOT.T

    @torch.no_grad()
    def divergence(self, widened: float = 0.0) -> float:
        """KL from the true density, or from the true one blurred with a std of `widened`, in closed form."""
        truth = torch.distributions.MultivariateNormal(MEAN, ROOT @ ROOT.T + widened**2 * torch.eye(2))
        learnt = torch.distributions.MultivariateNormal(self.mean, precision_matrix=self.factor.T @ self.factor)
        return float(torch.distributions.kl_divergence(truth, learnt))


class Separate3D(nn.Module):
    """f of a normal position, a wrapped normal angle and a truncated normal size, independent of each other."""

    space = SPACE

    def __init__(self) -> None:
        super().__init__()
        self.center = nn.Parameter(torch.tensor([0.5, -2.5, 1.5]))
        self.log_std = nn.Parameter(torch.zeros(3))

    def forward(self, y: Tensor) -> Tensor:
        return exponents(y, self.center, self.log_std.exp()).sum(-1)

    @staticmethod
    def draw(count: int) -> Tensor:
        y = CENTER + STD * torch.randn(count, 3)
        standard = torch.distributions.Normal(0.0, 1.0)
        start = standard.cdf((0.5 - CENTER[2]) / STD[2])
        y[:, 2] = CENTER[2] + STD[2] * standard.icdf(start + (1 - start) * torch.rand(count).clamp(1e-6, 1 - 1e-6))
        return SPACE.constrain(y)

    @torch.no_grad()
    def divergence(self) -> float:
        """KL from the true density: the sum of the dimensions', each on a grid."""
        angle = torch.linspace(-math.pi, math.pi, 2001)[:-1]
        grid = torch.stack([torch.linspace(-6, 8, 2000), angle, torch.linspace(0.5, 8, 2000)], dim=-1)
        truth = exponents(grid, CENTER, STD).log_softmax(0)
        learnt = exponents(grid, self.center, self.log_std.exp()).log_softmax(0)
        return float((truth.exp() * (truth - learnt)).sum())


def exponents(y: Tensor, center: Tensor, std: Tensor) -> Tensor:
    """Log-densities [..., 3] of each dimension, up to constants."""
    z = (y - center) / std
    turn = 2 * math.pi / std[1]
    wraps = torch.stack([-0.5 * (z[..., 1] + k * turn).square() for k in (-1, 0, 1)]).logsumexp(0)
    return torch.stack([-0.5 * z[..., 0].square(), wraps, -0.5 * z[..., 2].square()], dim=-1)


def train(parameters: list[nn.Parameter], loss: Callable[[], Tensor], *, steps: int = 250, rate: float = 0.05) -> None:
    """Adam whose step length falls to nothing, on whatever the loss draws."""
    optimizer = torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        schedule.step()
