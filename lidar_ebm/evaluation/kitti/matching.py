"""KITTI matching of detections to labels (numba, CPU).

Pairs never cross frames, so all frames' labels and detections are walked in one flat order. States: 1 for a valid label
or a counted detection, 0 for an ignored one, -1 for one that does not exist for the class and difficulty at hand.
"""

from __future__ import annotations

import numpy as np
from numba import njit

VALID, IGNORED, ABSENT = 1, 0, -1
RECALL_STEPS = 40


@njit(cache=True, nogil=True)
def first_pass(
    label_state: np.ndarray,
    detection_state: np.ndarray,
    scores: np.ndarray,
    pair_offsets: np.ndarray,
    pair_detection: np.ndarray,
    pair_overlap: np.ndarray,
    minimum: float,
) -> np.ndarray:
    """The true positives when each label takes its highest-scored overlapping detection.

    Args:
        label_state: `[L]` int8.
        detection_state: `[D]` int8.
        scores: `[D]` float64.
        pair_offsets: `[L + 1]`, the pairs of each label, in the detections' file order.
        pair_detection: `[P]` row of the detection.
        pair_overlap: `[P]` intersection over union.
        minimum: a match overlaps by more than this.

    Returns:
        `[n]` int64 rows of detections, in the labels' order.
    """
    assigned = np.zeros(len(scores), dtype=np.bool_)
    rows = np.empty(len(label_state), dtype=np.int64)
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
            rows[count] = best
            count += 1
    return rows[:count].copy()


@njit(cache=True, nogil=True)
def recall_thresholds(scores: np.ndarray, label_count: int) -> np.ndarray:
    """Scores [T <= 41] float64, falling, that step recall from 0 to 1 by 1/40 as closely as the true positives allow.

    Args:
        scores: `[n]` of the first pass's true positives, falling.
        label_count: number of valid labels.
    """
    kept = np.empty(len(scores), dtype=np.float64)
    count = 0
    recall = 0.0
    for i in range(len(scores)):
        if is_recall_step(i, len(scores), label_count, recall):
            kept[count] = scores[i]
            count += 1
            recall += 1.0 / RECALL_STEPS
    return kept[:count].copy()


@njit(cache=True, nogil=True)
def is_recall_step(i: int, count: int, label_count: int, recall: float) -> bool:
    """Tell if the i-th of `count` true positives is the one nearest to the next recall aimed at."""
    last = i == count - 1
    left = (i + 1) / label_count
    right = left if last else (i + 2) / label_count
    return last or right - recall >= recall - left


@njit(cache=True, nogil=True)
def second_pass(
    label_state: np.ndarray,
    label_alpha: np.ndarray,
    detection_state: np.ndarray,
    detection_alpha: np.ndarray,
    scores: np.ndarray,
    excused: np.ndarray,
    order: np.ndarray,
    pair_offsets: np.ndarray,
    pair_label: np.ndarray,
    pair_overlap: np.ndarray,
    minimum: float,
    lowest: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Counts at every score at once: how each detection changes them when the threshold falls to it.

    At one threshold, labels choose in file order among the detections that are left: the counted one with the largest
    overlap (of equals the first in the file), or else the first ignored one. So when one more detection comes in, the
    first label that prefers it to its own takes it, the detection that this label had moves on to the labels after it,
    and so on: what every other label chooses stays. Walking that chain is all the work that a lower threshold makes.

    Args:
        label_alpha: `[L]` observation angles, rad; `detection_alpha` `[D]` likewise.
        excused: `[D]` bool, is no false positive (it lies in a DontCare region, say).
        order: `[D]` rows of detections by falling score.
        pair_offsets: `[D + 1]`, the pairs of each *detection*, in the labels' file order.
        pair_label: `[P]` row of the label.
        lowest: detections scored below this do not come in; the other arguments as in `first_pass`.

    Returns:
        rows `[n]` int64: the detections that exist, in `order`; and for each the change in true positives and false
        positives and false negatives, `[n]` int8, and in the sum over the true positives of (1 + cos(difference of
        alpha)) / 2, `[n]` float64; all of which begin at 0, but the false negatives, which begin at the number of valid
        labels. At the end the detection of each label `[L]` int64, -1 for none.
    """
    taken = np.full(len(label_state), -1, dtype=np.int64)
    taken_overlap = np.zeros(len(label_state), dtype=np.float64)
    rows = np.empty(len(order), dtype=np.int64)
    true_change = np.zeros(len(order), dtype=np.int8)
    false_change = np.zeros(len(order), dtype=np.int8)
    false_negative_change = np.zeros(len(order), dtype=np.int8)
    similarity_change = np.zeros(len(order), dtype=np.float64)
    count = 0
    for j in order:
        if scores[j] < lowest:
            break
        if detection_state[j] == ABSENT:
            continue
        held, reached = j, -1
        while held >= 0:
            free = held
            for pair in range(pair_offsets[free], pair_offsets[free + 1]):
                i, overlap = pair_label[pair], pair_overlap[pair]
                if i <= reached or label_state[i] == ABSENT or overlap <= minimum:
                    continue
                had = taken[i]
                if had >= 0:
                    if detection_state[free] != detection_state[had]:
                        preferred = detection_state[free] == VALID
                    elif detection_state[free] == VALID and overlap != taken_overlap[i]:
                        preferred = overlap > taken_overlap[i]
                    else:
                        preferred = free < had
                    if not preferred:
                        continue
                taken[i], taken_overlap[i] = free, overlap
                if label_state[i] == VALID:
                    if had < 0:
                        false_negative_change[count] -= 1
                    elif detection_state[had] == VALID:
                        true_change[count] -= 1
                        similarity_change[count] -= 0.5 * (1.0 + np.cos(label_alpha[i] - detection_alpha[had]))
                    if detection_state[free] == VALID:
                        true_change[count] += 1
                        similarity_change[count] += 0.5 * (1.0 + np.cos(label_alpha[i] - detection_alpha[free]))
                held, reached = had, i
                break
            if held == free:  # no label wants it
                break
        if held >= 0 and detection_state[held] == VALID and not excused[held]:
            false_change[count] = 1
        rows[count] = j
        count += 1
    return (
        rows[:count].copy(),
        true_change[:count].copy(),
        false_change[:count].copy(),
        false_negative_change[:count].copy(),
        similarity_change[:count].copy(),
        taken,
    )
