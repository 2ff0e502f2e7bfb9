from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lidar_ebm.errors import InputError
from lidar_ebm.training.metrics import COLUMNS, LOSS_TERMS
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.curve_plots import (
    INDEX_COLUMNS,
    OTHER_COLUMNS,
    TOTAL_COLUMN,
    PrecisionRecallCurve,
    plot_ap_against_steps,
    plot_ap_before_after,
    plot_losses,
    plot_precision_recall,
    plot_schedule,
    read_losses,
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


def test_losses_are_read_by_stage_and_term(tmp_path: Path) -> None:
    rows = "1,0,detector,4.0,,1e-3\n2,0,detector,nan,,1e-3\n3,0,detector,2.0,,1e-3\n\n4,0,energy,1.5,1.5,1e-3\n"
    curves = read_losses(metrics_file(tmp_path, HEADER + rows))
    assert [(curve.stage, curve.term) for curve in curves] == [
        ("detector", "loss"),
        ("energy", "loss"),
        ("energy", "energy"),
    ]
    np.testing.assert_array_equal(curves[0].steps, [1, 3])  # the NaN is left out
    np.testing.assert_array_equal(curves[0].values, [4, 2])


def test_the_schedule_has_a_panel_for_each_column(tmp_path: Path) -> None:
    header = "step,epoch,stage,learning_rate,gradient_norm,seconds_per_step\n"
    rows = "1,0,detector,1e-3,4.0,0.2\n2,0,detector,2e-3,inf,0.1\n3,1,energy,1e-3,,0.1\n"
    file = metrics_file(tmp_path, header + rows)
    assert size_of(plot_schedule(file, tmp_path / "schedule.png")) == (1300, 400)
    with pytest.raises(InputError, match=r"metrics\.csv, line 4: learning_rate"):
        plot_schedule(metrics_file(tmp_path, header + rows.replace("energy,1e-3", "energy,fast")), tmp_path / "b.png")


def test_every_column_that_training_writes_is_known() -> None:
    assert {*INDEX_COLUMNS, *OTHER_COLUMNS, TOTAL_COLUMN, *LOSS_TERMS} == set(COLUMNS)


def test_a_panel_a_stage(tmp_path: Path) -> None:
    rows = [f"{i},0,detector,{4 * 0.9**i},,1e-3\n" for i in range(200)] + ["200,1,energy,-1.5,-1.5,1e-3\n"]
    metrics = metrics_file(tmp_path, HEADER + "".join(rows))
    assert size_of(plot_losses(metrics, tmp_path / "losses.png")) == (1300, 480)
    assert size_of(plot_losses(metrics, tmp_path / "small.png", size=(600, 300))) == (600, 300)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("step,loss\n1,2\n", "lacks stage"),
        (HEADER, "no rows"),
        (HEADER + "1,0,detector,,,1e-3\n", "no value of any loss"),
        (HEADER + "1,0,detector,2.0,,1e-3\n2,0,detector,oops,,1e-3\n", "line 3: loss is 'oops'"),
        (HEADER + ",0,detector,2.0,,1e-3\n", "line 2: step is ''"),
    ],
)
def test_an_unusable_metrics_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        plot_losses(metrics_file(tmp_path, text), tmp_path / "losses.png")
    assert "metrics.csv" in str(error.value)
    assert not (tmp_path / "losses.png").exists()


def test_a_missing_metrics_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"metrics\.csv"):
        read_losses(tmp_path / "metrics.csv")


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
