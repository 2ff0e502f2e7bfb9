"""Who found whom: KITTI's assignment of detections to labels, and what it counts (numba, CPU).

Pairs never cross frames, so labels and detections are walked in one flat order. States: 1 for a valid label or a
counted detection, 0 for an ignored one, -1 for one that does not exist for the class and difficulty at hand.
"""

from __future__ import annotations

import numpy as np
from numba import njit

VALID, IGNORED, ABSENT = 1, 0, -1
RECALL_STEPS = 40


@njit(cache=True)
def true_positive_scores(
    label_state: np.ndarray,
    detection_state: np.ndarray,
    scores: np.ndarray,
    pair_offsets: np.ndarray,
    pair_detection: np.ndarray,
    pair_overlap: np.ndarray,
    minimum: float,
) -> np.ndarray:
    """Scores of the true positives when each label takes its highest-scored overlapping detection (the first pass).

    Args:
        label_state: `[L]` int8.
        detection_state: `[D]` int8.
        scores: `[D]` float64.
        pair_offsets: `[L + 1]`, the pairs of each label, in the detections' file order.
        pair_detection: `[P]` row of the detection.
        pair_overlap: `[P]` intersection over union.
        minimum: a match overlaps by more than this.

    Returns:
        `[n]` float64, in the labels' order.
    """
    assigned = np.zeros(len(scores), dtype=np.bool_)
    found = np.empty(len(label_state), dtype=np.float64)
    count = 0
    for i in range(len(label_state)):
        if label_state[i] == ABSENT:
            continue
        best = -1
        for pair in range(pair_offsets[i], pair_offsets[i + 1]):
            j = pair_detection[pair]
            if detection_state[j] == ABSENT or assigned[j] or pair_overlap[pair] <= minimum:
                continue
            if best < 0 or scores[j] > scores[best]:
                best = j
        if best < 0:
            continue
        assigned[best] = True
        if label_state[i] == VALID and detection_state[best] == VALID:
            found[count] = scores[best]
            count += 1
    return found[:count].copy()


@njit(cache=True)
def recall_thresholds(scores: np.ndarray, label_count: int) -> np.ndarray:
    """Scores [T <= 41] float64, falling, that step recall from 0 to 1 by 1/40 as closely as the true positives allow.

    Args:
        scores: `[n]` of the first pass's true positives, any order.
        label_count: number of valid labels.
    """
    falling = np.sort(scores)[::-1]
    kept = np.empty(len(falling), dtype=np.float64)
    count = 0
    recall = 0.0
    for i in range(len(falling)):
        last = i == len(falling) - 1
        left = (i + 1) / label_count
        right = left if last else (i + 2) / label_count
        if not last and right - recall < recall - left:
            continue
        kept[count] = falling[i]
        count += 1
        recall += 1.0 / RECALL_STEPS
    return kept[:count].copy()


@njit(cache=True)
def count_matches(
    label_state: np.ndarray,
    label_alpha: np.ndarray,
    detection_state: np.ndarray,
    detection_alpha: np.ndarray,
    scores: np.ndarray,
    excused: np.ndarray,
    pair_offsets: np.ndarray,
    pair_detection: np.ndarray,
    pair_overlap: np.ndarray,
    minimum: float,
    thresholds: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Count true and false positives and misses at each score threshold (the second pass).

    Each label takes, among the detections at or above the threshold, the counted one with the largest overlap, or else
    the first ignored one.

    Args:
        label_alpha: `[L]` observation angles, rad; `detection_alpha` `[D]` likewise.
        excused: `[D]` bool, lies in a DontCare region and so is no false positive.
        thresholds: `[T]`; the other arguments as in `true_positive_scores`.

    Returns:
        True positives, false positives, misses, each `[T]` int64, and the sum over the true positives of
        (1 + cos(difference of alpha)) / 2, `[T]` float64.
    """
    true_positives = np.zeros(len(thresholds), dtype=np.int64)
    false_positives = np.zeros(len(thresholds), dtype=np.int64)
    misses = np.zeros(len(thresholds), dtype=np.int64)
    similarity = np.zeros(len(thresholds), dtype=np.float64)
    for t in range(len(thresholds)):
        threshold = thresholds[t]
        assigned = np.zeros(len(scores), dtype=np.bool_)
        for i in range(len(label_state)):
            if label_state[i] == ABSENT:
                continue
            best, best_overlap = -1, 0.0
            for pair in range(pair_offsets[i], pair_offsets[i + 1]):
                j = pair_detection[pair]
                if detection_state[j] == ABSENT or assigned[j] or scores[j] < threshold:
                    continue
                value = pair_overlap[pair]
                if value <= minimum:
                    continue
                if detection_state[j] == VALID:
                    # best_overlap stays 0 while an ignored detection is held, so any counted one replaces it.
                    if value > best_overlap:
                        best, best_overlap = j, value
                elif best < 0:
                    best = j
            if best < 0:
                if label_state[i] == VALID:
                    misses[t] += 1
                continue
            assigned[best] = True
            if label_state[i] == VALID and detection_state[best] == VALID:
                true_positives[t] += 1
                similarity[t] += 0.5 * (1.0 + np.cos(label_alpha[i] - detection_alpha[best]))
        for j in range(len(scores)):
            if detection_state[j] == VALID and not assigned[j] and scores[j] >= threshold and not excused[j]:
                false_positives[t] += 1
    return true_positives, false_positives, misses, similarity
