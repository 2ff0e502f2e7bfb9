from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from shapely.geometry import Polygon

from lidar_ebm.geometry.boxes import corners_bev
from lidar_ebm.simulation.bodies import STATISTICS, people_per_vehicle
from lidar_ebm.simulation.occupancy import Occupancy
from lidar_ebm.simulation.scene import Scene, make_scene
from lidar_ebm.simulation.sensor import SURROUNDINGS
from lidar_ebm.simulation.street import SENSOR_HEIGHT, Road


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [make_scene(np.random.default_rng([7, index])) for index in range(150)]


def test_scene_is_decided_by_the_generator() -> None:
    one, two = (make_scene(np.random.default_rng(3)).solid()[0] for _ in range(2))
    np.testing.assert_array_equal(one.planes, two.planes)


def test_boxes_do_not_overlap(scenes: list[Scene]) -> None:
    for scene in scenes[:60]:
        boxes = np.array([actor.box for actor in scene.actors]).reshape(-1, 7)
        shapes = [Polygon(corners) for corners in corners_bev(boxes)]
        for a, b in combinations(range(len(shapes)), 2):
            if np.hypot(*(boxes[a, :2] - boxes[b, :2])) < boxes[a, 3] + boxes[b, 3]:
                assert shapes[a].intersection(shapes[b]).area < 1e-9


def test_nothing_stands_where_the_sensor_is(scenes: list[Scene]) -> None:
    own = Polygon([(-2.5, -1.1), (2.5, -1.1), (2.5, 1.1), (-2.5, 1.1)])
    for scene in scenes:
        for corners in corners_bev(np.array([actor.box for actor in scene.actors]).reshape(-1, 7)):
            assert not own.intersects(Polygon(corners))


def test_bodies_fill_their_boxes(scenes: list[Scene]) -> None:
    for actor in (actor for scene in scenes[:30] for actor in scene.actors):
        cos, sin = np.cos(actor.box[6]), np.sin(actor.box[6])
        local = (actor.solid.corners - actor.box[:3]) @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        np.testing.assert_allclose(local.max(axis=0), actor.box[3:6] / 2, atol=1e-6)
        np.testing.assert_allclose(local.min(axis=0), -actor.box[3:6] / 2, atol=1e-6)
        assert -np.pi <= actor.box[6] < np.pi


def test_everything_stands_on_the_ground(scenes: list[Scene]) -> None:
    heights = []
    for scene in scenes:
        assert scene.ground.height(0.0, 0.0) == pytest.approx(-SENSOR_HEIGHT)
        for actor in scene.actors:
            bottom = actor.box[2] - actor.box[5] / 2
            heights.append(bottom - scene.ground.height(*actor.box[:2]))
    assert np.abs(heights).max() < 0.3  # half on a kerb, at most
    assert np.median(np.abs(heights)) < 0.02


def test_streets_slope(scenes: list[Scene]) -> None:
    rise = [scene.ground.height(50.0, 0.0) - scene.ground.height(0.0, 0.0) for scene in scenes]
    assert 0.3 < np.std(rise) < 3.0


def test_class_shares_and_car_sizes_are_those_of_kitti(scenes: list[Scene]) -> None:
    actors = [actor for scene in scenes for actor in scene.actors]
    count = Counter(actor.type for actor in actors)
    assert set(count) == set(STATISTICS)
    vehicles = count["Car"] + count["Van"] + count["Truck"]
    assert count["Car"] / vehicles == pytest.approx(0.878, abs=0.03)
    assert count["Van"] / vehicles == pytest.approx(0.089, abs=0.025)
    assert count["Truck"] / vehicles == pytest.approx(0.033, abs=0.015)
    assert count["Pedestrian"] / vehicles == pytest.approx(people_per_vehicle("Pedestrian"), abs=0.04)
    assert count["Cyclist"] / vehicles == pytest.approx(people_per_vehicle("Cyclist"), abs=0.02)
    sizes = np.array([actor.box[3:6] for actor in actors if actor.type == "Car"])
    np.testing.assert_allclose(sizes.mean(axis=0), (3.88, 1.63, 1.53), atol=0.04)
    np.testing.assert_allclose(sizes.std(axis=0), (0.43, 0.10, 0.14), rtol=0.15)


def test_vehicles_head_all_ways(scenes: list[Scene]) -> None:
    yaws = np.array([actor.box[6] for scene in scenes for actor in scene.actors if actor.type == "Car"])
    for direction in (0.0, np.pi / 2, np.pi, -np.pi / 2):
        assert (np.cos(yaws - direction) > 0.9).mean() > 0.04


def test_pieces_know_their_actor(scenes: list[Scene]) -> None:
    scene = scenes[0]
    solid, owners = scene.solid()
    assert len(owners) == len(solid.opacity)
    counts = [len(actor.solid.opacity) for actor in scene.actors]
    assert np.bincount(owners[owners >= 0]).tolist() == counts
    assert (owners[owners < 0] == SURROUNDINGS).all()


def test_road_is_an_arc_with_the_given_curvature() -> None:
    road = Road((1.0, 2.0), 0.3, 0.01)
    steps = np.array([road.point(s, 0.0) for s in np.linspace(0.0, 80.0, 8001)])
    length = np.hypot(*np.diff(steps, axis=0).T).sum()
    assert length == pytest.approx(80.0, abs=1e-3)
    direction = np.arctan2(*(steps[-1] - steps[-2])[::-1])
    assert direction == pytest.approx(road.heading_at(80.0), abs=1e-3)
    left = np.array(road.point(40.0, 3.0)) - np.array(road.point(40.0, 0.0))
    assert np.hypot(*left) == pytest.approx(3.0)
    assert np.cross([*steps[4001] - steps[4000], 0.0], [*left, 0.0])[2] > 0


def test_occupancy_agrees_with_polygons() -> None:
    rng = np.random.default_rng(0)
    taken, shapes = Occupancy(), []
    for _ in range(300):
        x, y = rng.uniform(-25, 25, 2)
        length, width, yaw = rng.uniform(0.5, 6), rng.uniform(0.5, 3), rng.uniform(-4, 4)
        shape = Polygon(corners_bev(np.array([[x, y, 0.0, length, width, 1.0, yaw]]))[0])
        free = not any(shape.intersection(other).area > 0 for other in shapes)
        assert taken.claim(x, y, length, width, yaw, gap=0.0) == free
        if free:
            shapes.append(shape)
