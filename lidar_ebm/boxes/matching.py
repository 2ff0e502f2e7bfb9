"""Greedy matching of boxes to boxes, and the nearest partner of each (numba, CPU; no torch)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numba import njit

from lidar_ebm.boxes.boxes import Boxes
from lidar_ebm.boxes.overlap import center_distances, ground_overlaps, volume_overlaps
from lidar_ebm.errors import InputError

Closeness = Literal["3d", "bev", "center"]


@njit(cache=True, nogil=True)
def greedy_partners(
    order: np.ndarray, offsets: np.ndarray, partner: np.ndarray, value: np.ndarray, minimum: float, partner_count: int
) -> np.ndarray:
    """The partner of each row: one row after the other takes the best that is left, of equals the first.

    Args:
        order: [K] int64, rows in the order in which they choose; those that are not in it get nothing.
        offsets: [N + 1] int64, row i owns pairs offsets[i] to offsets[i + 1].
        partner: [P] int64, whom each pair offers.
        value: [P] float64, higher is better; NaN is none.
        minimum: a pair's value is at least this.
        partner_count: number of partners M; each is taken once at most.

    Returns:
        [N] int64, -1 for none.
    """
    chosen = np.full(len(offsets) - 1, -1, dtype=np.int64)
    taken = np.zeros(partner_count, dtype=np.bool_)
    for i in order:
        best = -1
        for pair in range(offsets[i], offsets[i + 1]):
            if taken[partner[pair]] or not value[pair] >= minimum:
                continue
            if best < 0 or value[pair] > value[best]:
                best = pair
        if best >= 0:
            chosen[i] = partner[best]
            taken[partner[best]] = True
    return chosen


def match_rows(table: np.ndarray, priority: np.ndarray, minimum: float) -> np.ndarray:
    """`greedy_partners` of a table of all pairs.

    Args:
        table: [N, M] float64, how well row and column fit, higher is better; NaN or -inf where they may not.
        priority: [N], rows choose by falling priority, of equals the first.
        minimum: of the table's values.

    Returns:
        [N] int64, the column of each row, -1 for none.
    """
    rows, columns = table.shape
    return greedy_partners(
        np.argsort(-np.asarray(priority, dtype=np.float64), kind="stable"),
        np.arange(rows + 1, dtype=np.int64) * columns,
        np.tile(np.arange(columns, dtype=np.int64), rows),
        np.ascontiguousarray(table, dtype=np.float64).reshape(-1),
        minimum,
        columns,
    )


def best_of_rows(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best column of each row of a table [N, M] of overlaps, shared or not: [N] int64 and its value [N].

    -1 and 0 where no value is above 0.
    """
    if not table.shape[1]:
        return np.full(len(table), -1, dtype=np.int64), np.zeros(len(table))
    best = table.argmax(axis=1)
    value = table[np.arange(len(table)), best]
    return np.where(value > 0, best, -1), np.where(value > 0, value, 0.0)


def closeness_table(a: Boxes, b: Boxes, by: Closeness = "3d", *, same_class: bool = True) -> np.ndarray:
    """Table of the fit of each of the N boxes of `a` to each of the M of `b`, [N, M] float64, higher is better.

    Args:
        by: "3d" and "bev": intersection over union; "center": the horizontal distance of the centres, m, negative.
        same_class: pairs of different class names are -inf.

    Raises:
        InputError: another `by`.
    """
    if by == "center":
        table = -center_distances(a.boxes, b.boxes)
    elif by in ("3d", "bev"):
        table = volume_overlaps(a.boxes, b.boxes) if by == "3d" else ground_overlaps(a.boxes, b.boxes)
    else:
        raise InputError(f"by: {by!r}; choose one of 3d, bev, center.")
    return np.where(a.names[:, None] == b.names[None, :], table, -np.inf) if same_class else table


def pair_boxes(
    detections: Boxes, labels: Boxes, minimum: float, by: Closeness = "3d", *, same_class: bool = True
) -> np.ndarray:
    """Pairs [K, 2] int64 (detection, label), by rising detection: by falling score, each takes the best label left.

    Args:
        detections: N boxes; without scores they choose in their order.
        labels: M boxes.
        minimum: IoU that a pair has at least; by centre the distance, m, that it has at most.
        by: as in `closeness_table`.
        same_class: only boxes of one class name are paired.

    Raises:
        InputError: another `by`.
    """
    priority = np.zeros(len(detections)) if detections.scores is None else detections.scores
    table = closeness_table(detections, labels, by, same_class=same_class)
    columns = match_rows(table, priority, -minimum if by == "center" else minimum)
    rows = np.flatnonzero(columns >= 0)
    return np.stack((rows, columns[rows]), axis=1)
