"""The space that targets live in: which dimensions wrap around, which are bounded below, and what is near in each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class TargetSpace:
    """R^D with some dimensions wrapped (angles) and some bounded below (sizes).

    Attributes:
        names: one for each dimension, for tables and pictures.
        periods: of each dimension that wraps around, such as 2π; None for those of the real line. Wrapped values lie
            in [-period / 2, period / 2).
        lower: lower bound of each dimension, -inf for none; a wrapped dimension has none.
        scales: what counts as near in each dimension, in its unit: an error that matters. All positive.
    """

    names: tuple[str, ...]
    periods: tuple[float | None, ...]
    lower: tuple[float, ...]
    scales: tuple[float, ...]

    def __post_init__(self) -> None:
        dims = len(self.names)
        if dims == 0 or {len(self.periods), len(self.lower), len(self.scales)} != {dims}:
            raise ValueError(
                f"a target space of {dims} names has {len(self.periods)} periods, {len(self.lower)} lower bounds and "
                f"{len(self.scales)} scales; give one of each for every dimension"
            )
        for name, period, lower, scale in zip(self.names, self.periods, self.lower, self.scales, strict=True):
            if period is not None and not 0 < period < math.inf:
                raise ValueError(f"{name}: the period {period} is not a positive number")
            if period is not None and lower != -math.inf:
                raise ValueError(f"{name}: a wrapped dimension has no lower bound, this one has {lower}")
            if math.isnan(lower) or lower == math.inf:
                raise ValueError(f"{name}: {lower} is no lower bound; give a number, or -inf for none")
            if not 0 < scale < math.inf:
                raise ValueError(f"{name}: the scale {scale} is not a positive number")

    @classmethod
    def real(cls, dims: int, *, scales: float | Sequence[float] = 1.0) -> TargetSpace:
        """R^D, nothing wrapped and nothing bounded."""
        widths = (float(scales),) * dims if isinstance(scales, int | float) else tuple(scales)
        return cls(tuple(f"y{d + 1}" for d in range(dims)), (None,) * dims, (-math.inf,) * dims, widths)

    @classmethod
    def angles(cls, dims: int, *, period: float = 2 * math.pi, scales: float | Sequence[float] = 0.1) -> TargetSpace:
        """D angles, every one wrapped."""
        widths = (float(scales),) * dims if isinstance(scales, int | float) else tuple(scales)
        return cls(tuple(f"angle{d + 1}" for d in range(dims)), (period,) * dims, (-math.inf,) * dims, widths)

    @property
    def dims(self) -> int:
        """D."""
        return len(self.names)

    @cached_property
    def wrapped(self) -> tuple[int, ...]:
        """Indices of the dimensions that wrap around."""
        return tuple(d for d, period in enumerate(self.periods) if period is not None)

    @cached_property
    def bounded(self) -> tuple[int, ...]:
        """Indices of the dimensions with a lower bound."""
        return tuple(d for d, lower in enumerate(self.lower) if lower != -math.inf)

    @cached_property
    def wrapped_periods(self) -> tuple[tuple[int, float], ...]:
        """Index and period of each dimension that wraps around."""
        return tuple((d, period) for d, period in enumerate(self.periods) if period is not None)

    def wrap(self, y: Tensor) -> Tensor:
        """y [..., D] with its angles in [-period / 2, period / 2), nothing else changed. Differentiable."""
        if not self.wrapped:
            return y
        columns = list(y.unbind(-1))
        for d, period in self.wrapped_periods:
            columns[d] = wrap_period(columns[d], period)
        return torch.stack(columns, dim=-1)

    def constrain(self, y: Tensor) -> Tensor:
        """The point of the space nearest to y [..., D]: angles wrapped, sizes raised to their bounds."""
        if not self.wrapped and not self.bounded:
            return y
        columns = list(y.unbind(-1))
        for d, period in self.wrapped_periods:
            columns[d] = wrap_period(columns[d], period)
        for d in self.bounded:
            columns[d] = columns[d].clamp(min=self.lower[d])
        return torch.stack(columns, dim=-1)

    def contains(self, y: Tensor) -> Tensor:
        """Tell if y [..., D] obeys the bounds, [...] bool; any angle does, NaN does not."""
        inside = ~y.isnan().any(dim=-1)
        for d in self.bounded:
            inside = inside & (y[..., d] >= self.lower[d])
        return inside

    def difference(self, a: Tensor, b: Tensor) -> Tensor:
        """a - b [..., D], the shorter way around in wrapped dimensions."""
        return self.wrap(a - b)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Length of the difference [...] in units of the scales."""
        return (self.difference(a, b) / a.new_tensor(self.scales)).norm(dim=-1)


def wrap_period(values: Tensor, period: float) -> Tensor:
    """Values [...] brought into [-period / 2, period / 2) by whole periods. Differentiable.

    What is there already stays as it is, to the last digit: small differences of angles keep their accuracy.
    """
    half = period / 2
    moved = values - period * torch.floor((values + half) / period)
    # A period may be counted wrongly by one where the division rounds, right at the seam.
    moved = torch.where(moved < -half, moved + period, moved)
    moved = torch.where(moved >= half, moved - period, moved)
    return torch.where((values >= -half) & (values < half), values, moved)
