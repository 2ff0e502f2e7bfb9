"""An energy with known derivatives that remembers what it was shown."""

from __future__ import annotations

import torch
from torch import Tensor


class Recorder:
    """f = sin(a) b + c b² - d a⁴ of y = (a, b), with the weights (c, d); candidates of every call are kept."""

    def __init__(self) -> None:
        self.weights = torch.tensor([-0.7, 0.1], dtype=torch.float64, requires_grad=True)
        self.shown: list[Tensor] = []

    def __call__(self, y: Tensor) -> Tensor:
        self.shown.append(y.detach())
        return self.f(y)

    def f(self, y: Tensor) -> Tensor:
        a, b = y.unbind(-1)
        return a.sin() * b + self.weights[0] * b**2 - self.weights[1] * a**4

    def slope(self, y: Tensor) -> Tensor:
        """∇f [..., 2], by hand."""
        a, b = y.unbind(-1)
        return torch.stack([a.cos() * b - 4 * self.weights[1] * a**3, a.sin() + 2 * self.weights[0] * b], dim=-1)

    def trace(self, y: Tensor) -> Tensor:
        """∂²f/∂a² + ∂²f/∂b² [...], by hand."""
        a, b = y.unbind(-1)
        return -a.sin() * b - 12 * self.weights[1] * a**2 + 2 * self.weights[0]


def targets(rows: int = 6) -> Tensor:
    """y [rows, 2], the same at every call."""
    return torch.randn(rows, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def seeded(seed: int = 2) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
