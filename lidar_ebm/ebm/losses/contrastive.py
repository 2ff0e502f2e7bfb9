"""Noise-contrastive estimation: telling the target from samples around it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor

from lidar_ebm.ebm.energy import Energy, average, promote_to_float32
from lidar_ebm.ebm.noise import Noise, ScalableNoise
from lidar_ebm.ebm.random_numbers import Random


@dataclass(frozen=True, eq=False)
class NCE:
    """NCE in its ranking form, and NCE+.

    Among the target and M samples around it, which one is the target? The loss is that question's cross-entropy with
    logits f - log q over the M + 1 candidates, the target first (Gustafsson et al., "How to train your energy-based
    model for regression", 2020). One evaluation of f at [N, 1 + M, D].

    NCE+ allows for labels that are themselves inexact: the first candidate is the label plus noise from q's mixture
    with its stds times β, while q stays centred at the label.

    Attributes:
        noise: q, where the samples come from, centred at the labels. f is shown `noise.constrain` of the candidates;
            log q is that of the draws themselves.
        samples: M.
        label_noise: β; 0 for plain NCE. Above it `noise` must have `scaled`.
    """

    noise: Noise
    samples: int
    label_noise: float = 0.0

    def __post_init__(self) -> None:
        check_samples(self.samples)
        if not 0 <= self.label_noise < math.inf:
            raise ValueError(f"label_noise: {self.label_noise}; give a factor of the noise's stds, 0 for none")
        if self.label_noise and not hasattr(self.noise, "scaled"):
            raise ValueError(
                f"label noise has the noise's own shape, scaled, and {type(self.noise).__name__} cannot be scaled"
            )

    @cached_property
    def _label_distribution(self) -> Noise:
        return cast(ScalableNoise, self.noise).scaled(self.label_noise)

    def __call__(
        self, energy: Energy, y: Tensor, *, random: Random = None, count: Tensor | float | None = None
    ) -> Tensor:
        """See `Loss`. A label where q is zero (outside a uniform q) is told apart for sure and adds nothing."""
        with torch.no_grad():
            draws = self.noise.sample(y, self.samples, random)  # [N, M, D]
            label = self._label_distribution.sample(y, 1, random) if self.label_noise else y.unsqueeze(1)  # [N, 1, D]
            candidates = torch.cat([label, draws], dim=1)  # [N, 1 + M, D]
            log_q = self.noise.log_prob(candidates, y)  # [N, 1 + M]
            candidates = self.noise.constrain(candidates)
        return average(ranking_losses(energy(candidates), log_q), count)


def ranking_losses(f: Tensor, log_q: Tensor) -> Tensor:
    """Cross-entropy [N] of the first of the candidates among all, from their f and log q [N, 1 + M]."""
    finite = log_q.clamp(min=torch.finfo(log_q.dtype).min / 2)  # the logit of an impossible draw is huge, not infinite
    logits = promote_to_float32(f) - finite
    return logits.logsumexp(dim=1) - logits[:, 0]


def check_samples(samples: int) -> None:
    """Raises ValueError unless M is at least 1."""
    if samples < 1:
        raise ValueError(f"samples: {samples}; give at least 1")
