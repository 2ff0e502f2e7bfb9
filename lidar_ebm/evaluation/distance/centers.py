"""Matching by the distance of centres on the ground, as nuScenes does it.

By falling score each detection takes the nearest label of its class that is left, where that is near enough. A
detection's fate so depends on none that is scored lower, and a threshold on the score cuts the list of them anywhere.
Labels beyond the limits of the difficulty are matched too and count for nothing, nor does the detection that takes one.
"""

from __future__ import annotations

import numpy as np

from lidar_ebm.boxes.matching import greedy_partners
from lidar_ebm.evaluation.kitti.matching import VALID
from lidar_ebm.evaluation.kitti.objects import Objects
from lidar_ebm.evaluation.kitti.overlaps import Pairs
from lidar_ebm.evaluation.kitti.passes import Passes
from lidar_ebm.evaluation.limits import Difficulty


def find_near_pairs(labels: Objects, detections: Objects, class_name: str, maximum: float) -> Pairs:
    """Pairs of a class in the same frame whose centres are `maximum` (m) apart at most; `overlap` is minus that."""
    of_class, candidates = labels.is_type(class_name), detections.is_type(class_name)
    rows, columns = [], []
    for frame in range(labels.frame_count):
        mine = labels.offsets[frame] + np.flatnonzero(of_class[labels.offsets[frame] : labels.offsets[frame + 1]])
        start, end = detections.offsets[frame], detections.offsets[frame + 1]
        theirs = start + np.flatnonzero(candidates[start:end])
        if len(mine) and len(theirs):
            rows.append(np.repeat(mine, len(theirs)))
            columns.append(np.tile(theirs, len(mine)))
    row, column = (np.concatenate([np.zeros(0, np.int64), *parts]).astype(np.int64) for parts in (rows, columns))
    apart = np.hypot(*(labels.boxes[row][:, [0, 2]] - detections.boxes[column][:, [0, 2]]).T)
    near = apart <= maximum
    row, column, value = row[near], column[near], -apart[near]
    by_detection = np.argsort(column, kind="stable")
    return Pairs(
        np.searchsorted(row, np.arange(len(labels.scores) + 1)),
        column,
        value,
        np.searchsorted(column[by_detection], np.arange(len(detections.scores) + 1)),
        row[by_detection],
        value[by_detection],
    )


def match_centers(
    detections: Objects,
    order: np.ndarray,
    pairs: Pairs,
    *,
    class_name: str,
    maximum: float,
    difficulty: Difficulty,
    label_state: np.ndarray,
    detection_state: np.ndarray,
    excused: np.ndarray,
) -> Passes:
    """Counts at every score at once.

    Args:
        order: [D] rows of detections by falling score.
        pairs: of the class, as `find_near_pairs` gives them.
        maximum: distance of the centres of a match at most, m.
        label_state: [L] int8, as in KITTI's matching; so is `detection_state` [D].
        excused: [D] bool, no false positives.
    """
    rows = order[detection_state[order] == VALID]
    partner = greedy_partners(
        rows, pairs.detection_offsets, pairs.label, pairs.overlap_by_detection, -maximum, len(label_state)
    )[rows]
    matched = partner >= 0
    true = matched & (label_state[partner] == VALID)
    false = ~matched & ~excused[rows]
    taken = np.full(len(label_state), -1, dtype=np.int64)
    taken[partner[matched]] = rows[matched]
    return Passes(
        class_name,
        ("center",),
        maximum,
        difficulty,
        label_state,
        detection_state,
        excused,
        pairs,
        rows[true],
        rows,
        true.astype(np.int8),
        false.astype(np.int8),
        -true.astype(np.int8),
        np.zeros(len(rows)),
        taken,
    )
