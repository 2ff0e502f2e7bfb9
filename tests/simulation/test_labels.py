from __future__ import annotations

import numpy as np
import pytest

from lidar_ebm.formats.kitti.calibration import SIMULATED, SIMULATED_IMAGE_SIZE
from lidar_ebm.formats.kitti.conversion import labels_to_boxes
from lidar_ebm.formats.kitti.label import Label
from lidar_ebm.geometry.projection import project_to_image
from lidar_ebm.simulation.cars import car_body
from lidar_ebm.simulation.labels import LABEL_RANGE, make_labels, occlusion_level
from lidar_ebm.simulation.scene import Actor, Scene
from lidar_ebm.simulation.sensor import camera_grid, cast, receive
from lidar_ebm.simulation.solids import Solid, SolidBuilder, block
from lidar_ebm.simulation.street import SENSOR_HEIGHT, Ground

SIZE = (4.0, 1.7, 1.5)
CAMERA = SIMULATED.camera(SIMULATED_IMAGE_SIZE)


def _car(x: float, y: float, yaw: float = 0.0) -> Actor:
    center = (x, y, -SENSOR_HEIGHT + SIZE[2] / 2)
    solid = car_body("saloon", SIZE, np.random.default_rng(0)).placed(center, yaw)
    return Actor("Car", np.array([*center, *SIZE, yaw]), solid)


def _label(actors: list[Actor], surroundings: Solid | None = None) -> list[Label]:
    scene = Scene(tuple(actors), surroundings or SolidBuilder().build(), Ground.level())
    solid, owners = scene.solid()
    grid = camera_grid()
    echoes = cast(solid, owners, scene.ground, grid, seed=0)
    returns = receive(echoes, grid, np.random.default_rng(0))
    counts = np.bincount(returns.actor[returns.actor >= 0], minlength=len(actors))
    return make_labels(scene, echoes, counts, CAMERA)


def _wall(low_y: float, high_y: float) -> Solid:
    return SolidBuilder().add(block((8.0, 8.2), (low_y, high_y), (-3.0, 3.0)), 0.5).build()


def test_a_car_alone_is_labelled_with_its_box_and_not_occluded() -> None:
    actor = _car(15.0, 2.0, 0.4)
    (label,) = _label([actor])
    assert (label.type, label.occluded, label.truncated) == ("Car", 0, pytest.approx(0.0, abs=1e-9))
    np.testing.assert_allclose(labels_to_boxes([label], SIMULATED)[0], actor.box, atol=1e-6)
    pixels, _ = project_to_image(actor.solid.corners, CAMERA)
    np.testing.assert_allclose(label.bbox, [*pixels.min(axis=0), *pixels.max(axis=0)])


@pytest.mark.parametrize(("edge", "level"), [(-0.6, 0), (-0.25, 1), (0.2, 2)])
def test_a_wall_in_front_raises_the_level_by_the_share_it_hides(edge: float, level: int) -> None:
    assert _label([_car(15.0, 0.0)], _wall(-5.0, edge))[0].occluded == level


def test_what_is_hidden_wholly_is_dont_care() -> None:
    (label,) = _label([_car(15.0, 0.0)], _wall(-5.0, 5.0))
    assert label.type == "DontCare"
    assert (label.truncated, label.occluded, label.alpha, label.rotation_y) == (-1, -1, -10, -10)
    assert label.dimensions == (-1, -1, -1)
    assert label.location == (-1000, -1000, -1000)


def test_a_car_hides_the_car_behind_it() -> None:
    near, far = _label([_car(10.0, 0.0), _car(17.0, 0.3)])
    assert near.occluded == 0
    assert far.occluded >= 2


def test_truncation_is_the_share_of_the_outline_outside_the_image() -> None:
    actor = _car(8.0, 6.5)
    (label,) = _label([actor])
    pixels, _ = project_to_image(actor.solid.corners, CAMERA)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    seen = np.minimum(high, [1241, 374]) - np.maximum(low, 0)
    assert label.truncated == pytest.approx(1 - seen.prod() / (high - low).prod())
    assert 0.1 < label.truncated < 0.9
    assert label.bbox[0] == 0.0


def test_far_cars_are_dont_care_and_come_last() -> None:
    labels = _label([_car(LABEL_RANGE + 4.0, -5.0), _car(20.0, 0.0)])
    assert [label.type for label in labels] == ["Car", "DontCare"]


def test_what_is_beside_or_behind_the_camera_has_no_line() -> None:
    assert _label([_car(-10.0, 0.0), _car(3.0, 20.0)]) == []


def test_no_actor_no_label() -> None:
    assert _label([]) == []


def test_levels_rise_with_the_blocked_share() -> None:
    levels = [occlusion_level(share) for share in np.linspace(0.0, 1.0, 101)]
    assert levels == sorted(levels)
    assert set(levels) == {0, 1, 2, 3}
