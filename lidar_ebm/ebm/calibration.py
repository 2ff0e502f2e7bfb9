"""Calibration of densities: coverage and likelihood of held-out targets, and one temperature.

A density is calibrated where its regions of probability 90 % hold the truth 90 times out of 100, for every percentage.
A density that says little can be calibrated too; the negative log-likelihood, which is lowest for the true density,
tells those apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lidar_ebm.ebm.sampling import WeightedSamples
from lidar_ebm.ebm.uncertainty import WeightedPoints

LEVELS = (0.5, 0.9, 0.95)  # of tables
CURVE = tuple(percent / 100 for percent in range(5, 100, 5))  # of pictures and of the calibration error
TEMPERATURES = (0.01, 100.0)  # that are searched
PRECISION = 1e-4  # of the temperature, relative


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Answers of the densities of N inputs to the targets that came."""

    cumulative_probability: Tensor  # [N, D] each dimension's distribution function at the target, 0 to 1
    rank: Tensor  # [N] probability of the region denser than the target, 0 to 1
    log_prob: Tensor  # [N] normalised log-density of the target
    effective_sample_size: Tensor  # [N] of the samples; infinite on a grid

    @classmethod
    def of(cls, density: WeightedPoints, y: Tensor, f_at_y: Tensor) -> HeldOut:
        """Of targets y [N, D], whose energies are f_at_y [N]. Parts of a data set are joined by `join`."""
        size = density.effective_sample_size if isinstance(density, WeightedSamples) else None
        return cls(
            density.cumulative_probability(y).cpu(),
            density.highest_density_rank(f_at_y).cpu(),
            density.log_prob(f_at_y).cpu(),
            torch.full((len(y),), torch.inf) if size is None else size.cpu(),
        )

    @classmethod
    def join(cls, parts: Sequence[HeldOut]) -> HeldOut:
        """Several parts of a data set as one."""
        return cls(
            torch.cat([part.cumulative_probability for part in parts]),
            torch.cat([part.rank for part in parts]),
            torch.cat([part.log_prob for part in parts]),
            torch.cat([part.effective_sample_size for part in parts]),
        )


@dataclass(frozen=True)
class Reliability:
    """Share of truths that regions of each probability held, and how likely the truth was.

    Regions are central intervals of each dimension on its own, and the smallest region of all dimensions together.
    """

    names: tuple[str, ...]  # of the D dimensions
    count: int  # targets
    levels: tuple[float, ...]  # probabilities that the regions claim, rising
    coverage: tuple[tuple[float, ...], ...]  # for each level that of the D dimensions, 0 to 1
    joint_coverage: tuple[float, ...]  # for each level, 0 to 1
    nll: float  # mean negative log-density, nats; NaN where no normaliser is known
    nll_error: float  # its standard error over the targets
    effective_sample_size: float  # median over the targets; infinite on a grid
    temperature: float = 1.0

    @classmethod
    def of(
        cls,
        held_out: HeldOut,
        names: Sequence[str],
        *,
        temperature: float = 1.0,
        levels: Sequence[float] = CURVE,
    ) -> Reliability:
        """The reliability that held-out targets show.

        Args:
            held_out: the targets.
            names: of the dimensions.
            temperature: that the densities had, for the record.
            levels: between 0 and 1; the table's are added.

        Raises:
            ValueError: there is no target, one has no ranks (NaN), or the dimensions have other names.
        """
        probabilities, rank = held_out.cumulative_probability.double(), held_out.rank.double()
        count, dims = probabilities.shape
        if count == 0 or dims != len(names):
            raise ValueError(f"{count} targets of {dims} dimensions, {len(names)} of them named; nothing to calibrate")
        lost = int((probabilities.isnan().any(dim=1) | rank.isnan()).sum())
        if lost:
            raise ValueError(f"{lost} of {count} targets have a density that is no number; look at f there")
        all_levels = tuple(sorted({*levels, *LEVELS}))
        central = (2 * probabilities - 1).abs()  # level of the interval that just reaches the target
        log_prob = held_out.log_prob.double()
        return cls(
            tuple(names),
            count,
            all_levels,
            tuple(tuple((central <= level).double().mean(dim=0).tolist()) for level in all_levels),
            tuple((rank <= level).double().mean().item() for level in all_levels),
            -log_prob.mean().item(),
            (log_prob.std() / math.sqrt(count)).item() if count > 1 else math.nan,
            held_out.effective_sample_size.median().item(),
            temperature,
        )

    def standard_error(self, level: float) -> float:
        """Of the coverage at a level, were the densities right and the targets independent."""
        return math.sqrt(level * (1 - level) / self.count)

    def error(self) -> tuple[float, tuple[float, ...]]:
        """Mean distance of coverage from level over the levels: of the joint regions, and of each dimension."""
        joint = sum(abs(c - level) for c, level in zip(self.joint_coverage, self.levels, strict=True))
        each = [
            sum(abs(row[d] - level) for row, level in zip(self.coverage, self.levels, strict=True))
            for d in range(len(self.names))
        ]
        return joint / len(self.levels), tuple(value / len(self.levels) for value in each)

    def table(self, levels: Sequence[float] = LEVELS) -> str:
        """Markdown: a row for each dimension and one for all together, coverage in per cent at these levels.

        Raises:
            ValueError: a level is none of this calibration's.
        """
        unknown = [level for level in levels if level not in self.levels]
        if unknown:
            raise ValueError(f"levels {unknown}: coverage is known at {list(self.levels)}")
        places = [self.levels.index(level) for level in levels]
        joint_error, errors = self.error()
        lines = [
            "| coverage, % | " + " | ".join(f"of {100 * level:g} %" for level in levels) + " | mean error |",
            "| --- |" + " ---: |" * (len(levels) + 1),
        ]
        for d, name in enumerate(self.names):
            cells = [f"{100 * self.coverage[i][d]:.1f}" for i in places]
            lines.append(f"| {name} | {' | '.join(cells)} | {100 * errors[d]:.1f} |")
        cells = [f"{100 * self.joint_coverage[i]:.1f}" for i in places]
        lines.append(f"| all together | {' | '.join(cells)} | {100 * joint_error:.1f} |")
        cells = [f"± {100 * self.standard_error(level):.1f}" for level in levels]
        lines.append(f"| (by chance) | {' | '.join(cells)} | |")
        return "\n".join(lines) + "\n"

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON: numbers that are none (or infinite) become None."""

        def number(value: float) -> float | None:
            return value if math.isfinite(value) else None

        joint_error, errors = self.error()
        return {
            "count": self.count,
            "temperature": self.temperature,
            "nll": number(self.nll),
            "nll_error": number(self.nll_error),
            "effective_sample_size": number(self.effective_sample_size),
            "levels": list(self.levels),
            "joint": {"coverage": list(self.joint_coverage), "error": joint_error},
            "dimensions": {
                name: {"coverage": [row[d] for row in self.coverage], "error": errors[d]}
                for d, name in enumerate(self.names)
            },
        }


def fit_temperature(
    densities: WeightedPoints | Sequence[WeightedPoints],
    f_at_y: Tensor | Sequence[Tensor],
    *,
    bounds: tuple[float, float] = TEMPERATURES,
) -> float:
    """The T for which exp(f / T) / Z(T) makes the targets most likely: 2 if f is twice too steep.

    The negative log-likelihood is convex in 1 / T, so the one place at which its slope is zero is found by bisection;
    f is not evaluated again. The targets may be f's own training targets, unless f has learnt them by heart, but never
    those that the calibration is then reported on.

    Args:
        densities: of the inputs, all at once or in parts. Samples must cover the density at the T that is found:
            look at their effective sample size there.
        f_at_y: energies of the targets [N], or one for each part.
        bounds: that T lies between; it is one of them where the slope has no zero in between (f says nothing, or
            every target is where f is highest).

    Raises:
        ValueError: there is no target, one's energy is not finite, parts and energies differ in number, or the bounds
            are none.
    """
    parts = [densities] if isinstance(densities, WeightedPoints) else list(densities)
    energies = [f_at_y] if isinstance(f_at_y, Tensor) else list(f_at_y)
    if [len(part.f) for part in parts] != [len(values) for values in energies] or sum(map(len, energies)) == 0:
        raise ValueError(f"{[len(part.f) for part in parts]} densities for {[len(v) for v in energies]} targets")
    lost = sum(int((~values.isfinite()).sum()) for values in energies)
    if lost:
        raise ValueError(f"{lost} targets have an energy that is not finite; no temperature makes them likely")
    low, high = bounds
    if not 0 < low < high < math.inf:
        raise ValueError(f"bounds: {bounds}; give two positive numbers, the lower one first")
    target_sum = sum(values.double().sum().item() for values in energies)

    def too_sharp(temperature: float) -> bool:
        """Tell if the targets lie lower than the density at this temperature expects: it should be warmer."""
        expected = 0.0
        for part in parts:
            weights = part.at_temperature(temperature).weights
            terms = torch.where(weights > 0, weights * part.f, 0.0)  # f may be -inf where nothing weighs
            expected += terms.double().sum().item()
        return expected > target_sum

    if not too_sharp(low):
        return low
    if too_sharp(high):
        return high
    while high / low > 1 + PRECISION:
        middle = math.sqrt(low * high)
        if too_sharp(middle):
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)
