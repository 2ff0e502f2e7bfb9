"""Every picture of the page, from what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lidar_ebm.ebm.calibration import Calibration
from lidar_ebm.evaluation.curves import Comparison
from lidar_ebm.evaluation.paired_result import PairedComparison
from lidar_ebm.evaluation.result import Evaluation
from lidar_ebm.inference.detection import LoadedDetector
from lidar_ebm.inference.landscape import landscapes
from lidar_ebm.report.box_errors import BoxErrors
from lidar_ebm.report.frames import ViewedFrame
from lidar_ebm.report.pictures import Picture, draw, plot_errors
from lidar_ebm.report.records import read_ap_against_steps
from lidar_ebm.visualization.calibration_plots import plot_calibration
from lidar_ebm.visualization.curve_plots import plot_ap_against_steps, plot_comparison, plot_losses, plot_schedule
from lidar_ebm.visualization.landscape_plot import plot_landscape
from lidar_ebm.visualization.score_plots import plot_before_after_curves, plot_paired

SAME_BOX = 0.5  # m that a detection may lie farther from a label than the nearest one does


def change_pictures(comparisons: Sequence[Comparison]) -> list[Picture]:
    """AP before and after refinement, of each class."""
    return [
        draw(
            lambda path, each=each: plot_comparison(each, path),  # type: ignore[misc]
            f"{each.class_name}: moderate 3-D AP before and after refinement.",
        )
        for each in comparisons
    ]


def training_pictures(run: Path) -> list[Picture]:
    """Losses and the schedule, from the metrics."""
    metrics = run / "metrics.csv"
    if not metrics.is_file():
        return []
    return [
        draw(lambda path: plot_losses(metrics, path), "Losses as logged (faint) and smoothed."),
        draw(lambda path: plot_schedule(metrics, path), "Learning rate, gradient norm and seconds of a step."),
    ]


def steps_pictures(evaluation: Path, class_name: str, recall: str) -> list[Picture]:
    """AP against T, as `evaluate` left it."""
    steps, lines = read_ap_against_steps(evaluation / "ap_against_steps.csv")
    if len(steps) < 2:
        return []
    title = f"{class_name}, 3-D, moderate"
    caption = f"AP {recall} against the number of refinement steps T; dotted: without refinement."
    return [draw(lambda path: plot_ap_against_steps(steps, lines, path, title=title, recall=recall), caption)]


def calibration_pictures(calibrations: Mapping[str, Calibration]) -> list[Picture]:
    """Coverage before and after temperature scaling; none where the run was not calibrated."""
    if not calibrations:
        return []
    caption = "How often regions of each probability hold the label, before and after temperature scaling."
    return [draw(lambda path: plot_calibration(calibrations, path), caption)]


def curve_pictures(before: Evaluation, after: Evaluation, class_names: Sequence[str]) -> list[Picture]:
    """Precision against recall, of each class."""
    return [
        draw(
            lambda path, name=name: plot_before_after_curves(before, after, name, path),  # type: ignore[misc]
            f"{name}: precision against recall before and after refinement; AP R40 in the legend.",
        )
        for name in class_names
    ]


def paired_pictures(paired: PairedComparison, recall: str) -> list[Picture]:
    """Differences with their intervals."""
    caption = "What refinement changes, and how far chance reaches."
    return [draw(lambda path: plot_paired(paired, path, recall), caption)]


def error_pictures(errors: BoxErrors, frames: int) -> list[Picture]:
    """Where the errors of so many frames are; none without labels."""
    if not len(errors):
        return []
    caption = (
        f"{len(errors):,} labels of {frames:,} frames, each with the detection that meets it best: how many are found "
        "at the IoU that KITTI asks for, and how well they are met."
    )
    return [draw(lambda path: plot_errors(errors, path), caption)]


def landscape_picture(
    detector: LoadedDetector, view: ViewedFrame, errors: BoxErrors, row: int, steps: int | None
) -> Picture | None:
    """f around the detection that belongs to a label; None where the run does not find it again."""
    found = view.path.path[-1]
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
