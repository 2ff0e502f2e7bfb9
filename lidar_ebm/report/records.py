"""Records that evaluation and calibration have left in a run's folder."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from lidar_ebm.ebm.calibration import Reliability
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.curves import Change, Comparison
from lidar_ebm.evaluation.figures import FigureComparison, read_comparison
from lidar_ebm.evaluation.refinement import FIGURES_FILE
from lidar_ebm.evaluation.table import metric_name

# What `evaluate` records, of what the page needs.
ABOUT: dict[str, type | tuple[type, ...]] = {
    "data": str,
    "split": str,
    "steps": int,
    "all_steps": list,
    "weights": str,
    "weights_sha256": str,
    "frames": int,
    "date": str,
    "seconds": (int, float),
    "environment": dict,
}


def read_run_file(path: Path) -> dict[str, Any]:
    """A file's content; empty where there is no such file.

    Raises:
        InputError: it is damaged.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: no valid JSON ({error}). Remove it, or make it anew.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no record. Remove it, or make it anew.")
    return content


def read_about(path: Path) -> dict[str, Any]:
    """Of what, with what, when and how long a run was evaluated; empty where there is no such file.

    Raises:
        InputError: it is damaged.
    """
    about = read_run_file(path)
    for name, kind in ABOUT.items() if about else ():
        if not isinstance(about.get(name), kind):
            raise InputError(f"{path}: its {name!r} is {about.get(name)!r}. Evaluate the run again.")
    return about


def read_calibrations(path: Path) -> dict[str, Reliability]:
    """Calibrations without and with temperature scaling, by name as `calibrate` has them; none where there is no file.

    Raises:
        InputError: the file is damaged.
    """
    content = read_run_file(path)
    try:
        if not content:
            return {}
        before, after = (_calibration(content[part]) for part in ("before", "after"))
        return {"temperature 1": before, f"temperature {after.temperature:.2f}": after}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: is not what `lidar-ebm calibrate` writes ({error}). Run that again.") from error


def _calibration(record: dict[str, Any]) -> Reliability:
    dimensions = record["dimensions"]
    coverage = np.array([each["coverage"] for each in dimensions.values()]).T  # [levels, D]

    def number(name: str) -> float:
        return float("nan") if record[name] is None else float(record[name])

    return Reliability(
        names=tuple(dimensions),
        count=int(record["count"]),
        levels=tuple(record["levels"]),
        coverage=tuple(tuple(row) for row in coverage.tolist()),
        joint_coverage=tuple(record["joint"]["coverage"]),
        nll=number("nll"),
        nll_error=number("nll_error"),
        effective_sample_size=number("effective_sample_size"),
        temperature=number("temperature"),
    )


def read_changes(folder: Path) -> FigureComparison | None:
    """Figures of an evaluation before and after refinement, of protocols that are told in figures; else None.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / FIGURES_FILE
    content = read_run_file(path)
    try:
        return read_comparison(content) if content else None
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({error}). Evaluate the run again.") from error


def read_figures_against_steps(path: Path) -> tuple[list[int], dict[str, list[float]]]:
    """Numbers of steps T, rising, and for each summary in percent a line over them.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["unit"] == "%"]
        points = sorted((int(row["steps"]), row["figure"], float(row["value"])) for row in rows)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({error}). Evaluate the run again.") from error
    lines: dict[str, list[float]] = {}
    for _, name, value in points:
        lines.setdefault(name, []).append(value)
    return sorted({steps for steps, _, _ in points}), lines


def read_comparisons(path: Path) -> tuple[Comparison, ...]:
    """Figures of an evaluation before and after refinement, one comparison for each class.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        by_class: dict[tuple[str, str, str], list[Change]] = {}
        for row in rows:
            change = Change(
                row["metric"], float(row["iou"]), row["difficulty"], float(row["before"]), float(row["after"])
            )
            metric_name(change.metric)  # a KeyError where nobody knows it
            by_class.setdefault((row["name"], row["class"], row["recall"]), []).append(change)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({error}). Evaluate the run again.") from error
    return tuple(Comparison(*key, tuple(changes)) for key, changes in by_class.items())


def read_ap_against_steps(path: Path) -> tuple[list[int], dict[str, list[float]]]:
    """Numbers of steps T, rising, and for each overlap, and their mean, a line of AP (percent) over them.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            points = [(int(row["steps"]), float(row["iou"]), float(row["ap"])) for row in csv.DictReader(file)]
        lines: dict[str, list[float]] = {}
        for _, iou, ap in sorted(points):
            lines.setdefault(f"IoU {iou:.2f}", []).append(ap)
        lines["mean"] = np.mean(list(lines.values()), axis=0).tolist() if lines else []
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({error}). Evaluate the run again.") from error
    return sorted({steps for steps, _, _ in points}), lines
