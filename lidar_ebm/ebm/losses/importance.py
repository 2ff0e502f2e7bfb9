"""Maximum likelihood and KL divergence with Z from importance sampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lidar_ebm.ebm.densities import normal_log_prob
from lidar_ebm.ebm.energy import Energy, average, promote_to_float32
from lidar_ebm.ebm.losses.contrastive import check_samples
from lidar_ebm.ebm.noise import Noise
from lidar_ebm.ebm.random_numbers import Random
from lidar_ebm.ebm.targets import TargetSpace


@dataclass(frozen=True, eq=False)
class MLIS:
    """The negative log-likelihood log Z - f(y), with Z = mean of exp f / q over M samples from q around the target.

    Unbiased for Z, not for log Z: few samples make Z too small and the density too narrow, so that M matters far more
    than to NCE. One evaluation of f at [N, 1 + M, D].

    Attributes:
        noise: q. f is shown `noise.constrain` of the candidates; log q is that of the draws themselves.
        samples: M; the label is not among them.
    """

    noise: Noise
    samples: int

    def __post_init__(self) -> None:
        check_samples(self.samples)

    def __call__(
        self, energy: Energy, y: Tensor, *, random: Random = None, count: Tensor | float | None = None
    ) -> Tensor:
        """See `Loss`."""
        with torch.no_grad():
            draws = self.noise.sample(y, self.samples, random)  # [N, M, D]
            log_q = self.noise.log_prob(draws, y)  # [N, M]
            candidates = self.noise.constrain(torch.cat([y.unsqueeze(1), draws], dim=1))  # [N, 1 + M, D]
        f = promote_to_float32(energy(candidates))  # [N, 1 + M]
        return average(log_mean_ratio(f[:, 1:], log_q) - f[:, 0], count)


@dataclass(frozen=True, eq=False)
class KLDIS:
    """KL divergence from a normal density around the label to exp f / Z, both from M importance samples of q.

    What is learnt is p(y | x) widened by that normal density. One evaluation of f at [N, M, D].

    Attributes:
        noise: q. f is shown `noise.constrain` of the draws; log q is that of the draws themselves.
        samples: M.
        label_stds: σ of the density around the label, [D], all positive.
        space: where that density is wrapped or truncated; None for the real line in every dimension.
    """

    noise: Noise
    samples: int
    label_stds: Sequence[float] | Tensor
    space: TargetSpace | None = None

    def __post_init__(self) -> None:
        check_samples(self.samples)
        check_stds("label_stds", self.label_stds)

    def __call__(
        self, energy: Energy, y: Tensor, *, random: Random = None, count: Tensor | float | None = None
    ) -> Tensor:
        """See `Loss`."""
        with torch.no_grad():
            draws = self.noise.sample(y, self.samples, random)  # [N, M, D]
            log_q = self.noise.log_prob(draws, y)  # [N, M]
            stds = torch.as_tensor(self.label_stds, dtype=y.dtype, device=y.device)  # [D]
            label = normal_log_prob(draws, y.unsqueeze(1), stds, self.space).sum(-1)  # [N, M]
            weights = (label - log_q).exp()
            candidates = self.noise.constrain(draws)
        f = promote_to_float32(energy(candidates))  # [N, M]
        return average(log_mean_ratio(f, log_q) - (weights * f).mean(dim=1), count)


def log_mean_ratio(f: Tensor, log_q: Tensor) -> Tensor:
    """log of the mean of exp f / q over samples [N, M] from q: [N], an estimate of log Z."""
    log_ratios = promote_to_float32(f) - log_q
    return log_ratios.logsumexp(dim=1) - math.log(log_ratios.shape[1])


def check_stds(name: str, stds: Sequence[float] | Tensor) -> None:
    """Raises ValueError unless they are one for each dimension, [D], all positive."""
    values = torch.as_tensor(stds)
    if values.ndim != 1 or len(values) == 0 or not bool(((values > 0) & values.isfinite()).all()):
        raise ValueError(f"{name}: {stds}; give a positive number for each dimension")
