"""Single frames with a rolling shutter: the street is that of the frame without one."""

from __future__ import annotations

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.simulation.motion import draw_motion
from lidar_ebm.simulation.scene import make_scene
from lidar_ebm.simulation.simulator import SimulatedFrame, SimulationSettings, simulate_frame


def _frame(kind: str, index: int) -> SimulatedFrame:
    return simulate_frame(SimulationSettings(3, rolling_shutter=kind), index)  # type: ignore[arg-type]


def test_the_street_and_its_boxes_do_not_hang_on_the_shutter() -> None:
    none, raw = _frame("none", 1), _frame("raw", 1)
    assert none.motion is None and raw.motion is not None
    for one, other in zip(none.scene.actors, raw.scene.actors, strict=True):
        np.testing.assert_array_equal(one.box, other.box)
    assert not np.array_equal(none.points[:100], raw.points[:100])


def test_compensated_walls_are_nearer_to_those_of_an_instant_than_raw_ones() -> None:
    from scipy.spatial import cKDTree

    index = next(k for k in range(20) if (motion := _frame("raw", k).motion) is not None and motion.speed > 8)
    none, raw, compensated = (_frame(kind, index).points for kind in ("none", "raw", "compensated"))

    def gap(points: np.ndarray) -> float:
        sides = points[(np.abs(points[:, 1]) > 4) & (points[:, 2] > -1.0)]  # a quarter turn from straight ahead
        return float(np.quantile(cKDTree(none[:, :3]).query(sides[:, :3])[0], 0.9))

    assert gap(compensated) < gap(raw)


def test_things_on_their_way_move_along_their_heading_and_parked_ones_stay() -> None:
    moving = standing = 0
    for index in range(20):
        scene = make_scene(np.random.default_rng([3, index]))
        motion = draw_motion(scene, np.random.default_rng(index))
        for actor, velocity in zip(scene.actors, motion.velocities, strict=True):
            speed = float(np.hypot(*velocity))
            if actor.on_its_way:
                heading = np.array([np.cos(actor.box[6]), np.sin(actor.box[6])])
                np.testing.assert_allclose(velocity, speed * heading)
                assert 0.5 < speed < 15.0
                moving += 1
            else:
                assert speed == 0.0
                standing += 1
        shifted = scene.moved(motion.velocities * 0.5)
        for one, other, velocity in zip(scene.actors, shifted.actors, motion.velocities, strict=True):
            np.testing.assert_allclose(other.box[:2] - one.box[:2], 0.5 * velocity)
            np.testing.assert_allclose(other.solid.extent[0][:2] - one.solid.extent[0][:2], 0.5 * velocity)
    assert moving > 20 and standing > 20


def test_the_way_of_the_sensor_is_an_arc_of_its_speed() -> None:
    scene = make_scene(np.random.default_rng(1))
    motion = draw_motion(scene, np.random.default_rng(2))
    times = np.linspace(-0.05, 0.05, 101)
    places = np.array([motion.pose(float(time))[:2, 3] for time in times])
    length = np.hypot(*np.diff(places, axis=0).T).sum()
    assert length == pytest.approx(0.1 * motion.speed, rel=1e-4)
    np.testing.assert_array_equal(motion.pose(0.0), np.eye(4))


def test_an_unknown_shutter_is_named() -> None:
    with pytest.raises(InputError, match="rolling_shutter 'global'"):
        SimulationSettings(0, rolling_shutter="global")  # type: ignore[arg-type]
