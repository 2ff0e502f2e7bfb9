"""Differences of average precision between two result sets on the same frames, by a paired bootstrap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.bootstrap import FrameCounts, draw_frames, frame_counts, resample_in_blocks, resampled_ap
from lidar_ebm.evaluation.curve_scoring import Passing
from lidar_ebm.evaluation.loaded import Loaded
from lidar_ebm.evaluation.paired_result import PairedComparison, PairedDifference
from lidar_ebm.evaluation.protocol import Draws, Source
from lidar_ebm.evaluation.result import RECALLS

_BLOCK = 50  # resamples that one thread computes at a time, or as many as
_DRAWN = 2_000_000  # counts of frames make
_Figure = tuple[str, str, float, str]  # class, metric, overlap, difficulty


def compare_loaded(
    protocol: Passing,
    sources: tuple[Source, Source],
    sides: Sequence[Loaded],
    draws: Draws,
    names: tuple[str, str],
) -> PairedComparison:
    """The difference of every average precision of two result sets that the protocol has loaded.

    Args:
        protocol: that matches.
        sources: of the two, for messages.
        sides: the two.
        draws: of frames.
        names: of the two.

    Raises:
        InputError: the sets hold other frames, or none.
    """
    _check_same_frames(*sources, sides)
    frame_count = sides[0].detections.frame_count
    if frame_count == 0:
        raise InputError("there are no frames to draw from; give results of one frame at least")
    counted = [_count(protocol, side) for side in sides]
    everything = np.ones((1, frame_count), dtype=np.int32)
    whole = _ap_of_both(counted, everything)
    drawn = _resample(counted, frame_count, draws.resamples, draws.seed)
    tails = (50 * (1 - draws.confidence), 50 * (1 + draws.confidence))
    differences = []
    for figure, recall in whole:
        low, high = np.percentile(drawn[figure, recall][1] - drawn[figure, recall][0], tails)
        ap_a, ap_b = whole[figure, recall][:, 0].tolist()
        differences.append(PairedDifference(*figure, recall, ap_a, ap_b, float(low), float(high)))
    return PairedComparison(
        differences=tuple(differences),
        frame_count=frame_count,
        resamples=draws.resamples,
        confidence=draws.confidence,
        names=names,
        notes=_notes(protocol, sides),
    )


def _check_same_frames(a: Source, b: Source, sides: Sequence[Loaded]) -> None:
    """Without a split each folder's own files may say what is scored; both have to say the same."""
    in_a, in_b = (set(side.frames or ()) for side in sides)
    for folder, missing in ((a, sorted(in_b - in_a)), (b, sorted(in_a - in_b))):
        if missing:
            raise InputError(
                f"{folder}: {len(missing)} frames of the other results have no file here (the first is {missing[0]}). "
                "Add empty files for frames without detections, or name the frames to compare with split."
            )


def _count(protocol: Passing, side: Loaded) -> dict[_Figure, FrameCounts]:
    """Counts behind each figure of one result set, by class, metric, overlap and difficulty."""
    counted = {}
    for passes in protocol.run_passes(side, side.difficulties):
        counts = frame_counts(side.labels, side.detections, passes)
        for metric in passes.metrics:
            counted[passes.class_name, metric, passes.iou, passes.difficulty.name] = counts
    classes, metrics, order = side.classes, side.metrics, [each.name for each in side.difficulties]
    keys = sorted(counted, key=lambda key: (classes.index(key[0]), metrics.index(key[1]), key[2], order.index(key[3])))
    return {key: counted[key] for key in keys}


def _resample(
    counted: Sequence[dict[_Figure, FrameCounts]], frame_count: int, resamples: int, seed: int
) -> dict[tuple[_Figure, str], np.ndarray]:
    """AP [2, R] of both sets in every resample, by figure and kind of recall."""

    size = max(1, min(_BLOCK, _DRAWN // frame_count))

    def compute(rows: range) -> dict[tuple[_Figure, str], np.ndarray]:
        return _ap_of_both(counted, draw_frames(frame_count, rows, seed))

    blocks = resample_in_blocks(compute, resamples, size)
    return {key: np.concatenate([block[key] for block in blocks], axis=1) for key in blocks[0]}


def _ap_of_both(
    counted: Sequence[dict[_Figure, FrameCounts]], drawn: np.ndarray
) -> dict[tuple[_Figure, str], np.ndarray]:
    """AP [2, R] of both sets by figure and kind of recall; NaN where a set was not scored."""
    figures = dict.fromkeys(figure for side in counted for figure in side)
    both = {(figure, recall): np.full((2, len(drawn)), np.nan) for figure in figures for recall in RECALLS}
    for index, side in enumerate(counted):
        for figure, counts in side.items():
            for recall, values in resampled_ap(counts, drawn, orientation=figure[1] == "aos").items():
                both[figure, recall][index] = values
    return both


def _notes(protocol: Passing, sides: Sequence[Loaded]) -> tuple[str, ...]:
    """Notes on both sets, then on one of them."""
    of_a, of_b = ((*side.notes, *protocol.list_notes(side)) for side in sides)
    return (
        *(note for note in of_a if note in of_b),
        *(f"A: {note}" for note in of_a if note not in of_b),
        *(f"B: {note}" for note in of_b if note not in of_a),
    )
