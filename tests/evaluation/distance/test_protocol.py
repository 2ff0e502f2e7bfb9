"""Scoring by distance against counts written out, and what is said of what cannot be scored."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.boxes.overlap import center_distances, ground_overlaps, volume_overlaps
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation import Difficulty, ScoringOptions, compare_results, evaluate, score_table
from lidar_ebm.evaluation.distance.protocol import DIFFICULTIES, DistanceProtocol
from lidar_ebm.evaluation.kitti.matching import recall_thresholds
from lidar_ebm.geometry.boxes import wrap_angle
from tests.evaluation.test_tables import text_of

CLASSES = ("forklift", "rider")


def random_frame(generator: np.random.Generator, count: int) -> tuple[Boxes, Boxes]:
    """Labels all around the sensor, and results near most of them, with false alarms."""
    angle, far = generator.uniform(-math.pi, math.pi, count), generator.uniform(3, 90, count)
    size = generator.uniform((2, 1, 1), (6, 3, 3), (count, 3))
    labels = np.column_stack(
        (
            far * np.cos(angle),
            far * np.sin(angle),
            generator.uniform(-2, 0, count),
            size,
            generator.uniform(-3, 3, count),
        )
    )
    names = generator.choice(CLASSES, count)
    points = generator.integers(0, 120, count)
    kept = generator.random(count) < 0.8
    near = labels + generator.normal(0, 0.35, labels.shape) * [1, 1, 0.3, 0.3, 0.2, 0.2, 0.2]
    alarms = near[generator.random(count) < 0.3] + [4.0, 3.0, 0, 0, 0, 0, 0]
    found = np.concatenate((near[kept], alarms))
    found_names = np.concatenate((names[kept], generator.choice(CLASSES, len(alarms))))
    scores = generator.integers(1, 30, len(found)) / 30
    return Boxes(labels, names, points=points), Boxes(found, found_names, scores)


def counted_by_hand(
    frames: list[tuple[Boxes, Boxes]], name: str, limit: Difficulty, maximum: float
) -> tuple[list[float], list[float], int]:
    """Scores of the true and of the false positives by the distance of centres, and the number of valid labels."""
    true, false, count = [], [], 0
    for labels, results in frames:
        mine, theirs = labels.of_class(name), results.of_class(name)
        assert mine.points is not None
        assert theirs.scores is not None
        far = np.hypot(*mine.boxes[:, :2].T)
        valid = (far < limit.max_distance) & (mine.points >= limit.min_points)
        count += int(valid.sum())
        apart, free = center_distances(theirs.boxes, mine.boxes), set(range(len(mine)))
        for row in sorted(range(len(theirs)), key=lambda k: (-theirs.scores[k], k)):  # type: ignore[index]
            best = min(free, key=lambda column: apart[row, column], default=None)
            if best is not None and apart[row, best] <= maximum:
                free.remove(best)
                if valid[best]:
                    true.append(float(theirs.scores[row]))
            elif np.hypot(*theirs.boxes[row, :2]) < limit.max_distance:
                false.append(float(theirs.scores[row]))
    return true, false, count


def test_centres_are_matched_as_by_hand() -> None:
    generator = np.random.default_rng(0)
    frames = [random_frame(generator, int(count)) for count in generator.integers(0, 14, 60)]
    limits = (Difficulty("near", max_distance=30.0, min_points=20), Difficulty("all"))
    found = evaluate(*map(list, zip(*frames, strict=True)), metrics=("center",), difficulties=limits)
    assert found.protocol.name == "distance"
    assert [curve.iou for curve in found.curves[::2]] == [0.5, 1.0, 2.0, 4.0] * 2
    for curve in found.curves:
        limit = next(each for each in limits if each.name == curve.difficulty)
        true, false, count = counted_by_hand(frames, curve.class_name, limit, curve.iou)
        assert curve.label_count == count
        scores = np.sort(true)[::-1]
        thresholds = recall_thresholds(scores, count)
        np.testing.assert_array_equal(curve.thresholds, thresholds)
        expected = [((scores >= t).sum(), (np.array(false) >= t).sum()) for t in thresholds]
        assert list(zip(curve.true_positives, curve.false_positives, strict=True)) == expected
        assert (curve.false_negatives == count - curve.true_positives).all()
        best = curve.best
        assert best is not None
        assert best.true_positives == (scores >= best.score).sum()
        assert 0 <= best.center_error <= curve.iou * math.sqrt(1 + 3**2)
    assert sum(len(curve.thresholds) for curve in found.curves) > 200


@pytest.mark.parametrize("metric", ["bev", "3d"])
def test_overlaps_are_those_of_the_boxes(metric: str) -> None:
    """With one class and boxes far from one another, matching is by overlap alone."""
    generator = np.random.default_rng(1)
    table = volume_overlaps if metric == "3d" else ground_overlaps
    labels, results, overlaps = [], [], []
    for _ in range(60):
        label, _ = random_frame(generator, 1)
        found = label.boxes + generator.normal(0, 0.2, (1, 7))
        labels.append(Boxes(label.boxes, ["rider"]))
        results.append(Boxes(found, ["rider"], [0.5]))
        overlaps.append(table(label.boxes, found)[0, 0])
    for iou in (0.3, 0.5, 0.7):
        curve = evaluate(labels, results, metrics=(metric,), iou=iou, difficulties=(Difficulty("all"),)).curves[0]
        assert curve.best is not None
        assert curve.best.true_positives == (np.array(overlaps) > iou).sum()
        assert curve.best.overlap == pytest.approx(np.mean([value for value in overlaps if value > iou]), abs=1e-9)


def test_figures_do_not_depend_on_where_the_sensor_looks() -> None:
    """Turning everything about the LiDAR changes nothing: no direction is preferred."""
    generator = np.random.default_rng(2)
    frames = [random_frame(generator, 8) for _ in range(30)]
    turned = []
    for pair in frames:
        sides = []
        for boxes in pair:
            cos, sin = math.cos(2.0), math.sin(2.0)
            moved = boxes.boxes.copy()
            moved[:, :2] = boxes.boxes[:, :2] @ np.array([[cos, sin], [-sin, cos]])
            moved[:, 6] = wrap_angle(moved[:, 6] + 2.0)
            sides.append(Boxes(moved, boxes.names, boxes.scores, points=boxes.points))
        turned.append(tuple(sides))
    plain, other = (evaluate(*map(list, zip(*each, strict=True))) for each in (frames, turned))
    assert len(plain.curves) == 2 * (4 + 1 + 1) * 3
    assert [c.ap() for c in plain.curves] == pytest.approx([c.ap() for c in other.curves])
    assert [c.label_count for c in plain.curves] == [c.label_count for c in other.curves]


def test_perfect_results_score_all_that_their_labels_allow() -> None:
    generator = np.random.default_rng(3)
    labels = [random_frame(generator, 10)[0] for _ in range(30)]
    results = [each.with_columns(scores=np.ones(len(each)), points=None) for each in labels]
    for curve in evaluate(labels, results).curves:
        assert curve.ap() == pytest.approx(100.0 if curve.label_count > 40 else 100 * (curve.label_count - 1) / 40)
    table = text_of(score_table(evaluate(labels, results)))
    for words in ("Centre", "0.5 m", "4 m", "Near", "Middle", "Far", "scored by distance"):
        assert words in table


def test_what_counts_for_nothing_is_said() -> None:
    box = np.array([[10.0, 0, -1, 4, 2, 1.5, 0]])
    labels, results = [Boxes(box, ["Forklift"], points=[3])], [Boxes(box, ["forklift"], [0.5])]
    none = evaluate(labels, results)
    assert any(note.startswith("no Forklift label (of 1) is within the limits") for note in none.notes)
    without = evaluate([labels[0].with_columns(points=None)], results)
    assert any("distance alone" in note for note in without.notes)
    assert without.curve("forklift", "bev", "near").label_count == 1  # type: ignore[union-attr]
    others = evaluate(labels, [Boxes(np.repeat(box, 3, 0), ["forklift", "tree", "tree"], [0.5] * 3)])
    assert "passed over: 2 tree results" in others.notes
    with pytest.raises(InputError, match=r"class 'forklif'.*mean 'forklift'"):
        evaluate(labels, results, classes=["forklif"])
    with pytest.raises(InputError, match="classes: 'forklift' is one text"):
        evaluate(labels, results, classes="forklift")
    with pytest.raises(InputError, match="metric '2d': choose among center, bev, 3d"):
        evaluate(labels, results, metrics=["2d"])
    with pytest.raises(InputError, match=r"center_distances .*above 0"):
        evaluate(labels, results, center_distances=[0.0])
    with pytest.raises(InputError, match="frame 0: box 1 has no finite score"):
        evaluate(labels, labels)
    with pytest.raises(InputError, match="project: is not for scoring by distance"):
        evaluate(labels, results, project=True)
    with pytest.raises(InputError, match="asks for points"):
        evaluate([labels[0].with_columns(points=None)], results, difficulties=[Difficulty("some", min_points=5)])


def test_frames_by_name_are_aligned_and_what_is_missing_is_said() -> None:
    box = np.array([[10.0, 0, -1, 4, 2, 1.5, 0]])
    label, result = Boxes(box, ["rider"]), Boxes(box, ["rider"], [0.5])
    found = evaluate({"a": label, "b": label}, {"b": result, "c": result})
    assert found.frame_count == 2
    assert any("1 of 2 labelled frames have no results (a)" in note for note in found.notes)
    assert any("1 frame of the results without labels (c)" in note for note in found.notes)
    assert found.curve("rider", "3d", "near").label_count == 2  # type: ignore[union-attr]
    assert evaluate({"a": label, "b": label}, {"b": result}, split=["b"]).frame_count == 1
    with pytest.raises(InputError, match="results: none is of a frame to score"):
        evaluate({"a": label}, {"c": result})
    with pytest.raises(InputError, match="split: frame d has no labels"):
        evaluate({"a": label}, {"a": result}, split=["d"])
    with pytest.raises(InputError, match="1 frames of labels but 2 of results"):
        evaluate([label], [result, result])
    with pytest.raises(InputError, match="two folders, or both in memory"):
        evaluate({"a": label}, [result])


def test_comparing_and_options_in_one_piece() -> None:
    generator = np.random.default_rng(4)
    frames = [random_frame(generator, 8) for _ in range(20)]
    labels, results = map(list, zip(*frames, strict=True))
    options = ScoringOptions(classes=CLASSES, metrics=("3d", "center"), center_distances=(2.0,))
    worse = [each.select(slice(0, None, 2)) for each in results]
    compared = compare_results(labels, worse, results, options, resamples=20)
    single = evaluate(labels, results, options)
    for item in compared.differences:
        assert item.b == pytest.approx(single.ap(item.class_name, item.metric, item.difficulty, item.iou, item.recall))
    with pytest.raises(InputError, match="options and classes: give all options in one"):
        evaluate(labels, results, options, classes=CLASSES)
    assert compare_results(labels, results, results, options, resamples=3).differences[0].difference == 0.0


def test_a_protocol_of_ones_own_is_taken() -> None:
    yard = DistanceProtocol("yard", DIFFICULTIES, headline="near")
    generator = np.random.default_rng(5)
    labels, results = map(list, zip(*(random_frame(generator, 8) for _ in range(5)), strict=True))
    found = evaluate(labels, results, protocol=yard)
    assert found.protocol.name == "yard"
    assert {curve.difficulty for curve in found.curves if curve.headline} == {"near"}
    with pytest.raises(InputError, match="protocol 'yard': choose one of distance, kitti"):
        evaluate(labels, results, protocol="yard")
