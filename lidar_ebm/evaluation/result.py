"""Outcome of an evaluation: a curve for every class, metric, overlap and difficulty."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lidar_ebm.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

# Which of the 41 recall points (0, 1/40, ... 1) an average takes.
RECALLS = {"R40": slice(1, 41), "R11": slice(0, 41, 4), "mean41": slice(0, 41)}


@dataclass(frozen=True)
class ProtocolFacts:
    """A scoring protocol's name and the words that it uses."""

    name: str = ""
    difficulties: tuple[str, ...] = ()  # its own, the easiest first
    headline: str = ""  # the difficulty that stands for all where there is room for one
    overlaps: Mapping[str, float] = field(default_factory=dict)  # that a match exceeds, by class
    other_overlap: float = 0.5  # the same of a class that is not there

    def required_overlap(self, class_name: str) -> float:
        """Overlap that a match of a class exceeds."""
        return {name.lower(): value for name, value in self.overlaps.items()}.get(
            class_name.lower(), self.other_overlap
        )


@dataclass(frozen=True)
class OperatingPoint:
    """Operating point: counts and errors at the score at which F1 is best."""

    score: float  # of the lowest detection that is looked at
    true_positives: int
    false_positives: int
    false_negatives: int
    overlap: float  # mean IoU of the true positives, in the curve's metric; NaN without any, as all that follow
    center_error: float  # mean distance of the 3-D boxes' centres, m; NaN too where no 3-D boxes are known
    size_error: float  # mean absolute error of length, width and height, m; NaN likewise
    yaw_error: float  # mean absolute error of the yaw modulo pi, rad; NaN likewise
    flipped: float  # share, 0..1, whose heading is more than pi/2 off; NaN likewise

    @property
    def precision(self) -> float:
        """Share of the reported objects that are true."""
        return self.true_positives / max(self.true_positives + self.false_positives, 1)

    @property
    def recall(self) -> float:
        """Share of the objects that were found."""
        return self.true_positives / max(self.true_positives + self.false_negatives, 1)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        wrong = self.false_positives + self.false_negatives
        return 2 * self.true_positives / max(2 * self.true_positives + wrong, 1)


@dataclass(frozen=True, eq=False)
class Curve:
    """Precision (orientation similarity for AOS) against recall, and the counts behind it."""

    class_name: str
    metric: str  # 2d, aos, bev, 3d or center
    iou: float  # a match overlaps by more than this; by the centre, whose distance it is at most, m
    difficulty: str
    precision: np.ndarray  # [41] float64 in 0..1, at recall 0, 1/40 ... 1: the best at that recall or beyond
    thresholds: np.ndarray  # [T <= 41] scores at which was counted, falling
    true_positives: np.ndarray  # [T] int64
    false_positives: np.ndarray  # [T] int64
    false_negatives: np.ndarray  # [T] int64
    label_count: int  # valid labels, the denominator of recall
    best: OperatingPoint | None  # None: no detection is counted at any score, or this is a distance band
    distance: tuple[float, float] | None = None  # m, horizontal, [from, to): the labels of this band alone
    headline: bool = False  # of the difficulty that stands for all where there is room for one

    @property
    def recall(self) -> np.ndarray:
        """Recall [41] at which `precision` stands: 0, 1/40 ... 1."""
        return np.arange(41) / 40

    def ap(self, recall: str = "R40") -> float:
        """Average precision in percent.

        Args:
            recall: "R40" (recall 1/40 ... 1, the benchmark's own), "R11" (0, 0.1 ... 1) or "mean41" (0, 1/40 ... 1).

        Raises:
            InputError: another `recall`.
        """
        if recall not in RECALLS:
            raise InputError(f"recall {recall!r}: choose one of {', '.join(RECALLS)}")
        return 100.0 * float(self.precision[RECALLS[recall]].mean())


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Every curve of one set of results."""

    curves: tuple[Curve, ...]  # by class, metric, overlap (rising), difficulty
    frame_count: int  # frames that were scored
    bands: tuple[Curve, ...] = ()  # the same by distance band, where asked for
    notes: tuple[str, ...] = ()  # what departs from the protocol's rules, and what could not be scored
    protocol: ProtocolFacts = field(default_factory=ProtocolFacts)
    difficulties: tuple[str, ...] = ()  # names of those that were asked for, whether or not anything was scored

    def curve(self, class_name: str, metric: str, difficulty: str, iou: float | None = None) -> Curve | None:
        """The curve asked for (at its first overlap where `iou` is None), or None where it was not scored."""
        wanted = (class_name.lower(), metric, difficulty)
        for curve in self.curves:
            own = (curve.class_name.lower(), curve.metric, curve.difficulty)
            if own == wanted and (iou is None or math.isclose(curve.iou, iou)):
                return curve
        return None

    def ap(self, class_name: str, metric: str, difficulty: str, iou: float | None = None, recall: str = "R40") -> float:
        """Average precision in percent, NaN where the class was not scored in that metric."""
        curve = self.curve(class_name, metric, difficulty, iou)
        return float("nan") if curve is None else curve.ap(recall)

    def tables(self, recall: str = "R40") -> list[RenderableType]:
        """The figures for people.

        Args:
            recall: "R40", "R11" or "mean41".
        """
        from lidar_ebm.evaluation.table import distance_table, matches_table, score_table  # they are made of this

        shown: tuple[RenderableType | None, ...] = (
            score_table(self, recall),
            distance_table(self, recall),
            matches_table(self),
        )
        return [table for table in shown if table is not None]

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write every figure and curve; see `table.to_json`.

        Raises:
            OutputError: the file cannot be written.
        """
        from lidar_ebm.evaluation.table import write_scores_json

        write_scores_json(path, self)

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write every average precision as a line.

        Raises:
            OutputError: the file cannot be written.
        """
        from lidar_ebm.evaluation.table import write_csv

        write_csv(path, self)
