"""Both passes of KITTI's matching over whole sets of frames, for every class, difficulty and overlap asked for.

What they find is kept detection by detection, so that counts at any score, curves, and resamplings of the frames need
no second matching.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.kitti import matching, rules
from lidar_ebm.evaluation.kitti.objects import Objects
from lidar_ebm.evaluation.kitti.overlaps import GEOMETRIES, Pairs, dont_care_shares, find_pairs
from lidar_ebm.evaluation.kitti.rules import METRICS, required_overlaps
from lidar_ebm.evaluation.limits import Difficulty, Overlaps


@dataclass(frozen=True, eq=False)
class Passes:
    """Outcome of the two passes over one class, difficulty and overlap; "falling" is by score."""

    class_name: str
    metrics: tuple[str, ...]  # that share this matching: 2d and aos, or one alone
    iou: float
    difficulty: Difficulty
    label_state: np.ndarray  # [L] int8
    detection_state: np.ndarray  # [D] int8
    excused: np.ndarray  # [D] bool, no false positives
    pairs: Pairs
    first_pass_rows: np.ndarray  # [n] int64, rows of the first pass's true positives, falling
    rows: np.ndarray  # [E] int64, rows of the detections that exist, falling; with each of them change
    true_change: np.ndarray  # [E] int8, the true positives
    false_change: np.ndarray  # [E] int8, the false positives
    false_negative_change: np.ndarray  # [E] int8, the false negatives
    similarity_change: np.ndarray  # [E] float64, the orientation similarity summed over the true positives
    taken: np.ndarray | None = None  # [L] int64, where it is the same at every threshold: each label's detection, or -1

    @property
    def label_count(self) -> int:
        """Number of valid labels, the denominator of recall."""
        return int((self.label_state == matching.VALID).sum())


def run_passes(
    labels: Objects,
    detections: Objects,
    *,
    classes: Sequence[str],
    iou: Overlaps | None,
    metrics: Sequence[str],
    difficulties: Sequence[Difficulty],
) -> Iterator[Passes]:
    """Match every class in every metric that it is scored in; the arguments are those of `evaluate`.

    Raises:
        InputError: an unknown metric, a bad overlap, or a difficulty that asks for points that were not counted.
    """
    for metric in metrics:
        if metric not in METRICS:
            raise InputError(f"metric {metric!r}: choose among {', '.join(METRICS)}")
    wanted = {(name, metric): required_overlaps(iou, name, metric) for name in classes for metric in metrics}
    order = np.argsort(-detections.scores, kind="stable")
    for geometry in sorted({GEOMETRIES[metric] for metric in metrics}):
        scored = {
            (name, metric): values
            for (name, metric), values in wanted.items()
            if GEOMETRIES[metric] == geometry and rules.is_scored(detections, name, metric)
        }
        if scored:
            yield from _run_geometry(labels, detections, order, geometry, scored, difficulties)


def _run_geometry(
    labels: Objects,
    detections: Objects,
    order: np.ndarray,
    geometry: int,
    scored: Mapping[tuple[str, str], tuple[float, ...]],
    difficulties: Sequence[Difficulty],
) -> Iterator[Passes]:
    """The (class, metric) pairs that share one kind of overlap; it is computed once for all of them."""
    pairs = find_pairs(labels, detections, geometry, min(min(values) for values in scored.values()))
    dont_care = dont_care_shares(labels, detections, geometry)
    for name in dict.fromkeys(name for name, _ in scored):
        overlaps = {metric: values for (other, metric), values in scored.items() if other == name}
        for difficulty in difficulties:
            label_state = rules.label_states(labels, name, difficulty)
            detection_state = rules.detection_states(detections, name, difficulty)
            beyond = rules.is_beyond(detections, difficulty)
            for iou in sorted({value for values in overlaps.values() for value in values}):
                yield match_pairs(
                    labels,
                    detections,
                    order,
                    name,
                    tuple(metric for metric, values in overlaps.items() if iou in values),
                    iou,
                    difficulty,
                    label_state,
                    detection_state,
                    (dont_care > iou) | beyond,
                    pairs,
                )


def match_pairs(
    labels: Objects,
    detections: Objects,
    order: np.ndarray,
    class_name: str,
    metrics: tuple[str, ...],
    iou: float,
    difficulty: Difficulty,
    label_state: np.ndarray,
    detection_state: np.ndarray,
    excused: np.ndarray,
    pairs: Pairs,
) -> Passes:
    """Both passes at one overlap; `order` [D]: rows of detections by falling score, the others as in `Passes`."""
    matched = (label_state, detection_state, excused, pairs)
    first_pass_rows = matching.first_pass(
        *matched[:2], detections.scores, pairs.offsets, pairs.detection, pairs.overlap, iou
    )
    *changes, _ = run_second_pass(labels, detections, order, *matched, iou)
    by_score = np.argsort(-detections.scores[first_pass_rows], kind="stable")
    return Passes(class_name, metrics, iou, difficulty, *matched, first_pass_rows[by_score], *changes)


def run_second_pass(
    labels: Objects,
    detections: Objects,
    order: np.ndarray,
    label_state: np.ndarray,
    detection_state: np.ndarray,
    excused: np.ndarray,
    pairs: Pairs,
    iou: float,
    lowest: float = -np.inf,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`matching.second_pass` on these objects."""
    return matching.second_pass(
        label_state,
        labels.alpha,
        detection_state,
        detections.alpha,
        detections.scores,
        excused,
        order,
        pairs.detection_offsets,
        pairs.label,
        pairs.overlap_by_detection,
        iou,
        lowest,
    )
