"""Average precision and orientation similarity by KITTI's own rules, on the CPU.

The rules, quirks included, are those of the benchmark's C++ program with its 3-D overlaps of 0.7 (Car) and 0.5
(Pedestrian, Cyclist); `rules.py` decides what counts, `overlaps.py` measures, `matching.py` assigns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lidar_ebm.data.kitti_files import read_labels
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation import matching, rules
from lidar_ebm.evaluation.objects import Objects, pack_objects
from lidar_ebm.evaluation.overlaps import GEOMETRIES, Pairs, dont_care_shares, find_pairs
from lidar_ebm.evaluation.result import Curve, Evaluation
from lidar_ebm.evaluation.rules import DIFFICULTIES, METRICS, Difficulty, Overlaps, required_overlaps
from lidar_ebm.types import Label

CLASSES = ("Car", "Pedestrian", "Cyclist")


def evaluate(
    labels: Sequence[Sequence[Label]],
    results: Sequence[Sequence[Label]],
    *,
    classes: Sequence[str] = CLASSES,
    iou: Overlaps | None = None,
    metrics: Sequence[str] = METRICS,
    difficulties: Sequence[Difficulty] = DIFFICULTIES,
) -> Evaluation:
    """Score results against labels, frame by frame in the same order.

    Args:
        labels: one sequence a frame, in file order (the order decides ties), DontCare and other classes included.
        results: one sequence a frame, each object with a score; an empty one is a frame without detections.
        classes: names, compared without case.
        iou: overlaps that a match must exceed: a number or several for all classes, or by class, or by class and
            metric ({"Car": {"3d": (0.7, 0.8)}}); None for KITTI's own. Several cost little more than one.
        metrics: of "2d", "aos", "bev", "3d".
        difficulties: KITTI's three by default.

    Returns:
        A curve for every class, metric, overlap and difficulty; as at KITTI, none for a class without any detection
        that has a usable box for the metric, and no AOS where any detection lacks its angle (alpha -10).

    Raises:
        InputError: different numbers of frames, a result without a finite score, an unknown metric, a bad overlap.
    """
    if len(labels) != len(results):
        raise InputError(f"{len(labels)} frames of labels but {len(results)} of results: give one of each per frame")
    return evaluate_objects(
        pack_objects(labels, need_scores=False),
        pack_objects(results, need_scores=True),
        classes=classes,
        iou=iou,
        metrics=metrics,
        difficulties=difficulties,
    )


def evaluate_folders(
    labels_folder: Path | str,
    results_folder: Path | str,
    *,
    split: Sequence[str] | None = None,
    classes: Sequence[str] = CLASSES,
    iou: Overlaps | None = None,
    metrics: Sequence[str] = METRICS,
    difficulties: Sequence[Difficulty] = DIFFICULTIES,
) -> Evaluation:
    """Score a folder of result files against a folder of label files (FRAME.txt in both).

    Args:
        labels_folder: KITTI's `label_2`.
        results_folder: result files, directly or in a folder `data` within, as KITTI's program wants it.
        split: names of the frames to score; a frame without a result file then counts as one without detections.
            None, KITTI's way: every frame that has a result file, and no other.
        classes, iou, metrics, difficulties: as in `evaluate`.

    Raises:
        InputError: no result files, a result file without its label file, a malformed line, a result without a
            score, and as in `evaluate`.
    """
    result_files = find_result_files(results_folder)
    frames = sorted(result_files) if split is None else list(split)
    label_paths = [Path(labels_folder) / f"{frame}.txt" for frame in frames]
    for frame, path in zip(frames, label_paths, strict=True):
        if not path.is_file():
            raise InputError(
                f"{path}: no such label file, though frame {frame} is to be scored. Give the folder with the labels "
                "of these frames (KITTI's training/label_2)."
            )
    labels = [read_labels(path) for path in label_paths]
    results = [
        read_labels(result_files[frame], require_score=True) if frame in result_files else [] for frame in frames
    ]
    return evaluate_objects(
        pack_objects(labels, need_scores=False, names=[str(path) for path in label_paths]),
        pack_objects(results, need_scores=True, names=[str(result_files.get(frame, frame)) for frame in frames]),
        classes=classes,
        iou=iou,
        metrics=metrics,
        difficulties=difficulties,
        notes=() if split is None else ("split: frames without a result file count as frames without detections",),
    )


def find_result_files(folder: Path | str) -> dict[str, Path]:
    """The result file of each frame: `folder/data/*.txt` where there are any, else `folder/*.txt`.

    Raises:
        InputError: there are none.
    """
    for place in (Path(folder) / "data", Path(folder)):
        files = {path.stem: path for path in place.glob("*.txt")}
        if files:
            return files
    raise InputError(f"{folder}: no result files (FRAME.txt) here or in its folder 'data'. Give the folder with them.")


def evaluate_objects(
    labels: Objects,
    detections: Objects,
    *,
    classes: Sequence[str] = CLASSES,
    iou: Overlaps | None = None,
    metrics: Sequence[str] = METRICS,
    difficulties: Sequence[Difficulty] = DIFFICULTIES,
    notes: tuple[str, ...] = (),
) -> Evaluation:
    """`evaluate` on packed objects; `notes` are carried into the result."""
    for metric in metrics:
        if metric not in METRICS:
            raise InputError(f"metric {metric!r}: choose among {', '.join(METRICS)}")
    wanted = {(name, metric): required_overlaps(iou, name, metric) for name in classes for metric in metrics}
    curves = []
    for geometry in sorted({GEOMETRIES[metric] for metric in metrics}):
        scored = {
            (name, metric): values
            for (name, metric), values in wanted.items()
            if GEOMETRIES[metric] == geometry and rules.is_scored(detections, name, metric)
        }
        curves += _curves(labels, detections, geometry, scored, difficulties)
    order = {key: index for index, key in enumerate(wanted)}
    curves.sort(key=lambda curve: (order[curve.class_name, curve.metric], curve.iou))  # stable: difficulties stay
    present = {(curve.class_name, curve.metric) for curve in curves}
    if tuple(difficulties) != DIFFICULTIES:
        notes += tuple(f"difficulty limits: {difficulty}" for difficulty in difficulties)
    notes += tuple(f"{name} is not scored in {metric}" for name, metric in wanted if (name, metric) not in present)
    return Evaluation(tuple(curves), labels.frame_count, notes)


def _curves(
    labels: Objects,
    detections: Objects,
    geometry: int,
    scored: Mapping[tuple[str, str], tuple[float, ...]],
    difficulties: Sequence[Difficulty],
) -> list[Curve]:
    """Curves of the (class, metric) pairs that share one kind of overlap; it is computed once for all of them."""
    if not scored:
        return []
    pairs = find_pairs(labels, detections, geometry, min(min(values) for values in scored.values()))
    dont_care = dont_care_shares(labels, detections, geometry)
    curves = []
    for name in dict.fromkeys(name for name, _ in scored):
        overlaps = {metric: values for (other, metric), values in scored.items() if other == name}
        for difficulty in difficulties:
            label_state = rules.label_states(labels, name, difficulty)
            detection_state = rules.detection_states(detections, name, difficulty)
            for iou in sorted({value for values in overlaps.values() for value in values}):
                counts = _count(labels, detections, label_state, detection_state, pairs, dont_care, iou)
                asked = [metric for metric, values in overlaps.items() if iou in values]
                curves += [_curve(counts, name, metric, iou, difficulty.name) for metric in asked]
    return curves


@dataclass(frozen=True, eq=False)
class _Counts:
    """What the two passes over one class, difficulty and overlap found."""

    thresholds: np.ndarray  # [T] float64
    true_positives: np.ndarray  # [T] int64
    false_positives: np.ndarray  # [T] int64
    misses: np.ndarray  # [T] int64
    similarity: np.ndarray  # [T] float64, of orientation, summed over the true positives
    label_count: int


def _count(
    labels: Objects,
    detections: Objects,
    label_state: np.ndarray,
    detection_state: np.ndarray,
    pairs: Pairs,
    dont_care: np.ndarray,
    iou: float,
) -> _Counts:
    """First pass: the scores that step recall; second pass: what is found at each of them."""
    matches = (pairs.offsets, pairs.detection, pairs.overlap, iou)
    label_count = int((label_state == matching.VALID).sum())
    found = matching.true_positive_scores(label_state, detection_state, detections.scores, *matches)
    thresholds = matching.recall_thresholds(found, label_count)
    counts = matching.count_matches(
        label_state,
        labels.alpha,
        detection_state,
        detections.alpha,
        detections.scores,
        dont_care > iou,
        *matches,
        thresholds,
    )
    return _Counts(thresholds, *counts, label_count)


def _curve(counts: _Counts, class_name: str, metric: str, iou: float, difficulty: str) -> Curve:
    """Precision (for AOS: mean orientation similarity) at 41 recalls, each the best from there on."""
    gained = counts.similarity if metric == "aos" else counts.true_positives
    reported = counts.true_positives + counts.false_positives
    precision = np.zeros(matching.RECALL_STEPS + 1)
    # Nothing counted at a threshold (all of it ignored or excused) is no precision.
    precision[: len(gained)] = gained / np.maximum(reported, 1)
    return Curve(
        class_name=class_name,
        metric=metric,
        iou=iou,
        difficulty=difficulty,
        precision=np.maximum.accumulate(precision[::-1])[::-1].copy(),
        thresholds=counts.thresholds,
        true_positives=counts.true_positives,
        false_positives=counts.false_positives,
        misses=counts.misses,
        label_count=counts.label_count,
    )
