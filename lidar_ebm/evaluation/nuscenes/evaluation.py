"""The figures of the benchmark: AP of each class and distance, the five errors, mAP and NDS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.nuscenes.filters import scored_objects
from lidar_ebm.evaluation.nuscenes.labels import SplitLabels
from lidar_ebm.evaluation.nuscenes.matching import average_precision, class_error, error_curve, precision_curve
from lidar_ebm.evaluation.nuscenes.objects import Objects
from lidar_ebm.evaluation.nuscenes.rules import AP_WEIGHT, ERROR_DISTANCE, ERRORS, RECALLS, STEPS, UNDEFINED
from lidar_ebm.evaluation.nuscenes.walks import Matches, Walk, walk_classes


@dataclass(frozen=True, eq=False)
class ClassCurve:
    """One class at one distance, at recalls 0, 0.01 … 1."""

    class_name: str
    distance: float  # m, that the centres of a match are apart, at most
    label_count: int
    detection_count: int
    match_count: int
    precision: np.ndarray  # [101] float64, 0 where a recall is not reached
    confidence: np.ndarray  # [101] float64, the scores there, likewise
    errors: Mapping[str, np.ndarray]  # [101] float64 each: running means down to that score

    @property
    def recall(self) -> np.ndarray:
        """The recalls [101] of the curves."""
        return RECALLS

    @cached_property
    def ap(self) -> float:
        """Average precision, 0..1."""
        return float(average_precision(self.precision))

    def error(self, name: str) -> float:
        """Mean of an error over the recalls from 0.11 on; NaN where it means nothing for the class."""
        if name in UNDEFINED.get(self.class_name, ()):
            return float("nan")
        return float(class_error(self.errors[name], self.confidence))


@dataclass(frozen=True, eq=False)
class Figures:
    """All figures of one set of results."""

    curves: Mapping[tuple[str, float], ClassCurve]  # by class and distance

    @cached_property
    def label_aps(self) -> dict[str, dict[float, float]]:
        """AP, 0..1, by class and distance."""
        aps: dict[str, dict[float, float]] = {}
        for (name, distance), curve in self.curves.items():
            aps.setdefault(name, {})[distance] = curve.ap
        return aps

    @cached_property
    def mean_dist_aps(self) -> dict[str, float]:
        """AP of each class, the mean over the distances."""
        return {name: float(np.mean(list(aps.values()))) for name, aps in self.label_aps.items()}

    @cached_property
    def mean_ap(self) -> float:
        """The mean over all ten classes, those without labels included."""
        return float(np.mean(list(self.mean_dist_aps.values())))

    @cached_property
    def label_tp_errors(self) -> dict[str, dict[str, float]]:
        """The errors by class; NaN where one means nothing."""
        return {
            name: {error: self.curves[name, ERROR_DISTANCE].error(error) for error in ERRORS}
            for name in self.mean_dist_aps
        }

    @cached_property
    def tp_errors(self) -> dict[str, float]:
        """The mean of each error over the classes for which it means something."""
        by_class = self.label_tp_errors.values()
        return {error: float(np.nanmean([errors[error] for errors in by_class])) for error in ERRORS}

    @cached_property
    def tp_scores(self) -> dict[str, float]:
        """Share of each error in NDS: 1 less the error, 0 at least."""
        return {error: max(0.0, 1.0 - value) for error, value in self.tp_errors.items()}

    @cached_property
    def nd_score(self) -> float:
        """nuScenes detection score."""
        return (AP_WEIGHT * self.mean_ap + sum(self.tp_scores.values())) / (AP_WEIGHT + len(ERRORS))


def compute_figures(labels: SplitLabels, detections: Objects) -> Figures:
    """All figures of detections, which are filtered first.

    Raises:
        InputError: a matched detection cannot be measured, or scores below 0 make a curve that rises.
    """
    return figures_of_walks(walk_split(labels, detections))


def walk_split(labels: SplitLabels, detections: Objects) -> list[Walk]:
    """The walks of all classes.

    Raises:
        InputError: a matched detection cannot be measured.
    """
    scored = scored_objects(detections, labels.ego, labels.racks)
    return list(walk_classes(labels.objects, scored, labels.tokens))


def figures_of_walks(walks: list[Walk]) -> Figures:
    """All figures of the walks of the ten classes.

    Raises:
        InputError: scores below 0 make a curve that rises.
    """
    curves = {}
    for walk in walks:
        for distance, matches in walk.matches.items():
            curves[walk.class_name, distance] = _curve(walk, distance, matches)
    return Figures(curves)


def _curve(walk: Walk, distance: float, matches: Matches) -> ClassCurve:
    precision, confidence = np.zeros(STEPS + 1), np.zeros(STEPS + 1)
    once = np.ones(len(walk.label_counts), np.int32)
    count = precision_curve(matches.is_true, walk.scores, walk.samples, once, walk.label_count, precision, confidence)
    errors = {name: np.ones(STEPS + 1) for name in ERRORS}
    if count:
        if not (confidence[:-1] >= confidence[1:]).all():
            raise InputError(
                f"results: {walk.class_name}: scores below 0 come before recalls that are not reached, whose score "
                "is 0 by the rules, so that the curve rises. The benchmark's program stops here; give scores of 0 to 1."
            )
        for name, values in matches.errors.items():
            error_curve(
                np.asarray(values, np.float64),
                walk.scores[matches.rows],
                walk.samples[matches.rows],
                once,
                confidence,
                errors[name],
            )
    return ClassCurve(
        walk.class_name, distance, walk.label_count, len(walk.scores), count, precision, confidence, errors
    )
