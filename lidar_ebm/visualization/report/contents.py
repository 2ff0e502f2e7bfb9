"""What a run's folder and its data set have to show."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lidar_ebm.config import Config
from lidar_ebm.data.dataset import KittiDataset
from lidar_ebm.detection import load_detector
from lidar_ebm.environment import describe_environment
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.curves import REFINEMENT_OVERLAPS, Comparison
from lidar_ebm.evaluation.kitti_ap import evaluate
from lidar_ebm.evaluation.paired import compare_results
from lidar_ebm.evaluation.paired_result import PairedComparison
from lidar_ebm.progress import progress_bar
from lidar_ebm.training.checkpoint import load_run_config
from lidar_ebm.training.temperature import weights_digest
from lidar_ebm.visualization.calibration_plots import plot_calibration
from lidar_ebm.visualization.curve_plots import plot_ap_against_steps, plot_ap_before_after, plot_losses, plot_schedule
from lidar_ebm.visualization.landscape import landscapes
from lidar_ebm.visualization.landscape_plot import plot_landscape
from lidar_ebm.visualization.report.box_errors import BoxErrors, find_errors
from lidar_ebm.visualization.report.frames import ViewedFrame, spread, view_frame
from lidar_ebm.visualization.report.pictures import Picture, draw, plot_errors
from lidar_ebm.visualization.report.records import read_ap_against_steps, read_calibrations, read_comparisons, read_json
from lidar_ebm.visualization.score_plots import plot_before_after_curves, plot_paired

MOST_FRAMES = 1000  # whose points are read to find where the errors are
SAME_BOX = 0.5  # m that a detection may lie farther from a label than the nearest one does


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
    config = load_run_config(run)
    evaluation = run / "evaluation" / split
    results = [evaluation / part / "data" for part in ("results_before", "results_after")]
    if not all(path.is_dir() for path in results):
        raise InputError(
            f"{run}: its evaluation on split {split!r} is missing. Run `lidar-ebm evaluate {run} --data DATA --split "
            f"{split}` first."
        )
    about = read_json(evaluation / "about.json")
    missing = []
    if data is None and about and Path(about["data"]).is_dir():
        data = Path(about["data"])
    pictures: dict[str, list[Picture]] = {"training": _training_pictures(run), "calibration": []}
    comparisons = read_comparisons(evaluation / "refinement.csv")
    pictures["ap"] = [
        draw(
            lambda path, each=each: _plot_changes(each, path),  # type: ignore[misc]
            f"{each.class_name}: moderate 3-D AP before and after refinement.",
        )
        for each in comparisons
    ]
    pictures["steps"] = _steps_picture(evaluation, config)
    calibrations = read_calibrations(run / "calibration" / split / "calibration.json")
    if calibrations:
        caption = "How often regions of each probability hold the label, before and after temperature scaling."
        pictures["calibration"] = [draw(lambda path: plot_calibration(calibrations, path), caption)]
    else:
        missing.append(f"Calibration: `lidar-ebm calibrate {run} --data DATA --split {split}` was not run.")
    known = Contents(
        name=run.resolve().name,
        split=split,
        config=(run / "config.yaml").read_text(encoding="utf-8"),
        environment=about.get("environment") or describe_environment(),
        about=about,
        training=_training_facts(run),
        comparisons=comparisons,
        pictures=pictures,
        missing=missing,
    )
    if data is None:
        missing.append("Intervals, errors, boxes and the 3-D view: the data set is not at hand. Name it with --data.")
        return known
    return _with_data(known, run, config, data, results, frames, boxes, resamples)


def _with_data(
    known: Contents,
    run: Path,
    config: Config,
    data: Path,
    results: list[Path],
    frames: int,
    boxes: int,
    resamples: int,
) -> Contents:
    dataset = KittiDataset(data, known.split, config)
    names = [dataset.frame_id(index) for index in range(len(dataset))]
    labels, classes = data / "training" / "label_2", config.class_names
    options: dict[str, Any] = {
        "classes": classes,
        "iou": REFINEMENT_OVERLAPS,
        "metrics": ("3d", "bev"),
        "split": names,
        "lidar_only": dataset.lidar_only,
    }
    before, after = (evaluate(labels, result, **options) for result in results)
    paired = compare_results(
        labels, *results, resamples=resamples, names=("before refinement", "after refinement"), **options
    )
    errors = find_errors(dataset, results[0], results[1], class_names=classes, most=MOST_FRAMES)
    pictures = known.pictures | {
        "curves": [
            draw(
                lambda path, name=name: plot_before_after_curves(before, after, name, path),  # type: ignore[misc]
                f"{name}: precision against recall before and after refinement; AP R40 in the legend.",
            )
            for name in classes
        ],
        "paired": [
            draw(lambda path: plot_paired(paired, path), "What refinement changes, and how far chance reaches.")
        ],
        "errors": [],
    }
    if len(errors):
        caption = (
            f"{len(errors):,} labels of {min(MOST_FRAMES, len(dataset)):,} frames, each with the detection that meets "
            "it best: how many are found at the IoU that KITTI asks for, and how well they are met."
        )
        pictures["errors"] = [draw(lambda path: plot_errors(errors, path), caption)]
    improved, worst = errors.most_improved(boxes), errors.worst(boxes)
    steps = known.about.get("steps")
    chosen = spread(len(dataset), frames, list(dict.fromkeys(errors.frame[improved + worst].tolist())))
    detector = load_detector(run)
    missing = list(known.missing)
    if known.about and known.about["weights_sha256"] != weights_digest(detector.model):
        missing.append("The run was trained on after its evaluation: figures and boxes are of different weights.")
    viewed = {}
    with progress_bar("Detecting", len(chosen)) as bar:
        for index in chosen:
            viewed[index] = view_frame(detector, dataset, index, steps)
            bar.advance()
    drawn: list[list[Picture]] = []
    with progress_bar("Landscapes", len(improved) + len(worst)) as bar:
        for rows in (improved, worst):
            drawn.append([])
            for row in rows:
                view = viewed.get(int(errors.frame[row]))
                picture = None if view is None else _landscape_picture(detector, view, errors, row, steps)
                drawn[-1] += [] if picture is None else [picture]
                bar.advance()
    return Contents(
        **{
            **vars(known),
            "paired": paired,
            "pictures": pictures,
            "improved": drawn[0],
            "worst": drawn[1],
            "frames": list(viewed.values()),
            "missing": missing,
        }
    )


def _landscape_picture(detector: Any, view: ViewedFrame, errors: BoxErrors, row: int, steps: int | None) -> Any:
    """f around the detection that belongs to a label; None where the run does not find it again."""
    found = view.climb.boxes[-1]
    if not len(found):
        return None
    distances = np.linalg.norm(found[:, :3] - errors.box[row, :3], axis=1)
    place = int(errors.row[row]) if errors.row[row] < len(found) else int(distances.argmin())
    if distances[place] > distances.min() + SAME_BOX:
        place = int(distances.argmin())
    frame = view.frame
    shown = landscapes(detector, frame.points, [place], labels=frame.boxes, steps=steps)[0]
    name = f"Frame {frame.frame_id}, box {place}: {shown.class_name}"
    caption = (
        f"{name}, {errors.distance[row]:.0f} m away, {errors.points[row]:,} points, score {shown.score:.2f}: IoU "
        f"{errors.before[row]:.3f} → {errors.after[row]:.3f}."
    )
    return draw(lambda path: plot_landscape(shown, path, title=name), caption)


def _plot_changes(comparison: Comparison, path: Path) -> Path:
    changes = comparison.select("3d", "moderate") or comparison.select("3d")
    return plot_ap_before_after(
        [each.iou for each in changes],
        [each.before for each in changes],
        [each.after for each in changes],
        path,
        title=f"{comparison.class_name}, 3-D, {changes[0].difficulty}",
    )


def _training_pictures(run: Path) -> list[Picture]:
    metrics = run / "metrics.csv"
    if not metrics.is_file():
        return []
    return [
        draw(lambda path: plot_losses(metrics, path), "Losses as logged (faint) and smoothed."),
        draw(lambda path: plot_schedule(metrics, path), "Learning rate, gradient norm and seconds of a step."),
    ]


def _training_facts(run: Path) -> dict[str, str]:
    """Steps and time of each stage, from the metrics."""
    metrics = run / "metrics.csv"
    if not metrics.is_file():
        return {}
    with metrics.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    facts = {}
    for stage in dict.fromkeys(row["stage"] for row in rows):
        mine = [row for row in rows if row["stage"] == stage and row["seconds_per_step"]]
        if mine:
            steps = int(mine[-1]["step"]) - int(mine[0]["step"]) + 1
            pace = float(np.median([float(row["seconds_per_step"]) for row in mine]))
            facts[f"training, {stage}"] = f"{steps:,} steps, {1000 * pace:.0f} ms each (median)"
    return facts


def _steps_picture(evaluation: Path, config: Config) -> list[Picture]:
    steps, lines = read_ap_against_steps(evaluation / "ap_against_steps.csv")
    if len(steps) < 2:
        return []
    title = f"{config.class_names[0]}, 3-D, moderate"
    caption = "AP against the number of refinement steps T; dotted: without refinement."
    return [draw(lambda path: plot_ap_against_steps(steps, lines, path, title=title), caption)]
