"""Named figures of a protocol that has no overlaps and difficulties: summaries, and figures of each class."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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


def read_comparison(content: Mapping[str, Any]) -> FigureComparison:
    """The comparison that `FigureComparison.write_json` has written; the summaries are the headline.

    Raises:
        KeyError, TypeError, ValueError: it is something else.
    """
    changes = tuple(
        FigureDifference(
            Figure(
                str(record["class"]),
                str(record["figure"]),
                _number(record["a"]),
                str(record["unit"]),
                record["better"] == "higher",
                record["class"] == ALL_CLASSES,
            ),
            _number(record["b"]),
            _number(record["low"]),
            _number(record["high"]),
        )
        for record in content["differences"]
    )
    first, second = content["names"]
    return FigureComparison(
        differences=(),
        frame_count=int(content["frames"]),
        resamples=int(content["resamples"]),
        confidence=float(content["confidence"]),
        names=(str(first), str(second)),
        notes=tuple(map(str, content["notes"])),
        changes=changes,
        drawn=str(content["drawn"]),
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
