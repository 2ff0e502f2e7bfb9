"""Prediction: ascending f from a first estimate, argmax_y f(x, y) without ever needing the normaliser Z."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lidar_ebm.ebm.energy import Constraint, Energy, value, value_and_gradient
from lidar_ebm.ebm.step_rules import Halving, StepRule


@dataclass(frozen=True)
class Ascent:
    """End of an ascent and what it passed. [N, P, D] and [N, P] for P starts of each input."""

    y: Tensor  # [N, D] best targets
    f: Tensor  # [N] their f
    f0: Tensor  # [N] f at the start; f >= f0 wherever f0 is a number
    trajectory: Tensor | None = None  # [1 + T, N, D] what `y` would have been after 0..T steps, if asked for


def ascend(
    energy: Energy,
    y0: Tensor,
    *,
    steps: int,
    step_length: float | Sequence[float] | Tensor,
    rule: StepRule = Halving(),  # noqa: B008 (frozen, without state)
    constrain: Constraint | None = None,
    record: bool = False,
) -> Ascent:
    """Gradient ascent on f with step control for each target on its own, all targets in one batch.

    By default a step that lowers f (or leaves the numbers) is taken back, and halves that target's step length; rules
    with momentum take back only what leaves the numbers, and return the best place seen. f is evaluated `steps` + 1
    times and its gradient `steps` times: an accepted candidate's value and gradient are the next step's start, a
    rejected one's are dropped for those that its target had. Nothing in the loop waits for the device.

    Parameters of the energy gather no gradient, and the caller may have gradients off (`torch.no_grad`).

    Args:
        energy: f, called with candidates [N, 1, D] (or [N, P, D]); f of one may depend on its row's input alone.
        y0: first estimates [N, D], or P for each input, [N, P, D], that ascend beside each other.
        steps: T. With 0, `y` is y0 itself: not even `constrain` is applied.
        step_length: λ in y <- y + λ ∇f, one for all dimensions or one each [D] (which is copied to the device first).
        rule: what a step makes of the gradient: `Halving`, `Momentum` or `Adam`.
        constrain: brings candidates into the target's space.
        record: keep the trajectory.

    Raises:
        ValueError: `steps` is negative, or `y0` is not of a floating-point type.
    """
    if steps < 0:
        raise ValueError(f"steps: {steps}; give 0 or more")
    if not y0.is_floating_point():
        raise ValueError(f"y0: {y0.dtype} cannot be moved by fractions; give a floating-point type")
    y0 = y0.detach()
    if isinstance(step_length, int | float):  # filled in on the device: nothing is copied there
        length = torch.full_like(y0, step_length)
    else:
        length = torch.as_tensor(step_length, dtype=y0.dtype, device=y0.device).expand_as(y0)
    if y0.ndim == 3:
        return _ascend(energy, y0, length, steps, rule, constrain, record)
    ascent = _ascend(energy, y0.unsqueeze(1), length.unsqueeze(1), steps, rule, constrain, record)
    trajectory = None if ascent.trajectory is None else ascent.trajectory.squeeze(2)
    return Ascent(ascent.y.squeeze(1), ascent.f.squeeze(1), ascent.f0.squeeze(1), trajectory)


def _ascend(
    energy: Energy,
    y: Tensor,
    length: Tensor,
    steps: int,
    rule: StepRule,
    constrain: Constraint | None,
    record: bool,
) -> Ascent:
    """`ascend` from y [N, P, D] with step lengths of the same shape."""
    if steps == 0:
        f0 = value(energy, y)
        return Ascent(y, f0, f0, y.unsqueeze(0) if record else None)

    f, gradient = value_and_gradient(energy, y)
    f0 = f
    state = rule.start(y)
    best_y, best_f = y, f
    trajectory = [y]
    for step in range(steps):
        direction, new_state = rule.direction(gradient, state, step)
        candidate = y + length * direction
        if constrain is not None:
            candidate = constrain(candidate)
        if step + 1 < steps:
            new_f, new_gradient = value_and_gradient(energy, candidate)
        else:
            new_f, new_gradient = value(energy, candidate), gradient  # nothing follows that would need the gradient
        taken = candidate.isfinite().all(dim=-1)  # [N, P]
        if rule.monotone:
            taken = (new_f >= f) & taken  # False for NaN
        else:
            taken = new_f.isfinite() & new_gradient.isfinite().all(dim=-1) & taken
        f = torch.where(taken, new_f, f)
        accepted = taken.unsqueeze(-1)
        y = torch.where(accepted, candidate, y)
        gradient = torch.where(accepted, new_gradient, gradient)
        length = torch.where(accepted, length, length / 2)
        state = tuple(torch.where(accepted, new, old) for new, old in zip(new_state, state, strict=True))
        if rule.monotone:
            best_y, best_f = y, f
        else:
            better = f > best_f
            best_y, best_f = torch.where(better.unsqueeze(-1), y, best_y), torch.where(better, f, best_f)
        if record:
            trajectory.append(best_y)
    return Ascent(best_y, best_f, f0, torch.stack(trajectory) if record else None)
