"""The metrics CSV that training writes, as curves."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.visualization.curve_plots import LossCurve

# Columns of a metrics file that are no losses: where a row stands in training, and how training went.
INDEX_COLUMNS = ("step", "epoch", "stage")
OTHER_COLUMNS = (
    "learning_rate",
    "gradient_norm",
    "seconds_per_step",
    "data_seconds",
    "memory_mb",
    "skipped",
    "ap_before",
    "ap_after",
)


def read_losses(path: str | os.PathLike[str]) -> list[LossCurve]:
    """Read the loss terms of a metrics CSV, by stage and term in the order in which the file has them.

    The file has a header; `step` and `stage` are needed, `epoch` and `OTHER_COLUMNS` are passed over, every other
    column is a loss term. A field may be empty (a term that a row does not have); values that are not finite are left
    out.

    Raises:
        InputError: the file is missing, is empty, lacks a column, or has a field that is no number.
    """
    path = Path(path)
    columns, rows = _read_rows(path)
    terms = [column for column in columns if column not in (*INDEX_COLUMNS, *OTHER_COLUMNS)]
    by_term: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for line, row in rows:
        step = _number(path, line, "step", row["step"])
        for term in terms:
            if row[term]:
                value = _number(path, line, term, row[term])
                if math.isfinite(value):
                    by_term.setdefault((row["stage"], term), []).append((step, value))
    if not by_term:
        raise InputError(
            f"{path}: has no value of any loss (columns {', '.join(columns)}). Name a complete metrics CSV."
        )
    curves = []
    for (stage, term), pairs in by_term.items():
        steps, values = np.array(pairs).T
        curves.append(LossCurve(stage, term, steps, values))
    return curves


def read_metrics(path: Path, wanted: Iterable[str]) -> list[tuple[str, float, dict[str, float]]]:
    """Stage, step and the wanted columns' finite values of each row of a metrics CSV.

    Raises:
        InputError: the file is missing, is empty, lacks a column, or has a field that is no number.
    """
    _, rows = _read_rows(path)
    records = []
    for line, row in rows:
        values = {name: _number(path, line, name, row[name]) for name in wanted if row.get(name)}
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        records.append((row["stage"], _number(path, line, "step", row["step"]), finite))
    return records


def _read_rows(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The columns of a metrics CSV, and its rows with the lines that they stand in."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a metrics file ({error}). Name a run's metrics CSV.") from error
    missing = [column for column in ("step", "stage") if column not in columns]
    if missing:
        present = ", ".join(columns) if columns else "nothing: the file is empty"
        raise InputError(
            f"{path}: the header lacks {' and '.join(missing)} (there is {present}). Name a metrics CSV that training "
            "wrote."
        )
    if not rows:
        raise InputError(f"{path}: has a header but no rows. Train for at least one step before plotting.")
    return columns, rows


def _number(path: Path, line: int, column: str, text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        raise InputError(
            f"{path}, line {line}: {column} is {text!r}, not a number. Mend or remove the line (the last line of an "
            "interrupted run may be cut short)."
        ) from None
