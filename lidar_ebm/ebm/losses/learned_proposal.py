"""An energy and the proposal that its samples come from, learnt together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lidar_ebm.ebm.energy import Energy, average, promote_to_float32
from lidar_ebm.ebm.losses.contrastive import check_samples, ranking_losses
from lidar_ebm.ebm.losses.importance import log_mean_ratio
from lidar_ebm.ebm.noise import Noise
from lidar_ebm.ebm.random_numbers import Random


@dataclass(frozen=True, eq=False)
class LearnedProposal:
    """NCE or ML-IS with a q(y | x) that learns too: the energy's loss plus the proposal's, in one backward pass.

    The proposal's loss is J_KL = log mean exp f / q over M samples of q, an estimate of log Z whose gradient brings q
    towards exp f / Z (Gustafsson et al., "Learning proposals for practical energy-based regression", 2022). The
    energy's loss sees q as it is and the proposal's sees f as it is; samples are not differentiated. One evaluation of
    f at [N, 1 + M, D].

    Attributes:
        proposal: q(y | x) of this batch's rows, such as a `GaussianMixture` that a network gave for them;
            differentiable in its parameters, centres unused.
        samples: M.
        base: the energy's loss, "nce" or "ml-is".
    """

    proposal: Noise
    samples: int
    base: Literal["nce", "ml-is"] = "nce"

    def __post_init__(self) -> None:
        check_samples(self.samples)
        if self.base not in ("nce", "ml-is"):
            raise ValueError(f"base: {self.base!r}; give 'nce' or 'ml-is'")

    def __call__(
        self, energy: Energy, y: Tensor, *, random: Random = None, count: Tensor | float | None = None
    ) -> Tensor:
        """See `Loss`."""
        with torch.no_grad():
            draws = self.proposal.sample(y, self.samples, random)
            candidates = torch.cat([y.unsqueeze(1), draws], dim=1)  # [N, 1 + M, D]
            shown = self.proposal.constrain(candidates)
        log_q = self.proposal.log_prob(candidates, y)  # [N, 1 + M]
        f = promote_to_float32(energy(shown))  # [N, 1 + M]
        fixed = log_q.detach()
        if self.base == "nce":
            losses = ranking_losses(f, fixed)
        else:
            losses = log_mean_ratio(f[:, 1:], fixed[:, 1:]) - f[:, 0]
        return average(losses + log_mean_ratio(f[:, 1:].detach(), log_q[:, 1:]), count)
