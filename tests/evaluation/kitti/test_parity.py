"""Every figure of the evaluation against KITTI's rules written out word by word, on some thousands of random frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.evaluation.result import Curve, Evaluation
from lidar_ebm.evaluation.scoring import evaluate
from lidar_ebm.formats.kitti.label import Label
from tests.evaluation.kitti.brute_force import Frame, expected_curve, pair_frames
from tests.evaluation.kitti.random_frames import NO_BOX, SIZES, Frames, Kind, random_frames, wild_score

CLASSES = ("Car", "Pedestrian", "Cyclist")
METRICS = ("2d", "aos", "bev", "3d")
DIFFICULTIES = ("easy", "moderate", "hard")
OFFICIAL = {"Car": (0.7,), "Pedestrian": (0.5,), "Cyclist": (0.5,)}

Overlaps = dict[str, tuple[float, ...]]


def assert_as_the_rules(evaluation: Evaluation, frames: list[Frame], overlaps: Overlaps = OFFICIAL) -> int:
    """Compare thresholds, counts and all kinds of AP; returns how many of the latter were above 0."""
    assert evaluation.frame_count == len(frames)
    positive = 0
    for name in CLASSES:
        for metric in METRICS:
            for iou in overlaps[name]:
                for difficulty in DIFFICULTIES:
                    where = f"{name}, {metric} at {iou}, {difficulty}"
                    expected = expected_curve(frames, name, metric, iou, difficulty)
                    curve = evaluation.curve(name, metric, difficulty, iou)
                    assert (curve is None) == (expected is None), where
                    if curve is None or expected is None:
                        continue
                    assert curve.label_count == expected.label_count, where
                    assert curve.thresholds.tolist() == expected.thresholds, where
                    assert curve.true_positives.tolist() == expected.found, where
                    assert curve.false_positives.tolist() == expected.false, where
                    assert curve.false_negatives.tolist() == expected.false_negatives, where
                    for recall, value in expected.ap().items():
                        assert curve.ap(recall) == pytest.approx(value, rel=0, abs=1e-6), f"{where}, {recall}"
                        positive += value > 0
    return positive


def assert_agrees(labels: Frames, results: Frames, overlaps: Overlaps | None = None) -> int:
    evaluation = evaluate(labels, results, iou=overlaps)
    return assert_as_the_rules(evaluation, pair_frames(labels, results), overlaps or OFFICIAL)


def one_of(*scores: float) -> Callable[[np.random.Generator], float]:
    return lambda generator: float(generator.choice(scores))


ALL_SCORED = (0.4, 0.3, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0)
NEIGHBOURS_MOSTLY = (0.15, 0.12, 0.08, 0.35, 0.3, 0.0, 0.0, 0.0)

# Frames of each kind for each of three seeds.
KINDS = {
    "ordinary": (Kind(), 120),
    "sparse": (Kind(labels=(0, 2), copies=(0, 1), alarms=(0, 1), empty=0.4), 300),
    "dense": (Kind(labels=(15, 25), alarms=(0, 12), crowding=15.0), 25),
    "crowd": (Kind(labels=(1, 3), label_shares=ALL_SCORED, copies=(60, 75), alarms=(0, 0), again=0.0), 20),
    "two scores": (Kind(score=one_of(0.25, 0.5)), 90),
    "one score, 0": (Kind(score=one_of(0.0)), 60),
    "one score, negative": (Kind(score=one_of(-3.5)), 60),
    "wild scores": (Kind(score=wild_score), 90),
    "duplicates": (Kind(again=0.7, twice=0.4, copies=(1, 1, 2, 3), noise=(0.0, 0.01)), 60),
    "flat": (Kind(flat=0.5, flat_label=0.15), 80),
    "half a box": (Kind(image_only=0.35, ground_only=0.3, image_only_label=0.1, regions=0.2), 80),
    "too low": (Kind(low=0.6, other_class=0.4), 80),
    "too low and crowded": (Kind(labels=(8, 16), crowding=30.0, low=0.6, noise=(0.0, 0.05, 0.1)), 40),
    "just at the overlap": (Kind(exact=True, noise=(0.0,), alarms=(1, 5), regions=0.7), 80),
    "neighbours": (Kind(label_shares=NEIGHBOURS_MOSTLY, twice=0.5, crowding=3.0), 80),
    "regions": (Kind(alarms=(2, 6), regions=1.0, solid_regions=0.3), 80),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", KINDS)
def test_agrees_with_the_rules_word_by_word(name: str, seed: int) -> None:
    kind, count = KINDS[name]
    labels, results = random_frames(count, [seed, *name.encode()], kind=kind)
    assert assert_agrees(labels, results) >= 54  # of 108 figures; else the frames decide nothing


def test_agrees_on_the_whole_of_a_large_set() -> None:
    assert assert_agrees(*random_frames(1000, 1000)) == 108


@pytest.mark.parametrize("seed", range(100, 200))
def test_agrees_on_few_frames(seed: int) -> None:
    """Few labels: recall steps that are never reached, classes that are not scored, frames with nothing."""
    assert_agrees(*random_frames(seed % 4, seed, empty_share=0.3))


def test_several_overlaps_at_once() -> None:
    labels, results = random_frames(60, 10)
    assert_agrees(labels, results, {"Car": (0.85, 0.5, 0.7), "Pedestrian": (0.25,), "Cyclist": (0.5, 0.6)})


def test_a_class_that_is_never_detected() -> None:
    labels, results = random_frames(60, 11)
    results = [[item for item in frame if item.type.lower() != "cyclist"] for frame in results]
    assert_agrees(labels, results)
    evaluation = evaluate(labels, results)
    assert {curve.class_name for curve in evaluation.curves} == {"Car", "Pedestrian"}


def test_one_detection_without_an_angle_leaves_out_the_orientation() -> None:
    labels, results = random_frames(60, 12)
    found = next(item for frame in results for item in frame)
    results[-1].append(replace(found, type="Truck", alpha=-10.0))
    assert_agrees(labels, results)
    evaluation = evaluate(labels, results)
    assert evaluation.curve("Car", "aos", "easy") is None
    assert evaluation.curve("Car", "2d", "easy") is not None
    assert "Car is not scored in aos: a result lacks its angle (alpha -10)" in evaluation.notes


@pytest.mark.parametrize("missing", ["bbox", "location"])
def test_a_class_without_usable_boxes_is_not_scored(missing: str) -> None:
    labels, results = random_frames(60, 13)
    change = {"bbox": (-1.0,) * 4} if missing == "bbox" else NO_BOX
    results = [[replace(item, **change) if item.type.lower() == "car" else item for item in frame] for frame in results]
    assert_agrees(labels, results)
    scored = {curve.metric for curve in evaluate(labels, results).curves if curve.class_name == "Car"}
    assert scored == ({"bev", "3d"} if missing == "bbox" else {"2d", "aos"})


@pytest.mark.parametrize("score", [one_of(1.0), lambda generator: float(generator.random())], ids=["equal", "random"])
def test_labels_as_results(score: Callable[[np.random.Generator], float]) -> None:
    generator = np.random.default_rng(14)
    labels, _ = random_frames(150, 14, empty_share=0.02)
    results = [[replace(item, score=score(generator)) for item in frame] for frame in labels]
    labels = [[replace(item, alpha=0.0) if item.alpha == -10.0 else item for item in frame] for frame in labels]
    results = [[replace(item, alpha=1.0) if item.alpha == -10.0 else item for item in frame] for frame in results]
    assert assert_agrees(labels, results) == 108


# ---------------------------------------------------------------------------------------------------- from files


def line_of(item: Label, generator: np.random.Generator) -> str:
    """A line such as any program might write: other numbers of decimals, exponents, more than one blank."""
    numbers = (item.alpha, *item.bbox, *item.dimensions, *item.location, item.rotation_y)
    fields = [item.type, f"{item.truncated:g}", str(item.occluded), *(f"{value:.2f}" for value in numbers)]
    if item.score is not None:
        fields.append(
            str(generator.choice((repr(item.score), f"{item.score:.17e}", f"{item.score:.3E}", f"{item.score:.40g}")))
        )
    return str(generator.choice((" ", " ", "  ", "\t"))).join(fields)


def write_frame(path: Path, items: list[Label], generator: np.random.Generator) -> list[Label]:
    """Write a file and return what stands in it, read by hand."""
    lines = [line_of(item, generator) for item in items]
    end = str(generator.choice(("\n", "\r\n")))
    last = end if generator.random() < 0.8 else ""
    path.write_bytes((end.join(lines) + last if lines else "").encode())
    read = []
    for line in lines:
        fields = line.split()
        truncated, alpha, *rest = (float(text) for text in (fields[1], *fields[3:]))
        x1, y1, x2, y2, height, width, length, x, y, z, turn, *score = rest
        size, place = (height, width, length), (x, y, z)
        score = score[0] if score else None
        read.append(Label(fields[0], truncated, int(fields[2]), alpha, (x1, y1, x2, y2), size, place, turn, score))
    return read


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("nested", [False, True])
def test_folders_agree_with_the_rules(tmp_path: Path, nested: bool, seed: int) -> None:
    """A third of the frames have no result file; some label and result files are empty."""
    generator = np.random.default_rng(seed)
    labels, results = random_frames(90, [15, seed], kind=Kind(image_only=0.1, empty=0.15))
    label_folder, result_folder = tmp_path / "label_2", tmp_path / "results"
    files = result_folder / "data" if nested else result_folder
    label_folder.mkdir()
    files.mkdir(parents=True)
    everything, with_file = [], []
    for index, (frame_labels, frame_results) in enumerate(zip(labels, results, strict=True)):
        read = write_frame(label_folder / f"{index:06d}.txt", frame_labels, generator)
        if generator.random() < 1 / 3:
            everything.append(Frame(read, []))
        else:
            with_file.append(Frame(read, write_frame(files / f"{index:06d}.txt", frame_results, generator)))
            everything.append(with_file[-1])
    assert 0 < len(with_file) < len(everything)
    assert_as_the_rules(evaluate(label_folder, result_folder), with_file)

    names = [f"{index:06d}" for index in range(len(labels))]
    assert_as_the_rules(evaluate(label_folder, result_folder, split=names), everything)
    chosen = sorted(generator.choice(len(labels), 40, replace=False).tolist())
    part = evaluate(label_folder, result_folder, split=[names[index] for index in chosen])
    assert_as_the_rules(part, [everything[index] for index in chosen])


# ------------------------------------------------------------------------- what must hold whatever the rules are


def assert_same(first: Evaluation, second: Evaluation) -> None:
    """The same counts and, but for the order in which similarities are summed, the same curves."""
    assert len(first.curves) == len(second.curves) > 0
    for a, b in zip(first.curves, second.curves, strict=True):
        assert (a.class_name, a.metric, a.iou, a.difficulty) == (b.class_name, b.metric, b.iou, b.difficulty)
        assert counts(a) == counts(b)
        np.testing.assert_allclose(a.precision, b.precision, rtol=0, atol=1e-12)


def counts(curve: Curve) -> list[tuple[int, int, int]]:
    found, false, false_negatives = curve.true_positives, curve.false_positives, curve.false_negatives
    return list(zip(found.tolist(), false.tolist(), false_negatives.tolist(), strict=True))


def test_the_order_of_frames_does_not_matter() -> None:
    labels, results = random_frames(200, 16)
    order = np.random.default_rng(0).permutation(len(labels))
    assert_same(
        evaluate([labels[index] for index in order], [results[index] for index in order]), evaluate(labels, results)
    )


def test_only_the_order_of_scores_matters() -> None:
    labels, results = random_frames(200, 17)
    ranks = {value: rank for rank, value in enumerate(sorted({item.score for frame in results for item in frame}))}
    ranked = [[replace(item, score=float(ranks[item.score]) - 100) for item in frame] for frame in results]
    assert_same(evaluate(labels, ranked), evaluate(labels, results))


def test_moving_everything_together_changes_nothing() -> None:
    """Each frame is turned and shifted on the ground, its DontCare regions with it."""
    labels, results = random_frames(200, 18, kind=Kind(solid_regions=1.0, image_only=0.0))
    generator = np.random.default_rng(0)
    turns, shifts = generator.uniform(-3, 3, len(labels)), generator.uniform(-30, 30, (len(labels), 3))

    def moved(frames: Frames) -> Frames:
        return [
            [move(item, turn, shift) for item in frame]
            for frame, turn, shift in zip(frames, turns, shifts, strict=True)
        ]

    def move(item: Label, turn: float, shift: np.ndarray) -> Label:
        x, y, z = item.location
        x, z = np.cos(turn) * x + np.sin(turn) * z, np.cos(turn) * z - np.sin(turn) * x
        location = (x + shift[0], y + shift[1], z + shift[2])
        return replace(item, location=tuple(map(float, location)), rotation_y=item.rotation_y + turn)

    assert_same(evaluate(moved(labels), moved(results)), evaluate(labels, results))


def test_one_more_detection_below_all_others_changes_no_count_above_it() -> None:
    labels, results = random_frames(200, 19)
    before = evaluate(labels, results)
    lowest = min(item.score for frame in results for item in frame)
    more, _ = random_frames(200, 20)
    added = [
        [
            replace(item, type=name, alpha=0.0, score=lowest - 1.0)
            for item, name in zip([*frame, *other], SIZES, strict=False)
        ]
        for frame, other in zip(labels, more, strict=True)
    ]
    after = evaluate(labels, [[*frame, *new] for frame, new in zip(results, added, strict=True)])
    compared = 0
    for a, b in zip(before.curves, after.curves, strict=True):
        at = dict(zip(b.thresholds.tolist(), counts(b), strict=True))
        for threshold, count in zip(a.thresholds.tolist(), counts(a), strict=True):
            if threshold in at:
                assert at[threshold] == count
                compared += 1
    assert compared > 36 * 20
