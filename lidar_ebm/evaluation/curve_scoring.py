"""Curves of labels and detections that a protocol has loaded: precision against recall, and the counts behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Protocol

import numpy as np

from lidar_ebm.evaluation.kitti import matching
from lidar_ebm.evaluation.kitti.operating_point import best_operating_point
from lidar_ebm.evaluation.kitti.passes import Passes
from lidar_ebm.evaluation.limits import Difficulty, with_bands
from lidar_ebm.evaluation.loaded import Loaded
from lidar_ebm.evaluation.result import Curve, Evaluation, ProtocolFacts


class Passing(Protocol):
    """Rules that match detections to labels in passes."""

    @property
    def facts(self) -> ProtocolFacts:
        """Its name, and the names of its difficulties."""

    def run_passes(self, loaded: Loaded, difficulties: Sequence[Difficulty]) -> Iterator[Passes]:
        """Match every class in every metric and overlap that it is scored in, at these difficulties."""

    def list_notes(self, loaded: Loaded) -> tuple[str, ...]:
        """Notes on what departs from the rules, what they do not score, and what looks like a mistake."""


def evaluate_loaded(protocol: Passing, loaded: Loaded) -> Evaluation:
    """Every curve of what the protocol has loaded."""
    order = {key: index for index, key in enumerate(product(loaded.classes, loaded.metrics))}
    headline = protocol.facts.headline
    passes = protocol.run_passes(loaded, with_bands(loaded.difficulties, loaded.options.distances))
    curves = [curve for each in passes for curve in _curves(loaded, each, headline)]
    curves.sort(key=lambda curve: (order[curve.class_name, curve.metric], curve.iou))  # stable: difficulties stay
    return Evaluation(
        tuple(curve for curve in curves if curve.distance is None),
        loaded.labels.frame_count,
        tuple(curve for curve in curves if curve.distance is not None),
        (*loaded.notes, *protocol.list_notes(loaded)),
        protocol.facts,
        tuple(each.name for each in loaded.difficulties),
    )


def _curves(loaded: Loaded, passes: Passes, headline: str) -> Iterator[Curve]:
    """The curves of the metrics that share these passes."""
    scores = loaded.detections.scores
    label_count = passes.label_count
    thresholds = matching.recall_thresholds(scores[passes.first_pass_rows], label_count)
    # At a threshold come in all detections that reach it.
    reached = np.searchsorted(-scores[passes.rows], -thresholds, side="right") - 1
    true, false, false_negatives, similarity = (
        np.cumsum(change, dtype=kind)[reached]
        for change, kind in (
            (passes.true_change, np.int64),
            (passes.false_change, np.int64),
            (passes.false_negative_change, np.int64),
            (passes.similarity_change, np.float64),
        )
    )
    whole = passes.difficulty.band is None
    best = best_operating_point(loaded.labels, loaded.detections, passes) if whole else None
    for metric in passes.metrics:
        precision = np.zeros(matching.RECALL_STEPS + 1)
        gained = similarity if metric == "aos" else true
        # Nothing counted at a threshold (all of it ignored or excused) is no precision.
        precision[: len(gained)] = gained / np.maximum(true + false, 1)
        yield Curve(
            class_name=passes.class_name,
            metric=metric,
            iou=passes.iou,
            difficulty=passes.difficulty.name,
            precision=np.maximum.accumulate(precision[::-1])[::-1].copy(),
            thresholds=thresholds,
            true_positives=true,
            false_positives=false,
            false_negatives=label_count + false_negatives,
            label_count=label_count,
            best=best,
            distance=passes.difficulty.band,
            headline=passes.difficulty.name == headline,
        )
