"""Target spaces: where angles and sizes end up, what is near, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from lidar_ebm.ebm.targets import TargetSpace, wrap_period

SPACE = TargetSpace(("x", "size", "angle"), (None, None, 2 * math.pi), (-math.inf, 0.7, -math.inf), (1.0, 0.5, 0.1))


def points(dtype: torch.dtype = torch.float64, scale: float = 20.0) -> torch.Tensor:
    return scale * torch.randn(500, 3, dtype=dtype, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("period", [2 * math.pi, 1.0, 0.3, 360.0])
def test_wraps_by_whole_periods_into_the_half_open_range(dtype: torch.dtype, period: float) -> None:
    half = torch.tensor(period / 2, dtype=dtype)
    digit = torch.finfo(dtype).eps
    edges = torch.stack([half, -half, half * (1 - digit), -half * (1 + digit), 3 * half, -3 * half, 5 * half])
    values = torch.cat([edges, torch.linspace(-7.3, 7.3, 999, dtype=dtype) * period])
    wrapped = wrap_period(values, period)
    assert (wrapped >= -half).all()
    assert (wrapped < half).all()
    turns = (values.double() - wrapped.double()) / period
    torch.testing.assert_close(turns, turns.round(), rtol=0, atol=50 * digit)
    assert torch.equal(wrap_period(wrapped, period), wrapped)


def test_leaves_what_is_in_range_to_the_last_digit() -> None:
    values = torch.tensor([1e-9, -3e-7, 0.0, 3.0, -math.pi])
    assert torch.equal(wrap_period(values, 2 * math.pi), values)
    y = torch.tensor([[4.0, 0.9, 1e-9]])
    assert torch.equal(SPACE.constrain(y), y)
    assert torch.equal(SPACE.wrap(y), y)


def test_nothing_becomes_a_number_that_was_none() -> None:
    assert wrap_period(torch.tensor([math.nan, math.inf, -math.inf]), 1.0).isnan().all()
    assert not SPACE.contains(torch.full((3,), math.nan))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_constrained_are_in_the_space(dtype: torch.dtype) -> None:
    y = points(dtype)
    inside = SPACE.constrain(y)
    assert SPACE.contains(inside).all()
    assert torch.equal(SPACE.constrain(inside), inside)
    assert torch.equal(SPACE.contains(y), y[:, 1] >= 0.7)
    assert torch.equal(inside[:, 0], y[:, 0])
    assert torch.equal(SPACE.wrap(y)[:, :2], y[:, :2])
    assert torch.equal(SPACE.wrap(y)[:, 2], inside[:, 2])


def test_differences_go_the_shorter_way_around() -> None:
    a, b = torch.tensor([3.0, 2.0, 3.1]), torch.tensor([1.0, 5.0, -3.1])
    difference = SPACE.difference(a, b)
    torch.testing.assert_close(difference, torch.tensor([2.0, -3.0, 6.2 - 2 * math.pi]))
    torch.testing.assert_close(SPACE.distance(a, b), torch.tensor([2.0, 6.0, 62 - 20 * math.pi]).norm())
    y, z = points(), points(scale=3.0)
    torch.testing.assert_close(SPACE.distance(y, z), SPACE.distance(z, y))
    torch.testing.assert_close(SPACE.wrap(z + SPACE.difference(y, z)), SPACE.wrap(y))


def test_gradients_pass() -> None:
    y = points().requires_grad_()
    assert (torch.autograd.grad(SPACE.wrap(y).sum(), y)[0] == 1).all()
    free = torch.ones(500, 3, dtype=torch.float64)
    free[y[:, 1] < 0.7, 1] = 0
    assert torch.equal(torch.autograd.grad(SPACE.constrain(y).sum(), y)[0], free)


def test_ready_made_spaces() -> None:
    y = points()
    real, angles = TargetSpace.real(3), TargetSpace.angles(3, period=1.0, scales=[0.1, 0.2, 0.3])
    assert real.constrain(y) is y
    assert real.wrap(y) is y
    assert real.contains(y).all()
    assert (real.dims, real.wrapped, real.bounded, real.scales) == (3, (), (), (1.0, 1.0, 1.0))
    assert (angles.wrapped, angles.bounded, angles.scales) == ((0, 1, 2), (), (0.1, 0.2, 0.3))
    assert angles.constrain(y).abs().max() <= 0.5
    assert (SPACE.wrapped, SPACE.bounded) == ((2,), (1,))
    assert SPACE.wrapped_periods == ((2, 2 * math.pi),)
    assert TargetSpace.real(3) == real
    assert SPACE.constrain(torch.zeros(0, 3)).shape == (0, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ()}, "of 0 names"),
        ({"scales": (1.0,)}, "1 scales"),
        ({"periods": (None, None, 0.0)}, "angle: the period 0.0"),
        ({"periods": (None, None, math.nan)}, "angle: the period nan"),
        ({"periods": (None, 1.0, 1.0)}, "size: a wrapped dimension has no lower bound"),
        ({"lower": (math.nan, 0.7, -math.inf)}, "x: nan"),
        ({"lower": (math.inf, 0.7, -math.inf)}, "x: inf"),
        ({"scales": (1.0, -1.0, 1.0)}, "size: the scale -1.0"),
    ],
)
def test_refuses_what_is_no_space(change: dict[str, Any], message: str) -> None:
    fields: dict[str, Any] = {name: getattr(SPACE, name) for name in ("names", "periods", "lower", "scales")} | change
    with pytest.raises(ValueError, match=message):
        TargetSpace(**fields)
