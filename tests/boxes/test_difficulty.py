"""Words for how hard a box is to see: one rule for data sets and for scoring by distance."""

from __future__ import annotations

import numpy as np

from lidar_ebm.boxes.difficulty import BEYOND, DIFFICULTIES, LIMITS, difficulty_by_points
from lidar_ebm.evaluation.distance import protocol


def test_each_word_is_the_first_whose_limits_hold() -> None:
    rng = np.random.default_rng(0)
    words = []
    for _ in range(500):
        box, points = np.append(rng.uniform(-70, 70, 2), np.ones(5)), int(rng.integers(0, 70))
        distance = np.sqrt(box[0] ** 2 + box[1] ** 2)
        fits = [name for name, farthest, fewest in LIMITS if distance < farthest and points >= fewest]
        words.append(difficulty_by_points(box, points))
        assert words[-1] == [*fits, BEYOND][0]
    assert set(words) == set(DIFFICULTIES)


def test_limits_at_the_borders() -> None:
    for name, farthest, fewest in LIMITS:
        inside = np.array([np.nextafter(farthest, 0), 0, 0, 1, 1, 1, 0])
        assert difficulty_by_points(inside, fewest) == name
        assert difficulty_by_points(inside, fewest - 1) != name
        assert difficulty_by_points(np.array([0, -farthest, 0, 1, 1, 1, 0]), 10**6) != name


def test_scoring_by_distance_has_the_same_limits() -> None:
    scored = [(each.name, each.max_distance, each.min_points) for each in protocol.DIFFICULTIES]
    assert scored == [*LIMITS]
    assert protocol.PROTOCOL.facts.difficulties == DIFFICULTIES[:-1]
