"""All the maxima of f that ascents from many starts find, not the highest one alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lidar_ebm.ebm.ascent import ascend
from lidar_ebm.ebm.chunks import CHUNK, spans
from lidar_ebm.ebm.energy import Energy
from lidar_ebm.ebm.step_rules import Halving, StepRule
from lidar_ebm.ebm.targets import TargetSpace
from lidar_ebm.ebm.uncertainty import space_of


@dataclass(frozen=True)
class Modes:
    """The K modes of all N inputs together: those of the first input first, the highest first within each."""

    y: Tensor  # [K, D]
    f: Tensor  # [K]
    row: Tensor  # [K] int64, the input that each belongs to
    share: Tensor  # [K] of the input's starts that ended there; they sum to 1 but for those that left the numbers
    rows: int  # N

    @property
    def counts(self) -> Tensor:
        """Modes of each input [N] int64."""
        return torch.bincount(self.row, minlength=self.rows)


def modes(
    energy: Energy,
    starts: Tensor,
    *,
    steps: int,
    step_length: float | Sequence[float] | Tensor,
    rule: StepRule = Halving(),  # noqa: B008 (frozen, without state)
    space: TargetSpace | None = None,
    distance: float = 1.0,
    chunk: int = CHUNK,
) -> Modes:
    """Ascend from P starts for each of N inputs, and merge those that end at the same place.

    The highest end is a mode, and all within `distance` of it belong to it; of the rest again the highest, and so on.
    Ascents that were cut short on a slope count as modes: give them steps enough. A mode's share of the starts tells
    how large its basin is, not how probable it is.

    Args:
        energy: f.
        starts: [N, P, D], spread over where modes may be: draws of a wide proposal, or a coarse grid.
        steps, step_length, rule: of the ascents.
        space: the targets' space: where ascents stay, and what is near. None for R^D with scales of 1.
        distance: ends this near are one mode; in the space's scales.
        chunk: maximum number of candidates, over all rows, that ascend at once.

    Raises:
        ValueError: there is no start, `distance` is negative, or `ascend`'s reasons.
    """
    if starts.ndim != 3 or starts.shape[1] == 0:
        raise ValueError(f"starts: {list(starts.shape)}; give [N, P, D] with one start or more for each of N inputs")
    if not distance >= 0:
        raise ValueError(f"distance: {distance}; give 0 or more")
    rows, count, dims = starts.shape
    space = space_of(dims, space)
    parts = [
        ascend(energy, starts[:, i:j], steps=steps, step_length=step_length, rule=rule, constrain=space.constrain)
        for i, j in spans(rows, count, chunk)
    ]
    y = torch.cat([part.y for part in parts], dim=1)
    f, order = torch.cat([part.f for part in parts], dim=1).sort(dim=1, descending=True, stable=True)
    y = y.gather(1, order.unsqueeze(-1).expand_as(y))
    return _merge(y, f, space, distance)


def _merge(y: Tensor, f: Tensor, space: TargetSpace, distance: float) -> Modes:
    """Ends y [N, P, D] with their f [N, P], highest first, as modes."""
    rows, count = f.shape
    free = f.isfinite() & y.isfinite().all(dim=-1)  # [N, P] not yet of a mode
    is_mode = torch.zeros_like(free)
    members = torch.zeros_like(f)
    for p in range(count):
        is_mode[:, p] = free[:, p]
        near = free & free[:, p : p + 1] & (space.distance(y, y[:, p : p + 1]) <= distance)
        members[:, p] = near.sum(dim=1)
        free = free & ~near
    row, place = is_mode.nonzero(as_tuple=True)
    return Modes(y[row, place], f[row, place], row, members[row, place] / count, rows)
