"""Rectangles on the ground, such as boxes seen from above: do they overlap? (numba, CPU, one thread)

A rectangle is (x, y, length, width, yaw) in metres and radians.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray


def footprints(boxes: np.ndarray) -> NDArray[np.float64]:
    """Boxes [N, 7] seen from above: rectangles [N, 5]."""
    return np.ascontiguousarray(boxes[:, [0, 1, 3, 4, 6]], dtype=np.float64)


@njit(cache=True, nogil=True)
def overlaps_any(rectangle: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    """Tell if a rectangle [5] overlaps or touches any of [N, 5], by the separating axis theorem."""
    cos_a, sin_a = math.cos(rectangle[4]), math.sin(rectangle[4])
    for i in range(len(others)):
        other = others[i]
        dx, dy = other[0] - rectangle[0], other[1] - rectangle[1]
        reach = 0.5 * (rectangle[2] + rectangle[3] + other[2] + other[3])
        if dx * dx + dy * dy > reach * reach:
            continue
        cos_b, sin_b = math.cos(other[4]), math.sin(other[4])
        cos_ab, sin_ab = abs(cos_a * cos_b + sin_a * sin_b), abs(sin_a * cos_b - cos_a * sin_b)
        apart = (
            abs(dx * cos_a + dy * sin_a) > 0.5 * (rectangle[2] + other[2] * cos_ab + other[3] * sin_ab)
            or abs(dy * cos_a - dx * sin_a) > 0.5 * (rectangle[3] + other[2] * sin_ab + other[3] * cos_ab)
            or abs(dx * cos_b + dy * sin_b) > 0.5 * (other[2] + rectangle[2] * cos_ab + rectangle[3] * sin_ab)
            or abs(dy * cos_b - dx * sin_b) > 0.5 * (other[3] + rectangle[2] * sin_ab + rectangle[3] * cos_ab)
        )
        if not apart:
            return True
    return False


@njit(cache=True, nogil=True)
def choose_apart(taken: NDArray[np.float64], candidates: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mask of candidates [K, 5], tried in their order, that overlap neither `taken` [N, 5] nor one chosen before."""
    chosen = np.zeros(len(candidates), dtype=np.bool_)
    places = np.empty((len(taken) + len(candidates), 5))
    places[: len(taken)] = taken
    count = len(taken)
    for i in range(len(candidates)):
        if not overlaps_any(candidates[i], places[:count]):
            places[count] = candidates[i]
            count += 1
            chosen[i] = True
    return chosen


@njit(cache=True, nogil=True)
def choose_moves(
    rectangles: NDArray[np.float64], moves: NDArray[np.float64], fixed: NDArray[np.float64]
) -> NDArray[np.int64]:
    """For each rectangle in turn the first of its moves that takes it where it overlaps no other.

    The others are where they are by then: those before it moved, those after it not yet.

    Args:
        rectangles: [N, 5].
        moves: [N, A, 3], what is added to x, y and yaw.
        fixed: [K, 5] rectangles that stay where they are, and that none may overlap either.

    Returns:
        [N] index of the move, -1 where every one collides.
    """
    chosen = np.full(len(rectangles), -1, dtype=np.int64)
    places = rectangles.copy()
    for i in range(len(rectangles)):
        for attempt in range(moves.shape[1]):
            place = rectangles[i].copy()
            place[0] += moves[i, attempt, 0]
            place[1] += moves[i, attempt, 1]
            place[4] += moves[i, attempt, 2]
            if not (
                overlaps_any(place, fixed) or overlaps_any(place, places[:i]) or overlaps_any(place, places[i + 1 :])
            ):
                places[i] = place
                chosen[i] = attempt
                break
    return chosen
