"""Average precision where it can be told by hand, and the door's own behaviour."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.kitti.rules import LOOSE_OVERLAPS
from lidar_ebm.evaluation.limits import Difficulty
from lidar_ebm.evaluation.scoring import evaluate
from lidar_ebm.formats.kitti.files import read_labels, write_labels
from lidar_ebm.formats.kitti.label import Label
from tests.evaluation.kitti.random_frames import random_frames, random_label

CLASSES = ("Car", "Pedestrian", "Cyclist")
Frames = list[list[Label]]


def many_labels(count: int) -> Frames:
    """Valid cars, pedestrians and cyclists well apart from each other, one frame each."""
    generator = np.random.default_rng(0)
    frames = []
    for index in range(count):
        label = random_label(generator)
        box = (100.0, 100.0, 180.0, 160.0)
        frames.append([replace(label, type=CLASSES[index % 3], bbox=box, truncated=0.0, occluded=0)])
    return frames


def test_perfect_results_score_100() -> None:
    labels = many_labels(150)
    results = [[replace(item, score=1.0) for item in frame] for frame in labels]
    evaluation = evaluate(labels, results)
    assert len(evaluation.curves) == 36
    for curve in evaluation.curves:
        assert curve.ap("R40") == curve.ap("R11") == curve.ap("mean41") == pytest.approx(100.0)
        assert (curve.label_count, len(curve.thresholds)) == (50, 41)
        assert curve.false_positives.sum() == 0
        assert (curve.true_positives == 50).all()  # all have the same score


def test_fewer_labels_than_recall_steps_fall_short_of_100() -> None:
    labels = many_labels(30)  # 10 of each class: recall moves on by one step only for each true positive
    results = [[replace(item, score=1.0) for item in frame] for frame in labels]
    assert evaluate(labels, results).ap("Car", "3d", "easy") == pytest.approx(100.0 * 9 / 40)


@pytest.mark.parametrize(("turn", "share"), [(0.0, 1.0), (math.pi / 2, 0.5), (math.pi, 0.0), (math.pi / 3, 0.75)])
def test_orientation_similarity_follows_the_angle(turn: float, share: float) -> None:
    labels = many_labels(150)
    results = [[replace(item, score=1.0, alpha=item.alpha + turn) for item in frame] for frame in labels]
    evaluation = evaluate(labels, results)
    assert evaluation.ap("Car", "2d", "moderate") == pytest.approx(100.0)
    assert evaluation.ap("Car", "aos", "moderate") == pytest.approx(100.0 * share)


def test_orientation_never_beats_detection() -> None:
    evaluation = evaluate(*random_frames(40, 13))
    for name in CLASSES:
        for difficulty in ("easy", "moderate", "hard"):
            for recall in ("R40", "R11", "mean41"):
                precision = evaluation.ap(name, "2d", difficulty, recall=recall)
                assert evaluation.ap(name, "aos", difficulty, recall=recall) <= precision


def test_overlaps_can_be_given_in_every_form() -> None:
    labels, results = random_frames(10, 14)
    ious = {curve.iou for curve in evaluate(labels, results, iou=0.6).curves}
    assert ious == {0.6}
    loose = evaluate(labels, results, iou=LOOSE_OVERLAPS)
    assert loose.ap("Car", "3d", "easy") == evaluate(labels, results, iou=0.5).ap("Car", "3d", "easy")
    assert loose.ap("Car", "2d", "easy") == evaluate(labels, results).ap("Car", "2d", "easy")
    assert math.isnan(loose.ap("Car", "3d", "easy", iou=0.9))


def test_own_difficulties_are_noted() -> None:
    labels, results = random_frames(10, 15)
    evaluation = evaluate(labels, results, difficulties=(Difficulty("any", 3, 1.0, 0.0),), metrics=("3d",))
    assert {curve.difficulty for curve in evaluation.curves} == {"any"}
    assert evaluation.notes[0].startswith("difficulties: ")


def test_nothing_to_score() -> None:
    assert evaluate([], []).curves == ()
    evaluation = evaluate([[]], [[]])
    assert evaluation.curves == ()
    assert evaluation.frame_count == 1
    without_labels = evaluate([[]], [[replace(random_label(np.random.default_rng(0)), type="Car", score=0.5)]])
    assert without_labels.ap("Car", "3d", "hard") == 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": ("4d",)}, "metric '4d'"),
        ({"iou": 1.0}, "between 0 and 1"),
        ({"iou": {"Car": 0.7}}, "no overlap for class Pedestrian"),
        ({"iou": {"Car": {"2d": 0.7}}, "classes": ("Car",)}, "no overlap for class Car, metric aos"),
        ({"classes": ("Tram",)}, "no overlap for class Tram"),
    ],
)
def test_bad_choices_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate([[]], [[]], **arguments)


def test_bad_objects_are_named() -> None:
    label = random_label(np.random.default_rng(0))
    with pytest.raises(InputError, match="frame 1: object 2 has no score"):
        evaluate([[], []], [[], [replace(label, score=0.5), label]])
    with pytest.raises(InputError, match="frame 0: object 1 has no score or one that is NaN"):
        evaluate([[]], [[replace(label, score=math.nan)]])
    with pytest.raises(InputError, match="frame 0: object 1 has a number that is NaN"):
        evaluate([[replace(label, rotation_y=math.inf)]], [[]])
    with pytest.raises(InputError, match="2 frames of labels but 1 of results"):
        evaluate([[], []], [[]])
    with pytest.raises(InputError, match="recall 'R12'"):
        evaluate([[label]], [[replace(label, score=1.0)]], classes=(label.type,), iou=0.5).curves[0].ap("R12")


def test_real_labels_as_results_find_every_label(kitti_frames: Path) -> None:
    labels = [read_labels(path) for path in sorted((kitti_frames / "training" / "label_2").glob("*.txt"))]
    results = [[replace(item, score=1.0) for item in frame if item.type != "DontCare"] for frame in labels]
    for curve in evaluate(labels, results).curves:
        assert curve.false_positives.sum() == curve.false_negatives.sum() == 0
        if curve.label_count:
            assert curve.true_positives.max() == curve.label_count


def write_folders(folder: Path, nested: bool) -> tuple[Path, Path, Frames, Frames]:
    """Twelve frames of labels; every third has no result file. Returns what stands in the files that count."""
    labels, results = random_frames(12, 16)
    label_folder, result_folder = folder / "label_2", folder / "results"
    kept_labels, kept_results = [], []
    for index, (frame_labels, frame_results) in enumerate(zip(labels, results, strict=True)):
        label_path = label_folder / f"{index:06d}.txt"
        result_path = result_folder / ("data" if nested else "") / f"{index:06d}.txt"
        write_labels(label_path, frame_labels)
        kept_labels.append(read_labels(label_path))
        if index % 3:
            write_labels(result_path, frame_results)
            kept_results.append(read_labels(result_path))
        else:
            kept_results.append([])
    return label_folder, result_folder, kept_labels, kept_results


@pytest.mark.parametrize("nested", [False, True])
def test_folders_score_the_frames_with_result_files(tmp_path: Path, nested: bool) -> None:
    label_folder, result_folder, labels, results = write_folders(tmp_path, nested)
    evaluation = evaluate(label_folder, result_folder)
    with_file = [index for index in range(12) if index % 3]
    expected = evaluate([labels[index] for index in with_file], [results[index] for index in with_file])
    assert evaluation.frame_count == 8
    assert_same_curves(evaluation.curves, expected.curves)

    whole = evaluate(label_folder, result_folder, split=[f"{index:06d}" for index in range(12)])
    assert whole.frame_count == 12
    assert whole.notes[0].startswith("split: ")
    assert_same_curves(whole.curves, evaluate(labels, results).curves)


def assert_same_curves(first: tuple, second: tuple) -> None:
    assert len(first) == len(second) > 0
    for a, b in zip(first, second, strict=True):
        assert (a.class_name, a.metric, a.iou, a.difficulty) == (b.class_name, b.metric, b.iou, b.difficulty)
        np.testing.assert_array_equal(a.precision, b.precision)


def test_bad_folders_are_named(tmp_path: Path) -> None:
    label_folder, result_folder, _, results = write_folders(tmp_path, nested=False)
    with pytest.raises(InputError, match="nowhere: no such folder"):
        evaluate(label_folder, tmp_path / "nowhere")
    (label_folder / "000004.txt").unlink()
    with pytest.raises(InputError, match=r"000004\.txt: no such label file"):
        evaluate(label_folder, result_folder)
    frame = next(index for index in (1, 2) if results[index])
    write_labels(result_folder / f"{frame:06d}.txt", [replace(item, score=None) for item in results[frame]])
    with pytest.raises(InputError, match=rf"{frame:06d}\.txt:1: the score is missing"):
        evaluate(label_folder, result_folder, split=["000001", "000002"])
