"""Figures as tables, JSON and CSV, and the comparison before and after refinement."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from lidar_ebm.data.kitti_files import write_labels, write_split
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation import (
    compare,
    comparison_table,
    evaluate,
    score,
    score_table,
    to_json,
    write_comparison_csv,
)
from lidar_ebm.evaluation.curves import REFINEMENT_OVERLAPS
from lidar_ebm.evaluation.result import Evaluation
from lidar_ebm.types import Label
from tests.evaluation.random_frames import random_frames


def text_of(table: Table) -> str:
    console = Console(width=80, no_color=True)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def refined(labels: list[list[Label]], noise: float) -> Evaluation:
    """Cars found at their labels' places but for some noise, at every overlap that refinement is judged by."""
    generator = np.random.default_rng(0)
    results = [
        [
            replace(item, location=tuple(np.array(item.location) + generator.normal(0, noise, 3)), score=0.5)
            for item in frame
            if item.type == "Car"
        ]
        for frame in labels
    ]
    return evaluate(labels, results, iou=REFINEMENT_OVERLAPS, classes=("Car",), metrics=("bev", "3d"))


def test_json_holds_every_figure_at_all_three_recalls() -> None:
    labels, results = random_frames(10, 20)
    evaluation = evaluate(labels, results, iou=(0.5, 0.7))
    content = json.loads(json.dumps(to_json(evaluation)))
    assert content["frames"] == 10
    assert len(content["ap"]) == 3 * len(evaluation.curves) == 3 * 3 * 4 * 2 * 3
    for record in content["ap"]:
        assert set(record) == {"class", "metric", "iou", "difficulty", "recall", "ap"}
        key = (record["class"], record["metric"], record["difficulty"], record["iou"], record["recall"])
        assert record["ap"] == evaluation.ap(*key)
    assert {record["recall"] for record in content["ap"]} == {"R40", "R11", "mean41"}


def test_table_shows_every_class_metric_and_difficulty() -> None:
    evaluation = evaluate(*random_frames(10, 21))
    text = text_of(score_table(evaluation, "R11"))
    assert "R11, 10 frames" in text
    for word in (
        "Car",
        "Pedestrian",
        "Cyclist",
        "2-D",
        "AOS",
        "BEV",
        "3-D",
        "0.70",
        "0.50",
        "Easy",
        "Moderate",
        "Hard",
    ):
        assert word in text
    assert f"{evaluation.ap('Cyclist', 'bev', 'hard', recall='R11'):.2f}" in text


def test_table_says_what_was_not_scored() -> None:
    text = text_of(score_table(evaluate([[]], [[]], classes=("Car",))))
    assert "Car is not scored in 3d" in text


def test_scoring_folders_writes_the_figures_asked_for(tmp_path: Path) -> None:
    labels, results = random_frames(6, 22)
    for index in range(6):
        write_labels(tmp_path / "label_2" / f"{index:06d}.txt", labels[index])
        write_labels(tmp_path / "results" / f"{index:06d}.txt", results[index])
    write_split(tmp_path / "some.txt", ["000001", "000002"])
    evaluation = score(
        tmp_path / "label_2", tmp_path / "results", json=tmp_path / "out" / "ap.json", csv=tmp_path / "out" / "ap.csv"
    )
    assert json.loads((tmp_path / "out" / "ap.json").read_text()) == to_json(evaluation)
    with (tmp_path / "out" / "ap.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["ap"]) for row in rows] == [record["ap"] for record in to_json(evaluation)["ap"]]
    assert score(tmp_path / "label_2", tmp_path / "results", split=tmp_path / "some.txt").frame_count == 2


def test_comparison_shows_before_and_after_with_the_mean_gain(tmp_path: Path) -> None:
    labels, _ = random_frames(60, 23, empty_share=0.0)
    before, after, same = refined(labels, 0.2), refined(labels, 0.05), refined(labels, 0.05)
    comparison = compare(before, after, name="points")
    gains = [
        after.ap("Car", metric, difficulty, iou) - before.ap("Car", metric, difficulty, iou)
        for metric in ("3d", "bev")
        for iou in REFINEMENT_OVERLAPS
        for difficulty in ("easy", "moderate", "hard")
    ]
    assert [change.gain for change in comparison.changes] == gains
    assert comparison.mean_gain() == pytest.approx(np.mean(gains))
    assert comparison.mean_gain("3d", "moderate") == pytest.approx(np.mean(gains[1:12:3]))
    assert comparison.mean_gain("3d") > 5.0
    assert compare(after, same).mean_gain() == 0.0

    text = text_of(comparison_table(comparison, compare(before, same, name="bev")))
    change = comparison.select("3d", "moderate", 0.8)[0]
    assert f"{change.before:.2f} → {change.after:.2f}" in text
    assert f"{comparison.mean_gain('3d', 'moderate'):+.2f}" in text
    assert text.count("gain") == 4
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "…" not in text

    write_comparison_csv(tmp_path / "gain.csv", comparison)
    with (tmp_path / "gain.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["gain"]) for row in rows] == pytest.approx(gains, abs=1e-4)
    assert rows[0]["name"] == "points"


def test_comparison_counts_a_class_without_detections_as_zero() -> None:
    labels, _ = random_frames(10, 24, empty_share=0.0)
    nothing = evaluate(labels, [[] for _ in labels], iou=REFINEMENT_OVERLAPS, classes=("Car",))
    assert all(change.before == 0.0 for change in compare(nothing, refined(labels, 0.0)).changes)


def test_comparison_of_what_cannot_be_compared_is_refused() -> None:
    labels, _ = random_frames(10, 25, empty_share=0.0)
    evaluation = refined(labels, 0.0)
    with pytest.raises(InputError, match="10 frames before and 9 after"):
        compare(evaluation, refined(labels[:9], 0.0))
    with pytest.raises(InputError, match=r"not evaluated in 3d at overlap 0\.9"):
        compare(evaluation, evaluation, ious=(0.9,))
