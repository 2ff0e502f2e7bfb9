"""Targets of few dimensions on a grid: the best cell, and the whole density p(y | x) tabulated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from lidar_ebm.ebm.chunks import CHUNK, spans
from lidar_ebm.ebm.energy import Energy, promote_to_float32, value
from lidar_ebm.ebm.random_numbers import Random, uniform
from lidar_ebm.ebm.targets import TargetSpace
from lidar_ebm.ebm.uncertainty import (
    Marginal,
    WeightedPoints,
    checked_temperature,
    draw_indices,
    nan_without_density,
    space_of,
)


class Grid:
    """The box [low, high] cut into equal cells; f is evaluated at their centres (the midpoint rule).

    Attributes:
        low, high: ends of the box in each dimension (tuples of D).
        counts: cells in each dimension (tuple of D); the last dimension runs fastest.
        space: of the targets.
        device, dtype: of the points.
    """

    def __init__(
        self,
        low: float | Sequence[float],
        high: float | Sequence[float],
        counts: int | Sequence[int],
        space: TargetSpace | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Numbers in place of sequences make a grid of one dimension.

        Raises:
            ValueError: the box or a dimension's count is empty, it lies below the space's bounds or exceeds a period,
                or the numbers of dimensions differ.
        """
        self.low = (float(low),) if isinstance(low, int | float) else tuple(float(value) for value in low)
        self.high = (float(high),) if isinstance(high, int | float) else tuple(float(value) for value in high)
        self.counts = (int(counts),) if isinstance(counts, int) else tuple(int(count) for count in counts)
        self.device = torch.device("cpu" if device is None else device)
        self.dtype = dtype
        if not len(self.low) == len(self.high) == len(self.counts) > 0:
            raise ValueError(f"a grid of {len(self.low)} lows, {len(self.high)} highs and {len(self.counts)} counts")
        self.space = space_of(len(self.low), space)
        for d, name in enumerate(self.space.names):
            low_end, high_end, period = self.low[d], self.high[d], self.space.periods[d]
            if not -math.inf < low_end < high_end < math.inf or self.counts[d] < 1:
                raise ValueError(f"{name}: {self.counts[d]} cells from {low_end} to {high_end} are no range")
            if low_end < self.space.lower[d]:
                raise ValueError(f"{name}: the grid begins at {low_end}, below the space's bound {self.space.lower[d]}")
            if period is not None and high_end - low_end > period * (1 + 1e-9):
                raise ValueError(f"{name}: from {low_end} to {high_end} is more than the period {period}")

    @property
    def dims(self) -> int:
        """D."""
        return len(self.counts)

    @property
    def size(self) -> int:
        """G, the number of cells."""
        return math.prod(self.counts)

    @property
    def cell(self) -> tuple[float, ...]:
        """Width of a cell in each dimension."""
        return tuple((high - low) / n for low, high, n in zip(self.low, self.high, self.counts, strict=True))

    @property
    def cell_volume(self) -> float:
        """Product of the widths."""
        return math.prod(self.cell)

    @cached_property
    def axes(self) -> tuple[Tensor, ...]:
        """Coordinates of the cells' centres, [counts[d]] for each dimension d."""
        return tuple(
            (low + width * (torch.arange(count, dtype=torch.float64) + 0.5)).to(self.device, self.dtype)
            for low, width, count in zip(self.low, self.cell, self.counts, strict=True)
        )

    @property
    def points(self) -> Tensor:
        """Centres of all cells [G, D]."""
        return self.points_between(0, self.size)

    def points_between(self, start: int, stop: int) -> Tensor:
        """Centres of the cells from `start` to `stop` - 1 in the grid's order: [stop - start, D]."""
        return self.points_at(torch.arange(start, stop, device=self.device))

    def points_at(self, index: Tensor) -> Tensor:
        """Centres [..., D] of the cells of these numbers [...]."""
        columns = []
        for axis in reversed(self.axes):
            columns.append(axis[index % len(axis)])
            index = index.div(len(axis), rounding_mode="floor")
        return torch.stack(columns[::-1], dim=-1)


@dataclass(frozen=True)
class GridBest:
    """The best cell for each input."""

    y: Tensor  # [N, D] its centre
    f: Tensor  # [N]


@dataclass(frozen=True, eq=False)
class GridDensity(WeightedPoints):
    """p(y | x) = exp(f / temperature) / Z on a grid, taken to be zero outside it."""

    grid: Grid
    f: Tensor  # [N, G]
    temperature: float = 1.0

    @property
    def space(self) -> TargetSpace:  # type: ignore[override]
        """Of the targets."""
        return self.grid.space

    @cached_property
    def log_z(self) -> Tensor:
        """Log of the integral of exp(f / temperature) over the grid [N]."""
        exponent = promote_to_float32(self.f) / self.temperature
        return exponent.logsumexp(dim=1) + math.log(self.grid.cell_volume)

    @property
    def log_density(self) -> Tensor:
        """Normalised log-density at the cells' centres [N, G]."""
        return self.log_prob(self.f)

    @cached_property
    def weights(self) -> Tensor:
        """Probability of each cell [N, G]; each row's sum is 1."""
        return (promote_to_float32(self.f) / self.temperature).softmax(dim=1)

    def points(self) -> Tensor:
        """[1, G, D]."""
        return self.grid.points.unsqueeze(0)

    def marginal(self, dim: int) -> Marginal:
        """The probabilities [N, counts[dim]] of the slices of cells along this dimension."""
        return Marginal(self.grid.axes[dim].unsqueeze(0), self._sums(dim), self.grid.cell[dim])

    def covariance(self) -> Tensor:
        """Of the differences from the mean, the shorter way around in wrapped dimensions: [N, D, D]."""
        mean = self.mean()
        offsets = [self._offsets(d, axis.unsqueeze(0), mean[:, d]) for d, axis in enumerate(self.grid.axes)]
        covariance = mean.new_zeros(*mean.shape, self.grid.dims)
        for i in range(self.grid.dims):
            covariance[:, i, i] = (self._sums(i) * offsets[i].square()).sum(dim=1)
            for j in range(i):  # from tables of two dimensions: all points of all rows at once would not fit
                both = torch.einsum("nji,nj,ni->n", self._sums(j, i), offsets[j], offsets[i])
                covariance[:, i, j] = covariance[:, j, i] = both
        return covariance

    def at_temperature(self, temperature: float) -> GridDensity:
        """The density proportional to exp(f / temperature) on the same grid."""
        return replace(self, temperature=checked_temperature(temperature))

    def sample(self, count: int, random: Random = None) -> Tensor:
        """`count` samples of p(y | x) [N, count, D], evenly spread within their cells."""
        cells = self.grid.points_at(draw_indices(self.weights, count, random))  # [N, count, D]
        within = uniform(cells.shape, cells, random) - 0.5
        return nan_without_density(self.space.wrap(cells + within * cells.new_tensor(self.grid.cell)), self.weights)

    def _sums(self, *dims: int) -> Tensor:
        """Probabilities summed over all dimensions but these (ascending): [N, counts[dims[0]], ...]."""
        table = self.weights.view(len(self.f), *self.grid.counts)
        others = [1 + d for d in range(self.grid.dims) if d not in dims]
        return table.sum(dim=others) if others else table


def grid_search(energy: Energy, grid: Grid, rows: int, *, chunk: int = CHUNK) -> GridBest:
    """The cell in which f is highest for each of `rows` inputs; the first of equals.

    Args:
        energy: f, called without gradients with candidates [rows, S, D], S as `chunk` allows.
        grid: the candidates. Nothing of its size is kept.
        rows: N.
        chunk: maximum number of candidates, over all rows, that are given to `energy` at once.
    """
    best: Tensor | None = None  # [N]
    cell = torch.zeros(rows, dtype=torch.int64, device=grid.device)
    for start, stop in spans(rows, grid.size, chunk):
        f, index = _values(energy, grid, rows, start, stop).max(dim=1)
        if best is None:
            best, cell = f, index
        else:
            cell = torch.where(f > best, index + start, cell)
            best = torch.maximum(best, f)
    assert best is not None  # a grid has a cell
    return GridBest(grid.points_at(cell), best)


def tabulate(energy: Energy, grid: Grid, rows: int, *, chunk: int = CHUNK) -> GridDensity:
    """f at every cell for each of `rows` inputs: [rows, G] numbers are kept.

    Args:
        energy: f, called without gradients with candidates [rows, S, D], S as `chunk` allows.
        grid: large enough to hold the density's mass, with cells narrower than its features.
        rows: N.
        chunk: maximum number of candidates, over all rows, that are given to `energy` at once.
    """
    parts = [_values(energy, grid, rows, start, stop) for start, stop in spans(rows, grid.size, chunk)]
    return GridDensity(grid, torch.cat(parts, dim=1))


def _values(energy: Energy, grid: Grid, rows: int, start: int, stop: int) -> Tensor:
    """f [rows, stop - start] at a part of the grid."""
    points = grid.points_between(start, stop)
    return value(energy, points.expand(rows, *points.shape))
