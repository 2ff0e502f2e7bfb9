"""Metrics files as curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.report.metrics import INDEX_COLUMNS, OTHER_COLUMNS, read_losses, read_metrics
from lidar_ebm.training.metrics import COLUMNS, LOSS_TERMS
from lidar_ebm.visualization.curve_plots import SCHEDULE_COLUMNS, TOTAL_COLUMN

HEADER = "step,epoch,stage,loss,energy,learning_rate\n"


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


def test_columns_are_read(tmp_path: Path) -> None:
    header = "step,epoch,stage,learning_rate,gradient_norm,seconds_per_step\n"
    rows = "1,0,detector,1e-3,4.0,0.2\n2,0,detector,2e-3,inf,0.1\n3,1,energy,1e-3,,0.1\n"
    file = metrics_file(tmp_path, header + rows)
    assert read_metrics(file, SCHEDULE_COLUMNS) == [
        ("detector", 1.0, {"learning_rate": 1e-3, "gradient_norm": 4.0, "seconds_per_step": 0.2}),
        ("detector", 2.0, {"learning_rate": 2e-3, "seconds_per_step": 0.1}),  # what is not finite is left out
        ("energy", 3.0, {"learning_rate": 1e-3, "seconds_per_step": 0.1}),
    ]
    with pytest.raises(InputError, match=r"metrics\.csv, line 4: learning_rate"):
        read_metrics(metrics_file(tmp_path, header + rows.replace("energy,1e-3", "energy,fast")), SCHEDULE_COLUMNS)


def test_every_column_that_training_writes_is_known() -> None:
    assert {*INDEX_COLUMNS, *OTHER_COLUMNS, TOTAL_COLUMN, *LOSS_TERMS} == set(COLUMNS)


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
        read_losses(metrics_file(tmp_path, text))
    assert "metrics.csv" in str(error.value)


def test_a_missing_metrics_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"metrics\.csv"):
        read_losses(tmp_path / "metrics.csv")
