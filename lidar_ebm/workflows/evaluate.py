"""Evaluating a run: what its detector finds in a split, and what refinement makes of it."""

from __future__ import annotations

import csv
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from rich import console

from lidar_ebm.boxes import Boxes
from lidar_ebm.config.config import Config
from lidar_ebm.datasets.data_set import DataSet
from lidar_ebm.datasets.frames import Frames
from lidar_ebm.datasets.opening import open_data_set, open_samples
from lidar_ebm.evaluation.curves import (
    REFINEMENT_OVERLAPS,
    Comparison,
    compare_evaluations,
    comparison_table,
    write_comparison_csv,
)
from lidar_ebm.evaluation.result import Evaluation
from lidar_ebm.evaluation.table import score_table, write_csv, write_json_records, write_scores_json
from lidar_ebm.inference.predict import Predictions, predict
from lidar_ebm.runs.run import load_run
from lidar_ebm.runs.temperature import weights_digest
from lidar_ebm.system.environment import describe_environment
from lidar_ebm.system.files import atomic_write
from lidar_ebm.system.processes import Group
from lidar_ebm.workflows.blind_frames import blind_frames
from lidar_ebm.workflows.scoring import SplitScoring

_AgainstSteps = tuple[int, float, float]  # T, IoU, 3-D AP of the first class at the headline difficulty
_Figures = tuple[Evaluation, tuple[Comparison, ...], tuple[_AgainstSteps, ...]]


@dataclass(frozen=True)
class RunEvaluation:
    """The figures of one run on one split."""

    steps: int  # refinement steps T of `after` and of the comparisons
    predictions: Predictions
    after: Evaluation  # at the protocol's own overlaps
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
    data_set: DataSet | None = None,
    prepared: str | Path | None = None,
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

    That folder then holds results_before/ and results_after/ (in the data set's own format), ap.json and ap.csv (every
    figure after refinement), refinement.csv (before → after), ap_against_steps.csv, and about.json: of what data, with
    what weights, when and how long. Until then finished batches stand in its partial/: the same call after an
    interruption goes on from there, to the same figures.

    Args:
        run: folder of a finished run.
        data: folder of the data set.
        data_set: the same, open already; None to open it.
        prepared: where `prepare` left its files; within the data set where None.
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
    samples = open_samples(open_data_set(data, prepared) if data_set is None else data_set, split, config)
    frames = samples.frames
    assert isinstance(frames, Frames)
    chosen = config.refinement.steps if steps is None else steps
    all_steps = sorted({0, chosen, *curve_steps})
    folder = Path(run) / "evaluation" / split
    partial = folder / "partial"
    predictions = predict(detector, samples, steps=all_steps, group=group, parts=partial)

    figures = None
    if group.is_first:
        scoring = SplitScoring.of(frames, config.class_names)
        bounds = config.voxels.range
        blind = blind_frames(frames, predictions.point_counts, bounds)
        scoring = replace(scoring, notes=(*scoring.notes, *blind, *scoring.outside(config.classes, bounds)))
        named = name or "+".join(config.energy.features)
        figures = _score(predictions, scoring, config, chosen, ious, recall, named)
        write_results(frames, predictions.by_name(0), folder / "results_before")
        write_results(frames, predictions.by_name(chosen), folder / "results_after")
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
    scoring: SplitScoring,
    config: Config,
    chosen: int,
    ious: Sequence[float],
    recall: str,
    name: str,
) -> _Figures:
    names = config.class_names
    scored = {
        count: scoring.score(predictions.by_name(count), iou=tuple(ious), metrics=("3d", "bev"))
        for count in predictions.results
    }
    comparisons = tuple(
        compare_evaluations(scored[0], scored[chosen], name=name, class_name=item, ious=ious, recall=recall)
        for item in names
    )
    against_steps = []
    for count, evaluation in scored.items():
        values = [(iou, evaluation.ap(names[0], "3d", scoring.facts.headline, iou, recall)) for iou in ious]
        against_steps += [(count, iou, 0.0 if math.isnan(ap) else ap) for iou, ap in values]  # no detection is 0
    after = scoring.score(predictions.by_name(chosen), iou=scoring.required_overlaps(names))
    return after, comparisons, tuple(against_steps)


def write_results(frames: Frames, results: Mapping[str, Boxes], folder: Path) -> None:
    """Write the detections of a split into FOLDER/data in the data set's own format, and only these.

    Raises:
        OutputError: a file cannot be written.
    """
    for old in () if frames.data_set.results_in_one_file else (folder / "data").glob("*"):
        if old.is_file() and old.stem not in results:  # of another data set: it would be scored with these
            old.unlink()
    frames.data_set.write_results(folder, results)


def _write_figures(
    folder: Path, after: Evaluation, comparisons: tuple[Comparison, ...], against_steps: tuple[_AgainstSteps, ...]
) -> None:
    write_scores_json(folder / "ap.json", after)
    write_csv(folder / "ap.csv", after)
    write_comparison_csv(folder / "refinement.csv", *comparisons)
    with atomic_write(folder / "ap_against_steps.csv", "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("steps", "iou", "ap"))
        writer.writerows((count, iou, f"{ap:.4f}") for count, iou, ap in against_steps)
