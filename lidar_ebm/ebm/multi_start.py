"""Prediction from several first estimates: all ascend at once, and the highest is the answer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lidar_ebm.ebm.ascent import Ascent, ascend
from lidar_ebm.ebm.energy import Constraint, Energy
from lidar_ebm.ebm.step_rules import Halving, StepRule


def best_of_starts(
    energy: Energy,
    starts: Tensor,
    *,
    steps: int,
    step_length: float | Sequence[float] | Tensor,
    rule: StepRule = Halving(),  # noqa: B008 (frozen, without state)
    constrain: Constraint | None = None,
) -> Ascent:
    """The highest place that an ascent from any of P starts reaches, for each of N inputs.

    The ascents see nothing of each other, so one start gives what `ascend` gives. Nothing waits for the device.

    Args:
        energy: f, called with candidates [N, P, D].
        starts: [N, P, D], such as a prediction and the same turned around; or draws of a proposal.
        steps: T of each ascent; 0 chooses among the starts.
        step_length: λ, as for `ascend`.
        rule: as for `ascend`.
        constrain: brings candidates into the target's space.

    Returns:
        The best ascent of each input, [N, D] and [N], the first of equals; f0 is that of its own start. An f that is
        no number is worse than all others.

    Raises:
        ValueError: there is no start, or `ascend`'s reasons.
    """
    if starts.ndim != 3 or starts.shape[1] == 0:
        raise ValueError(f"starts: {list(starts.shape)}; give [N, P, D] with one start or more for each of N inputs")
    ascent = ascend(energy, starts, steps=steps, step_length=step_length, rule=rule, constrain=constrain)
    best = highest(ascent.f).unsqueeze(1)  # [N, 1]
    y = ascent.y.gather(1, best.unsqueeze(-1).expand(-1, -1, starts.shape[2])).squeeze(1)
    return Ascent(y, ascent.f.gather(1, best).squeeze(1), ascent.f0.gather(1, best).squeeze(1))


def highest(f: Tensor) -> Tensor:
    """Index [N] of the highest of f [N, P], the first of equals; an f that is no number is worse than all others."""
    return f.masked_fill(f.isnan(), -torch.inf).argmax(dim=1)
