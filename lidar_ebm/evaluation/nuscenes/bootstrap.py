"""The benchmark's figures of resampled samples or scenes: nothing is matched again (numba, CPU)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numba import njit

from lidar_ebm.evaluation.bootstrap import draw_frames, resample_in_blocks
from lidar_ebm.evaluation.nuscenes.matching import average_precision, class_error, error_curve, precision_curve
from lidar_ebm.evaluation.nuscenes.rules import AP_WEIGHT, DISTANCES, ERROR_DISTANCE, ERRORS, STEPS, UNDEFINED
from lidar_ebm.evaluation.nuscenes.walks import Walk

MINIMUM_SCENES = 20  # of fewer it is samples that are drawn: so few scenes tell nothing
_BLOCK = 20  # resamples that one thread computes at a time


def resampled_figures(
    sides: Sequence[Sequence[Walk]], scenes: np.ndarray, resamples: int, seed: int, *, by_scene: bool
) -> list[dict[tuple[str, str], np.ndarray]]:
    """Figures [R] of each side, by class (or "all") and name, all sides on the same draws; APs are 0..1.

    Args:
        sides: walks of the ten classes, each.
        scenes: [S] int32, scene of each sample.
        resamples: R.
        seed: of the draws.
        by_scene: whole scenes are drawn.
    """
    _, group = np.unique(scenes, return_inverse=True) if by_scene else (None, np.arange(len(scenes)))
    count = int(group.max(initial=-1)) + 1

    def compute(rows: range) -> list[dict[tuple[str, str], np.ndarray]]:
        drawn = np.ascontiguousarray(draw_frames(count, rows, seed)[:, group])
        return [figures_of_draws(walks, drawn) for walks in sides]

    blocks = resample_in_blocks(compute, resamples, _BLOCK)
    return [
        {key: np.concatenate([block[side][key] for block in blocks]) for key in blocks[0][side]}
        for side in range(len(sides))
    ]


def figures_of_draws(walks: Sequence[Walk], drawn: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
    """Figures [R] by class and name.

    Args:
        walks: of the ten classes.
        drawn: [R, S] int32, how often each sample counts.
    """
    figures: dict[tuple[str, str], np.ndarray] = {}
    for walk in walks:
        aps = []
        for distance in DISTANCES:
            matches = walk.matches[distance]
            errors = np.stack([matches.errors[name] for name in ERRORS], axis=1).astype(np.float64)
            wanted = distance == ERROR_DISTANCE
            ap, of_errors = _resampled(
                drawn, walk.label_counts, matches.is_true, walk.scores, walk.samples, matches.rows, errors, wanted
            )
            aps.append(ap)
            figures[walk.class_name, ap_name(distance)] = ap
            if wanted:
                for index, name in enumerate(ERRORS):
                    undefined = name in UNDEFINED.get(walk.class_name, ())
                    figures[walk.class_name, name] = np.full(len(ap), np.nan) if undefined else of_errors[:, index]
        figures[walk.class_name, "AP"] = np.mean(aps, axis=0)
    return figures | dict(_summaries(walks, figures))


def ap_name(distance: float) -> str:
    """Name of the average precision at a distance."""
    return f"AP {distance:g} m"


def _summaries(
    walks: Sequence[Walk], figures: dict[tuple[str, str], np.ndarray]
) -> Iterator[tuple[tuple[str, str], np.ndarray]]:
    mean: Callable[[str], np.ndarray] = lambda name: np.nanmean([figures[w.class_name, name] for w in walks], axis=0)  # noqa: E731
    mean_ap = mean("AP")
    errors = {name: mean(name) for name in ERRORS}
    gained = sum(np.maximum(0.0, 1.0 - value) for value in errors.values())
    yield ("all", "NDS"), (AP_WEIGHT * mean_ap + gained) / (AP_WEIGHT + len(ERRORS))
    yield ("all", "mAP"), mean_ap
    for name, value in errors.items():
        yield ("all", name), value


@njit(cache=True, nogil=True)
def _resampled(
    drawn: np.ndarray,
    label_counts: np.ndarray,
    is_true: np.ndarray,
    scores: np.ndarray,
    samples: np.ndarray,
    rows: np.ndarray,
    errors: np.ndarray,
    with_errors: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """AP [R] and, where wanted, the errors [R, E] of one class at one distance."""
    count = len(drawn)
    aps = np.zeros(count)
    of_errors = np.ones((count, errors.shape[1]))
    precision, confidence, curve = np.zeros(STEPS + 1), np.zeros(STEPS + 1), np.zeros(STEPS + 1)
    matched_scores, matched_samples = scores[rows], samples[rows]
    for r in range(count):
        labels = 0
        for sample in range(len(label_counts)):
            labels += drawn[r, sample] * label_counts[sample]
        true = precision_curve(is_true, scores, samples, drawn[r], labels, precision, confidence)
        aps[r] = average_precision(precision)
        if with_errors and true > 0:
            for index in range(errors.shape[1]):
                error_curve(errors[:, index].copy(), matched_scores, matched_samples, drawn[r], confidence, curve)
                of_errors[r, index] = class_error(curve, confidence)
    return aps, of_errors
