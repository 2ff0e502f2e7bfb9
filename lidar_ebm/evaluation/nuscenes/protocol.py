"""nuScenes' protocol: average precision by the centre's distance, five errors of the matches, NDS.

Labels are the root of a database, with `version` and `split`, or boxes in memory; results are a result file, or boxes
in memory by sample token, in the LiDAR frame. `rules.py` has the benchmark's numbers.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from rich.console import RenderableType

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.box_files import is_path
from lidar_ebm.evaluation.curves import Comparison
from lidar_ebm.evaluation.figure_tables import steps_table
from lidar_ebm.evaluation.figures import FigureComparison, FigureDifference
from lidar_ebm.evaluation.nuscenes.bootstrap import MINIMUM_SCENES, resampled_figures
from lidar_ebm.evaluation.nuscenes.detections import pack_detections, read_detections
from lidar_ebm.evaluation.nuscenes.evaluation import figures_of_walks, walk_split
from lidar_ebm.evaluation.nuscenes.labels import (
    SplitLabels,
    labels_of_boxes,
    labels_of_tables,
    read_labels,
    version_and_split,
)
from lidar_ebm.evaluation.nuscenes.outcome import NuscenesEvaluation, figure_keys, list_figures
from lidar_ebm.evaluation.nuscenes.submission import NuscenesSubmission
from lidar_ebm.evaluation.options import ScoringOptions
from lidar_ebm.evaluation.protocol import Draws, RefinementRequest
from lidar_ebm.evaluation.refinement import CHANGES_FILE, FIGURES_FILE, STEPS_FILE
from lidar_ebm.evaluation.result import Evaluation, ProtocolFacts
from lidar_ebm.formats.nuscenes.tables import Tables
from lidar_ebm.system.files import atomic_write

# Options of other protocols; these rules leave nothing to choose.
_FIXED = ("classes", "iou", "center_distances", "metrics", "difficulties", "distances", "project", "lidar_only")


class NuscenesProtocol:
    """The rules of this package."""

    facts = ProtocolFacts("nuscenes", ("all",), "all")
    submission = NuscenesSubmission()
    comparison_options: Mapping[str, Any] = MappingProxyType({})

    def evaluate(self, labels: Any, results: Any, options: ScoringOptions) -> NuscenesEvaluation:
        """All figures of results.

        Raises:
            InputError: labels or results cannot be used; see `read_labels` and `read_detections`.
        """
        return self._score(self._load_labels(labels, options), results, options)

    def compare(
        self, labels: Any, a: Any, b: Any, options: ScoringOptions, draws: Draws, names: tuple[str, str]
    ) -> FigureComparison:
        """The difference of every figure, with its interval.

        Raises:
            InputError: what `evaluate` raises.
        """
        split = self._load_labels(labels, options)
        first, second = (self._score(split, each, options) for each in (a, b))
        return compare_evaluations(first, second, draws, names)

    def labels_of(self, data_set: Any, names: Sequence[str]) -> SplitLabels:
        """Labels of samples of a database on disk, by token; of another data set those that it has.

        Raises:
            InputError: the tables cannot be used.
        """
        version = getattr(data_set, "version", None)
        if version is None:
            return labels_of_boxes({name: data_set.labels(name) for name in names})
        return labels_of_tables(Tables.open(data_set.root, version), tokens=names)

    def refinement(self, score: Callable[..., Evaluation], request: RefinementRequest) -> NuscenesRefinement:
        """Figures at each number of steps, and the change with its interval."""
        by_steps = {count: _as_own(score(count)) for count in request.counts}
        names = ("T = 0", f"T = {request.chosen}")
        changes = compare_evaluations(by_steps[0], by_steps[request.chosen], Draws(), names)
        return NuscenesRefinement(by_steps[request.chosen], by_steps, changes)

    def summary(self, score: Callable[..., Evaluation], classes: Sequence[str]) -> float:
        """NDS in percent."""
        return 100.0 * _as_own(score()).nd_score

    def _score(self, labels: SplitLabels, results: Any, options: ScoringOptions) -> NuscenesEvaluation:
        if is_path(results):
            objects, notes = read_detections(Path(results), labels)
        elif isinstance(results, Mapping):
            objects, notes = pack_detections(results, labels)
        else:
            raise InputError("results: give a result file, or Boxes by sample token.")
        walks = tuple(walk_split(labels, objects))
        details = figures_of_walks(list(walks))
        return NuscenesEvaluation(
            curves=(),
            frame_count=len(labels.tokens),
            notes=(*labels.notes, *notes, *_notes(labels, len(objects))),
            protocol=self.facts,
            figures=list_figures(details),
            details=details,
            walks=walks,
            scenes=labels.scenes,
        )

    def _load_labels(self, labels: Any, options: ScoringOptions) -> SplitLabels:
        for name in _FIXED:
            if name == "classes" and isinstance(labels, SplitLabels):
                continue  # of the model that is scored; the rules count all ten
            if getattr(options, name):
                raise InputError(f"{name}: the nuScenes benchmark has its own rules for it; leave it out.")
        if isinstance(labels, SplitLabels):
            return labels
        if is_path(labels):
            return read_labels(labels, *version_and_split(Path(labels), options))
        if isinstance(labels, Mapping) and all(isinstance(boxes, Boxes) for boxes in labels.values()):
            return labels_of_boxes(labels)
        raise InputError("labels: give the root of a nuScenes database, or Boxes by the sample's name.")


PROTOCOL = NuscenesProtocol()


def compare_evaluations(
    a: NuscenesEvaluation, b: NuscenesEvaluation, draws: Draws, names: tuple[str, str]
) -> FigureComparison:
    """The difference of every figure of two evaluations of the same samples, with the interval of a paired bootstrap.

    Whole scenes are drawn where there are enough of them, as the objects of a scene are the same ones in many samples;
    else samples.
    """
    by_scene = len(np.unique(a.scenes)) >= MINIMUM_SCENES
    drawn = resampled_figures([a.walks, b.walks], a.scenes, draws.resamples, draws.seed, by_scene=by_scene)
    tails = (50 * (1 - draws.confidence), 50 * (1 + draws.confidence))
    keys, changes = figure_keys(), []
    for figure, other in zip(a.figures, b.figures, strict=True):
        key, scale = keys[figure.name]
        difference = scale * (drawn[1][figure.class_name, key] - drawn[0][figure.class_name, key])
        low, high = np.percentile(difference, tails)
        changes.append(FigureDifference(figure, other.value, float(low), float(high)))
    return FigureComparison(
        differences=(),
        frame_count=a.frame_count,
        resamples=draws.resamples,
        confidence=draws.confidence,
        names=names,
        notes=tuple(dict.fromkeys((*a.notes, *b.notes))),
        changes=tuple(changes),
        drawn="scenes" if by_scene else "samples",
    )


@dataclass(frozen=True, eq=False)
class NuscenesRefinement:
    """Figures of a run at each number of refinement steps."""

    after: NuscenesEvaluation
    by_steps: Mapping[int, NuscenesEvaluation]
    changes: FigureComparison
    comparisons: tuple[Comparison, ...] = ()

    def tables(self) -> list[RenderableType]:
        """The figures after refinement, then the summaries at each number of steps."""
        return [*self.after.tables(), steps_table(self.by_steps, self.changes)]

    def write(self, folder: Path) -> None:
        """Write refinement.csv, the same as refinement.json, and the summaries against the number of steps.

        Raises:
            OutputError: a file cannot be written.
        """
        self.changes.write_csv(folder / CHANGES_FILE)
        self.changes.write_json(folder / FIGURES_FILE)
        with atomic_write(folder / STEPS_FILE, "w") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("steps", "figure", "unit", "value"))
            for count, evaluation in self.by_steps.items():
                headline = [each for each in evaluation.figures if each.headline]
                writer.writerows((count, each.name, each.unit, f"{each.value:.4f}") for each in headline)


def _as_own(evaluation: Evaluation) -> NuscenesEvaluation:
    if not isinstance(evaluation, NuscenesEvaluation):
        raise InputError("the results were scored by another protocol; give those of nuScenes' own.")
    return evaluation


def _notes(labels: SplitLabels, detection_count: int) -> list[str]:
    notes = []
    if not detection_count:
        notes.append("there is no detection at all: every AP is 0, every error 1 (the benchmark's program stops here)")
    if not len(labels.objects):
        notes.append("there is no label to score: every AP is 0, every error 1 (the benchmark's program stops here)")
    return notes
