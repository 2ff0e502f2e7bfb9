"""Boxes as points of a target space."""

from __future__ import annotations

import math

import pytest
import torch

from lidar_ebm.energy.box_space import BOX_NAMES, box_space

CAR = torch.tensor([12.0, 2.0, -1.0, 4.0, 1.7, 1.5, 0.4], dtype=torch.float64)


def test_sizes_are_bounded_and_yaw_wraps() -> None:
    space = box_space(0.05)
    assert space.names == BOX_NAMES[:7]
    assert [BOX_NAMES[d] for d in space.bounded] == ["l", "w", "h"]
    assert [BOX_NAMES[d] for d in space.wrapped] == ["yaw"]
    wild = torch.tensor([[1.0, 2.0, 3.0, -1.0, 0.0, 0.06, 4.0], [0.0, 0.0, 0.0, 5.0, 2.0, 1.0, -3.5]])
    expected = torch.tensor(
        [[1.0, 2.0, 3.0, 0.05, 0.05, 0.06, 4.0 - 2 * math.pi], [0.0, 0.0, 0.0, 5.0, 2.0, 1.0, 2 * math.pi - 3.5]]
    )
    torch.testing.assert_close(space.constrain(wild), expected)
    assert space.contains(wild).tolist() == [False, True]


@pytest.mark.parametrize("name", BOX_NAMES)
def test_an_error_that_matters_is_one_scale(name: str) -> None:
    car = torch.cat([CAR, torch.tensor([8.0, -3.0], dtype=torch.float64)])
    moved = car.clone()
    moved[BOX_NAMES.index(name)] += {"yaw": 0.05, "vx": 0.2, "vy": 0.2}.get(name, 0.1)
    assert float(box_space(0.05, 9).distance(moved, car)) == pytest.approx(1)
    if BOX_NAMES.index(name) < 7:
        assert float(box_space(0.05).distance(moved[:7], CAR)) == pytest.approx(1)


def test_nothing_of_a_velocity_is_bounded_or_wrapped() -> None:
    space, wild = box_space(0.05, 9), torch.tensor([1.0, 2.0, 3.0, 4.0, 2.0, 1.0, 0.5, -40.0, 7.0])
    assert space.names == BOX_NAMES
    assert torch.equal(space.constrain(wild), wild)


def test_the_shorter_way_around() -> None:
    a, b = CAR.clone(), CAR.clone()
    a[6], b[6] = 3.1, -3.1
    assert float(box_space(0.05).difference(a, b)[6]) == pytest.approx(6.2 - 2 * math.pi)
