"""Figures as tables, JSON and CSV, and the comparison before and after refinement."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console, RenderableType

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation import (
    compare_evaluations,
    comparison_table,
    evaluate,
    score_table,
    to_json,
    write_comparison_csv,
)
from lidar_ebm.evaluation.curves import REFINEMENT_OVERLAPS
from lidar_ebm.evaluation.kitti.matching import recall_thresholds
from lidar_ebm.evaluation.result import Evaluation
from lidar_ebm.evaluation.table import (
    distance_table,
    matches_table,
    operating_point,
    overlap_text,
    write_csv,
    write_scores_json,
)
from lidar_ebm.formats.kitti.files import write_labels, write_split
from lidar_ebm.formats.kitti.label import Label
from lidar_ebm.workflows.score import score
from tests.evaluation.kitti.random_frames import random_frames
from tests.evaluation.made_evaluations import made_curve, made_evaluation

BANDS = ((0.0, 20.0), (20.0, 40.0), (40.0, math.inf))


def text_of(table: RenderableType) -> str:
    console = Console(width=80, no_color=True)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def assert_fits(text: str) -> None:
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "…" not in text  # nothing was cut off


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
    assert "R40, 1 frame " in text_of(score_table(evaluate(*random_frames(1, 21))))
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


def test_the_users_names_are_shown_as_they_stand() -> None:
    names = ("[/b]", "[red]x", "Near", "moderate")
    evaluation = made_evaluation(classes=("[bold]Car",), metrics=("3d",), difficulties=names, bands=BANDS)
    text = text_of(score_table(evaluation))
    for word in (*names[:-1], "Moderate", "[bold]Car", "in percent"):
        assert word in text
    (band,) = (curve for curve in evaluation.bands if (curve.difficulty, curve.distance) == ("[/b]", BANDS[0]))
    for table in (distance_table(Evaluation((), 1, bands=(band,))), matches_table(evaluation)):
        assert table is not None
        assert "[bold]Car" in text_of(table)
    (curve,) = (curve for curve in evaluation.curves if curve.difficulty == "[/b]")
    found = matches_table(Evaluation((curve,), 1))
    assert found is not None
    assert text_of(found).count("[/b]") == 2


@pytest.mark.parametrize(("iou", "text"), [(0.7, "0.70"), (0.705, "0.705"), (0.999, "0.999"), (1 / 3, "0.333333")])
def test_overlaps_are_shown_as_they_are(iou: float, text: str) -> None:
    assert overlap_text(iou) == text
    evaluation = made_evaluation(classes=("Car",), metrics=("3d",), ious=(iou,), bands=BANDS)
    for table in (score_table(evaluation), distance_table(evaluation), matches_table(evaluation)):
        assert table is not None
        assert f" {text} " in text_of(table)


@pytest.mark.parametrize("count", [1, 7, 39, 40, 41, 42, 100])
def test_figures_of_few_labels_are_marked_where_perfect_results_have_no_ap_of_100(count: int) -> None:
    generator = np.random.default_rng(0)
    thresholds = recall_thresholds(np.linspace(1, 0, count), count)
    precision = np.zeros(41)
    precision[: len(thresholds)] = 1.0
    curve = replace(
        made_curve(generator, "Car", "3d", 0.7, "all", distance=BANDS[0], label_count=count), precision=precision
    )
    few = count < 41
    assert (curve.ap() < 100.0) is few
    assert curve.ap() == pytest.approx(100.0 * min(count - 1, 40) / 40)
    for table in (score_table(Evaluation((curve,), 1)), distance_table(Evaluation((), 1, bands=(curve,)))):
        assert table is not None
        text = text_of(table)
        assert (f" {curve.ap():.2f}†" in text) is few
        assert ("† fewer than 41 labels: AP cannot reach 100 there." in text) is few
        assert f" {curve.ap():.2f}" in text


def test_table_says_what_was_not_scored() -> None:
    text = text_of(score_table(evaluate([[]], [[]], classes=("Car",))))
    assert "Car is not scored" in text


def test_notes_are_readable_below_however_narrow_a_table() -> None:
    notes = (
        "difficulty: near: distance < 30 m, points ≥ 5; far: no limits",
        "read [strictly] as it stands, with [0, 20) in it",
    )
    for evaluation in (
        Evaluation((), 1, notes=notes),
        made_evaluation(classes=("Car",), metrics=("3d",), difficulties=("far",), notes=notes),
        made_evaluation(notes=notes),
    ):
        text = text_of(score_table(evaluation))
        assert_fits(text)
        below = " ".join(text.split("Note: ", 1)[1].split())  # lines may break between words
        assert below == " Note: ".join(notes)
        assert len(text[text.index("Note: ") :].splitlines()) <= 4


def test_distance_table_shows_each_band_and_its_labels() -> None:
    evaluation = made_evaluation(bands=BANDS)
    table = distance_table(evaluation, "R11")
    assert table is not None
    text = text_of(table)
    assert_fits(text)
    for word in ("R11", "moderate", "0–20 m", "20–40 m", "from 40 m"):
        assert word in text
    for band in BANDS:
        found = [curve for curve in evaluation.bands if curve.difficulty == "moderate" and curve.distance == band]
        assert len(found) == 12
        for curve in found:
            assert f"{curve.ap('R11'):.2f}" in text
            assert f" {curve.label_count} " in text
    assert distance_table(made_evaluation()) is None


def test_distance_table_has_no_figure_for_a_band_without_labels() -> None:
    generator = np.random.default_rng(0)
    curves = [
        made_curve(generator, "Car", "3d", 0.7, "far", distance=band, label_count=count)
        for band, count in zip(BANDS, (0, 7, 100), strict=True)
    ]
    table = distance_table(Evaluation((), 3, bands=tuple(curves)))
    assert table is not None
    labels, figures = (line.split() for line in text_of(table).splitlines()[4:6])
    assert labels == ["Car", "labels", "0", "7", "100"]
    assert figures == ["3-D", "0.70", "–", f"{curves[1].ap():.2f}†", f"{curves[2].ap():.2f}"]


def test_matches_are_counted_at_the_best_f1() -> None:
    evaluation = made_evaluation()
    table = matches_table(evaluation)
    assert table is not None
    text = text_of(table)
    assert_fits(text)
    assert "moderate" in text
    assert " ".join(text.split()).count("AOS") == text.count("AOS has") == 1  # it stands in no row
    rows = [line.split()[-9:] for line in text.splitlines() if " 0.70 " in line or " 0.50 " in line]
    curves = [curve for curve in evaluation.curves if curve.difficulty == "moderate" and curve.metric != "aos"]
    assert len(rows) == 2 * len(curves) == 18
    for curve, counts, errors in zip(curves, rows[:9], rows[9:], strict=True):
        best = curve.best
        assert best is not None
        assert counts[2:] == [
            f"{best.score:.3f}",
            str(best.true_positives),
            str(best.false_positives),
            str(best.false_negatives),
            f"{best.precision:.3f}",
            f"{best.recall:.3f}",
            f"{best.f1:.3f}",
        ]
        assert errors[-5:] == [
            f"{best.overlap:.3f}",
            f"{best.center_error:.3f}",
            f"{best.size_error:.3f}",
            f"{math.degrees(best.yaw_error):.2f}",
            f"{100 * best.flipped:.1f}",
        ]
    assert matches_table(made_evaluation(metrics=("aos",))) is None
    assert matches_table(Evaluation((), 0)) is None


def test_wide_counts_still_fit() -> None:
    evaluation = made_evaluation(classes=("Person_sitting",), difficulties=("easy", "hard"))
    curves = []
    for curve in evaluation.curves:
        best = replace(operating_point(curve), score=-12.3456, true_positives=98765, false_positives=123456)
        curves.append(replace(curve, best=best))
    table = matches_table(replace(evaluation, curves=tuple(curves)))
    assert table is not None
    text = text_of(table)
    assert "hard" in text  # the last, for there is no moderate
    assert_fits(text)


def test_a_class_that_nothing_was_found_of_is_all_missed() -> None:
    curve = made_curve(np.random.default_rng(0), "Car", "3d", 0.7, "moderate", label_count=3)
    evaluation = Evaluation((replace(curve, best=None),), 2)
    table = matches_table(evaluation)
    assert table is not None
    counts, errors = (line.split() for line in text_of(table).splitlines() if " 0.70 " in line)
    assert counts[3:] == ["–", "0", "0", "3", "0.000", "0.000", "0.000"]
    assert errors[3:] == ["–"] * 5
    (record,) = to_json(evaluation)["matches"]
    assert (record["true"], record["false"], record["missed"], record["f1"]) == (0, 0, 3, 0.0)
    errors_and_score = ("score", "mean_iou", "center_error", "size_error", "yaw_error", "flipped")
    assert [record[key] for key in errors_and_score] == [None] * 6


def test_json_is_valid_and_whole(tmp_path: Path) -> None:
    evaluation = made_evaluation(bands=BANDS, notes=("a note",))
    broken = replace(operating_point(evaluation.curves[0]), center_error=math.nan, size_error=math.nan)
    evaluation = replace(evaluation, curves=(replace(evaluation.curves[0], best=broken), *evaluation.curves[1:]))
    write_scores_json(tmp_path / "ap.json", evaluation)

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    content = json.loads((tmp_path / "ap.json").read_text(), parse_constant=refuse)
    assert content == to_json(evaluation)
    assert list(content) == ["ap", "frames", "notes", "distance", "matches", "curves"]
    assert content["notes"] == ["a note"]
    assert len(content["ap"]) == 108
    assert len(content["distance"]) == 3 * len(BANDS) * 36
    last = content["distance"][-1]
    assert {*last} == {*content["ap"][0], "from", "to", "labels"}
    assert (last["from"], last["to"], last["recall"]) == (40.0, None, "mean41")
    assert (last["ap"], last["labels"]) == (evaluation.bands[-1].ap("mean41"), evaluation.bands[-1].label_count)

    assert [record["metric"] for record in content["matches"][:9:3]] == ["2d", "bev", "3d"]
    first = content["matches"][0]
    assert (first["center_error"], first["size_error"], first["yaw_error"]) == (None, None, broken.yaw_error)
    assert (first["precision"], first["recall"], first["f1"]) == (broken.precision, broken.recall, broken.f1)

    for curve, record in zip(evaluation.curves, content["curves"], strict=True):
        key = (record["class"], record["metric"], record["iou"], record["difficulty"])
        assert key == (curve.class_name, curve.metric, curve.iou, curve.difficulty)
        assert record["labels"] == curve.label_count
        np.testing.assert_array_equal(record["precision"], curve.precision)
        np.testing.assert_array_equal(record["thresholds"], curve.thresholds)
        for name, counts in (
            ("true", curve.true_positives),
            ("false", curve.false_positives),
            ("missed", curve.false_negatives),
        ):
            np.testing.assert_array_equal(record[name], counts)


def test_csv_has_distance_bands_below_the_figures(tmp_path: Path) -> None:
    evaluation = made_evaluation(bands=BANDS)
    write_csv(tmp_path / "ap.csv", evaluation)
    text = (tmp_path / "ap.csv").read_text()
    assert text.startswith("class,metric,iou,difficulty,recall,ap,from,to\n")
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == 108 + 3 * 108
    assert {(row["from"], row["to"]) for row in rows[:108]} == {("", "")}
    assert {(row["from"], row["to"]) for row in rows[108:]} == {("0.0", "20.0"), ("20.0", "40.0"), ("40.0", "")}
    assert [float(row["ap"]) for row in rows[108:111]] == [
        evaluation.bands[0].ap(recall) for recall in ("R40", "R11", "mean41")
    ]


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
    comparison = compare_evaluations(before, after, class_name="Car", name="points")
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
    assert compare_evaluations(after, same, class_name="Car").mean_gain() == 0.0

    text = text_of(comparison_table(comparison, compare_evaluations(before, same, class_name="Car", name="bev")))
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
    assert all(
        change.before == 0.0 for change in compare_evaluations(nothing, refined(labels, 0.0), class_name="Car").changes
    )


def test_comparison_of_what_cannot_be_compared_is_refused() -> None:
    labels, _ = random_frames(10, 25, empty_share=0.0)
    evaluation = refined(labels, 0.0)
    with pytest.raises(InputError, match="10 frames before and 9 after"):
        compare_evaluations(evaluation, refined(labels[:9], 0.0), class_name="Car")
    with pytest.raises(InputError, match=r"not evaluated in 3d at overlap 0\.9"):
        compare_evaluations(evaluation, evaluation, class_name="Car", ious=(0.9,))
