"""Overlap on the ground against polygons, and the choices that build on it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from shapely import Polygon

from lidar_ebm.geometry.boxes import corners_bev
from lidar_ebm.geometry.rectangles import choose_apart, choose_moves, footprints, overlaps_any


def random_rectangles(rng: np.random.Generator, count: int, extent: float = 12.0) -> np.ndarray:
    low, high = (-extent, -extent, 0.4, 0.4, -4.0), (extent, extent, 6.0, 3.0, 4.0)
    return rng.uniform(low, high, (count, 5))


def polygon(rectangle: np.ndarray) -> Polygon:
    x, y, length, width, yaw = rectangle
    return Polygon(corners_bev(np.array([[x, y, 0.0, length, width, 1.0, yaw]]))[0])


def test_footprints_are_boxes_seen_from_above() -> None:
    boxes = np.arange(14.0).reshape(2, 7).astype(np.float32)
    np.testing.assert_array_equal(footprints(boxes), boxes[:, [0, 1, 3, 4, 6]])
    assert footprints(np.zeros((0, 7), np.float32)).shape == (0, 5)


@pytest.mark.parametrize("seed", range(4))
def test_overlap_agrees_with_polygons(seed: int) -> None:
    rectangles = random_rectangles(np.random.default_rng(seed), 60)
    shapes = [polygon(rectangle) for rectangle in rectangles]
    found = [overlaps_any(a, b[None]) for a in rectangles for b in rectangles]
    assert found == [a.intersects(b) for a in shapes for b in shapes]
    assert 60 < sum(found) < 3600


def test_nothing_overlaps_nothing() -> None:
    rectangle = np.array([1.0, 2.0, 4.0, 2.0, 0.3])
    assert not overlaps_any(rectangle, np.zeros((0, 5)))
    assert overlaps_any(rectangle, rectangle[None])


@pytest.mark.parametrize("seed", range(4))
def test_those_chosen_stand_apart_and_those_left_out_had_to_be(seed: int) -> None:
    rng = np.random.default_rng(seed)
    taken, candidates = random_rectangles(rng, 10), random_rectangles(rng, 40)
    chosen = choose_apart(taken, candidates)
    standing = [polygon(rectangle) for rectangle in taken]
    for candidate, accepted in zip(candidates, chosen, strict=True):
        shape = polygon(candidate)
        assert accepted == (not any(shape.intersects(other) for other in standing))
        if accepted:
            standing.append(shape)
    assert 0 < chosen.sum() < 40


@pytest.mark.parametrize("seed", range(4))
def test_the_first_move_without_a_collision_is_chosen(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rectangles, fixed = random_rectangles(rng, 25), random_rectangles(rng, 3)
    moves = np.concatenate((rng.normal(0, 1, (25, 6, 2)), rng.uniform(-math.pi / 4, math.pi / 4, (25, 6, 1))), axis=2)
    chosen = choose_moves(rectangles, moves, fixed)
    places = rectangles.copy()
    for i in range(25):
        others = [polygon(place) for place in (*places[:i], *places[i + 1 :], *fixed)]
        expected = -1
        for attempt, (dx, dy, turn) in enumerate(moves[i]):
            place = rectangles[i] + np.array([dx, dy, 0.0, 0.0, turn])
            if not any(polygon(place).intersects(other) for other in others):
                expected, places[i] = attempt, place
                break
        assert chosen[i] == expected
    assert {-1, 0} < set(chosen)


def test_no_rectangles_no_choices() -> None:
    none = np.zeros((0, 5))
    assert choose_apart(none, none).shape == (0,)
    assert choose_moves(none, np.zeros((0, 3, 3)), none).shape == (0,)
    assert choose_apart(none, np.array([[0.0, 0.0, 1.0, 1.0, 0.0]])).tolist() == [True]
