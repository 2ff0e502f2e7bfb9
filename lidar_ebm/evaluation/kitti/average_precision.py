"""Average precision and orientation similarity by KITTI's own rules, on the CPU.

The rules, quirks included, are those of the benchmark's C++ program with its 3-D overlaps of 0.7 (Car) and 0.5
(Pedestrian, Cyclist); `rules.py` decides what counts, `overlaps.py` measures, `matching.py` assigns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from lidar_ebm.evaluation.kitti import matching
from lidar_ebm.evaluation.kitti.objects import Objects
from lidar_ebm.evaluation.kitti.operating_point import best_operating_point
from lidar_ebm.evaluation.kitti.passes import Passes, run_passes
from lidar_ebm.evaluation.kitti.rules import DIFFICULTIES, METRICS, Difficulty, Overlaps, rule_notes, with_bands
from lidar_ebm.evaluation.kitti.sources import CLASSES, PathLike, Source, load
from lidar_ebm.evaluation.result import Curve, Evaluation


def evaluate(
    labels: Source,
    results: Source,
    *,
    classes: Sequence[str] = CLASSES,
    iou: Overlaps | None = None,
    metrics: Sequence[str] | None = None,
    difficulties: Sequence[Difficulty] | None = None,
    distances: Sequence[float] = (),
    split: PathLike | Sequence[str] | None = None,
    project: bool = False,
    lidar_only: bool = False,
    calib: PathLike | None = None,
    velodyne: PathLike | None = None,
) -> Evaluation:
    """Score results against labels.

    Labels and results are folders (KITTI's `label_2`; a folder with FRAME.txt, or with `data/FRAME.txt`), or are in
    memory, frame by frame in the same order: `Label`s, or arrays or tensors (`FrameBoxes`). Of folders those frames are
    scored that have a result file, as at KITTI, or those of a split.

    Args:
        labels: in file order (the order decides ties), DontCare and other classes included.
        results: likewise, each object with a score; an empty frame is one without detections.
        classes: names, compared without case; beside KITTI's there may be others.
        iou: overlaps that a match must exceed: a number or several for all classes, or by class, or by class and
            metric ({"Car": {"3d": (0.7, 0.8)}}); None for KITTI's own. Several cost little more than one.
        metrics: of "2d", "aos", "bev", "3d"; None for all, or for the last two with `lidar_only`.
        difficulties: None for KITTI's three, or for `rules.LIDAR_DIFFICULTIES` with `lidar_only`.
        distances: limits of distance bands (horizontal, from the camera, m) to score apart too: 0, 20, 40 for two. A
            false positive belongs to the band that it lies in.
        split: a split file, or names of frames: score these; those without a result file have no detections.
        project: results without a 2-D box get the projection of their 3-D box, as `calib` says.
        lidar_only: for data without 2-D boxes: difficulty is distance and the number of points in the box.
        calib: folder of calibration files; `../calib` beside the labels where None.
        velodyne: folder of point clouds, read with `lidar_only`; `../velodyne` beside the labels where None.

    Returns:
        A curve for every class, metric, overlap and difficulty; as at KITTI, none for a class without any detection
        that has a usable box for the metric, and no AOS where any detection lacks its angle (alpha -10).

    Raises:
        InputError: what is given cannot be used: no result files, a result file without its label file, a malformed
            line, a result without a finite score, an unknown class or metric, a bad overlap or distance.
    """
    loaded = load(
        labels,
        results,
        classes=classes,
        split=split,
        project=project,
        lidar_only=lidar_only,
        calib=calib,
        velodyne=velodyne,
    )
    return evaluate_objects(
        loaded.labels,
        loaded.detections,
        classes=classes,
        iou=iou,
        metrics=loaded.metrics if metrics is None else metrics,
        difficulties=loaded.difficulties if difficulties is None else difficulties,
        distances=distances,
        notes=loaded.notes,
    )


def evaluate_objects(
    labels: Objects,
    detections: Objects,
    *,
    classes: Sequence[str] = CLASSES,
    iou: Overlaps | None = None,
    metrics: Sequence[str] = METRICS,
    difficulties: Sequence[Difficulty] = DIFFICULTIES,
    distances: Sequence[float] = (),
    notes: tuple[str, ...] = (),
) -> Evaluation:
    """`evaluate` on packed objects; `notes` are carried into the result."""
    order = {(name, metric): index for index, (name, metric) in enumerate(product(classes, metrics))}
    passes = run_passes(
        labels, detections, classes=classes, iou=iou, metrics=metrics, difficulties=with_bands(difficulties, distances)
    )
    curves = [curve for each in passes for curve in _curves(labels, detections, each)]
    curves.sort(key=lambda curve: (order[curve.class_name, curve.metric], curve.iou))  # stable: difficulties stay
    notes += rule_notes(labels, detections, classes=classes, iou=iou, metrics=metrics, difficulties=difficulties)
    return Evaluation(
        tuple(curve for curve in curves if curve.distance is None),
        labels.frame_count,
        tuple(curve for curve in curves if curve.distance is not None),
        notes,
    )


def _curves(labels: Objects, detections: Objects, passes: Passes) -> Iterator[Curve]:
    """The curves of the metrics that share these passes."""
    scores = detections.scores
    label_count = passes.label_count
    thresholds = matching.recall_thresholds(scores[passes.found], label_count)
    # At a threshold come in all detections that reach it.
    reached = np.searchsorted(-scores[passes.rows], -thresholds, side="right") - 1
    true, false, misses, similarity = (
        np.cumsum(change, dtype=kind)[reached]
        for change, kind in (
            (passes.true_change, np.int64),
            (passes.false_change, np.int64),
            (passes.miss_change, np.int64),
            (passes.similarity_change, np.float64),
        )
    )
    best = best_operating_point(labels, detections, passes) if passes.difficulty.band is None else None
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
            misses=label_count + misses,
            label_count=label_count,
            best=best,
            distance=passes.difficulty.band,
        )
