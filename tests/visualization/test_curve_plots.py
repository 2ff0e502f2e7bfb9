from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lidar_ebm.evaluation.curves import Change, Comparison
from lidar_ebm.report.metrics import read_losses
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.curve_plots import (
    PrecisionRecallCurve,
    headline_difficulty,
    plot_ap_against_steps,
    plot_ap_before_after,
    plot_losses,
    plot_precision_recall,
    plot_schedule,
    smooth,
)

HEADER = "step,epoch,stage,loss,energy,learning_rate\n"


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 10
        return picture.size


def metrics_file(folder: Path, text: str) -> Path:
    path = folder / "metrics.csv"
    path.write_text(text)
    return path


def test_a_panel_a_stage(tmp_path: Path) -> None:
    rows = [f"{i},0,detector,{4 * 0.9**i},,1e-3\n" for i in range(200)] + ["200,1,energy,-1.5,-1.5,1e-3\n"]
    curves = read_losses(metrics_file(tmp_path, HEADER + "".join(rows)))
    assert size_of(plot_losses(curves, tmp_path / "losses.png")) == (1300, 480)
    assert size_of(plot_losses(curves, tmp_path / "small.png", size=(600, 300))) == (600, 300)


@pytest.mark.parametrize("window", [0, 1, 4, 5, 100])
@pytest.mark.parametrize("count", [1, 2, 30])
def test_smoothing_keeps_a_constant_and_stays_within_the_values(window: int, count: int) -> None:
    np.testing.assert_allclose(smooth(np.full(count, 3.0), window), 3.0)
    values = np.random.default_rng(0).normal(size=count)
    smoothed = smooth(values, window)
    assert smoothed.shape == (count,)
    assert smoothed.min() >= values.min() - 1e-12
    assert smoothed.max() <= values.max() + 1e-12


def test_smoothing_is_the_mean_of_the_neighbours() -> None:
    values = np.arange(9.0) ** 2
    np.testing.assert_allclose(smooth(values, 3)[4], values[3:6].mean())
    np.testing.assert_allclose(smooth(values, 3)[0], values[:2].mean())


def test_the_schedule_has_a_panel_for_each_column(tmp_path: Path) -> None:
    rows = [("detector", 1.0, {"learning_rate": 1e-3, "gradient_norm": 4.0}), ("energy", 2.0, {"learning_rate": 1e-3})]
    assert size_of(plot_schedule(rows, tmp_path / "schedule.png")) == (1300, 400)


@pytest.mark.parametrize(("names", "headline"), [("abc", "b"), ("a", "a"), ("ab", "b"), ("", None)])
def test_the_middle_difficulty_stands_for_all(names: str, headline: str | None) -> None:
    changes = tuple(Change("3d", 0.7, name, 1.0, 2.0) for name in names * 2)
    assert headline_difficulty(Comparison("x", "forklift", "R40", changes)) == headline


def test_ap_against_steps(tmp_path: Path) -> None:
    path = tmp_path / "steps.png"
    lines = {f"IoU {iou}": [50.0, 51.0, float("nan")] for iou in np.linspace(0.5, 0.95, 9)}
    assert size_of(plot_ap_against_steps([0, 5, 10], lines, path, title="Car", size=(700, 400))) == (700, 400)
    plot_ap_against_steps([], {}, path)
    with pytest.raises(ValueError, match=r"0\.7: 1 values for 2"):
        plot_ap_against_steps([0, 5], {"0.7": [1.0]}, path)


def test_ap_before_and_after(tmp_path: Path) -> None:
    path = tmp_path / "bars.png"
    plot_ap_before_after([0.7, 0.75, 0.8, 0.85], [80, 60, 0.0, np.nan], [81, 59, 0.0, np.nan], path)
    assert size_of(path) == (800, 520)
    with pytest.raises(ValueError, match="1 values before"):
        plot_ap_before_after([0.7, 0.75], [80], [81, 59], path)


def test_precision_recall(tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    recall = np.linspace(0, 1, 41)
    curves = [
        PrecisionRecallCurve("before", recall, 1 - recall**2, palette.BEFORE, "dashed"),
        PrecisionRecallCurve("after", recall, 1 - recall**4, best=(0.6, 0.87)),
    ]
    assert size_of(plot_precision_recall(curves, path)) == (760, 560)
    plot_precision_recall([], path)
    with pytest.raises(ValueError, match="after"):
        plot_precision_recall([PrecisionRecallCurve("after", recall, recall[:3])], path)


def test_a_picture_needs_a_size() -> None:
    with pytest.raises(ValueError, match="size"):
        palette.new_figure((0, 100))
