"""Comparisons of two result sets: what is equal, what is better, and what is chance."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.limits import Difficulty
from lidar_ebm.evaluation.paired import compare_results
from lidar_ebm.evaluation.scoring import evaluate
from lidar_ebm.formats.kitti.files import write_labels
from lidar_ebm.formats.kitti.label import Label
from tests.evaluation.kitti.random_frames import random_frames

Frames = list[list[Label]]


def found(labels: Frames, noise: float, seed: int) -> Frames:
    """Cars found at their labels' places but for some noise, with scores that say little."""
    generator = np.random.default_rng(seed)
    return [
        [
            replace(
                item,
                location=tuple(np.array(item.location) + generator.normal(0, noise, 3)),
                alpha=0.1,  # some labels lack it
                score=float(generator.random()),
            )
            for item in frame
            if item.type == "Car"
        ]
        for frame in labels
    ]


@pytest.fixture(scope="module")
def labels() -> Frames:
    return random_frames(150, 50, empty_share=0.0)[0]


def test_figures_are_those_of_evaluate(labels: Frames) -> None:
    a, b = found(labels, 0.1, 1), random_frames(150, 50, empty_share=0.0)[1]
    comparison = compare_results(labels, a, b, resamples=20)
    scores = [evaluate(labels, results) for results in (a, b)]
    for item in comparison.differences:
        key = (item.class_name, item.metric, item.difficulty, item.iou, item.recall)
        assert [item.a, item.b] == pytest.approx([each.ap(*key) for each in scores], abs=1e-9, nan_ok=True)
        assert item.low <= item.high or math.isnan(item.a + item.b)
    assert comparison.frame_count == 150
    assert len(comparison.differences) == 3 * 4 * 3 * 3


def test_equal_sets_differ_by_nothing(labels: Frames) -> None:
    a = found(labels, 0.1, 1)
    for item in compare_results(labels, a, a, classes=("Car",), resamples=30).differences:
        assert item.difference == item.low == item.high == 0.0
        assert not item.significant


def test_a_clear_gain_is_told_from_chance(labels: Frames) -> None:
    worse, better, other = found(labels, 0.3, 1), found(labels, 0.05, 2), found(labels, 0.05, 3)
    options = {"classes": ("Car",), "metrics": ("3d",), "resamples": 200}
    gain = compare_results(labels, worse, better, **options).differences
    assert all(item.significant and item.low < item.difference < item.high for item in gain)
    loss = compare_results(labels, better, worse, **options).differences
    assert [item.low for item in loss] == pytest.approx([-item.high for item in gain])
    assert [item.high for item in loss] == pytest.approx([-item.low for item in gain])
    chance = compare_results(labels, other, better, **options).differences
    assert sum(item.significant for item in chance) < len(chance) / 2


def test_intervals_grow_with_confidence_and_depend_on_the_seed_alone(labels: Frames) -> None:
    a, b = found(labels, 0.15, 1), found(labels, 0.1, 2)
    options = {"classes": ("Car",), "metrics": ("3d",), "resamples": 120}
    first, again, narrow, other = (
        compare_results(labels, a, b, **options, **more).differences
        for more in ({}, {}, {"confidence": 0.5}, {"seed": 1})
    )
    assert first == again
    assert first != other
    for item, within in zip(first, narrow, strict=True):
        assert item.low < within.low < within.high < item.high


def test_what_only_one_set_has_is_no_loss_of_the_other(labels: Frames) -> None:
    both = found(labels, 0.0, 1)
    comparison = compare_results(labels, [[] for _ in labels], both, classes=("Car", "Cyclist"), resamples=10)
    assert len(comparison.differences) == 4 * 3 * 3  # the cars'; neither has a cyclist
    for item in comparison.differences:
        assert math.isnan(item.a)
        assert math.isnan(item.low)
        assert item.b > 10.0
        assert not item.significant
    nothing = "Cyclist is not scored: there are no results of this class"
    assert comparison.notes == (nothing, "A: Car is not scored: there are no results of this class")

    angleless = [[replace(item, alpha=-10.0) for item in frame] for frame in both]
    notes = compare_results(labels, both, angleless, classes=("Car",), resamples=10).notes
    assert notes == ("B: Car is not scored in aos: a result lacks its angle (alpha -10)",)


def test_departures_from_the_rules_are_noted(labels: Frames) -> None:
    a = found(labels, 0.1, 1)
    limits = (Difficulty("tall", min_height=40),)
    notes = compare_results(labels, a, a, classes=("Car",), iou=0.5, difficulties=limits, resamples=10).notes
    assert notes == ("iou: overlaps other than KITTI's own, as the column says", "difficulties: tall: height ≥ 40 px")


def test_folders_must_hold_the_same_frames(labels: Frames, tmp_path: Path) -> None:
    a = found(labels, 0.1, 1)
    for index in range(6):
        write_labels(tmp_path / "label_2" / f"{index:06d}.txt", labels[index])
        write_labels(tmp_path / "a" / f"{index:06d}.txt", a[index])
        if index != 4:
            write_labels(tmp_path / "b" / "data" / f"{index:06d}.txt", a[index])
    with pytest.raises(InputError, match=r"b: 1 frames of the other results .*000004"):
        compare_results(tmp_path / "label_2", tmp_path / "a", tmp_path / "b")
    names = [f"{index:06d}" for index in range(6)]
    comparison = compare_results(tmp_path / "label_2", tmp_path / "a", tmp_path / "b", split=names, resamples=10)
    assert comparison.frame_count == 6
    assert comparison.names == (str(tmp_path / "a"), str(tmp_path / "b"))
    assert any(note.startswith("B: split: 1 frame ") for note in comparison.notes)


def test_what_cannot_be_resampled_is_refused(labels: Frames) -> None:
    a = found(labels, 0.1, 1)
    with pytest.raises(InputError, match="resamples 0"):
        compare_results(labels, a, a, resamples=0)
    with pytest.raises(InputError, match=r"confidence 95\.0"):
        compare_results(labels, a, a, confidence=95.0)
    with pytest.raises(InputError, match="seed -1"):
        compare_results(labels, a, a, seed=-1)
    with pytest.raises(InputError, match="no frames"):
        compare_results([], [], [])
