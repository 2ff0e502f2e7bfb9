"""Bodies and attributes of nuScenes' categories."""

from __future__ import annotations

import numpy as np
import pytest

from lidar_ebm.formats.nuscenes.classes import ATTRIBUTES, ATTRIBUTES_OF_CLASS, CLASS_OF_CATEGORY, OTHER_CATEGORIES
from lidar_ebm.simulation.road_users import ROAD_USERS, attribute_of


@pytest.mark.parametrize("name", list(ROAD_USERS))
def test_bodies_touch_all_faces_of_their_boxes_and_are_solids(name: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(12):
        size = ROAD_USERS[name].draw_size(rng)
        body = ROAD_USERS[name].body(size, rng)
        low, high = body.extent
        np.testing.assert_allclose(high - low, size, atol=1e-7)
        np.testing.assert_allclose(high + low, 0.0, atol=1e-7)
        assert np.diff(body.corner_starts).min() >= 4
        assert np.isfinite(body.planes).all()


@pytest.mark.parametrize("name", list(ROAD_USERS))
def test_sizes_are_near_their_mean(name: str) -> None:
    rng = np.random.default_rng(2)
    sizes = np.array([ROAD_USERS[name].draw_size(rng) for _ in range(2000)])
    np.testing.assert_allclose(sizes.mean(axis=0), ROAD_USERS[name].mean, rtol=0.02)
    assert sizes.min() > 0.15


def test_all_ten_classes_and_some_others_are_there() -> None:
    categories = {user.category for user in ROAD_USERS.values()}
    assert {CLASS_OF_CATEGORY[each] for each in categories if each in CLASS_OF_CATEGORY} == set(ATTRIBUTES_OF_CLASS)
    assert len(categories & set(OTHER_CATEGORIES)) >= 5
    assert categories <= {*CLASS_OF_CATEGORY, *OTHER_CATEGORIES}


@pytest.mark.parametrize("name", list(ROAD_USERS))
def test_attributes_suit_their_class(name: str) -> None:
    category = ROAD_USERS[name].category
    for speed in (0.0, 2.0):
        for parked in (False, True):
            attribute = attribute_of(name, speed, parked=parked)
            if category in CLASS_OF_CATEGORY:
                suited = ATTRIBUTES_OF_CLASS[CLASS_OF_CATEGORY[category]]
                assert attribute in suited if suited else attribute == ""
            else:
                assert attribute in ("", *ATTRIBUTES)


def test_attributes_follow_the_motion() -> None:
    assert attribute_of("car", 5.0) == "vehicle.moving"
    assert attribute_of("car", 0.0) == "vehicle.stopped"
    assert attribute_of("car", 0.0, parked=True) == "vehicle.parked"
    assert attribute_of("adult", 1.0) == "pedestrian.moving"
    assert attribute_of("adult", 0.0) == "pedestrian.standing"
    assert attribute_of("sitting", 0.0) == "pedestrian.sitting_lying_down"
    assert attribute_of("cyclist", 4.0) == "cycle.with_rider"
    assert attribute_of("motorcycle", 0.0) == "cycle.without_rider"
