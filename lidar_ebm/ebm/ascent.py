"""Prediction: climbing f from a first estimate, argmax_y f(x, y) without ever needing the normaliser Z."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lidar_ebm.ebm.losses import Constraint, Energy


@dataclass(frozen=True)
class Ascent:
    """Where the climb ended and what it passed."""

    y: Tensor  # [N, D] last accepted targets
    f: Tensor  # [N] their f
    f0: Tensor  # [N] f at the start; f >= f0 wherever f0 is a number
    trajectory: Tensor | None = None  # [1 + T, N, D] targets after 0..T steps, if asked for


def ascend(
    energy: Energy,
    y0: Tensor,
    *,
    steps: int,
    step_length: float | Sequence[float] | Tensor,
    constrain: Constraint | None = None,
    record: bool = False,
) -> Ascent:
    """Gradient ascent on f with step control for each target on its own, all targets in one batch.

    A step that lowers f (or leaves the numbers) is taken back, and halves that target's step length. f is evaluated
    `steps` + 1 times and its gradient `steps` times: an accepted candidate's value and gradient are the next step's
    start, a rejected one's are dropped for those that its target had. Nothing in the loop waits for the device.

    Parameters of the energy gather no gradient, and the caller may have gradients off (`torch.no_grad`).

    Args:
        energy: f, called with candidates [N, 1, D]; row n may depend on target n alone.
        y0: first estimates [N, D].
        steps: T. With 0, `y` is y0 itself: not even `constrain` is applied.
        step_length: λ in y <- y + λ ∇f, one for all dimensions or one each [D] (which is copied to the device first).
        constrain: brings candidates into the target's space.
        record: keep the trajectory.

    Raises:
        ValueError: `steps` is negative, or `y0` is not of a floating-point type.
    """
    if steps < 0:
        raise ValueError(f"steps: {steps}; give 0 or more")
    if not y0.is_floating_point():
        raise ValueError(f"y0: {y0.dtype} cannot be moved by fractions; give a floating-point type")
    y = y0.detach()
    if steps == 0:
        f0 = _value(energy, y)
        return Ascent(y, f0, f0, y.unsqueeze(0) if record else None)

    if isinstance(step_length, int | float):  # filled in on the device: nothing is copied there
        length = torch.full_like(y, step_length)  # [N, D]
    else:
        length = torch.as_tensor(step_length, dtype=y.dtype, device=y.device).expand_as(y)  # [N, D]
    f, gradient = _value_and_gradient(energy, y)
    f0 = f
    trajectory = [y]
    for step in range(steps):
        candidate = y + length * gradient
        if constrain is not None:
            candidate = constrain(candidate)
        if step + 1 < steps:
            new_f, new_gradient = _value_and_gradient(energy, candidate)
        else:
            new_f, new_gradient = _value(energy, candidate), gradient  # nothing follows that would need the gradient
        better = (new_f >= f) & candidate.isfinite().all(dim=-1)  # [N]; False for NaN
        f = torch.where(better, new_f, f)
        accepted = better.unsqueeze(-1)
        y = torch.where(accepted, candidate, y)
        gradient = torch.where(accepted, new_gradient, gradient)
        length = torch.where(accepted, length, length / 2)
        if record:
            trajectory.append(y)
    return Ascent(y, f, f0, torch.stack(trajectory) if record else None)


def _value(energy: Energy, y: Tensor) -> Tensor:
    """f [N] at y [N, D]."""
    with torch.no_grad():
        return energy(y.unsqueeze(1)).squeeze(1)


def _value_and_gradient(energy: Energy, y: Tensor) -> tuple[Tensor, Tensor]:
    """f [N] and ∇_y f [N, D] at y [N, D]."""
    with torch.enable_grad():
        leaf = y.detach().requires_grad_()
        f = energy(leaf.unsqueeze(1)).squeeze(1)
        if not f.requires_grad:  # flat: f does not depend on y
            return f, torch.zeros_like(leaf)
        gradient = torch.autograd.grad(f.sum(), leaf, allow_unused=True)[0]
    return f.detach(), torch.zeros_like(y) if gradient is None else gradient
