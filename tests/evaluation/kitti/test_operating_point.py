"""The score of the best F1, and how well placed what is found there is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from lidar_ebm.evaluation.result import OperatingPoint
from lidar_ebm.evaluation.scoring import evaluate
from lidar_ebm.formats.kitti.label import Label
from tests.evaluation.kitti import brute_force
from tests.evaluation.kitti.random_frames import random_frames

CAR = Label("Car", 0.0, 0, 0.3, (100, 100, 200, 180), (1.5, 1.6, 4.0), (2.0, 1.6, 20.0), 0.5)


def best(
    labels: list[list[Label]], results: list[list[Label]], metric: str = "3d", **options: object
) -> OperatingPoint:
    point = evaluate(labels, results, classes=("Car",), metrics=(metric,), **options).curves[1].best
    assert point is not None
    return point


@pytest.mark.parametrize("metric", ["2d", "bev", "3d"])
@pytest.mark.parametrize("seed", [30, 31])
def test_no_score_has_a_better_f1(metric: str, seed: int) -> None:
    labels, results = random_frames(12, seed)
    point = best(labels, results, metric)
    frames = []
    for frame in brute_force.pair_frames(labels, results):
        label_kinds = [brute_force.label_kind(item, "Car", "moderate") for item in frame.labels]
        frames.append(
            (frame, label_kinds, [brute_force.result_kind(item, "Car", "moderate") for item in frame.results])
        )
    values = {}
    for score in sorted({item.score for found in results for item in found}):
        true = false = false_negatives = 0
        for frame, *kinds in frames:
            counts = brute_force.one_frame(frame, *kinds, metric, 0.7, score)
            true, false, false_negatives = (
                true + len(counts.scores),
                false + counts.false,
                false_negatives + counts.false_negatives,
            )
        values[score] = (2 * true / max(2 * true + false + false_negatives, 1), true, false, false_negatives)
    expected = max(values, key=lambda score: (values[score][0], score))
    assert values[point.score][0] == values[expected][0] == pytest.approx(point.f1)
    assert (point.true_positives, point.false_positives, point.false_negatives) == values[point.score][1:]


def test_errors_are_those_of_the_matched_boxes() -> None:
    generator = np.random.default_rng(3)
    labels, results, centers, sizes, yaws, flipped = [], [], [], [], [], []
    for _ in range(40):
        offset, change = generator.normal(0, 0.05, 3), generator.normal(0, 0.02, 3)
        turn, flip = generator.normal(0, 0.02), generator.random() < 0.3
        height, width, length = np.array(CAR.dimensions) + change
        # The bottom face moves with the centre and with half of the change in height.
        x, y, z = np.array(CAR.location) + offset + (0, change[0] / 2, 0)
        found = replace(
            CAR,
            location=(x, y, z),
            dimensions=(height, width, length),
            rotation_y=CAR.rotation_y + turn + (math.pi if flip else 0.0),
            score=0.9,
        )
        alarm = replace(CAR, location=(-8.0, 1.6, 30.0), score=0.1)
        labels.append([CAR])
        results.append([found, alarm])
        centers.append(np.linalg.norm(offset))
        sizes.append(np.abs(change).mean())
        yaws.append(abs(turn))
        flipped.append(flip)
    point = best(labels, results, iou=0.3)
    assert point.score == 0.9
    assert (point.true_positives, point.false_positives, point.false_negatives) == (40, 0, 0)
    assert point.center_error == pytest.approx(np.mean(centers))
    assert point.size_error == pytest.approx(np.mean(sizes))
    assert point.yaw_error == pytest.approx(np.mean(yaws))
    assert point.flipped == pytest.approx(np.mean(flipped))
    pairs = [brute_force.intersection_over_union(CAR, items[0], "3d") for items in results]
    assert point.overlap == pytest.approx(np.mean(pairs))


def test_boxes_known_in_the_image_only_have_no_errors_in_space() -> None:
    found = replace(CAR, dimensions=(-1, -1, -1), location=(-1000, -1000, -1000), score=1.0)
    point = best([[CAR]], [[found]], "2d")
    assert point.overlap == 1.0
    assert math.isnan(point.center_error)
    assert math.isnan(point.flipped)


def test_without_a_counted_detection_there_is_no_best_score() -> None:
    low = replace(CAR, bbox=(100, 100, 200, 110), score=1.0)
    curve = evaluate([[CAR]], [[low]], classes=("Car",), metrics=("3d",)).curves[0]
    assert curve.best is None
    assert curve.ap() == 0.0
