"""Pictures of evaluations and comparisons."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lidar_ebm.errors import InputError, OutputError
from lidar_ebm.evaluation.paired_result import PairedComparison
from lidar_ebm.evaluation.result import Evaluation
from lidar_ebm.evaluation.table import operating_point
from lidar_ebm.visualization import score_plots
from lidar_ebm.visualization.score_plots import plot_paired, plot_scores
from tests.evaluation.made_evaluations import made_comparison, made_curve, made_evaluation

BANDS = ((0.0, 20.0), (20.0, 40.0), (40.0, math.inf))


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def assert_drawn(path: Path) -> None:
    """Something is there, and nothing runs into the picture's edge."""
    content = pixels(path)
    assert len(np.unique(content.reshape(-1, 3), axis=0)) > 10
    edge = np.concatenate((content[:2].reshape(-1, 3), content[-2:].reshape(-1, 3)))
    edge = np.concatenate((edge, content[:, :2].reshape(-1, 3), content[:, -2:].reshape(-1, 3)))
    assert (edge == 255).all()


def test_each_class_gets_its_pictures(tmp_path: Path) -> None:
    evaluation = made_evaluation(classes=("Car", "Cyclist"), bands=BANDS)
    written = plot_scores(evaluation, tmp_path / "plots")
    kinds = ("precision_recall", "orientation", "distance")
    assert [path.name for path in written] == [f"{name}_{kind}.png" for name in ("car", "cyclist") for kind in kinds]
    assert sorted(written) == sorted((tmp_path / "plots").iterdir())  # no temporary file stays
    for path in written:
        assert_drawn(path)


def test_what_was_not_scored_has_no_picture(tmp_path: Path) -> None:
    evaluation = made_evaluation(classes=("Car",), metrics=("bev", "3d"))
    assert [path.name for path in plot_scores(evaluation, tmp_path)] == ["car_precision_recall.png"]
    assert plot_scores(Evaluation((), 0), tmp_path / "empty") == []


def test_overlaps_stand_below_one_another_and_metrics_side_by_side(tmp_path: Path) -> None:
    sizes = {}
    for metrics, ious in ((("3d",), (0.7,)), (("bev", "3d"), (0.7,)), (("3d",), (0.5, 0.7))):
        evaluation = made_evaluation(classes=("Car",), metrics=metrics, ious=ious)
        (path,) = plot_scores(evaluation, tmp_path)
        assert_drawn(path)
        sizes[metrics, ious] = pixels(path).shape[:2]
    (height, width), wide, high = sizes.values()
    assert wide == (height, 2 * width)
    assert high[1] == width
    assert 1.8 * height < high[0] < 2 * height


def test_metrics_of_different_overlaps_share_a_picture(tmp_path: Path) -> None:
    curves = [
        *made_evaluation(classes=("Car",), metrics=("2d",)).curves,
        *made_evaluation(classes=("Car",), metrics=("3d",), ious=(0.5, 0.7)).curves,
    ]
    (path,) = plot_scores(Evaluation(tuple(curves), 10), tmp_path)
    assert_drawn(path)
    content = pixels(path)
    height, width, _ = content.shape
    # Below the only panel of 2-D nothing is drawn, no empty axes either.
    assert (content[height * 11 // 20 :, : width * 45 // 100] == 255).all()
    assert (content[height * 11 // 20 :, width // 2 :] != 255).any()


@pytest.mark.parametrize("label_count", [0, 1, 5])
def test_hardly_any_labels_or_detections(tmp_path: Path, label_count: int) -> None:
    generator = np.random.default_rng(0)
    curves, bands = [], []
    for metric in ("2d", "aos"):
        curve = made_curve(generator, "a/b c", metric, 0.7, "far", label_count=label_count)
        curves.append(replace(curve, best=None) if metric == "2d" else curve)
        bands += [
            made_curve(generator, "a/b c", metric, 0.7, "far", distance=band, label_count=label_count) for band in BANDS
        ]
    written = plot_scores(Evaluation(tuple(curves), 2, bands=tuple(bands)), tmp_path)
    assert [path.name for path in written] == [
        "a_b_c_precision_recall.png",
        "a_b_c_orientation.png",
        "a_b_c_distance.png",
    ]
    for path in written:
        assert_drawn(path)


def test_the_best_point_is_marked(tmp_path: Path) -> None:
    evaluation = made_evaluation(classes=("Car",), metrics=("3d",))
    unmarked = replace(evaluation, curves=tuple(replace(curve, best=None) for curve in evaluation.curves))
    (first,) = plot_scores(evaluation, tmp_path / "marked")
    (second,) = plot_scores(unmarked, tmp_path / "unmarked")
    assert (pixels(first) != pixels(second)).any()


def test_curves_stand_at_the_recall_that_was_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not at the threshold's number over 40, which for few labels is another: all of 7 labels found is recall 1."""
    curve = made_curve(np.random.default_rng(0), "Car", "3d", 0.7, "far", label_count=7)
    counts, nothing = np.arange(1, 8), np.zeros(7, dtype=np.int64)
    perfect = replace(curve, true_positives=counts, false_positives=nothing, false_negatives=7 - counts)
    best = replace(operating_point(curve), true_positives=7, false_positives=0, false_negatives=0)
    precision = (np.arange(41) < 7).astype(float)
    perfect = replace(perfect, thresholds=np.linspace(1, 0, 7), precision=precision, best=best)
    drawn = []
    monkeypatch.setattr(score_plots, "draw_precision_recall", lambda axes, lines, **_: drawn.extend(lines))
    plot_scores(Evaluation((perfect, curve, curve), 1), tmp_path)
    line, _, _ = drawn
    np.testing.assert_allclose(line.recall, np.arange(8) / 7)
    np.testing.assert_array_equal(line.precision, np.ones(8))
    assert line.best == (1.0, 1.0)
    assert line.name == "far 15.00†"


def test_a_comparison_has_a_row_for_each_difference(tmp_path: Path) -> None:
    comparison = made_comparison()
    path = plot_paired(comparison, tmp_path / "out" / "paired.png")
    assert_drawn(path)
    few = replace(comparison, differences=comparison.differences[:9], names=("long/" * 60, "$a_{$"))
    small = plot_paired(few, tmp_path / "few.png", "mean41")
    assert_drawn(small)
    rows = pixels(path).shape[0] - pixels(small).shape[0]
    assert rows % (36 - 3) == 0
    with pytest.raises(InputError, match="R20"):
        plot_paired(comparison, tmp_path / "none.png", "R20")
    assert not (tmp_path / "none.png").exists()


def test_a_comparison_without_figures_is_drawn_too(tmp_path: Path) -> None:
    nothing = PairedComparison((), 0, 10, 0.95, ("A", "B"))
    assert plot_paired(nothing, tmp_path / "empty.png").exists()
    first = made_comparison().differences[0]
    unknown = replace(first, a=math.nan, low=math.nan, high=math.nan)
    assert_drawn(plot_paired(replace(nothing, differences=(unknown,)), tmp_path / "unknown.png"))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        plot_scores(made_evaluation(classes=("Car",), metrics=("3d",)), tmp_path / "file")
