"""Outcome of a comparison of two result sets: for every figure its difference, and how far chance reaches."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class PairedDifference:
    """One average precision of two result sets A and B, in percent."""

    class_name: str
    metric: str  # 2d, aos, bev, 3d or center
    iou: float  # a match overlaps by more than this
    difficulty: str
    recall: str  # R40, R11 or mean41
    a: float
    b: float
    low: float  # lower end of the interval of B less A, in points
    high: float  # its upper end

    @property
    def difference(self) -> float:
        """B less A in points."""
        return self.b - self.a

    @property
    def significant(self) -> bool:
        """True where 0, no difference at all, lies outside the interval."""
        return self.low > 0.0 or self.high < 0.0


@dataclass(frozen=True)
class PairedComparison:
    """Every figure of two result sets on the same frames."""

    differences: tuple[PairedDifference, ...]  # by class, metric, overlap, difficulty, kind of recall
    frame_count: int
    resamples: int  # times that as many frames were drawn anew, for both sets the same ones
    confidence: float  # share 0..1 of the resampled differences that lie in an interval
    names: tuple[str, str]  # what A and B are, a folder's name say
    notes: tuple[str, ...] = ()  # what departs from the protocol's rules, and what could not be compared

    def table(self, recall: str = "R40") -> Table:
        """A, B and their differences for people.

        Raises:
            InputError: nothing was compared at this kind of recall.
        """
        from lidar_ebm.evaluation.paired_table import paired_table  # it is made of this

        return paired_table(self, recall)

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write every difference; see `paired_table.write_paired_json`.

        Raises:
            OutputError: the file cannot be written.
        """
        from lidar_ebm.evaluation.paired_table import write_paired_json

        write_paired_json(path, self)

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write every difference as a line.

        Raises:
            OutputError: the file cannot be written.
        """
        from lidar_ebm.evaluation.paired_table import write_paired_csv

        write_paired_csv(path, self)
