"""Base of the protocols whose outcome are curves of precision against recall: KITTI's, and by distance."""

from __future__ import annotations

import csv
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import RenderableType

from lidar_ebm.evaluation.curve_pairs import compare_loaded
from lidar_ebm.evaluation.curve_scoring import evaluate_loaded
from lidar_ebm.evaluation.curves import (
    REFINEMENT_OVERLAPS,
    Comparison,
    compare_evaluations,
    comparison_table,
    write_comparison_csv,
)
from lidar_ebm.evaluation.kitti.passes import Passes
from lidar_ebm.evaluation.limits import Difficulty
from lidar_ebm.evaluation.loaded import Loaded
from lidar_ebm.evaluation.options import ScoringOptions
from lidar_ebm.evaluation.paired_result import PairedComparison
from lidar_ebm.evaluation.protocol import Draws, RefinementRequest
from lidar_ebm.evaluation.refinement import CHANGES_FILE, STEPS_FILE
from lidar_ebm.evaluation.result import Evaluation, ProtocolFacts
from lidar_ebm.evaluation.submission import Submission
from lidar_ebm.evaluation.table import score_table
from lidar_ebm.system.files import atomic_write

AgainstSteps = tuple[int, float, float]  # T, IoU, 3-D AP of the first class at the headline difficulty


class CurveProtocol(ABC):
    """A protocol that loads labels and detections, and matches them in passes; all else follows."""

    facts: ProtocolFacts
    submission: Submission | None = None
    comparison_options: Mapping[str, Any] = MappingProxyType({"iou": REFINEMENT_OVERLAPS, "metrics": ("3d", "bev")})

    @abstractmethod
    def load(self, labels: Any, results: Any, options: ScoringOptions) -> Loaded:
        """Read or pack labels and results.

        Raises:
            InputError: they cannot be used, or do not fit each other or the options.
        """

    @abstractmethod
    def run_passes(self, loaded: Loaded, difficulties: Sequence[Difficulty]) -> Iterator[Passes]:
        """Match every class in every metric and overlap that it is scored in, at these difficulties.

        Raises:
            InputError: an unknown metric, or a bad overlap.
        """

    @abstractmethod
    def list_notes(self, loaded: Loaded) -> tuple[str, ...]:
        """Notes on what departs from the rules, what they do not score, and what looks like a mistake."""

    def evaluate(self, labels: Any, results: Any, options: ScoringOptions) -> Evaluation:
        """A curve for every class, metric, overlap and difficulty; see `lidar_ebm.evaluation.evaluate`."""
        return evaluate_loaded(self, self.load(labels, results, options))

    def compare(
        self, labels: Any, a: Any, b: Any, options: ScoringOptions, draws: Draws, names: tuple[str, str]
    ) -> PairedComparison:
        """The difference of every average precision; see `lidar_ebm.evaluation.compare_results`."""
        sides = tuple(self.load(labels, results, options) for results in (a, b))
        return compare_loaded(self, (a, b), sides, draws, names)

    def labels_of(self, data_set: Any, names: Sequence[str]) -> Any:
        """Labels of a data set's frames by name."""
        return {name: data_set.labels(name) for name in names}

    def refinement(self, score: Callable[..., Evaluation], request: RefinementRequest) -> CurveRefinement:
        """Average precision before and after at strict overlaps, and against the number of steps."""
        ious, recall = request.ious, request.recall
        scored = {count: score(count, iou=ious, metrics=("3d", "bev")) for count in request.counts}
        before, after = scored[0], scored[request.chosen]
        comparisons = tuple(
            compare_evaluations(before, after, name=request.name, class_name=item, ious=ious, recall=recall)
            for item in request.classes
        )
        against_steps = []
        for count, evaluation in scored.items():
            values = [(iou, evaluation.ap(request.classes[0], "3d", self.facts.headline, iou, recall)) for iou in ious]
            against_steps += [(count, iou, 0.0 if math.isnan(ap) else ap) for iou, ap in values]  # no detection is 0
        own = score(request.chosen, iou=self._required_overlaps(request.classes))
        return CurveRefinement(own, comparisons, tuple(against_steps), recall)

    def summary(self, score: Callable[..., Evaluation], classes: Sequence[str]) -> float:
        """Mean 3-D AP of the classes at the protocol's own overlaps and the headline difficulty; none scored is 0."""
        overlaps = self._required_overlaps(classes)
        evaluation = score(iou=overlaps, metrics=("3d",))
        values = [evaluation.ap(name, "3d", self.facts.headline, overlaps[name], "R40") for name in classes]
        return sum(0.0 if math.isnan(value) else value for value in values) / len(values)

    def _required_overlaps(self, classes: Sequence[str]) -> dict[str, float]:
        return {name: self.facts.required_overlap(name) for name in classes}


@dataclass(frozen=True)
class CurveRefinement:
    """Average precision of a run without and with refinement."""

    after: Evaluation  # at the protocol's own overlaps
    comparisons: tuple[Comparison, ...]  # before → after refinement, one a class
    against_steps: tuple[AgainstSteps, ...]
    recall: str  # of the tables

    def tables(self) -> list[RenderableType]:
        """The figures after refinement, then before → after at stricter overlaps."""
        return [score_table(self.after, self.recall), *(comparison_table(item) for item in self.comparisons)]

    def write(self, folder: Path) -> None:
        """Write refinement.csv and ap_against_steps.csv.

        Raises:
            OutputError: a file cannot be written.
        """
        write_comparison_csv(folder / CHANGES_FILE, *self.comparisons)
        with atomic_write(folder / STEPS_FILE, "w") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("steps", "iou", "ap"))
            writer.writerows((count, iou, f"{ap:.4f}") for count, iou, ap in self.against_steps)
