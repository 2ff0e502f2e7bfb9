"""Importance sampling that finds out for each input where its density lies and how wide it is.

In one dimension noise of roughly the right width will do as a proposal. In seven, where a density may be long in one
direction and a hundred times narrower in another, all but one or two of hundreds of such draws weigh nothing. Here each
round draws from a distribution fitted to what all rounds before it found (Cornuet, Marin, Mira, Robert, "Adaptive
multiple importance sampling", 2012), and all draws count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lidar_ebm.ebm.chunks import CHUNK, value_in_chunks
from lidar_ebm.ebm.energy import Energy, promote_to_float32
from lidar_ebm.ebm.noise import Noise
from lidar_ebm.ebm.random_numbers import Random, normal
from lidar_ebm.ebm.sampling import WeightedSamples
from lidar_ebm.ebm.targets import TargetSpace
from lidar_ebm.ebm.uncertainty import checked_temperature, space_of

DEGREES = 5  # of freedom of the fitted proposals: tails that are heavier than those of most densities
EFFECTIVE_SHARE = 5  # times D: effective samples that a fit takes, if need be from a flattened density
SHRINKAGE = 0.1  # of a fitted covariance towards its diagonal
MIN_SCALE = 0.02  # of the space's scales: no proposal is narrower
BISECTIONS = 12


def adaptive_importance_samples(
    energy: Energy,
    proposal: Noise,
    center: Tensor,
    samples: int,
    *,
    rounds: int = 10,
    temperature: float = 1.0,
    random: Random = None,
    space: TargetSpace | None = None,
    chunk: int = CHUNK,
) -> WeightedSamples:
    """Weighted samples of the density proportional to exp(f(x, y) / temperature), one mode of it for each row.

    The first round draws from `proposal`, each further one from a multivariate Student's t fitted to the weighted draws
    so far. While these are few in effect, the fit is to a flattened density, so that the proposals go step by step from
    the first one to the density, and never collapse onto a single draw. The weights are those of the mixture of all
    proposals, which keeps them right (log Z too) whatever the fits were.

    Args:
        energy: f; evaluated without gradients at all samples.
        proposal: of the first round: wide enough to cover the mode, with exact boundaries.
        center: [N, D] what it is centred at, such as predictions.
        samples: draws of each round.
        rounds: further rounds after the first; 0 is plain importance sampling.
        temperature: of the density that the proposals are fitted to, and of what is returned.
        random: where random numbers come from.
        space: the targets' space; None for R^D.
        chunk: maximum number of candidates, over all rows, that are given to `energy` at once.

    Returns:
        (1 + `rounds`) x `samples` samples a row. What was drawn outside of the space has weight 0.

    Raises:
        ValueError: a number is out of its range, or the space has other dimensions than `center`.
    """
    if samples < 1 or rounds < 0:
        raise ValueError(f"samples: {samples}, rounds: {rounds}; give 1 or more samples and 0 or more rounds")
    checked_temperature(temperature)
    space = space_of(center.shape[-1], space)
    with torch.no_grad():
        y = proposal.constrain(proposal.sample(center, samples, random))  # [N, M, D]
        f = promote_to_float32(value_in_chunks(energy, y, chunk))  # [N, M]
        inside = torch.ones_like(f, dtype=torch.bool)
        mixed = promote_to_float32(proposal.log_prob(y, center))  # log of the sum of all proposals' densities [N, M]
        fits: list[_Fit] = []
        for _ in range(rounds):
            log_weights = (f / temperature - mixed).masked_fill(~inside, -math.inf)
            fits.append(_fit(y, log_weights, center, space))
            drawn, within = fits[-1].draw(samples, space, random)
            density = promote_to_float32(proposal.log_prob(drawn, center))
            for fit in fits:
                density = torch.logaddexp(density, fit.log_prob(drawn, space))
            mixed = torch.cat([torch.logaddexp(mixed, fits[-1].log_prob(y, space)), density], dim=1)
            y = torch.cat([y, drawn], dim=1)
            f = torch.cat([f, promote_to_float32(value_in_chunks(energy, drawn, chunk))], dim=1)
            inside = torch.cat([inside, within], dim=1)
        log_q = (mixed - math.log(1 + rounds)).masked_fill(~inside, math.inf)
        return WeightedSamples(y, f, log_q, space, temperature)


@dataclass(frozen=True, eq=False)
class _Fit:
    """A multivariate Student's t for each row, of DEGREES degrees of freedom."""

    location: Tensor  # [N, D]
    factor: Tensor  # [N, D, D] lower triangular, of the scale matrix

    def draw(self, count: int, space: TargetSpace, random: Random) -> tuple[Tensor, Tensor]:
        """Points of the space [N, count, D], and which of them were drawn as they are [N, count] bool.

        Of a wrapped dimension the density is that of the nearest way around, and what was drawn further than half a
        turn away is none; so is what lies below a bound. Both are moved into the space, to be of no weight.
        """
        rows, dims = self.location.shape
        numbers = normal((rows, count, dims), self.location, random)
        spread = normal((rows, count, DEGREES), self.location, random).square().mean(dim=-1, keepdim=True)
        offset = (numbers / spread.sqrt()) @ self.factor.transpose(1, 2)  # [N, M, D]
        y = self.location.unsqueeze(1) + offset
        within = space.contains(y)
        for d in space.wrapped:
            within = within & (offset[..., d].abs() < space.periods[d] / 2)  # type: ignore[operator]
        return space.constrain(y), within

    def log_prob(self, y: Tensor, space: TargetSpace) -> Tensor:
        """Log-density [N, M] of y [N, M, D]."""
        dims = y.shape[-1]
        offset = space.difference(y, self.location.unsqueeze(1)).to(self.factor)
        scaled = torch.linalg.solve_triangular(self.factor, offset.transpose(1, 2), upper=False)  # [N, D, M]
        log_det = self.factor.diagonal(dim1=1, dim2=2).log().sum(dim=1, keepdim=True)  # [N, 1]
        constant = math.lgamma((DEGREES + dims) / 2) - math.lgamma(DEGREES / 2) - dims / 2 * math.log(DEGREES * math.pi)
        return constant - log_det - (DEGREES + dims) / 2 * torch.log1p(scaled.square().sum(dim=1) / DEGREES)


def _fit(y: Tensor, log_weights: Tensor, center: Tensor, space: TargetSpace) -> _Fit:
    """Mean and covariance of the points y [N, M, D], their weights [N, M] flattened where they are too uneven."""
    count, dims = log_weights.shape[1], y.shape[-1]
    weights = _flattened(log_weights, min(EFFECTIVE_SHARE * dims, count / 2))
    offset = space.difference(y, center.unsqueeze(1)).to(weights)
    mean = (weights.unsqueeze(-1) * offset).sum(dim=1)  # [N, D]
    residual = offset - mean.unsqueeze(1)
    covariance = torch.einsum("nm,nmi,nmj->nij", weights, residual, residual)
    diagonal = torch.diag_embed(covariance.diagonal(dim1=1, dim2=2))
    floor = torch.diag((covariance.new_tensor(space.scales) * MIN_SCALE).square())
    factor, failed = torch.linalg.cholesky_ex((1 - SHRINKAGE) * covariance + SHRINKAGE * diagonal + floor)
    # Only numbers that are none (of an energy that gives them) have no factor; their row stays such, the others go on.
    factor = torch.where(failed[:, None, None] > 0, floor.sqrt(), factor)
    return _Fit(space.constrain(center + mean.to(center)), factor.to(center))


def _flattened(log_weights: Tensor, min_effective: float) -> Tensor:
    """Normalised weights [N, M] to the highest power up to 1 that leaves `min_effective` of them in effect."""

    def powered(power: Tensor) -> Tensor:
        # A power of 0 would let in what has no weight at all.
        return torch.where(log_weights == -math.inf, -math.inf, power * log_weights).softmax(dim=1)

    low, high = torch.zeros_like(log_weights[:, :1]), torch.ones_like(log_weights[:, :1])
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        enough = 1 / powered(middle).square().sum(dim=1, keepdim=True) >= min_effective
        low, high = torch.where(enough, middle, low), torch.where(enough, high, middle)
    full = 1 / powered(torch.ones_like(low)).square().sum(dim=1, keepdim=True) >= min_effective
    return powered(torch.where(full, 1.0, low))
