"""Training an energy: losses whose minimum is f(x, y) = log p(y | x) + a constant for each x."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lidar_ebm.ebm.noise import GaussianMixtureNoise

Energy = Callable[[Tensor], Tensor]  # candidates y [N, S, D] -> f(x, y) [N, S], row n for the n-th input
Constraint = Callable[[Tensor], Tensor]  # [..., D] -> [..., D], the nearest point of the target's space


def nce_loss(
    energy: Energy,
    y: Tensor,
    noise: GaussianMixtureNoise,
    samples: int | Tensor,
    *,
    generator: torch.Generator | None = None,
    constrain: Constraint | None = None,
    count: Tensor | float | None = None,
) -> Tensor:
    """Noise-contrastive estimation in its ranking form, for all targets in one pass.

    Among the target and M samples around it, which one is the target? The loss is that question's cross-entropy with
    logits f - log q over the M + 1 candidates, the target first (Gustafsson et al., "How to train your energy-based
    model for regression", 2020).

    Args:
        energy: f, called once with all candidates [N, 1 + M, D].
        y: targets [N, D].
        noise: where the samples come from, centred at the targets.
        samples: M, or the samples themselves [N, M, D], drawn from `noise` before.
        generator: source of the random numbers; None for torch's own.
        constrain: brings candidates into the target's space (sizes above zero, angles wrapped) before f sees them.
            log q stays that of the draw itself, as published.
        count: what the sum over the targets is divided by, where that is not their number (at least one).

    Returns:
        The sum over the targets, divided by their number or by `count`, a scalar; zero, still connected to the
        parameters, where there is no target.
    """
    with torch.no_grad():
        draws = samples if isinstance(samples, Tensor) else noise.sample(y, samples, generator)  # [N, M, D]
        candidates = torch.cat([y.unsqueeze(1), draws], dim=1)  # [N, 1 + M, D]
        log_q = noise.log_prob(candidates, y)  # [N, 1 + M]
        if constrain is not None:
            candidates = constrain(candidates)
    logits = energy(candidates).to(log_q.dtype) - log_q
    losses = logits.logsumexp(dim=1) - logits[:, 0]  # [N]
    return losses.sum() / (max(len(y), 1) if count is None else count)
