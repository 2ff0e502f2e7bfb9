"""Rolling shutter in a room whose walls are known: where points lie follows from the time of each ray."""

from __future__ import annotations

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.geometry.poses import inverse_pose, move_points
from lidar_ebm.simulation.drive import turn_grid
from lidar_ebm.simulation.sensor import SURROUNDINGS, receive
from lidar_ebm.simulation.shutter import cast_turning, check_rolling_shutter, compensate
from lidar_ebm.simulation.solids import Solid, SolidBuilder, block
from lidar_ebm.simulation.street import Ground

PERIOD = 0.1
SPEED = 10.0
HALF = 12.0  # of the room, m
GRID = turn_grid(720, 0.3)


def _room() -> Solid:
    builder = SolidBuilder()
    for low, high in ((HALF, HALF + 1), (-HALF - 1, -HALF)):
        builder.add(block((low, high), (-HALF - 1, HALF + 1), (-2.0, 12.0)), 0.5)
        builder.add(block((-HALF - 1, HALF + 1), (low, high), (-2.0, 12.0)), 0.5)
    return builder.build()


def _pose(time: float) -> np.ndarray:
    """Ahead at SPEED, while it turns."""
    pose = np.eye(4)
    cos, sin = np.cos(0.5 * time), np.sin(0.5 * time)
    pose[:2, :2] = [[cos, -sin], [sin, cos]]
    pose[0, 3] = SPEED * time
    return pose


def _off_walls(points: np.ndarray) -> np.ndarray:
    wall = points[points[:, 2] > -1.0]
    return np.abs(np.abs(wall[:, :2]).max(axis=1) - HALF)


def test_compensated_points_lie_on_the_walls_and_raw_ones_where_the_ray_was() -> None:
    room = _room()
    owners = np.full(len(room.opacity), SURROUNDINGS)

    def see(time: float) -> tuple[Solid, np.ndarray, np.ndarray]:
        return room.moved(inverse_pose(_pose(time))), owners, _pose(time)

    echoes, times = cast_turning(see, Ground.level(), GRID, seed=1, period=PERIOD, actor_count=0)
    returns = receive(echoes, GRID, np.random.default_rng(0))
    assert np.abs(times).max() == pytest.approx(PERIOD / 2, rel=0.02)
    assert (np.diff(times) <= 0).all()  # clockwise
    ahead = np.abs(GRID.azimuths) < 0.02
    assert np.abs(times[ahead]).max() < 1e-3  # the sweep's time is that of looking ahead
    raw, made_up = _off_walls(returns.points), _off_walls(compensate(returns, times, _pose))
    assert np.quantile(made_up, 0.99) < 0.1  # the noise of ranges
    assert np.quantile(raw, 0.9) > 0.2
    # Each point by itself, moved by the pose of its own time.
    by_time = np.empty((len(returns.points), 3))
    for index, (point, time) in enumerate(zip(returns.points[:, :3], times[returns.column], strict=True)):
        by_time[index] = move_points(point[None], _pose(float(time)))[0]
    np.testing.assert_allclose(by_time, compensate(returns, times, _pose)[:, :3], atol=1e-3)


def test_a_moving_thing_is_seen_where_it_is_at_the_time_of_the_ray() -> None:
    thing = SolidBuilder().add(block((8.0, 9.0), (-3.0, 3.0), (-1.5, 1.0)), 0.5).build()

    def see(time: float) -> tuple[Solid, np.ndarray, np.ndarray]:
        return thing.placed((15.0 * time, 0.0, 0.0), 0.0), np.zeros(1, np.int64), np.eye(4)

    echoes, times = cast_turning(see, Ground.level(), GRID, seed=1, period=PERIOD, actor_count=1)
    returns = receive(echoes, GRID, np.random.default_rng(0))
    mine = (returns.actor == 0) & (np.abs(returns.points[:, 1]) < 2.9) & (returns.points[:, 2] < 0.9)
    expected = 8.0 + 15.0 * times[returns.column[mine]]
    assert mine.sum() > 100
    assert np.abs(returns.points[mine, 0] - expected).max() < 0.12
    assert expected.max() - expected.min() > 0.1


def test_standing_still_is_the_sweep_of_one_instant() -> None:
    from lidar_ebm.simulation.sensor import cast

    room = _room()
    owners = np.zeros(len(room.opacity), np.int64)
    echoes, _ = cast_turning(
        lambda time: (room, owners, np.eye(4)), Ground.level(), GRID, seed=1, period=PERIOD, actor_count=1
    )
    whole = cast(room, owners, Ground.level(), GRID, seed=1)
    np.testing.assert_array_equal(echoes.depth, whole.depth)
    np.testing.assert_array_equal(echoes.alone, whole.alone)
    np.testing.assert_array_equal(echoes.visible, whole.visible)


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(InputError, match="rolling_shutter 'global': choose one of none, raw, compensated"):
        check_rolling_shutter("global")
