"""nuScenes' greedy matching by the centres' distance, and the curves of its outcome (numba, CPU).

Everything is walked by falling score, each detection as often as its sample counts: once in a scoring, as often as the
sample was drawn in a resample of the bootstrap. So both come from the same lines.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from lidar_ebm.evaluation.nuscenes.rules import FIRST_STEP, MINIMUM_PRECISION, RECALLS, STEPS

_COUNT = STEPS + 1


@njit(cache=True, nogil=True)
def match_centers(
    samples: np.ndarray, centers: np.ndarray, label_offsets: np.ndarray, label_centers: np.ndarray, maximum: float
) -> np.ndarray:
    """The label [n] int32 that each detection takes, -1 for a false positive.

    A detection takes the nearest label of its sample that no earlier one has, if nearer than the maximum.

    Args:
        samples: [n] int32 of the detections in walking order; -1: none.
        centers: [n, 2] float64, m.
        label_offsets: [S + 1] int64, the labels of each sample.
        label_centers: [L, 2] float64, m.
        maximum: distance of a match, m, which it stays below.
    """
    taken = np.zeros(len(label_centers), dtype=np.bool_)
    matched = np.full(len(samples), -1, dtype=np.int32)
    for row in range(len(samples)):
        sample = samples[row]
        if sample < 0:
            continue
        best, nearest = -1, np.inf
        for label in range(label_offsets[sample], label_offsets[sample + 1]):
            if taken[label]:
                continue
            x = label_centers[label, 0] - centers[row, 0]
            y = label_centers[label, 1] - centers[row, 1]
            distance = np.sqrt(x * x + y * y)
            if distance < nearest:
                best, nearest = label, distance
        if best >= 0 and nearest < maximum:
            taken[best] = True
            matched[row] = best
    return matched


@njit(cache=True, nogil=True)
def _between(x: float, left_x: float, left_y: float, right_x: float, right_y: float) -> float:
    """The straight line between two points at x; with infinite values the end that gives a number."""
    if x == left_x:
        return left_y
    slope = (right_y - left_y) / (right_x - left_x)
    value = slope * (x - left_x) + left_y
    if np.isnan(value):
        value = slope * (x - right_x) + right_y
        if np.isnan(value) and left_y == right_y:
            value = left_y
    return value


@njit(cache=True, nogil=True)
def precision_curve(
    is_true: np.ndarray,
    scores: np.ndarray,
    samples: np.ndarray,
    weights: np.ndarray,
    label_count: int,
    precision: np.ndarray,
    confidence: np.ndarray,
) -> int:
    """Fill precision and score at the 101 recalls.

    Args:
        is_true: [n] bool in walking order.
        scores: [n] float64, falling.
        samples: [n] int32.
        weights: [S] int32, how often each sample counts.
        label_count: weighted labels.
        precision: [101] float64 to fill.
        confidence: [101] float64 to fill; 0 where a recall is not reached.

    Returns:
        Weighted true positives; with none both curves are 0.
    """
    precision[:] = 0.0
    confidence[:] = 0.0
    step = true = total = 0
    before_r = before_p = before_s = 0.0
    if label_count == 0:
        return 0
    for row in range(len(scores)):
        for _ in range(weights[samples[row]]):
            total += 1
            if is_true[row]:
                true += 1
            recall = true / label_count
            now = true / total
            while step < _COUNT and RECALLS[step] < recall:
                if total == 1:
                    precision[step] = now
                    confidence[step] = scores[row]
                else:
                    precision[step] = _between(RECALLS[step], before_r, before_p, recall, now)
                    confidence[step] = _between(RECALLS[step], before_r, before_s, recall, scores[row])
                step += 1
            before_r, before_p, before_s = recall, now, scores[row]
    if true == 0:
        precision[:] = 0.0
        confidence[:] = 0.0
        return 0
    while step < _COUNT and RECALLS[step] <= before_r:
        precision[step] = before_p
        confidence[step] = before_s
        step += 1
    return true


@njit(cache=True, nogil=True)
def average_precision(precision: np.ndarray) -> float:
    """AP, 0..1, of a curve [101]: what it exceeds 0.1 by, beyond recall 0.1."""
    total = 0.0
    for step in range(FIRST_STEP, _COUNT):
        total += max(precision[step] - MINIMUM_PRECISION, 0.0)
    return total / (_COUNT - FIRST_STEP) / (1.0 - MINIMUM_PRECISION)


@njit(cache=True, nogil=True)
def error_curve(
    errors: np.ndarray,
    scores: np.ndarray,
    samples: np.ndarray,
    weights: np.ndarray,
    confidence: np.ndarray,
    curve: np.ndarray,
) -> None:
    """Fill the running mean of an error at the scores of the recalls.

    Args:
        errors: [m] float64 of the matches in walking order; NaN where there is none.
        scores: [m] float64, falling.
        samples: [m] int32.
        weights: [S] int32, how often each sample counts; of the matches' at least one does.
        confidence: [101] float64, scores of the recalls, falling.
        curve: [101] float64 to fill.
    """
    count = 0
    for row in range(len(scores)):
        count += weights[samples[row]]
    means = np.zeros(count)
    at = np.empty(count)
    total, known, index = 0.0, 0, 0
    for row in range(len(scores)):
        for _ in range(weights[samples[row]]):
            if not np.isnan(errors[row]):
                total += errors[row]
                known += 1
            if known > 0:
                means[index] = total / known
            at[index] = scores[row]
            index += 1
    if known == 0:
        curve[:] = 1.0
        return
    first = 0  # the first match whose score is not above the recall's
    for step in range(_COUNT):
        x = confidence[step]
        while first < count and at[first] > x:
            first += 1
        if first == count:
            curve[step] = means[count - 1]
        elif first == 0 or np.isnan(x):
            curve[step] = means[0] if first == 0 else np.nan
        else:
            curve[step] = _between(x, at[first], means[first], at[first - 1], means[first - 1])


@njit(cache=True, nogil=True)
def class_error(curve: np.ndarray, confidence: np.ndarray) -> float:
    """An error's mean from recall 0.11 to the last whose score is not 0; 1 where there is none."""
    last = 0
    for step in range(_COUNT):
        if confidence[step] != 0.0:
            last = step
    if last < FIRST_STEP:
        return 1.0
    total = 0.0
    for step in range(FIRST_STEP, last + 1):
        total += curve[step]
    return total / (last - FIRST_STEP + 1)
