"""What a run's folder and its data set have to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lidar_ebm.config.config import Config
from lidar_ebm.datasets.opening import open_samples
from lidar_ebm.datasets.samples import Samples
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.curves import REFINEMENT_OVERLAPS, Comparison
from lidar_ebm.evaluation.kitti.data_set import lack_rectangles
from lidar_ebm.evaluation.options import ScoringOptions
from lidar_ebm.evaluation.paired import compare_results
from lidar_ebm.evaluation.paired_result import PairedComparison
from lidar_ebm.evaluation.scoring import evaluate
from lidar_ebm.inference.detection import LoadedDetector, load_detector
from lidar_ebm.report import drawings
from lidar_ebm.report.box_errors import BoxErrors, find_errors
from lidar_ebm.report.frames import ViewedFrame, spread, view_frame
from lidar_ebm.report.pictures import Picture
from lidar_ebm.report.records import read_about, read_calibrations, read_comparisons
from lidar_ebm.runs.run import load_run_config
from lidar_ebm.runs.temperature import weights_digest
from lidar_ebm.system.environment import describe_environment
from lidar_ebm.system.progress import progress_bar
from lidar_ebm.visualization.curve_plots import read_columns

MOST_FRAMES = 1000  # whose points are read to find where the errors are


@dataclass(frozen=True, eq=False)
class Contents:
    """Everything that the page says; a picture or a table that cannot be made is left out, and `missing` says why."""

    name: str
    split: str
    config: str  # YAML
    environment: dict[str, str]
    about: dict[str, Any]  # of the evaluation; empty where none was recorded
    training: dict[str, str]  # facts
    comparisons: tuple[Comparison, ...] = ()
    paired: PairedComparison | None = None
    pictures: dict[str, list[Picture]] = field(default_factory=dict)  # by section
    improved: list[Picture] = field(default_factory=list)
    worst: list[Picture] = field(default_factory=list)
    frames: list[ViewedFrame] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def gather(
    run: Path, *, data: Path | None = None, split: str = "val", frames: int = 20, boxes: int = 4, resamples: int = 1000
) -> Contents:
    """Read a run, and with its data set compute what is to be shown.

    Args:
        run: folder of a finished run.
        data: folder in KITTI's layout; where None the one that the run was evaluated on, if it is still there.
        split: that was evaluated.
        frames: for the 3-D view.
        boxes: most improved ones and worst ones that are drawn with their landscapes, as many of each.
        resamples: of the intervals.

    Raises:
        InputError: there is no run, the split was not evaluated, or a file cannot be used.
    """
    config, evaluation = load_run_config(run), run / "evaluation" / split
    results = (evaluation / "results_before" / "data", evaluation / "results_after" / "data")
    if not all(path.is_dir() for path in results):
        raise InputError(
            f"{run}: its evaluation on split {split!r} is missing. Run `lidar-ebm evaluate {run} --data DATA --split "
            f"{split}` first."
        )
    known = _from_run(run, config, split)
    if data is None and known.about and Path(known.about["data"]).is_dir():
        data = Path(known.about["data"])
    if data is None:
        why = "Intervals, errors, boxes and the 3-D view: the data set is not at hand. Name it with --data."
        return replace(known, missing=[*known.missing, why])
    detector = load_detector(run, weights=known.about.get("weights", "model.safetensors"))
    dataset, classes = open_samples(data, split, detector.config), detector.config.class_names
    errors = find_errors(dataset, *results, class_names=classes, most=MOST_FRAMES)
    scored = _with_scores(known, dataset, classes, results, errors, resamples)
    return _with_boxes(scored, detector, dataset, errors, frames, boxes)


def _from_run(run: Path, config: Config, split: str) -> Contents:
    """What the run's folder alone can tell."""
    evaluation = run / "evaluation" / split
    about = read_about(evaluation / "about.json")
    comparisons = read_comparisons(evaluation / "refinement.csv")
    calibrations = read_calibrations(run / "calibration" / split / "calibration.json")
    uncalibrated = f"Calibration: `lidar-ebm calibrate {run} --data DATA --split {split}` was not run."
    return Contents(
        name=run.resolve().name,
        split=split,
        config=(run / "config.yaml").read_text(encoding="utf-8"),
        environment=about.get("environment") or describe_environment(),
        about=about,
        training=_training_facts(run),
        comparisons=comparisons,
        pictures={
            "training": drawings.training_pictures(run),
            "ap": drawings.change_pictures(comparisons),
            "steps": drawings.steps_pictures(evaluation, config.class_names[0], _recall(comparisons)),
            "calibration": drawings.calibration_pictures(calibrations),
        },
        missing=[] if calibrations else [uncalibrated],
    )


def _with_scores(
    known: Contents,
    dataset: Samples,
    classes: Sequence[str],
    results: tuple[Path, Path],
    errors: BoxErrors,
    resamples: int,
) -> Contents:
    """With what the data set's labels say of the result files before and after refinement."""
    labels = dataset.root / "training" / "label_2"
    rows = range(len(dataset))
    options = ScoringOptions(
        classes=classes,
        iou=REFINEMENT_OVERLAPS,
        metrics=("3d", "bev"),
        split=[dataset.frame_id(index) for index in rows],
        lidar_only=dataset.lidar_only or bool(lack_rectangles([dataset.labels(index) for index in rows], classes)),
    )
    before, after = (evaluate(labels, result, options) for result in results)
    paired = compare_results(
        labels, *results, options, resamples=resamples, names=("before refinement", "after refinement")
    )
    pictures = {
        "curves": drawings.curve_pictures(before, after, classes),
        "paired": drawings.paired_pictures(paired, _recall(known.comparisons)),
        "errors": drawings.error_pictures(errors, min(MOST_FRAMES, len(dataset))),
    }
    return replace(known, paired=paired, pictures=known.pictures | pictures)


def _with_boxes(
    known: Contents, detector: LoadedDetector, dataset: Samples, errors: BoxErrors, frames: int, boxes: int
) -> Contents:
    """With frames to look at, and f around the most improved and the worst boxes."""
    improved, worst = errors.most_improved(boxes), errors.worst(boxes)
    steps = known.about.get("steps")
    missing = list(known.missing)
    if known.about and known.about["weights_sha256"] != weights_digest(detector.model):
        missing.append(
            f"{known.about['weights']} has changed since the evaluation: figures and boxes are of different weights."
        )
    viewed = {}
    chosen = spread(len(dataset), frames, list(dict.fromkeys(errors.frame[improved + worst].tolist())))
    with progress_bar("Detecting", len(chosen)) as bar:
        for index in chosen:
            viewed[index] = view_frame(detector, dataset, index, steps)
            bar.advance()
    drawn: dict[int, Picture] = {}  # by row of the errors
    with progress_bar("Landscapes", len(improved) + len(worst)) as bar:
        for row in improved + worst:
            index = int(errors.frame[row])
            view = viewed[index] if index in viewed else view_frame(detector, dataset, index, steps)
            picture = drawings.landscape_picture(detector, view, errors, row, steps)
            if picture is not None:
                drawn[row] = picture
            bar.advance()
    return replace(
        known,
        improved=[drawn[row] for row in improved if row in drawn],
        worst=[drawn[row] for row in worst if row in drawn],
        frames=list(viewed.values()),
        missing=missing,
    )


def _recall(comparisons: Sequence[Comparison]) -> str:
    """The kind of average precision that an evaluation's tables have."""
    return comparisons[0].recall if comparisons else "R40"


def _training_facts(run: Path) -> dict[str, str]:
    """Steps and time of each stage, from the metrics."""
    metrics, pace = run / "metrics.csv", "seconds_per_step"
    if not metrics.is_file():
        return {}
    rows = read_columns(metrics, [pace])
    facts, done = {}, 0.0
    for stage in dict.fromkeys(stage for stage, _, _ in rows):
        last = max(step for at, step, _ in rows if at == stage)  # counted on from stage to stage
        facts[f"training, {stage}"] = f"{last - done:,.0f} steps"
        paces = [values[pace] for at, _, values in rows if at == stage and pace in values]
        if paces:
            facts[f"training, {stage}"] += f", {1000 * np.median(paces):.0f} ms each (median)"
        done = last
    return facts
