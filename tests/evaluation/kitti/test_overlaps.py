"""Overlaps in the camera frame against shapely, and matching at the edge of its thresholds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lidar_ebm.evaluation.kitti.matching import recall_thresholds
from lidar_ebm.evaluation.kitti.objects import pack_objects
from lidar_ebm.evaluation.kitti.overlaps import GROUND, IMAGE, VOLUME, find_pairs, overlap
from lidar_ebm.evaluation.scoring import evaluate
from lidar_ebm.formats.kitti.label import Label
from tests.evaluation.kitti import brute_force
from tests.evaluation.kitti.random_frames import REGION, random_frames


def car(bbox: tuple, location: tuple, dimensions: tuple, rotation_y: float, score: float | None = None) -> Label:
    return Label("Car", 0.0, 0, 0.0, bbox, dimensions, location, rotation_y, score)


def special_boxes() -> list[Label]:
    """Identical, turned, touching, nested, crossing, thin and far boxes."""
    size = (1.5, 2.0, 4.0)
    image = (100.0, 100.0, 200.0, 150.0)
    placed = [
        ((0.0, 1.6, 20.0), size, 0.0),
        ((0.0, 1.6, 20.0), size, math.pi),
        ((0.0, 1.6, 20.0), size, 1e-9),
        ((0.0, 1.6, 20.0), (1.5, 4.0, 2.0), math.pi / 2),
        ((4.0, 1.6, 20.0), size, 0.0),
        ((0.0, 1.6, 22.0), size, 0.0),
        ((4.0, 1.6, 22.0), size, 0.0),
        ((0.0, 0.1, 20.0), size, 0.0),
        ((0.1, 1.5, 20.2), (0.5, 0.5, 1.0), 0.7),
        ((0.0, 3.0, 20.0), (5.0, 9.0, 12.0), 0.3),
        ((0.0, 1.6, 20.0), (1.5, 0.5, 8.0), 1.2),
        ((0.0, 1.6, 20.0), (1.5, 0.001, 8.0), 0.4),
        ((90.0, 1.6, 120.0), size, 0.0),
        ((90.5, 1.7, 120.5), size, -3.0),
    ]
    return [car(image, *item) for item in placed]


@pytest.mark.parametrize(("geometry", "metric"), [(IMAGE, "2d"), (GROUND, "bev"), (VOLUME, "3d")])
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_agrees_with_shapely(geometry: int, metric: str, seed: int | None) -> None:
    if seed is None:
        first = second = special_boxes()
    else:
        labels, results = random_frames(20, seed)
        first = [item for frame in labels for item in frame if item.type != "DontCare"]
        second = [item for frame in results for item in frame if min(item.dimensions) > 0]
    a = pack_objects([first], need_scores=False)
    b = pack_objects([second], need_scores=False)
    for i, p in enumerate(first):
        for j, q in enumerate(second):
            value = overlap(a.bbox[i], a.boxes[i], b.bbox[j], b.boxes[j], geometry)
            assert 0.0 <= value <= 1.0 + 1e-12
            assert value == pytest.approx(brute_force.intersection_over_union(p, q, metric), abs=1e-9)
            assert value == pytest.approx(overlap(b.bbox[j], b.boxes[j], a.bbox[i], a.boxes[i], geometry), abs=1e-12)


def test_pairs_stay_within_their_frame_and_in_file_order() -> None:
    boxes = special_boxes()[:3]
    labels = pack_objects([boxes[:1], [], boxes], need_scores=False)
    detections = pack_objects([boxes[:2], boxes, boxes[1:]], need_scores=False)
    pairs = find_pairs(labels, detections, VOLUME, 0.5)
    assert pairs.offsets.tolist() == [0, 2, 4, 6, 8]
    assert pairs.detection.tolist() == [0, 1, 5, 6, 5, 6, 5, 6]
    assert pairs.detection_offsets.tolist() == [0, 1, 2, 2, 2, 2, 5, 8]
    assert pairs.label.tolist() == [0, 0, 1, 2, 3, 1, 2, 3]
    order = np.lexsort((pairs.label, pairs.detection[np.argsort(pairs.detection, kind="stable")]))
    assert order.tolist() == list(range(8))
    assert pairs.overlap_by_detection.tolist() == pairs.overlap[np.argsort(pairs.detection, kind="stable")].tolist()


def test_boxes_without_extent_overlap_nothing() -> None:
    flat = [car((5.0, 5.0, 5.0, 5.0), (0.0, 1.6, 20.0), size, 0.0) for size in ((0, 0, 0), (1, 0, 2), (1, 2, 0))]
    objects = pack_objects([flat], need_scores=False)
    for geometry in (IMAGE, GROUND, VOLUME):
        assert len(find_pairs(objects, objects, geometry, 0.0).overlap) == 0


def test_a_placeholder_is_a_square_metre_on_the_ground_and_nothing_in_space() -> None:
    """KITTI's program measures DontCare lines as it does all others."""
    placeholder = [car((5.0, 5.0, 50.0, 50.0), (-1000.0, -1000.0, -1000.0), (-1.0, -1.0, -1.0), -10.0)]
    objects = pack_objects([placeholder], need_scores=False)
    assert find_pairs(objects, objects, GROUND, 0.0).overlap.tolist() == pytest.approx([1.0])
    assert len(find_pairs(objects, objects, VOLUME, 0.0).overlap) == 0


@pytest.mark.parametrize(("height", "expected"), [(50.0, 0), (50.001, 1)])
def test_a_match_needs_more_than_the_overlap(height: float, expected: int) -> None:
    label = car((0.0, 0.0, 100.0, 100.0), (0.0, 1.6, 20.0), (1.5, 2.0, 4.0), 0.0)
    result = car((0.0, 0.0, 100.0, height), (0.0, 1.6, 20.0), (1.5, 2.0, 4.0), 0.0, score=1.0)
    curve = evaluate([[label]], [[result]], iou=0.5, classes=("Car",), metrics=("2d",)).curves[0]
    assert len(curve.thresholds) == expected


@pytest.mark.parametrize(("covered", "false_positives"), [(50.0, 1), (50.001, 0)])
def test_a_region_excuses_what_it_covers_by_more_than_the_overlap(covered: float, false_positives: int) -> None:
    label = car((500.0, 0.0, 600.0, 100.0), (0.0, 1.6, 20.0), (1.5, 2.0, 4.0), 0.0)
    region = Label(*(REGION.type, -1, -1, -10.0, (0.0, 0.0, 1000.0, covered), (-1,) * 3, (-1000,) * 3, -10.0))
    alarm = car((0.0, 0.0, 100.0, 100.0), (9.0, 1.6, 40.0), (1.5, 2.0, 4.0), 0.0, score=1.0)
    found = car((500.0, 0.0, 600.0, 100.0), (0.0, 1.6, 20.0), (1.5, 2.0, 4.0), 0.0, score=1.0)
    evaluation = evaluate([[label, region]], [[alarm, found]], iou=0.5, classes=("Car",), metrics=("2d", "3d"))
    assert [curve.false_positives.tolist() for curve in evaluation.curves] == [[false_positives]] * 3 + [[1]] * 3


@pytest.mark.parametrize("label_count", [1, 7, 39, 40, 41, 60, 80, 120, 200, 400, 1000])
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_thresholds_step_recall_by_a_fortieth(label_count: int, share: float) -> None:
    scores = np.random.default_rng(label_count).random(math.ceil(share * label_count))
    thresholds = recall_thresholds(np.sort(scores)[::-1], label_count)
    assert thresholds.tolist() == brute_force.recall_thresholds(scores.tolist(), label_count)
    assert len(thresholds) <= 41
