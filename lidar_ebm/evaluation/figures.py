"""Named figures of a protocol that has no overlaps and difficulties: summaries, and figures of each class."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lidar_ebm.evaluation.paired_result import PairedComparison
from lidar_ebm.evaluation.result import Evaluation
from lidar_ebm.evaluation.table import number_or_none, write_csv_records, write_json_records

if TYPE_CHECKING:
    from rich.table import Table

ALL_CLASSES = "all"
_COLUMNS = ("class", "figure", "unit", "better", "a", "b", "difference", "low", "high", "significant")


@dataclass(frozen=True)
class Figure:
    """One number, and what it means."""

    class_name: str  # ALL_CLASSES of a summary
    name: str  # "NDS", "AP 2 m", …
    value: float  # NaN where there is none
    unit: str  # "%", "m", …
    higher_is_better: bool
    headline: bool = False  # stands for all where there is room for few


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a panel."""

    name: str
    x: np.ndarray  # [n]
    y: np.ndarray  # [n]


@dataclass(frozen=True, eq=False)
class Panel:
    """Lines over a common axis."""

    title: str
    x: str  # names of the axes
    y: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, eq=False)
class FigureEvaluation(Evaluation):
    """An evaluation that is told in figures, the headline's first; it has no curves of overlaps."""

    figures: tuple[Figure, ...] = ()

    def figure(self, name: str, class_name: str = ALL_CLASSES) -> float:
        """Value of a figure; NaN where there is none of this name."""
        return next(
            (each.value for each in self.figures if (each.class_name, each.name) == (class_name, name)), math.nan
        )

    def pictures(self) -> dict[str, tuple[Panel, ...]]:
        """Panels of curves by the name of their picture."""
        return {}


@dataclass(frozen=True)
class FigureDifference:
    """One figure of two result sets A and B."""

    figure: Figure  # as A has it
    b: float
    low: float = math.nan  # lower end of the interval of B less A; NaN where none was drawn
    high: float = math.nan  # its upper end

    @property
    def a(self) -> float:
        """The figure of A."""
        return self.figure.value

    @property
    def difference(self) -> float:
        """B less A."""
        return self.b - self.a

    @property
    def significant(self) -> bool:
        """True where 0, no difference at all, lies outside the interval."""
        return self.low > 0.0 or self.high < 0.0

    @property
    def is_gain(self) -> bool:
        """True where B is the better."""
        return self.difference > 0 if self.figure.higher_is_better else self.difference < 0


@dataclass(frozen=True)
class FigureComparison(PairedComparison):
    """Every figure of two result sets on the same frames."""

    changes: tuple[FigureDifference, ...] = ()
    drawn: str = "frames"  # what was drawn anew: frames, or whole scenes

    def table(self, recall: str = "R40") -> Table:
        """A, B and their differences for people; there is but one kind of recall here."""
        from lidar_ebm.evaluation.figure_tables import differences_table  # it is made of this

        return differences_table(self)

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write every difference: `{"differences": [{"class", "figure", "unit", "better", "a", "b", "difference",
        "low", "high", "significant"}, ...], "names", "frames", "drawn", "resamples", "confidence", "notes"}`.

        Raises:
            OutputError: the file cannot be written.
        """
        content = {
            "differences": [difference_record(item) for item in self.changes],
            "names": list(self.names),
            "frames": self.frame_count,
            "drawn": self.drawn,
            "resamples": self.resamples,
            "confidence": self.confidence,
            "notes": list(self.notes),
        }
        write_json_records(path, content)

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write every difference as a line; `significant` is 1 or 0.

        Raises:
            OutputError: the file cannot be written.
        """
        records = [{**difference_record(item), "significant": int(item.significant)} for item in self.changes]
        write_csv_records(path, _COLUMNS, records)


def difference_record(item: FigureDifference) -> dict[str, object]:
    """A difference for programs; what is no number is None."""
    return {
        "class": item.figure.class_name,
        "figure": item.figure.name,
        "unit": item.figure.unit,
        "better": "higher" if item.figure.higher_is_better else "lower",
        "a": number_or_none(item.a),
        "b": number_or_none(item.b),
        "difference": number_or_none(item.difference),
        "low": number_or_none(item.low),
        "high": number_or_none(item.high),
        "significant": item.significant,
    }


def read_differences(rows: Sequence[dict[str, str]]) -> tuple[FigureDifference, ...]:
    """Differences from the lines that `FigureComparison.write_csv` has written; the summaries stand for all.

    Raises:
        KeyError, ValueError: a line lacks a column, or holds no number.
    """
    return tuple(
        FigureDifference(
            Figure(
                row["class"],
                row["figure"],
                _number(row["a"]),
                row["unit"],
                row["better"] == "higher",
                row["class"] == ALL_CLASSES,
            ),
            _number(row["b"]),
            _number(row["low"]),
            _number(row["high"]),
        )
        for row in rows
    )


def _number(text: str) -> float:
    return float(text) if text else math.nan
