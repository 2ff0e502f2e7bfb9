"""Average precision of resampled frames, from the passes over all of them once: nothing is matched again (numba, CPU).

A resample counts every frame as often as it was drawn. Which detections are true positives of the first pass, and how
each detection changes the counts of the second, is decided within a frame; only the thresholds depend on all frames,
and they are found anew in every resample.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numba import njit

from lidar_ebm.evaluation.kitti import matching
from lidar_ebm.evaluation.kitti.matching import RECALL_STEPS, is_recall_step
from lidar_ebm.evaluation.kitti.objects import Objects
from lidar_ebm.evaluation.kitti.passes import Passes
from lidar_ebm.evaluation.result import RECALLS
from lidar_ebm.system.progress import progress_bar

T = TypeVar("T")

_MAX_THREADS = 8


@dataclass(frozen=True, eq=False)
class FrameCounts:
    """`Passes` with the frame of everything that is counted."""

    valid_labels: np.ndarray  # [F] int64
    first_pass_scores: np.ndarray  # [n] float64, falling, of the first pass's true positives
    first_pass_frames: np.ndarray  # [n] int32
    scores: np.ndarray  # [E] float64, falling; with each detection change
    frames: np.ndarray  # [E] int32
    true_change: np.ndarray  # [E] int8
    false_change: np.ndarray  # [E] int8
    similarity_change: np.ndarray  # [E] float64; [0] where the passes are not those of AOS


def frame_counts(labels: Objects, detections: Objects, passes: Passes) -> FrameCounts:
    """The frames of what was counted in `passes`, which are of these labels and detections."""
    frame_of = np.repeat(np.arange(detections.frame_count, dtype=np.int32), np.diff(detections.offsets))
    label_frame = np.repeat(np.arange(labels.frame_count), np.diff(labels.offsets))
    orientation = "aos" in passes.metrics
    changing = (passes.true_change != 0) | (passes.false_change != 0)
    if orientation:
        changing |= passes.similarity_change != 0
    rows = passes.rows[changing]
    return FrameCounts(
        np.bincount(label_frame[passes.label_state == matching.VALID], minlength=labels.frame_count),
        detections.scores[passes.first_pass_rows],
        frame_of[passes.first_pass_rows],
        detections.scores[rows],
        frame_of[rows],
        passes.true_change[changing],
        passes.false_change[changing],
        passes.similarity_change[changing] if orientation else np.zeros(0),
    )


def resample_in_blocks(compute: Callable[[range], T], resamples: int, size: int) -> list[T]:
    """Outcomes of `compute` for the rows 0..resamples - 1, `size` at a time, in order: on several threads, with
    progress."""
    blocks: list[T] = []
    parts = [range(start, min(start + size, resamples)) for start in range(0, resamples, size)]
    with progress_bar("Resampling", resamples) as bar, ThreadPoolExecutor(_thread_count()) as pool:
        for rows, block in zip(parts, pool.map(compute, parts), strict=True):
            blocks.append(block)
            bar.reach(rows.stop)
    return blocks


def _thread_count() -> int:
    """Processors that this process may use, within reason."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, _MAX_THREADS)


def draw_frames(frame_count: int, rows: range, seed: int) -> np.ndarray:
    """Number of draws of each frame in the resamples `rows`, [R, F] int32: `frame_count` draws with replacement each.

    A resample depends on seed and its row alone.
    """
    drawn = np.empty((len(rows), frame_count), dtype=np.int32)
    for index, row in enumerate(rows):
        draws = np.random.default_rng((seed, row)).integers(frame_count, size=frame_count)
        drawn[index] = np.bincount(draws, minlength=frame_count)
    return drawn


def resampled_ap(counts: FrameCounts, drawn: np.ndarray, *, orientation: bool) -> dict[str, np.ndarray]:
    """Average precision in percent of each resample, [R] float64 by kind of recall.

    Args:
        drawn: [R, F] how often each frame counts.
        orientation: mean orientation similarity (AOS) in place of precision.
    """
    gained = counts.similarity_change if orientation else counts.true_change.astype(np.float64)
    curves = _resampled_curves(
        drawn,
        counts.valid_labels,
        counts.first_pass_scores,
        counts.first_pass_frames,
        counts.scores,
        counts.frames,
        counts.true_change,
        counts.false_change,
        gained,
    )
    return {recall: 100.0 * curves[:, steps].mean(axis=1) for recall, steps in RECALLS.items()}


@njit(cache=True, nogil=True)
def _resampled_curves(
    drawn: np.ndarray,
    valid_labels: np.ndarray,
    first_pass_scores: np.ndarray,
    first_pass_frames: np.ndarray,
    scores: np.ndarray,
    frames: np.ndarray,
    true_change: np.ndarray,
    false_change: np.ndarray,
    gained_change: np.ndarray,
) -> np.ndarray:
    """Curves [R, 41]: what `average_precision` does for all frames, where a frame counts as often as it was drawn."""
    curves = np.zeros((len(drawn), RECALL_STEPS + 1), dtype=np.float64)
    for r in range(len(drawn)):
        weight = drawn[r]
        total = label_count = 0
        for frame in first_pass_frames:
            total += weight[frame]
        for frame in range(len(weight)):
            label_count += weight[frame] * valid_labels[frame]
        reported, gained = 0, 0.0
        i = step = event = 0
        recall = 0.0
        for k in range(len(first_pass_scores)):
            for _ in range(weight[first_pass_frames[k]]):
                if is_recall_step(i, total, label_count, recall):
                    while event < len(scores) and scores[event] >= first_pass_scores[k]:
                        times = weight[frames[event]]
                        reported += times * (true_change[event] + false_change[event])
                        gained += times * gained_change[event]
                        event += 1
                    if reported > 0:
                        curves[r, step] = gained / reported
                    step += 1
                    recall += 1.0 / RECALL_STEPS
                i += 1
        for step in range(RECALL_STEPS - 1, -1, -1):
            curves[r, step] = max(curves[r, step], curves[r, step + 1])
    return curves
