"""Scoring results against labels by any protocol, on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.box_files import is_path, is_text_folder
from lidar_ebm.evaluation.kitti import matching
from lidar_ebm.evaluation.kitti.operating_point import best_operating_point
from lidar_ebm.evaluation.kitti.passes import Passes
from lidar_ebm.evaluation.kitti.protocol import suits_kitti
from lidar_ebm.evaluation.limits import with_bands
from lidar_ebm.evaluation.options import ScoringOptions
from lidar_ebm.evaluation.protocol import Loaded, ScoringProtocol, Source
from lidar_ebm.evaluation.protocols import protocols
from lidar_ebm.evaluation.result import Curve, Evaluation


def evaluate(labels: Source, results: Source, options: ScoringOptions | None = None, **keywords: Any) -> Evaluation:
    """Score results against labels.

    Labels and results are files or folders of any format that `lidar_ebm.formats` reads, or are in memory, frame by
    frame in the same order (`Boxes`), or by the frame's name (a dictionary of them). KITTI's own protocol takes `Label`
    lists and `FrameBoxes` too, and boxes with their rectangles in the image and `cameras`; of its folders those frames
    are scored that have a result file, or those of a split. Everything else is scored all around the sensor by distance
    and points in the box.

    Args:
        labels: in file order (the order decides ties), regions to ignore and other classes included.
        results: likewise, each object with a score; an empty frame is one without detections.
        options: of the scoring.
        keywords: options in place of `options`, by the names of its fields: classes=("Car",), lidar_only=True.

    Returns:
        A curve for every class, metric, overlap and difficulty; none for a class without any detection that has a
        usable box for the metric, and none of orientation where any detection lacks its angle.

    Raises:
        InputError: what is given cannot be used: no results, a result without its labels, a malformed line, a result
            without a finite score, an unknown class or metric, a bad overlap or distance.
    """
    chosen = merge_options(options, keywords)
    protocol = choose_protocol(labels, results, chosen)
    return evaluate_loaded(protocol, protocol.load(labels, results, chosen))


def evaluate_loaded(protocol: ScoringProtocol, loaded: Loaded) -> Evaluation:
    """`evaluate` of what the protocol has loaded."""
    order = {key: index for index, key in enumerate(product(loaded.classes, loaded.metrics))}
    headline = protocol.facts.headline
    passes = protocol.run_passes(loaded, with_bands(loaded.difficulties, loaded.options.distances))
    curves = [curve for each in passes for curve in _curves(loaded, each, headline)]
    curves.sort(key=lambda curve: (order[curve.class_name, curve.metric], curve.iou))  # stable: difficulties stay
    return Evaluation(
        tuple(curve for curve in curves if curve.distance is None),
        loaded.labels.frame_count,
        tuple(curve for curve in curves if curve.distance is not None),
        (*loaded.notes, *protocol.list_notes(loaded)),
        protocol.facts,
        tuple(each.name for each in loaded.difficulties),
    )


def merge_options(options: ScoringOptions | None, keywords: Mapping[str, Any]) -> ScoringOptions:
    """The options given, or those that the keywords name.

    Raises:
        InputError: both are given.
        TypeError: there is no option of this name.
    """
    if options is not None and keywords:
        raise InputError(f"options and {next(iter(keywords))}: give all options in one of the two.")
    return ScoringOptions(**keywords) if options is None else options


def choose_protocol(labels: Source, results: Source, options: ScoringOptions) -> ScoringProtocol:
    """The protocol asked for, or the one that labels and results fit.

    Raises:
        InputError: there is none of this name.
    """
    if options.protocol is not None and not isinstance(options.protocol, str):
        return options.protocol
    registered = protocols()
    if options.protocol is not None:
        if options.protocol not in registered:
            raise InputError(f"protocol {options.protocol!r}: choose one of {', '.join(registered)}.")
        return registered[options.protocol]
    return registered["kitti" if _is_for_images(labels, results, options) else "distance"]


def _is_for_images(labels: Source, results: Source, options: ScoringOptions) -> bool:
    """Tell if these are folders of text files, or frames with rectangles in an image."""
    if is_path(labels) or is_path(results):
        others = [source for source in (labels, results) if is_path(source) and not is_text_folder(source)]
        return not others and is_path(labels) and is_path(results)
    return suits_kitti(labels, options)


def _curves(loaded: Loaded, passes: Passes, headline: str) -> Iterator[Curve]:
    """The curves of the metrics that share these passes."""
    scores = loaded.detections.scores
    label_count = passes.label_count
    thresholds = matching.recall_thresholds(scores[passes.first_pass_rows], label_count)
    # At a threshold come in all detections that reach it.
    reached = np.searchsorted(-scores[passes.rows], -thresholds, side="right") - 1
    true, false, false_negatives, similarity = (
        np.cumsum(change, dtype=kind)[reached]
        for change, kind in (
            (passes.true_change, np.int64),
            (passes.false_change, np.int64),
            (passes.false_negative_change, np.int64),
            (passes.similarity_change, np.float64),
        )
    )
    whole = passes.difficulty.band is None
    best = best_operating_point(loaded.labels, loaded.detections, passes) if whole else None
    for metric in passes.metrics:
        precision = np.zeros(matching.RECALL_STEPS + 1)
        gained = similarity if metric == "aos" else true
        # Nothing counted at a threshold (all of it ignored or excused) is no precision.
        precision[: len(gained)] = gained / np.maximum(true + false, 1)
        yield Curve(
            class_name=passes.class_name,
            metric=metric,
            iou=passes.iou,
            difficulty=passes.difficulty.name,
            precision=np.maximum.accumulate(precision[::-1])[::-1].copy(),
            thresholds=thresholds,
            true_positives=true,
            false_positives=false,
            false_negatives=label_count + false_negatives,
            label_count=label_count,
            best=best,
            distance=passes.difficulty.band,
            headline=passes.difficulty.name == headline,
        )
