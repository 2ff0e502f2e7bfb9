"""Scoring result files of any tool: what the command `lidar-ebm score` does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from lidar_ebm.data.kitti_files import read_split
from lidar_ebm.evaluation.kitti_ap import CLASSES, evaluate_folders
from lidar_ebm.evaluation.result import Evaluation
from lidar_ebm.evaluation.rules import METRICS, Overlaps
from lidar_ebm.evaluation.table import write_csv, write_json

PathLike = str | os.PathLike[str]


def score(
    labels: PathLike,
    results: PathLike,
    *,
    classes: Sequence[str] = CLASSES,
    iou: Overlaps | None = None,
    metrics: Sequence[str] = METRICS,
    split: PathLike | None = None,
    json: PathLike | None = None,
    csv: PathLike | None = None,
) -> Evaluation:
    """Score a folder of result files against a folder of label files and write the figures where asked to.

    Args:
        labels: KITTI's `label_2`.
        results: folder with FRAME.txt, or with `data/FRAME.txt`.
        classes: names, compared without case.
        iou: overlaps that a match must exceed, as in `evaluate`; None for KITTI's own.
        metrics: of "2d", "aos", "bev", "3d".
        split: file with the frames to score, those without a result file as frames without detections. None, KITTI's
            way: the frames that have a result file.
        json: file to write all figures to.
        csv: likewise, as a table.

    Raises:
        InputError: something given cannot be used; see `evaluate_folders`.
        OutputError: a file cannot be written.
    """
    evaluation = evaluate_folders(
        Path(labels),
        Path(results),
        split=None if split is None else read_split(split),
        classes=classes,
        iou=iou,
        metrics=metrics,
    )
    if json is not None:
        write_json(json, evaluation)
    if csv is not None:
        write_csv(csv, evaluation)
    return evaluation
