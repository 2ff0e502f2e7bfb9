"""Forms of an energy and of a loss in this package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from lidar_ebm.ebm.random_numbers import Random

Energy = Callable[[Tensor], Tensor]  # candidates y [N, S, D] -> f(x, y) [N, S], row n for the n-th input
Constraint = Callable[[Tensor], Tensor]  # [..., D] -> [..., D], the nearest point of the target's space


class Loss(Protocol):
    """A way of training f: minimal where exp f(x, y) is the conditional density p(y | x) up to a factor for each x."""

    def __call__(
        self, energy: Energy, y: Tensor, *, random: Random = None, count: Tensor | float | None = None
    ) -> Tensor:
        """The loss over all targets in one batched pass.

        Args:
            energy: f; its gradient to parameters is the loss's.
            y: targets [N, D].
            random: where random numbers come from.
            count: what the sum over the targets is divided by, where that is not their number (at least one).

        Returns:
            A scalar; zero, still connected to the parameters, where there is no target.
        """
        ...


def average(losses: Tensor, count: Tensor | float | None) -> Tensor:
    """The sum of the targets' losses [N], divided by `count`, or by their number (at least one)."""
    return losses.sum() / (max(len(losses), 1) if count is None else count)


def value(energy: Energy, y: Tensor) -> Tensor:
    """f [N, S] at y [N, S, D], without gradients."""
    with torch.no_grad():
        return energy(y)


def value_and_gradient(energy: Energy, y: Tensor) -> tuple[Tensor, Tensor]:
    """f [N, S] and ∇_y f [N, S, D] at y [N, S, D], both detached; parameters gather no gradient."""
    with torch.enable_grad():
        leaf = y.detach().requires_grad_()
        f = energy(leaf)
        if not f.requires_grad:  # flat: f does not depend on y
            return f, torch.zeros_like(leaf)
        gradient = torch.autograd.grad(f.sum(), leaf, allow_unused=True)[0]
    return f.detach(), torch.zeros_like(y) if gradient is None else gradient


def promote_to_float32(values: Tensor) -> Tensor:
    """Values that are summed as exponentials, in a type that can: half precision becomes float32."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
