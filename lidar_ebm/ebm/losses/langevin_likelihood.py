"""Maximum likelihood with samples of the model itself, by short Langevin chains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lidar_ebm.ebm.energy import Energy, average, promote_to_float32
from lidar_ebm.ebm.langevin import langevin
from lidar_ebm.ebm.losses.contrastive import check_samples
from lidar_ebm.ebm.random_numbers import Random
from lidar_ebm.ebm.targets import TargetSpace


@dataclass(frozen=True, eq=False)
class MLMCMC:
    """The mean of f over M samples of exp f / Z minus f at the label: its gradient is the likelihood's.

    The samples end L steps of Langevin dynamics that start at the label; how they depend on parameters is left out.
    The loss's value is not a likelihood. L evaluations of f with gradients at [N, M, D], and one at [N, 1 + M, D].

    Chains that start at the data keep the data's density wherever the model has it, however few their steps: with few,
    learning is only slow, and what f says farther from any label than chains come stays as it is. Steps are not
    adjusted, which makes the learnt density too narrow by a share of order α² over its variance.

    Attributes:
        samples: M, chains for each target.
        steps: L.
        step_length: α, in the target's units, one for all dimensions or one each [D].
        space: where chains wrap around and are reflected; None for R^D.
    """

    samples: int
    steps: int
    step_length: float | Sequence[float] | Tensor
    space: TargetSpace | None = None

    def __post_init__(self) -> None:
        check_samples(self.samples)
        if self.steps < 1:
            raise ValueError(f"steps: {self.steps}; give at least 1, for without a step nothing is learnt")
        if not bool((torch.as_tensor(self.step_length) > 0).all()):
            raise ValueError(f"step_length: {self.step_length}; give a positive number")

    def __call__(
        self, energy: Energy, y: Tensor, *, random: Random = None, count: Tensor | float | None = None
    ) -> Tensor:
        """See `Loss`."""
        starts = y.detach().unsqueeze(1).expand(-1, self.samples, -1)  # [N, M, D]
        chains = langevin(
            energy, starts, steps=self.steps, step_length=self.step_length, random=random, space=self.space
        )
        label = (y if self.space is None else self.space.wrap(y)).detach().unsqueeze(1)  # [N, 1, D]
        f = promote_to_float32(energy(torch.cat([label, chains.y], dim=1)))  # [N, 1 + M]
        return average(f[:, 1:].mean(dim=1) - f[:, 0], count)
