"""Random numbers for the rows of a batch, so that what is drawn for a row need not depend on the other rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class GroupedGenerator:
    """Rows in groups, each group with a seed of its own, whatever else is in the batch.

    For a batch of frames: the rows are the labels, the groups the frames. However the frames are dealt to batches and
    processes, each draws the same numbers.
    """

    def __init__(self, seeds: Sequence[int], groups: Tensor) -> None:
        """Rows that share a group share its seed.

        Args:
            seeds: one for each group, different in their lowest 32 bits (a CPU generator knows no others).
            groups: [N] int64, the group of each row; the numbers are drawn on its device.

        Raises:
            ValueError: a row is of a group that has no seed.
        """
        if groups.ndim != 1 or groups.dtype != torch.int64:
            raise ValueError(f"groups must be int64 of shape [N], got {groups.dtype} of shape {list(groups.shape)}")
        if len(groups) and not 0 <= int(groups.min()) <= int(groups.max()) < len(seeds):
            raise ValueError(f"rows of the groups {groups.unique().tolist()}, but {len(seeds)} seeds")
        self._count = len(groups)
        device = groups.device
        self._parts = [
            (torch.nonzero(groups == index)[:, 0], torch.Generator(device).manual_seed(seed))
            for index, seed in enumerate(seeds)
        ]

    def fill(self, out: Tensor, draw: Callable[[int, torch.Generator], Tensor]) -> Tensor:
        """`out` [N, ...] with each group's rows replaced by draw(number of rows, the group's generator).

        Raises:
            ValueError: `out` has another number of rows than there are groups to them.
        """
        if len(out) != self._count:
            raise ValueError(f"{len(out)} rows to draw numbers for, but {self._count} rows have a group")
        for rows, generator in self._parts:
            out[rows.to(out.device)] = draw(len(rows), generator).to(out)
        return out


Random = torch.Generator | GroupedGenerator | None  # None for torch's own generator


def normal(shape: Sequence[int], like: Tensor, random: Random = None) -> Tensor:
    """Standard normal numbers of this shape (rows first), of the type and on the device of `like`."""
    return _draw(shape, like, random, torch.randn)


def uniform(shape: Sequence[int], like: Tensor, random: Random = None) -> Tensor:
    """Numbers from [0, 1) of this shape (rows first), of the type and on the device of `like`."""
    return _draw(shape, like, random, torch.rand)


def integers(high: int, shape: Sequence[int], like: Tensor, random: Random = None) -> Tensor:
    """int64 numbers from 0 to `high` - 1 of this shape (rows first), on the device of `like`."""

    def draw(
        size: tuple[int, ...], *, generator: torch.Generator | None, device: torch.device, dtype: torch.dtype
    ) -> Tensor:
        return torch.randint(high, size, generator=generator, device=device, dtype=dtype)

    return _draw(shape, torch.empty(0, dtype=torch.int64, device=like.device), random, draw)


def _draw(shape: Sequence[int], like: Tensor, random: Random, draw: Callable[..., Tensor]) -> Tensor:
    """Drawn where the generator lives: a CPU generator gives the same numbers on every device."""
    size = tuple(shape)
    if isinstance(random, GroupedGenerator):
        return random.fill(
            like.new_empty(size),
            lambda rows, generator: draw(
                (rows, *size[1:]), generator=generator, device=generator.device, dtype=like.dtype
            ),
        )
    device = like.device if random is None else random.device
    return draw(size, generator=random, device=device, dtype=like.dtype).to(like.device)
