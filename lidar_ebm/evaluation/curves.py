"""Change by refinement: average precision before and after, overlap by overlap."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.result import Evaluation
from lidar_ebm.evaluation.table import metric_name
from lidar_ebm.system.files import atomic_write

REFINEMENT_OVERLAPS = (0.70, 0.75, 0.80, 0.85)  # refinement shows where overlaps are strict


@dataclass(frozen=True)
class Change:
    """One figure before and after, in percent."""

    metric: str
    iou: float
    difficulty: str
    before: float
    after: float

    @property
    def gain(self) -> float:
        """After less before, in points."""
        return self.after - self.before


@dataclass(frozen=True)
class Comparison:
    """All figures of one class before and after, by metric, then overlap, then difficulty."""

    name: str  # what made the change: the energy head's kind, say
    class_name: str
    recall: str
    changes: tuple[Change, ...]

    def select(
        self, metric: str | None = None, difficulty: str | None = None, iou: float | None = None
    ) -> tuple[Change, ...]:
        """The changes of one metric, difficulty and overlap, each where given."""
        return tuple(
            change
            for change in self.changes
            if metric in (None, change.metric)
            and difficulty in (None, change.difficulty)
            and (iou is None or math.isclose(iou, change.iou))
        )

    def mean_gain(self, metric: str | None = None, difficulty: str | None = None, iou: float | None = None) -> float:
        """Mean gain in points over `select`'s changes."""
        changes = self.select(metric, difficulty, iou)
        return sum(change.gain for change in changes) / len(changes)


def compare_evaluations(
    before: Evaluation,
    after: Evaluation,
    *,
    class_name: str,
    name: str = "refinement",
    metrics: Sequence[str] = ("3d", "bev"),
    ious: Sequence[float] = REFINEMENT_OVERLAPS,
    recall: str = "R40",
) -> Comparison:
    """Put two evaluations of the same frames side by side.

    A class that was not scored (no detections of it) counts as 0.

    Raises:
        InputError: the evaluations are of different numbers of frames, or neither holds one of the overlaps asked for.
    """
    if before.frame_count != after.frame_count:
        raise InputError(
            f"{before.frame_count} frames before and {after.frame_count} after cannot be compared: score the same ones"
        )
    changes = tuple(
        Change(
            metric,
            iou,
            difficulty,
            before=_ap_or_zero(before, class_name, metric, difficulty, iou, recall),
            after=_ap_or_zero(after, class_name, metric, difficulty, iou, recall),
        )
        for metric in metrics
        for iou in ious
        for difficulty in before.difficulties
    )
    return Comparison(name, class_name, recall, changes)


def _ap_or_zero(
    evaluation: Evaluation, class_name: str, metric: str, difficulty: str, iou: float, recall: str
) -> float:
    curve = evaluation.curve(class_name, metric, difficulty, iou)
    if curve is not None:
        return curve.ap(recall)
    if evaluation.curve(class_name, metric, difficulty) is not None:
        raise InputError(f"{class_name} was not evaluated in {metric} at overlap {iou}: evaluate with iou={iou} too")
    return 0.0


def comparison_table(*comparisons: Comparison) -> Table:
    """Before → after for each metric, overlap and difficulty, with mean gains; a block for each comparison.

    Args:
        comparisons: of one class and kind of recall, so that the same detector refined in several ways can stand in
            one table.
    """
    first = comparisons[0]
    difficulties = tuple(dict.fromkeys(change.difficulty for change in first.changes))
    # No rules between the columns: the table has to fit the 80 columns of a plain terminal.
    table = Table(
        title=f"{first.class_name} AP {first.recall}, before → after refinement", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for heading in ("By", "Metric", "IoU"):
        table.add_column(heading, no_wrap=True)
    for heading in (*(difficulty.capitalize() for difficulty in difficulties), "Gain"):
        table.add_column(heading, justify="right", no_wrap=True)
    for comparison in comparisons:
        shown = comparison.name
        for metric in dict.fromkeys(change.metric for change in comparison.changes):
            ious = dict.fromkeys(change.iou for change in comparison.select(metric))
            for iou in ious:
                cells = [
                    f"{change.before:.2f} → {change.after:.2f}"
                    for difficulty in difficulties
                    for change in comparison.select(metric, difficulty, iou)
                ]
                gain = comparison.mean_gain(metric, iou=iou)
                table.add_row(shown, metric_name(metric), f"{iou:.2f}", *cells, f"{gain:+.2f}")
                shown = ""
            gains = [f"{comparison.mean_gain(metric, difficulty):+.2f}" for difficulty in difficulties]
            overall = f"{comparison.mean_gain(metric):+.2f}"
            table.add_row("", metric_name(metric), "gain", *gains, overall, style="bold", end_section=True)
    return table


def write_comparison_csv(path: str | os.PathLike[str], *comparisons: Comparison) -> None:
    """Write every change as a line: name, class, metric, iou, difficulty, recall, before, after, gain.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_write(Path(path), "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("name", "class", "metric", "iou", "difficulty", "recall", "before", "after", "gain"))
        for comparison in comparisons:
            start = (comparison.name, comparison.class_name)
            for item in comparison.changes:
                key = (*start, item.metric, item.iou, item.difficulty, comparison.recall)
                writer.writerow((*key, *(f"{value:.4f}" for value in (item.before, item.after, item.gain))))
