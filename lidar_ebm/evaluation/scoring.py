"""Scoring results against labels by any protocol, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.box_files import is_path, is_text_folder
from lidar_ebm.evaluation.kitti.protocol import suits_kitti
from lidar_ebm.evaluation.options import ScoringOptions
from lidar_ebm.evaluation.protocol import ScoringProtocol, Source
from lidar_ebm.evaluation.protocols import protocols
from lidar_ebm.evaluation.result import Evaluation


def evaluate(labels: Source, results: Source, options: ScoringOptions | None = None, **keywords: Any) -> Evaluation:
    """Score results against labels.

    Labels and results are files or folders of any format that `lidar_ebm.formats` reads, or are in memory, frame by
    frame in the same order (`Boxes`), or by the frame's name (a dictionary of them). KITTI's own protocol takes `Label`
    lists and `FrameBoxes` too, and boxes with their rectangles in the image and `cameras`; of its folders those frames
    are scored that have a result file, or those of a split. nuScenes' protocol (`protocol="nuscenes"`) takes the root
    of a database with `version` and `split`, and a result file. Everything else is scored all around the sensor by
    distance and points in the box.

    Args:
        labels: in file order (the order decides ties), regions to ignore and other classes included.
        results: likewise, each object with a score; an empty frame is one without detections.
        options: of the scoring.
        keywords: options in place of `options`, by the names of its fields: classes=("Car",), lidar_only=True.

    Returns:
        A curve for every class, metric, overlap and difficulty; none for a class without any detection that has a
        usable box for the metric, and none of orientation where any detection lacks its angle. Of nuScenes' protocol
        its own figures, `NuscenesEvaluation`.

    Raises:
        InputError: what is given cannot be used: no results, a result without its labels, a malformed line, a result
            without a finite score, an unknown class or metric, a bad overlap or distance.
    """
    chosen = merge_options(options, keywords)
    return choose_protocol(labels, results, chosen).evaluate(labels, results, chosen)


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
