"""Greedy matching against a search that tries every pair, written out."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.boxes.matching import Closeness, best_of_rows, closeness_table, match_rows, pair_boxes
from lidar_ebm.errors import InputError


def random_boxes(generator: np.random.Generator, count: int, *, scores: bool) -> Boxes:
    low, high = (-8, -8, -1, 1, 1, 1, -math.pi), (8, 8, 1, 6, 3, 3, math.pi)
    names = generator.choice(["car", "forklift"], count)
    return Boxes(
        generator.uniform(low, high, (count, 7)), names, generator.integers(0, 4, count) / 4 if scores else None
    )


def by_hand(detections: Boxes, labels: Boxes, minimum: float, by: Closeness) -> list[tuple[int, int]]:
    table = closeness_table(detections, labels, by, same_class=False)
    assert detections.scores is not None
    free, pairs = set(range(len(labels))), []
    for row in sorted(range(len(detections)), key=lambda k: (-detections.scores[k], k)):  # type: ignore[index]
        fitting = [
            column
            for column in sorted(free)
            if detections.names[row] == labels.names[column]
            and (-table[row, column] <= minimum if by == "center" else table[row, column] >= minimum)
        ]
        if fitting:
            best = max(fitting, key=lambda column: table[row, column])
            free.remove(best)
            pairs.append((row, best))
    return sorted(pairs)


@pytest.mark.parametrize(("by", "minimum"), [("3d", 0.05), ("bev", 0.1), ("center", 2.5), ("center", 0.0)])
def test_pairs_are_those_of_a_plain_search(by: Closeness, minimum: float) -> None:
    generator = np.random.default_rng(0)
    count = 0
    for _ in range(90):
        detections = random_boxes(generator, int(generator.integers(0, 12)), scores=True)
        labels = random_boxes(generator, int(generator.integers(0, 12)), scores=False)
        expected = by_hand(detections, labels, minimum, by)
        found = pair_boxes(detections, labels, minimum, by)
        assert found.shape == (len(expected), 2)
        assert [tuple(pair) for pair in found.tolist()] == expected
        count += len(expected)
    assert count > 10 or minimum == 0.0


def test_boxes_are_paired_with_themselves_and_classes_only_where_asked() -> None:
    boxes = random_boxes(np.random.default_rng(1), 9, scores=True)
    assert pair_boxes(boxes, boxes, 0.999).tolist() == [[k, k] for k in range(9)]
    renamed = Boxes(boxes.boxes, ["other"] * 9)
    assert len(pair_boxes(boxes, renamed, 0.5)) == 0
    assert len(pair_boxes(boxes, renamed, 0.999, same_class=False)) == 9
    with pytest.raises(InputError, match="choose one of 3d, bev, center"):
        pair_boxes(boxes, boxes, 0.5, "2d")  # type: ignore[arg-type]


def test_no_value_is_no_partner() -> None:
    table = np.array([[np.nan, 0.3], [0.9, np.nan], [-np.inf, 0.9]])
    assert match_rows(table, np.array([3.0, 2.0, 1.0]), 0.2).tolist() == [1, 0, -1]
    assert match_rows(np.zeros((3, 0)), np.zeros(3), 0.0).tolist() == [-1] * 3
    assert match_rows(np.zeros((0, 3)), np.zeros(0), 0.0).tolist() == []
    rows, values = best_of_rows(np.array([[0.0, 0.0], [0.2, 0.7]]))
    assert (rows.tolist(), values.tolist()) == ([-1, 1], [0.0, 0.7])
    assert best_of_rows(np.zeros((2, 0)))[0].tolist() == [-1, -1]


def test_matching_needs_no_torch() -> None:
    code = "import sys; import lidar_ebm.boxes.matching, lidar_ebm.boxes.overlap; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
