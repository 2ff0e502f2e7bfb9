"""Random numbers: those of the generator that is given, and for rows in groups the same in every batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lidar_ebm.ebm.random_numbers import GroupedGenerator, Random, integers, normal, uniform

Draw = Callable[[tuple[int, ...], Tensor, Random], Tensor]
DRAWS: list[Draw] = [normal, uniform, lambda shape, like, random: integers(7, shape, like, random)]
LIKE = torch.zeros(0, dtype=torch.float64)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_are_those_that_torch_draws() -> None:
    shape = (5, 40, 2)
    assert torch.equal(normal(shape, LIKE, generator(1)), torch.randn(shape, dtype=LIKE.dtype, generator=generator(1)))
    assert torch.equal(uniform(shape, LIKE, generator(1)), torch.rand(shape, dtype=LIKE.dtype, generator=generator(1)))
    assert torch.equal(integers(7, shape, LIKE, generator(1)), torch.randint(7, shape, generator=generator(1)))
    torch.manual_seed(2)
    drawn = normal(shape, LIKE)
    torch.manual_seed(2)
    assert torch.equal(drawn, torch.randn(shape, dtype=LIKE.dtype))


@pytest.mark.parametrize("draw", DRAWS)
def test_a_rows_numbers_do_not_depend_on_the_batch(draw: Draw) -> None:
    """Groups of 3, 0, 17 and 5 rows: all together, interleaved, and each group alone."""
    sizes, seeds = [3, 0, 17, 5], [11, -4, 2**40 + 1, 0]
    alone = []
    for size, seed in zip(sizes, seeds, strict=True):
        random = GroupedGenerator([seed], torch.zeros(size, dtype=torch.int64))
        alone.append([draw((size, 4, 2), LIKE, random), draw((size, 3), LIKE, random)])
    groups = torch.arange(4).repeat_interleave(torch.tensor(sizes))
    for order in (torch.arange(25), torch.randperm(25, generator=generator(5))):
        random = GroupedGenerator(seeds, groups[order])
        for step, shape in enumerate([(25, 4, 2), (25, 3)]):
            drawn = draw(shape, LIKE, random)
            for group in range(4):
                assert torch.equal(drawn[groups[order] == group], alone[group][step])


def test_groups_differ_and_advance() -> None:
    random = GroupedGenerator([1, 2], torch.tensor([0, 1]))
    first, second = normal((2, 8), LIKE, random), normal((2, 8), LIKE, random)
    assert len(torch.cat([first, second]).flatten().unique()) == 32


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("shape", [(0, 4), (3, 0)])
def test_nothing_to_draw(draw: Draw, shape: tuple[int, int]) -> None:
    for random in (None, generator(0), GroupedGenerator([1, 2], torch.arange(shape[0]) % 2)):
        assert draw(shape, LIKE, random).shape == shape


def test_types_and_ranges() -> None:
    for random in (generator(0), GroupedGenerator([3], torch.zeros(100, dtype=torch.int64))):
        for dtype in (torch.float32, torch.float64):
            like = torch.zeros(0, dtype=dtype)
            share = uniform((100, 200), like, random)
            assert share.dtype == normal((100, 2), like, random).dtype == dtype
            assert 0 <= share.min() < 0.01
            assert 0.99 < share.max() < 1
        whole = integers(7, (100, 20), like, random)
        assert whole.dtype == torch.int64
        assert whole.unique().tolist() == list(range(7))


def test_refuses_rows_without_a_seed() -> None:
    for groups in ([0, 2], [-1, 0]):
        with pytest.raises(ValueError, match="2 seeds"):
            GroupedGenerator([1, 2], torch.tensor(groups))
    with pytest.raises(ValueError, match="int64"):
        GroupedGenerator([1], torch.zeros(3))
    with pytest.raises(ValueError, match="6 rows to draw numbers for, but 3"):
        normal((6, 2), LIKE, GroupedGenerator([1], torch.zeros(3, dtype=torch.int64)))
