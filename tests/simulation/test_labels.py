from __future__ import annotations

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.formats.kitti.calibration import SIMULATED_CAMERA
from lidar_ebm.geometry.projection import project_to_image
from lidar_ebm.simulation.cars import car_body
from lidar_ebm.simulation.labels import label_view, occlusion_level
from lidar_ebm.simulation.scene import Actor, Scene
from lidar_ebm.simulation.sensor import camera_grid, cast, receive
from lidar_ebm.simulation.solids import Solid, SolidBuilder, block
from lidar_ebm.simulation.street import SENSOR_HEIGHT, Ground

SIZE = (4.0, 1.7, 1.5)
CAMERA = SIMULATED_CAMERA


def _car(x: float, y: float, yaw: float = 0.0) -> Actor:
    center = (x, y, -SENSOR_HEIGHT + SIZE[2] / 2)
    solid = car_body("saloon", SIZE, np.random.default_rng(0)).placed(center, yaw)
    return Actor("Car", np.array([*center, *SIZE, yaw]), solid)


def _label(actors: list[Actor], surroundings: Solid | None = None) -> Boxes:
    scene = Scene(tuple(actors), surroundings or SolidBuilder().build(), Ground.level())
    solid, owners = scene.solid()
    grid = camera_grid(CAMERA)
    echoes = cast(solid, owners, scene.ground, grid, seed=0)
    returns = receive(echoes, grid, np.random.default_rng(0))
    counts = np.bincount(returns.actor[returns.actor >= 0], minlength=len(actors))
    return label_view(scene, echoes, counts, CAMERA)


def _column(actors: list[Actor], name: str, surroundings: Solid | None = None) -> list[float]:
    return _label(actors, surroundings).columns()[name].tolist()


def _wall(low_y: float, high_y: float) -> Solid:
    return SolidBuilder().add(block((8.0, 8.2), (low_y, high_y), (-3.0, 3.0)), 0.5).build()


def test_a_car_alone_is_labelled_with_its_box_and_not_occluded() -> None:
    actor = _car(15.0, 2.0, 0.4)
    (label,) = _label([actor]).rows()
    assert (label["name"], label["occluded"], label["truncated"]) == ("Car", 0, pytest.approx(0.0, abs=1e-9))
    np.testing.assert_array_equal(_label([actor]).boxes, [actor.box])
    pixels, _ = project_to_image(actor.solid.corners, CAMERA)
    np.testing.assert_allclose(label["image_rectangle"], [*pixels.min(axis=0), *pixels.max(axis=0)])


@pytest.mark.parametrize(("edge", "level"), [(-0.6, 0), (-0.25, 1), (0.2, 2)])
def test_a_wall_in_front_raises_the_level_by_the_share_it_hides(edge: float, level: int) -> None:
    assert _column([_car(15.0, 0.0)], "occluded", _wall(-5.0, edge)) == [level]


def test_what_is_hidden_wholly_has_no_point() -> None:
    assert _column([_car(15.0, 0.0)], "points", _wall(-5.0, 5.0)) == [0]
    assert _column([_car(15.0, 0.0)], "occluded", _wall(-5.0, 5.0)) == [3]


def test_a_car_hides_the_car_behind_it() -> None:
    near, far = _column([_car(10.0, 0.0), _car(17.0, 0.3)], "occluded")
    assert near == 0
    assert far >= 2


def test_truncation_is_the_share_of_the_outline_outside_the_image() -> None:
    actor = _car(8.0, 6.5)
    (label,) = _label([actor]).rows()
    pixels, _ = project_to_image(actor.solid.corners, CAMERA)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    seen = np.minimum(high, np.array(CAMERA.image_size) - 1) - np.maximum(low, 0)
    assert label["truncated"] == pytest.approx(1 - seen.prod() / (high - low).prod())
    assert 0.1 < label["truncated"] < 0.9
    assert label["image_rectangle"][0] == 0.0


def test_what_is_beside_or_behind_the_camera_is_not_in_its_view() -> None:
    assert len(_label([_car(-10.0, 0.0), _car(3.0, 20.0)])) == 0


def test_no_actor_no_label() -> None:
    assert len(_label([])) == 0


def test_levels_rise_with_the_blocked_share() -> None:
    levels = [occlusion_level(share) for share in np.linspace(0.0, 1.0, 101)]
    assert levels == sorted(levels)
    assert set(levels) == {0, 1, 2, 3}
