"""Comparisons of two result sets as a table for people (Rich) and for programs (JSON, CSV)."""

from __future__ import annotations

import math
import os
from typing import Any

from rich.table import Table

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.paired_result import PairedComparison, PairedDifference
from lidar_ebm.evaluation.table import (
    NOTHING,
    add_class_rows,
    figure_text,
    metric_name,
    number_or_none,
    overlap_text,
    plain_table,
    write_csv_records,
    write_json_records,
)
from lidar_ebm.system.words import count_of

MARK = "*"  # beside a difference whose interval excludes 0

_COLUMNS = (
    "class",
    "metric",
    "iou",
    "difficulty",
    "recall",
    "a",
    "b",
    "difference",
    "low",
    "high",
    "significant",
)


def paired_table(comparison: PairedComparison, recall: str = "R40", difficulty: str | None = None) -> Table:
    """A and B, their difference and its interval: a row for each class, metric, overlap and difficulty.

    Args:
        comparison: of two result sets.
        recall: "R40", "R11" or "mean41".
        difficulty: the only one to show; all of them where None.

    Raises:
        InputError: nothing was compared at this kind of recall and difficulty.
    """
    level = f"{100.0 * comparison.confidence:g} %"
    table = plain_table(
        f"Average precision in percent, {recall}, of A and B on the same {count_of(comparison.frame_count, 'frame')}",
        ("Class", "Metric", "IoU", "Difficulty"),
        ("A", "B", "B − A", f"{level} interval", ""),
        (
            f"A: {comparison.names[0]}",
            f"B: {comparison.names[1]}",
            f"The interval holds the middle {level} of the differences over {comparison.resamples:,} draws of as many "
            f"frames, the same for A and B; {MARK} marks a difference that chance in the choice of frames hardly "
            "explains, for the interval excludes 0.",
            *(f"Note: {note}" for note in comparison.notes),
        ),
    )
    add_class_rows(
        table,
        (
            (
                item.class_name,
                metric_name(item.metric),
                overlap_text(item.iou, item.metric),
                item.difficulty,
                figure_text(item.a),
                figure_text(item.b),
                figure_text(item.difference, "+.2f"),
                interval_text(item),
                MARK if item.significant else "",
            )
            for item in select_differences(comparison, recall, difficulty)
        ),
    )
    return table


def select_differences(
    comparison: PairedComparison, recall: str, difficulty: str | None = None
) -> tuple[PairedDifference, ...]:
    """The differences at one kind of recall, and at one difficulty unless None.

    Raises:
        InputError: there are differences, but none of these.
    """
    differences = tuple(
        item
        for item in comparison.differences
        if item.recall == recall and (difficulty is None or item.difficulty == difficulty)
    )
    if comparison.differences and not differences:
        there = dict.fromkeys(f"{item.difficulty} {item.recall}" for item in comparison.differences)
        wanted = recall if difficulty is None else f"{difficulty} {recall}"
        raise InputError(f"nothing was compared at {wanted}: choose among {', '.join(there)}")
    return differences


def interval_text(item: PairedDifference) -> str:
    """An interval for people, in points."""
    if math.isnan(item.low) or math.isnan(item.high):
        return NOTHING
    return f"{item.low:+.2f} … {item.high:+.2f}"


def write_paired_json(path: str | os.PathLike[str], comparison: PairedComparison) -> None:
    """Write every difference: `{"differences": [{"class", "metric", "iou", "difficulty", "recall", "a", "b",
    "difference", "low", "high", "significant"}, ...], "names": [A, B], "frames", "resamples", "confidence", "notes"}`.

    Raises:
        OutputError: the file cannot be written.
    """
    content = {
        "differences": [_record(item) for item in comparison.differences],
        "names": list(comparison.names),
        "frames": comparison.frame_count,
        "resamples": comparison.resamples,
        "confidence": comparison.confidence,
        "notes": list(comparison.notes),
    }
    write_json_records(path, content)


def write_paired_csv(path: str | os.PathLike[str], comparison: PairedComparison) -> None:
    """Write every difference as a line, with a heading line; `significant` is 1 or 0.

    Raises:
        OutputError: the file cannot be written.
    """
    records = [{**_record(item), "significant": int(item.significant)} for item in comparison.differences]
    write_csv_records(path, _COLUMNS, records)


def _record(item: PairedDifference) -> dict[str, Any]:
    return {
        "class": item.class_name,
        "metric": item.metric,
        "iou": item.iou,
        "difficulty": item.difficulty,
        "recall": item.recall,
        "a": number_or_none(item.a),
        "b": number_or_none(item.b),
        "difference": number_or_none(item.difference),
        "low": number_or_none(item.low),
        "high": number_or_none(item.high),
        "significant": item.significant,
    }
