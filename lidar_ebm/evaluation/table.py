"""Evaluations as tables for people (Rich) and for programs (JSON, CSV)."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

from rich.table import Table

from lidar_ebm.evaluation.result import RECALLS, Evaluation
from lidar_ebm.files import atomic_write

_METRIC_NAMES = {"2d": "2-D", "aos": "AOS", "bev": "BEV", "3d": "3-D"}


def metric_name(metric: str) -> str:
    """How a metric is written for people."""
    return _METRIC_NAMES[metric]


def score_table(evaluation: Evaluation, recall: str = "R40") -> Table:
    """Average precision in percent: a row for each class, metric and overlap, a column for each difficulty.

    Args:
        evaluation: of one set of results.
        recall: "R40", "R11" or "mean41".
    """
    difficulties = list(dict.fromkeys(curve.difficulty for curve in evaluation.curves))
    table = Table(
        title=f"Average precision, {recall}, {evaluation.frame_count} frames",
        caption="\n".join(evaluation.notes) or None,
    )
    for heading in ("Class", "Metric", "IoU"):
        table.add_column(heading)
    for difficulty in difficulties:
        table.add_column(difficulty.capitalize(), justify="right")
    rows: dict[tuple[str, str, float], dict[str, float]] = {}
    for curve in evaluation.curves:
        rows.setdefault((curve.class_name, curve.metric, curve.iou), {})[curve.difficulty] = curve.ap(recall)
    previous = None
    for (class_name, metric, iou), figures in rows.items():
        if previous not in (None, class_name):
            table.add_section()
        shown = class_name if class_name != previous else ""
        table.add_row(shown, metric_name(metric), f"{iou:.2f}", *(f"{figures[name]:.2f}" for name in difficulties))
        previous = class_name
    return table


def score_records(evaluation: Evaluation) -> list[dict[str, str | float]]:
    """One record for each class, metric, overlap, difficulty and kind of recall; `ap` in percent."""
    return [
        {
            "class": curve.class_name,
            "metric": curve.metric,
            "iou": curve.iou,
            "difficulty": curve.difficulty,
            "recall": recall,
            "ap": curve.ap(recall),
        }
        for curve in evaluation.curves
        for recall in RECALLS
    ]


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """`{"ap": records, "frames": count, "notes": [...]}`, ready for `json.dumps`; records as in `score_records`."""
    return {
        "ap": score_records(evaluation),
        "frames": evaluation.frame_count,
        "notes": list(evaluation.notes),
    }


def write_json(path: str | os.PathLike[str], evaluation: Evaluation) -> None:
    """Write `to_json`.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_write(Path(path), "w") as file:
        json.dump(to_json(evaluation), file, indent=2)
        file.write("\n")


def write_csv(path: str | os.PathLike[str], evaluation: Evaluation) -> None:
    """Write `score_records` with a heading line.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_write(Path(path), "w") as file:
        writer = csv.DictWriter(file, ("class", "metric", "iou", "difficulty", "recall", "ap"), lineterminator="\n")
        writer.writeheader()
        writer.writerows(score_records(evaluation))
