"""Operating point of a detector: the score at which F1 is best, what is found there, and how well it is placed."""

from __future__ import annotations

import numpy as np

from lidar_ebm.evaluation.kitti.matching import VALID
from lidar_ebm.evaluation.kitti.objects import Objects
from lidar_ebm.evaluation.kitti.passes import Passes, run_second_pass
from lidar_ebm.evaluation.result import OperatingPoint


def best_operating_point(labels: Objects, detections: Objects, passes: Passes) -> OperatingPoint | None:
    """The score at which F1 is highest (of equals the highest score), or None where no detection exists for the class.

    F1 is 2 TP / (2 TP + FP + FN), in KITTI's sense of each: what is ignored or excused is none of them.
    """
    if not (passes.detection_state[passes.rows] == VALID).any():
        return None
    scores = detections.scores[passes.rows]
    true, false = np.cumsum(passes.true_change, dtype=np.int64), np.cumsum(passes.false_change, dtype=np.int64)
    false_negatives = passes.label_count + np.cumsum(passes.false_negative_change, dtype=np.int64)
    f1 = 2 * true / np.maximum(2 * true + false + false_negatives, 1)
    whole = np.append(scores[1:] < scores[:-1], True)  # a threshold takes all detections of one score or none
    best = int(np.where(whole, f1, -1.0).argmax())
    taken = _taken(labels, detections, passes, float(scores[best]))
    matched = np.flatnonzero((passes.label_state == VALID) & (taken >= 0))
    matched = matched[passes.detection_state[taken[matched]] == VALID]
    return OperatingPoint(
        float(scores[best]),
        int(true[best]),
        int(false[best]),
        int(false_negatives[best]),
        _mean_overlap(passes, matched, taken[matched]),
        *_mean_errors(labels.boxes[matched], detections.boxes[taken[matched]]),
    )


def _taken(labels: Objects, detections: Objects, passes: Passes, lowest: float) -> np.ndarray:
    """The detection of each label [L] int64 where those scored below `lowest` do not come in; -1 for none."""
    if passes.taken is not None:
        return np.where((passes.taken >= 0) & (detections.scores[passes.taken] >= lowest), passes.taken, -1)
    *_, taken = run_second_pass(
        labels,
        detections,
        passes.rows,
        passes.label_state,
        passes.detection_state,
        passes.excused,
        passes.pairs,
        passes.iou,
        lowest=lowest,
    )
    return taken


def _mean_overlap(passes: Passes, label_rows: np.ndarray, detection_rows: np.ndarray) -> float:
    """Mean IoU of the pairs (label_rows[k], detection_rows[k]); NaN where matches are not made by it."""
    if passes.metrics == ("center",):
        return float("nan")  # its pairs say how far apart centres are
    pairs = passes.pairs
    wanted = np.full(len(passes.label_state), -1, dtype=np.int64)
    wanted[label_rows] = detection_rows
    label_of_pair = np.repeat(np.arange(len(wanted)), np.diff(pairs.offsets))
    return _mean(pairs.overlap[pairs.detection == wanted[label_of_pair]])


def _mean_errors(labels: np.ndarray, detections: np.ndarray) -> tuple[float, float, float, float]:
    """Mean errors of centre (m), size (m) and yaw (rad, modulo pi), and the share turned by more than pi/2.

    Boxes are [N, 7] (x, y, z, h, w, l, rotation_y), row for row; a pair of which one has no box in space is left out.
    """
    spatial = (np.minimum(labels[:, 3:6], detections[:, 3:6]) > 0).all(axis=1)
    labels, detections = labels[spatial], detections[spatial]
    offset = detections[:, :3] - labels[:, :3]
    offset[:, 1] -= (detections[:, 3] - labels[:, 3]) / 2  # from bottom faces to centres; y points down
    turned = np.abs(np.remainder(detections[:, 6] - labels[:, 6] + np.pi, 2 * np.pi) - np.pi)  # 0..pi
    return (
        _mean(np.linalg.norm(offset, axis=1)),
        _mean(np.abs(detections[:, 3:6] - labels[:, 3:6]).mean(axis=1)),
        _mean(np.minimum(turned, np.pi - turned)),
        _mean(turned > np.pi / 2),
    )


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
