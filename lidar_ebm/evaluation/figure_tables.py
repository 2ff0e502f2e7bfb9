"""Figures of two result sets, or before and after refinement, as tables for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from rich.table import Table

from lidar_ebm.evaluation.figures import ALL_CLASSES, FigureComparison, FigureDifference, FigureEvaluation
from lidar_ebm.evaluation.paired_table import MARK
from lidar_ebm.evaluation.table import NOTHING, add_class_rows, figure_text, plain_table
from lidar_ebm.system.words import count_of

_DIGITS = {"%": 2}  # of a figure; others have three


def differences_table(comparison: FigureComparison, figures: Iterable[FigureDifference] | None = None) -> Table:
    """A and B, their difference and its interval, a row for each figure.

    Args:
        comparison: of two result sets.
        figures: those to show; the summaries and each class's first where None.
    """
    level = f"{100.0 * comparison.confidence:g} %"
    shown = select_summaries(comparison) if figures is None else figures
    table = plain_table(
        f"A and B on the same {count_of(comparison.frame_count, 'frame')}",
        ("Class", "Figure", "Unit"),
        ("A", "B", "B − A", f"{level} interval", ""),
        (
            f"A: {comparison.names[0]}",
            f"B: {comparison.names[1]}",
            f"The interval holds the middle {level} of the differences over {comparison.resamples:,} draws of as many "
            f"{comparison.drawn}, the same for A and B; {MARK} marks a difference that chance in their choice hardly "
            "explains, for the interval excludes 0. Errors are the better the lower they are.",
            *(f"Note: {note}" for note in comparison.notes),
        ),
    )
    add_class_rows(
        table,
        (
            (
                item.figure.class_name,
                item.figure.name,
                item.figure.unit,
                value_text(item.a, item.figure.unit),
                value_text(item.b, item.figure.unit),
                value_text(item.difference, item.figure.unit, "+"),
                interval_text(item),
                MARK if item.significant else "",
            )
            for item in shown
        ),
    )
    return table


def steps_table(by_steps: Mapping[int, FigureEvaluation], changes: FigureComparison) -> Table:
    """Summaries at each number of refinement steps, and the change from the first to the last with its interval."""
    table = plain_table(
        f"Refinement, {count_of(changes.frame_count, 'frame')}",
        ("Figure", "Unit"),
        (*(f"T = {count}" for count in by_steps), "change", f"{100.0 * changes.confidence:g} % interval", ""),
        (
            f"Change: {changes.names[0]} → {changes.names[1]}. The interval is that of {changes.resamples:,} draws of "
            f"{changes.drawn}; {MARK} marks a change that chance hardly explains. Errors are the better the lower.",
        ),
    )
    for item in changes.changes:
        if item.figure.class_name == ALL_CLASSES:
            table.add_row(
                item.figure.name,
                item.figure.unit,
                *(value_text(each.figure(item.figure.name), item.figure.unit) for each in by_steps.values()),
                value_text(item.difference, item.figure.unit, "+"),
                interval_text(item),
                MARK if item.significant else "",
            )
    return table


def select_summaries(comparison: FigureComparison) -> list[FigureDifference]:
    """The summaries, then the first figure of each class."""
    first: dict[str, FigureDifference] = {}
    for item in comparison.changes:
        first.setdefault(item.figure.class_name, item)
    summaries = [item for item in comparison.changes if item.figure.class_name == ALL_CLASSES]
    return [*summaries, *(item for name, item in first.items() if name != ALL_CLASSES)]


def value_text(value: float, unit: str, sign: str = "") -> str:
    """A figure for people: NaN as a dash."""
    return figure_text(value, f"{sign}.{_DIGITS.get(unit, 3)}f")


def interval_text(item: FigureDifference) -> str:
    """An interval for people."""
    if math.isnan(item.low) or math.isnan(item.high):
        return NOTHING
    return f"{value_text(item.low, item.figure.unit, '+')} … {value_text(item.high, item.figure.unit, '+')}"
