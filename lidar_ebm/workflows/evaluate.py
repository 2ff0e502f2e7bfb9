"""Evaluating a run: what its detector finds in a split, and what refinement makes of it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from rich import console

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.data_set import DataSet
from lidar_ebm.datasets.frames import Frames
from lidar_ebm.datasets.opening import open_data_set, open_samples
from lidar_ebm.evaluation.curves import REFINEMENT_OVERLAPS, Comparison
from lidar_ebm.evaluation.protocol import RefinementRequest
from lidar_ebm.evaluation.refinement import Refinement
from lidar_ebm.evaluation.result import Evaluation
from lidar_ebm.evaluation.table import write_json_records
from lidar_ebm.inference.predict import Predictions, predict
from lidar_ebm.runs.run import load_run
from lidar_ebm.runs.temperature import weights_digest
from lidar_ebm.system.environment import describe_environment
from lidar_ebm.system.processes import Group
from lidar_ebm.workflows.blind_frames import blind_frames
from lidar_ebm.workflows.scoring import SplitScoring


@dataclass(frozen=True)
class RunEvaluation:
    """The figures of one run on one split."""

    steps: int  # refinement steps T of `after` and of the comparisons
    predictions: Predictions
    refinement: Refinement

    @property
    def after(self) -> Evaluation:
        """The figures after refinement."""
        return self.refinement.after

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Before → after refinement, one a class, of protocols with curves."""
        return self.refinement.comparisons

    def table(self) -> console.Group:
        """The figures after refinement, then before → after."""
        return console.Group(*self.refinement.tables())


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

    refinement = None
    if group.is_first:
        scoring = SplitScoring.of(frames, config.class_names)
        bounds = config.voxels.range
        blind = blind_frames(frames, predictions.point_counts, bounds)
        scoring = replace(scoring, notes=(*scoring.notes, *blind, *scoring.outside(config.classes, bounds)))
        request = RefinementRequest(
            counts=tuple(predictions.results),
            chosen=chosen,
            classes=config.class_names,
            ious=tuple(ious),
            recall=recall,
            name=name or "+".join(config.energy.features),
        )
        refinement = scoring.protocol.refinement(
            lambda count, **options: scoring.score(predictions.by_name(count), **options), request
        )
        write_results(frames, predictions.by_name(0), folder / "results_before")
        write_results(frames, predictions.by_name(chosen), folder / "results_after")
        refinement.after.write_json(folder / "ap.json")
        refinement.after.write_csv(folder / "ap.csv")
        refinement.write(folder)
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
    refinement = group.gather(refinement)[0]
    assert refinement is not None  # the first has it
    shutil.rmtree(partial, ignore_errors=True)
    return RunEvaluation(chosen, predictions, refinement)


def write_results(frames: Frames, results: Mapping[str, Boxes], folder: Path) -> None:
    """Write the detections of a split into FOLDER/data in the data set's own format, and only these.

    Raises:
        OutputError: a file cannot be written.
    """
    for old in () if frames.data_set.results_in_one_file else (folder / "data").glob("*"):
        if old.is_file() and old.stem not in results:  # of another data set: it would be scored with these
            old.unlink()
    frames.data_set.write_results(folder, results)
