"""Chains of samples from exp f / Z by Langevin dynamics, in spaces with angles and bounds too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lidar_ebm.ebm.energy import Energy, promote_to_float32, value_and_gradient
from lidar_ebm.ebm.random_numbers import Random, normal, uniform
from lidar_ebm.ebm.targets import TargetSpace


@dataclass(frozen=True)
class LangevinResult:
    """Ends of the chains."""

    y: Tensor  # [N, M, D] points of the space
    accepted: Tensor  # [N, M] share of each chain's steps that were taken; 1 without adjustment


def langevin(
    energy: Energy,
    y0: Tensor,
    *,
    steps: int,
    step_length: float | Sequence[float] | Tensor,
    random: Random = None,
    space: TargetSpace | None = None,
    adjust: bool = False,
) -> LangevinResult:
    """`steps` of y <- y + (α²/2) ∇f(y) + α ε, every chain of every row in one batch.

    Angles wrap around, and a step over a lower bound is reflected there: that leaves a density on the space as it is,
    where stopping at the bound would pile chains up on it. Seen from R^D, f is continued periodically and as in a
    mirror, so that the rule of acceptance is the ordinary one.

    Parameters of the energy gather no gradient, and the caller may have gradients off.

    Args:
        energy: f, called with [N, M, D] once a step, and once more where adjusted.
        y0: where the chains start, [N, M, D].
        steps: L.
        step_length: α, in the target's units, one for all dimensions or one each [D].
        random: where the random numbers come from.
        space: None for R^D.
        adjust: Metropolis-adjusted (MALA): some steps are rejected so that in the long run the chains' density is
            exp f / Z itself, whatever α. Without, it is that up to an error of order α².

    Raises:
        ValueError: `steps` is negative, or `y0` is not of a floating-point type.
    """
    if steps < 0:
        raise ValueError(f"steps: {steps}; give 0 or more")
    if not y0.is_floating_point():
        raise ValueError(f"y0: {y0.dtype} cannot be moved by fractions; give a floating-point type")
    with torch.no_grad():
        y = y0.detach() if space is None else space.constrain(y0.detach())
        if steps == 0:
            return LangevinResult(y, y.new_ones(y.shape[:2]))
        if isinstance(step_length, int | float):  # filled in on the device: nothing is copied there
            alpha = y.new_full((y.shape[2],), step_length)  # [D]
        else:
            alpha = torch.as_tensor(step_length, dtype=y.dtype, device=y.device)
        if adjust:
            return _adjusted(energy, y, steps, alpha, random, space)
        for _ in range(steps):
            gradient = value_and_gradient(energy, y)[1]
            y, _ = _fold(y + 0.5 * alpha.square() * gradient + alpha * normal(y.shape, y, random), space)
        return LangevinResult(y, y.new_ones(y.shape[:2]))


def _adjusted(
    energy: Energy, y: Tensor, steps: int, alpha: Tensor, random: Random, space: TargetSpace | None
) -> LangevinResult:
    f, gradient = value_and_gradient(energy, y)
    count = torch.zeros_like(y[..., 0])
    for _ in range(steps):
        kick = normal(y.shape, y, random)
        flat = y + 0.5 * alpha.square() * gradient + alpha * kick  # in R^D, before it is folded
        candidate, mirrored = _fold(flat, space)
        new_f, new_gradient = value_and_gradient(energy, candidate)
        back = (y - flat) / alpha - 0.5 * alpha * mirrored * new_gradient  # the ε that would lead back to y
        odds = 0.5 * (kick.square() - back.square()).sum(-1)  # log q(y | y') - log q(y' | y)
        log_ratio = promote_to_float32(new_f) - promote_to_float32(f) + odds
        taken = uniform(f.shape, y, random).log() < log_ratio  # [N, M]; False for NaN
        f = torch.where(taken, new_f, f)
        y = torch.where(taken.unsqueeze(-1), candidate, y)
        gradient = torch.where(taken.unsqueeze(-1), new_gradient, gradient)
        count = count + taken
    return LangevinResult(y, count / steps)


def _fold(y: Tensor, space: TargetSpace | None) -> tuple[Tensor, Tensor]:
    """The point of the space that y [..., D] stands for, and -1 where it was mirrored, 1 elsewhere [..., D]."""
    mirrored = torch.ones_like(y)
    if space is None:
        return y, mirrored
    folded = space.wrap(y).clone()
    for d in space.bounded:
        excess = y[..., d] - space.lower[d]
        folded[..., d] = space.lower[d] + excess.abs()
        mirrored[..., d] = torch.where(excess < 0, -1.0, 1.0)
    return folded, mirrored
