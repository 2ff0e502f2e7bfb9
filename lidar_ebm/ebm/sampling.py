"""Importance sampling: normaliser, normalised density and samples of p(y | x) from draws of a proposal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from lidar_ebm.ebm.chunks import CHUNK, value_in_chunks
from lidar_ebm.ebm.energy import Energy, promote_to_float32
from lidar_ebm.ebm.noise import Noise
from lidar_ebm.ebm.random_numbers import Random
from lidar_ebm.ebm.targets import TargetSpace
from lidar_ebm.ebm.uncertainty import (
    Marginal,
    WeightedPoints,
    checked_temperature,
    draw_indices,
    nan_without_density,
    space_of,
)


@dataclass(frozen=True, eq=False)
class WeightedSamples(WeightedPoints):
    """Draws y from q with the weights exp(f / temperature) / q that make them stand for p(y | x)."""

    y: Tensor  # [N, M, D]
    f: Tensor  # [N, M]
    log_q: Tensor  # [N, M] log-density that they were drawn with
    space: TargetSpace
    temperature: float = 1.0
    has_log_q: bool = True  # False: log_q is known up to a constant only, so that Z is not

    @classmethod
    def from_draws(cls, y: Tensor, f: Tensor, space: TargetSpace | None = None) -> WeightedSamples:
        """Draws y [N, M, D] from p(y | x) itself and their f [N, M], such as Langevin dynamics gives; no Z."""
        return cls(y, f, promote_to_float32(f), space_of(y.shape[-1], space), has_log_q=False)

    @cached_property
    def log_weights(self) -> Tensor:
        """f / temperature - log q [N, M]."""
        return promote_to_float32(self.f) / self.temperature - self.log_q

    @cached_property
    def weights(self) -> Tensor:
        """[N, M]; each row's sum is 1."""
        return self.log_weights.softmax(dim=1)

    @cached_property
    def log_z(self) -> Tensor:
        """Estimate [N] of log Z, the log of an unbiased estimate of Z; NaN where only draws are known."""
        if not self.has_log_q:
            return torch.full_like(self.log_weights[:, 0], torch.nan)
        count = self.log_weights.new_tensor(self.log_weights.shape[1])
        return self.log_weights.logsumexp(dim=1) - count.log()

    @property
    def log_z_error(self) -> Tensor:
        """Standard error [N] of `log_z` as these samples tell it; infinite for one sample.

        It cannot know of mass that no sample hit: where the effective sample size is a handful, neither this nor
        `log_z` is to be trusted.
        """
        count = self.f.shape[1]
        relative_variance = (count / self.effective_sample_size - 1).clamp(min=0)  # of a weight
        error = (relative_variance / max(count - 1, 1)).sqrt()
        return error if count > 1 else torch.full_like(error, torch.inf)

    @cached_property
    def effective_sample_size(self) -> Tensor:
        """[N], between 1 and M: as many independent draws from p would say as much about a mean."""
        return 1 / self.weights.square().sum(dim=1)

    def points(self) -> Tensor:
        """[N, M, D]."""
        return self.y

    def marginal(self, dim: int) -> Marginal:
        """The samples' coordinates in this dimension, and their weights."""
        return Marginal(self.y[..., dim], self.weights, 0.0)

    def covariance(self) -> Tensor:
        """Of the differences from the mean, the shorter way around in wrapped dimensions: [N, D, D]."""
        offsets = self.space.difference(self.y, self.mean().unsqueeze(1))  # [N, M, D]
        return torch.einsum("nm,nmi,nmj->nij", self.weights, offsets, offsets)

    def at_temperature(self, temperature: float) -> WeightedSamples:
        """The same samples weighted for the density proportional to exp(f / temperature)."""
        return replace(self, temperature=checked_temperature(temperature))

    def resample(self, count: int, random: Random = None) -> Tensor:
        """`count` samples of p(y | x) [N, count, D]: these ones, each as often as its weight says."""
        index = draw_indices(self.weights, count, random)  # [N, count]
        y = self.y.gather(1, index.unsqueeze(-1).expand(*index.shape, self.y.shape[-1]))
        return nan_without_density(y, self.weights)


def importance_samples(
    energy: Energy,
    proposal: Noise,
    center: Tensor,
    samples: int,
    *,
    random: Random = None,
    space: TargetSpace | None = None,
    chunk: int = CHUNK,
) -> WeightedSamples:
    """Samples of a proposal around `center`, weighted to stand for exp f(x, y) / Z(x).

    The proposal must be wider than the density: where its tails are lighter, rare samples of enormous weight carry
    the estimates, which the effective sample size shows only once one was drawn.

    Args:
        energy: f; evaluated without gradients at all samples.
        proposal: such as the noise that f was trained with, or what a proposal network predicts. Its log-density must
            be that of what it draws: the published boundary, draws moved into the space afterwards, gives a biased Z
            near the bounds.
        center: [N, D] what the proposal is centred at, such as predictions.
        samples: M.
        random: where random numbers come from.
        space: the targets' space, for statistics; None for R^D.
        chunk: maximum number of candidates, over all rows, that are given to `energy` at once.

    Raises:
        ValueError: `samples` is not positive, or the space has other dimensions than `center`.
    """
    if samples < 1:
        raise ValueError(f"samples: {samples}; give 1 or more")
    space = space_of(center.shape[-1], space)
    with torch.no_grad():
        draws = proposal.sample(center, samples, random)  # [N, M, D]
        log_q = promote_to_float32(proposal.log_prob(draws, center))  # [N, M]
        y = proposal.constrain(draws)
        return WeightedSamples(y, value_in_chunks(energy, y, chunk), log_q, space)
