"""Evaluating a run: what its detector finds in a split, and what refinement makes of it."""

from __future__ import annotations

import csv
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from rich import console

from lidar_ebm.config.config import Config
from lidar_ebm.datasets.opening import open_samples
from lidar_ebm.evaluation.curves import (
    REFINEMENT_OVERLAPS,
    Comparison,
    compare,
    comparison_table,
    write_comparison_csv,
)
from lidar_ebm.evaluation.kitti.average_precision import evaluate
from lidar_ebm.evaluation.kitti.objects import Objects
from lidar_ebm.evaluation.kitti.rules import OFFICIAL_OVERLAPS
from lidar_ebm.evaluation.result import Evaluation
from lidar_ebm.evaluation.table import score_table, write_csv, write_json, write_json_records
from lidar_ebm.inference.predict import Predictions, labels_to_score, predict, write_results
from lidar_ebm.runs.run import load_run
from lidar_ebm.runs.temperature import weights_digest
from lidar_ebm.system.environment import describe_environment
from lidar_ebm.system.files import atomic_write
from lidar_ebm.system.processes import Group

OTHER_OVERLAP = 0.5  # that a match exceeds in classes for which KITTI has no rule

_AgainstSteps = tuple[int, float, float]  # T, IoU, moderate 3-D AP of the first class
_Figures = tuple[Evaluation, tuple[Comparison, ...], tuple[_AgainstSteps, ...]]


@dataclass(frozen=True)
class RunEvaluation:
    """The figures of one run on one split."""

    steps: int  # refinement steps T of `after` and of the comparisons
    predictions: Predictions
    after: Evaluation  # at KITTI's own overlaps
    comparisons: tuple[Comparison, ...]  # before → after refinement, one a class
    against_steps: tuple[_AgainstSteps, ...]
    recall: str  # of the tables

    def table(self) -> console.Group:
        """The figures after refinement, then before → after at stricter overlaps."""
        return console.Group(
            score_table(self.after, self.recall), *(comparison_table(item) for item in self.comparisons)
        )


def evaluate_run(
    run: str | Path,
    data: str | Path,
    *,
    split: str = "val",
    steps: int | None = None,
    ious: Sequence[float] = REFINEMENT_OVERLAPS,
    recall: str = "R40",
    curve_steps: Sequence[int] = (),
    name: str | None = None,
    device: str = "cpu",
    weights: str = "model.safetensors",
    group: Group | None = None,
) -> RunEvaluation:
    """Evaluate a run without and with refinement, and write what was found to RUN/evaluation/SPLIT.

    That folder then holds results_before/ and results_after/ (KITTI result files), ap.json and ap.csv (every figure
    after refinement), refinement.csv (before → after), ap_against_steps.csv, and about.json: of what data, with what
    weights, when, how long and with what it was found. Until then, what was found so far
    stands in its partial/: the same call after an interruption goes on from there, to the same figures.

    Args:
        run: folder of a finished run.
        data: folder in KITTI's layout.
        steps: refinement steps T; the run's configuration where None.
        ious: overlaps of the comparison of before and after.
        recall: "R40", "R11" or "mean41", of the tables and of ap_against_steps.csv; ap.json has all three.
        curve_steps: further numbers of steps for ap_against_steps.csv.
        name: what the comparison calls this run's refinement; the energy's box features where None.
        device: where to compute.
        weights: which of the run's files: the finished run's, or a checkpoint (`checkpoints/best.safetensors`).
        group: the processes that share the detection, as `join` gives them; None for this one alone. All of them call
            this and get the same; the first scores and writes.

    Raises:
        InputError: the run or the data set cannot be used.
        OutputError: a file cannot be written.
    """
    began, group = time.perf_counter(), Group() if group is None else group
    detector = load_run(run, device, weights=weights)
    config = detector.config
    frames = open_samples(data, split, config)
    chosen = config.refinement.steps if steps is None else steps
    all_steps = sorted({0, chosen, *curve_steps})
    folder = Path(run) / "evaluation" / split
    partial = folder / "partial"
    predictions = predict(detector, frames, steps=all_steps, group=group, parts=partial)

    figures = None
    if group.is_first:
        labels = labels_to_score(predictions, frames)
        named = name or "+".join(config.energy.features)
        figures = _score(predictions, labels, frames.lidar_only, config, chosen, ious, recall, named)
        write_results(predictions, 0, folder / "results_before")
        write_results(predictions, chosen, folder / "results_after")
        _write_figures(folder, *figures)
        about = {
            "data": str(Path(data).resolve()),
            "split": split,
            "steps": chosen,
            "all_steps": all_steps,
            "weights": weights,
            "weights_sha256": weights_digest(detector),
            "frames": len(frames),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - began, 1),  # of this call alone
            "environment": describe_environment(),
        }
        write_json_records(folder / "about.json", about)
    figures = group.gather(figures)[0]
    assert figures is not None  # the first has them
    shutil.rmtree(partial, ignore_errors=True)
    return RunEvaluation(chosen, predictions, *figures, recall)


def _score(
    predictions: Predictions,
    labels: Objects,
    lidar_only: bool,
    config: Config,
    chosen: int,
    ious: Sequence[float],
    recall: str,
    name: str,
) -> _Figures:
    names = config.class_names
    scored = {
        count: evaluate(labels, found, classes=names, iou=tuple(ious), metrics=("3d", "bev"), lidar_only=lidar_only)
        for count, found in predictions.results.items()
    }
    comparisons = tuple(
        compare(scored[0], scored[chosen], name=name, class_name=item, ious=ious, recall=recall) for item in names
    )
    against_steps = []
    for count, evaluation in scored.items():
        found = [(iou, evaluation.ap(names[0], "3d", "moderate", iou, recall)) for iou in ious]
        against_steps += [(count, iou, 0.0 if math.isnan(ap) else ap) for iou, ap in found]  # nothing found is 0
    overlaps = {item: OFFICIAL_OVERLAPS.get(item, OTHER_OVERLAP) for item in names}
    after = evaluate(labels, predictions.results[chosen], classes=names, iou=overlaps, lidar_only=lidar_only)
    return after, comparisons, tuple(against_steps)


def _write_figures(
    folder: Path, after: Evaluation, comparisons: tuple[Comparison, ...], against_steps: tuple[_AgainstSteps, ...]
) -> None:
    write_json(folder / "ap.json", after)
    write_csv(folder / "ap.csv", after)
    write_comparison_csv(folder / "refinement.csv", *comparisons)
    with atomic_write(folder / "ap_against_steps.csv", "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("steps", "iou", "ap"))
        writer.writerows((count, iou, f"{ap:.4f}") for count, iou, ap in against_steps)
