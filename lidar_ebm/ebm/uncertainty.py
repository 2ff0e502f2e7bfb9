"""Summaries of a density beyond its highest point: mean, covariance, intervals, ranks and expectations.

The density is known at weighted points: samples with importance weights (`WeightedSamples`) or the cells of a grid
(`GridDensity`). Dimensions that wrap around have circular means, and everything else there is counted from these, the
shorter way around.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from lidar_ebm.ebm.energy import promote_to_float32
from lidar_ebm.ebm.random_numbers import Random, uniform
from lidar_ebm.ebm.targets import TargetSpace, wrap_period

Self = TypeVar("Self", bound="WeightedPoints")


@dataclass(frozen=True, eq=False)
class Interval:
    """A range in each dimension on its own.

    In wrapped dimensions low <= high holds as well: one of them may lie outside [-period / 2, period / 2).
    """

    low: Tensor  # [N, D]
    high: Tensor  # [N, D]
    space: TargetSpace

    def contains(self, y: Tensor) -> Tensor:
        """Tell if each coordinate of y [N, D] lies in its range, ends included: [N, D] bool."""
        middle = (self.low + self.high) / 2
        return self.space.difference(y, middle).abs() <= (self.high - self.low) / 2


class Marginal(NamedTuple):
    """The density of one dimension."""

    values: Tensor  # [N, M], or [1, M] where all rows have the same
    weights: Tensor  # [N, M], their sum is 1
    width: float  # the weight is spread over this width around the value; 0: it sits there


class WeightedPoints(ABC):
    """p(y | x) = exp(f / temperature) / Z for N inputs, as points with weights that sum to 1 for each input.

    `f` and the `f_at_y` of the methods are values of the energy itself, whatever the temperature.
    """

    f: Tensor  # [N, M] at the points
    space: TargetSpace
    temperature: float

    @property
    @abstractmethod
    def weights(self) -> Tensor:
        """[N, M], at least 0; each row's sum is 1."""

    @property
    @abstractmethod
    def log_z(self) -> Tensor:
        """Log of the normaliser Z [N]."""

    @abstractmethod
    def points(self) -> Tensor:
        """[N, M, D], or [1, M, D] where all rows have the same."""

    @abstractmethod
    def marginal(self, dim: int) -> Marginal:
        """The density of dimension `dim`."""

    @abstractmethod
    def covariance(self) -> Tensor:
        """Of the differences from the mean, the shorter way around in wrapped dimensions: [N, D, D]."""

    @abstractmethod
    def at_temperature(self: Self, temperature: float) -> Self:
        """The density proportional to exp(f / temperature), without evaluating f again.

        Raises:
            ValueError: the temperature is not a positive number.
        """

    def log_prob(self, f_at_y: Tensor) -> Tensor:
        """Normalised log-density of targets whose energies are `f_at_y`, [N] or [N, S]; of the same shape."""
        log_z = self.log_z if f_at_y.ndim == 1 else self.log_z.unsqueeze(1)
        return promote_to_float32(f_at_y) / self.temperature - log_z

    def mean(self) -> Tensor:
        """[N, D]; in wrapped dimensions the circular mean, the direction of the average unit vector."""
        return torch.stack([self._mean(dim) for dim in range(self.space.dims)], dim=-1)

    def std(self) -> Tensor:
        """Standard deviation of each dimension [N, D]."""
        return self.covariance().diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()

    def expectation(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Expected value [N, ...] of `function`, which maps points [N, M, D] to values [N, M, ...]."""
        points = self.points()
        values = function(points.expand(len(self.f), *points.shape[1:]))
        weights = self.weights.reshape(*self.weights.shape, *[1] * (values.ndim - 2))
        return (weights * values).sum(dim=1)

    def quantile(self, probability: float) -> Tensor:
        """Place at which each dimension's distribution function reaches `probability`: [N, D].

        A wrapped dimension is cut opposite its circular mean, and a quantile beyond ±period / 2 is left there.
        """
        return self._quantiles([probability])[0]

    def interval(self, level: float) -> Interval:
        """Central credible interval of each dimension: probability `level`, as much on either side of it.

        Raises:
            ValueError: `level` is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"level: {level} is not between 0 and 1")
        low, high = self._quantiles([(1 - level) / 2, (1 + level) / 2])
        return Interval(low, high, self.space)

    def cumulative_probability(self, y: Tensor) -> Tensor:
        """Each dimension's distribution function at its coordinate of y [N, D]: [N, D], from 0 to 1.

        Of targets that come from the density itself these are uniform (the probability integral transform), and
        |2 u - 1| <= level tells those that their central interval covers. Cut as in `quantile`; half of what sits
        at y itself counts.
        """
        columns = []
        for dim in range(self.space.dims):
            marginal = self.marginal(dim)
            origin = self._mean(dim)
            values = self._offsets(dim, marginal.values, origin)
            distance = self._offsets(dim, y[:, dim : dim + 1], origin) - values  # [N, M]
            below = (distance / marginal.width + 0.5).clamp(0, 1) if marginal.width else distance.sign() / 2 + 0.5
            columns.append((marginal.weights * below).sum(dim=1))
        return torch.stack(columns, dim=-1)

    def highest_density_rank(self, f_at_y: Tensor) -> Tensor:
        """Probability of the region whose density exceeds that of targets with energies `f_at_y` [N]: [N], from 0 to 1.

        The smallest region of probability `level` covers exactly the targets of rank <= level, and of targets that
        come from the density itself the ranks are uniform. Half of what is as dense counts.
        """
        level = f_at_y.unsqueeze(1)
        above = (self.f > level).to(self.weights) + (self.f == level).to(self.weights) / 2  # [N, M]
        return torch.where(f_at_y.isnan(), torch.nan, (self.weights * above).sum(dim=1))

    def _mean(self, dim: int) -> Tensor:
        """[N] in one dimension."""
        values, weights, _ = self.marginal(dim)
        period = self.space.periods[dim]
        if period is None:
            return (weights * values).sum(dim=1)
        angle = values * (2 * math.pi / period)
        mean = torch.atan2((weights * angle.sin()).sum(dim=1), (weights * angle.cos()).sum(dim=1))
        return wrap_period(mean * (period / (2 * math.pi)), period)

    def _offsets(self, dim: int, values: Tensor, origin: Tensor) -> Tensor:
        """Values [N or 1, M] of one dimension from `origin` [N], the shorter way around if it wraps: [N, M]."""
        period = self.space.periods[dim]
        offsets = values - origin.unsqueeze(1)
        if period is None:
            return offsets
        return wrap_period(offsets, period)

    def _quantiles(self, probabilities: Sequence[float]) -> list[Tensor]:
        """[N, D] for each probability."""
        columns: list[list[Tensor]] = [[] for _ in probabilities]
        for dim in range(self.space.dims):
            values, weights, width = self.marginal(dim)
            origin = self._mean(dim)
            values, order = self._offsets(dim, values, origin).sort(dim=1)
            weights = weights.gather(1, order).double()
            cumulative = weights.cumsum(dim=1)  # a long sum of small numbers
            for column, probability in zip(columns, probabilities, strict=True):
                target = probability * cumulative[:, -1:]  # [N, 1]
                index = torch.searchsorted(cumulative, target).clamp(max=values.shape[1] - 1)
                weight = weights.gather(1, index)
                share = (target - cumulative.gather(1, index) + weight) / weight  # 0 to 1, how far into the cell
                offset = values.gather(1, index)  # [N, 1]
                if width:
                    offset = offset + width * (share - 0.5).to(values)
                column.append(origin + offset.squeeze(1))
        return [torch.stack(column, dim=-1) for column in columns]


def checked_temperature(temperature: float) -> float:
    """The temperature itself.

    Raises:
        ValueError: it is not a positive number.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature: {temperature} is not a positive number")
    return temperature


def draw_indices(weights: Tensor, count: int, random: Random = None) -> Tensor:
    """`count` indices into each row of weights [N, M], with these probabilities: [N, count] int64."""
    cumulative = weights.double().cumsum(dim=1)
    place = uniform((len(weights), count), cumulative, random) * cumulative[:, -1:]
    # The first whose sum exceeds the place: one of weight zero is never it.
    return torch.searchsorted(cumulative, place, right=True).clamp(max=weights.shape[1] - 1)


def space_of(dims: int, space: TargetSpace | None) -> TargetSpace:
    """The space, or R^D for None.

    Raises:
        ValueError: the space has another number of dimensions.
    """
    if space is None:
        return TargetSpace.real(dims)
    if space.dims != dims:
        raise ValueError(f"a space of {space.dims} dimensions {space.names} for targets of {dims}")
    return space


def nan_without_density(y: Tensor, weights: Tensor) -> Tensor:
    """y [N, ...] drawn with weights [N, M], but NaN where these are: from no density comes no sample."""
    return torch.where(weights[:, 0].isnan().view(-1, *[1] * (y.ndim - 1)), torch.nan, y)
