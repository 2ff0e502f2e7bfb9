"""Boxes of exact numbers drawn at random, and contents of files with something odd in them."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from lidar_ebm.boxes import Boxes


def drawn_boxes(generator: np.random.Generator, count: int, *columns: str) -> Boxes:
    """Boxes of three classes with these columns, all values drawn at random."""
    boxes = generator.normal(0, 20, (count, 7))
    boxes[:, 3:6] = generator.uniform(0.3, 12, (count, 3))
    boxes[:, 6] = generator.uniform(-np.pi, np.pi, count)
    drawn: dict[str, Any] = {
        "scores": generator.uniform(0, 1, count),
        "velocity": generator.normal(0, 5, (count, 2)),
        "image_rectangle": generator.uniform(0, 1000, (count, 4)),
        "alpha": generator.uniform(-np.pi, np.pi, count),
        "truncated": generator.uniform(0, 1, count),
        "occluded": generator.integers(0, 4, count),
        "points": generator.integers(0, 1000, count),
        "track": generator.integers(0, 1000, count).astype(str),
        "attribute": generator.choice(["vehicle.parked", "vehicle.moving", ""], count),
    }
    names = generator.choice(["Car", "Forklift é", "Pedestrian"], count) if count else np.zeros(0, np.str_)
    return Boxes(boxes, names, **{name: drawn[name] for name in columns})


def assert_same(first: Boxes, second: Boxes, tolerance: float = 0.0) -> None:
    """Same names and columns in the same order, and numbers equal to `tolerance`; angles may differ by whole turns."""
    assert first.names.tolist() == second.names.tolist()
    difference = first.boxes - second.boxes
    difference[:, 6] -= 2 * np.pi * np.round(difference[:, 6] / (2 * np.pi))
    assert np.abs(difference).max(initial=0) <= tolerance
    assert first.columns().keys() == second.columns().keys()
    for name, values in first.columns().items():
        others = second.columns()[name]
        if values.dtype.kind == "U":
            assert values.tolist() == others.tolist()
        else:
            np.testing.assert_allclose(values, others, rtol=0, atol=tolerance, equal_nan=True)


def contents_with_odd_values(content: Any, count: int, *, arrays: bool = True) -> Iterator[Any]:
    """Copies of nested lists and dictionaries in each of which one value, at any depth, is another, or gone."""
    odd: list[Any] = [None, True, -1, 2**70, 1e308, float("nan"), float("inf"), "", "a", "x" * 5000, [], {}]
    odd += [[1], [[]], [None], ["a"], {"a": 1}, [[1, 2], [3]], [1] * 9, [[0.0] * 7], [[float("inf")] * 7]]
    if arrays:
        odd += [
            np.zeros(0),
            np.zeros((2, 7)),
            np.zeros((1, 9)),
            np.array("a"),
            np.array(["a", "b"]),
            np.ones((2, 2, 2)),
        ]
        odd += [np.array([None, 1], object), np.array([True, False]), np.float32(1), np.str_("b"), b"a", (1, 2)]
    chance = random.Random(7)
    for _ in range(count):
        changed = copy.deepcopy(content)
        place = changed
        while True:
            key = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
            inner = place[key]
            if not isinstance(inner, list | dict) or not inner or chance.random() < 0.2:
                break
            place = inner
        if chance.random() < 0.15:
            del place[key]
        else:
            place[key] = chance.choice(odd)
        yield changed
