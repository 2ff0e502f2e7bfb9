"""Every picture of the page, from what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import singledispatch

import numpy as np

from lidar_ebm.ebm.calibration import Reliability
from lidar_ebm.energy.landscape import Landscape
from lidar_ebm.evaluation.curves import Comparison
from lidar_ebm.evaluation.figures import FigureEvaluation
from lidar_ebm.evaluation.paired_result import PairedComparison
from lidar_ebm.evaluation.result import Evaluation
from lidar_ebm.report.box_errors import BoxErrors
from lidar_ebm.report.frames import ViewedFrame
from lidar_ebm.report.pictures import Picture, draw, plot_errors
from lidar_ebm.visualization.calibration_plots import plot_calibration
from lidar_ebm.visualization.curve_plots import (
    LossCurve,
    headline_difficulty,
    plot_ap_against_steps,
    plot_comparison,
    plot_losses,
    plot_schedule,
)
from lidar_ebm.visualization.figure_plots import pair_panels, plot_figures_against_steps, plot_panels
from lidar_ebm.visualization.landscape_plot import plot_landscape
from lidar_ebm.visualization.outcome_plots import plot_paired_comparison
from lidar_ebm.visualization.score_plots import plot_before_after_curves

SAME_BOX = 0.5  # m that a detection may lie farther from a label than the nearest one does


def _at(difficulty: str | None) -> str:
    return f" ({difficulty})" if difficulty else ""


def change_pictures(comparisons: Sequence[Comparison]) -> list[Picture]:
    """AP before and after refinement, of each class."""
    return [
        draw(
            lambda path, each=each: plot_comparison(each, path),  # type: ignore[misc]
            f"{each.class_name}: AP before and after refinement{_at(headline_difficulty(each))}.",
        )
        for each in comparisons
    ]


def training_pictures(
    losses: Sequence[LossCurve], schedule: Sequence[tuple[str, float, Mapping[str, float]]]
) -> list[Picture]:
    """Losses and the schedule; none where nothing was logged."""
    if not losses:
        return []
    return [
        draw(lambda path: plot_losses(losses, path), "Losses as logged (faint) and smoothed."),
        draw(lambda path: plot_schedule(schedule, path), "Learning rate, gradient norm and seconds of a step."),
    ]


def steps_pictures(
    steps: Sequence[int], lines: Mapping[str, Sequence[float]], title: str, recall: str
) -> list[Picture]:
    """AP against T; none where it was measured at one T alone."""
    if len(steps) < 2:
        return []
    caption = f"AP {recall} against the number of refinement steps T; dotted: without refinement."
    return [draw(lambda path: plot_ap_against_steps(steps, lines, path, title=title, recall=recall), caption)]


def calibration_pictures(calibrations: Mapping[str, Reliability]) -> list[Picture]:
    """Coverage before and after temperature scaling; none where the run was not calibrated."""
    if not calibrations:
        return []
    caption = "How often regions of each probability hold the label, before and after temperature scaling."
    return [draw(lambda path: plot_calibration(calibrations, path), caption)]


@singledispatch
def curve_pictures(before: Evaluation, after: Evaluation, class_names: Sequence[str]) -> list[Picture]:
    """Precision against recall, of each class."""
    return [
        draw(
            lambda path, name=name: plot_before_after_curves(before, after, name, path),  # type: ignore[misc]
            f"{name}: precision against recall before and after refinement; AP R40 in the legend.",
        )
        for name in class_names
    ]


@curve_pictures.register
def _figure_curve_pictures(
    before: FigureEvaluation, after: FigureEvaluation, class_names: Sequence[str]
) -> list[Picture]:
    last = after.pictures()
    return [
        draw(
            lambda path, panels=panels, name=name: plot_panels(pair_panels(panels, last[name]), path, ""),  # type: ignore[misc]
            f"{name.replace('_', ' ')}, before and after refinement.".capitalize(),
        )
        for name, panels in before.pictures().items()
    ]


def figure_steps_pictures(steps: Sequence[int], lines: Mapping[str, Sequence[float]]) -> list[Picture]:
    """Summaries against T; none where they were measured at one T alone."""
    if len(steps) < 2:
        return []
    caption = f"{' and '.join(lines)} against the number of refinement steps T; dotted: without refinement."
    return [draw(lambda path: plot_figures_against_steps(steps, lines, path), caption)]


def paired_pictures(paired: PairedComparison, recall: str) -> list[Picture]:
    """Differences with their intervals."""
    caption = "What refinement changes, and how far chance reaches."
    return [draw(lambda path: plot_paired_comparison(paired, path, recall), caption)]


def error_pictures(errors: BoxErrors, frames: int) -> list[Picture]:
    """Errors of so many frames by what makes them likely; none without labels."""
    if not len(errors):
        return []
    caption = (
        f"{len(errors):,} labels of {frames:,} frames, each with the detection that meets it best: how many are "
        "detected at the IoU that the protocol asks for, and how well they are met."
    )
    return [draw(lambda path: plot_errors(errors, path), caption)]


def landscape_picture(landscape: Landscape, errors: BoxErrors, row: int, frame: str) -> Picture:
    """f around the detection that belongs to a label."""
    name = f"Frame {frame}, box {landscape.index}: {landscape.class_name}"
    caption = (
        f"{name}, {errors.distance[row]:.0f} m away, {errors.points[row]:,} points, score {landscape.score:.2f}: IoU "
        f"{errors.before[row]:.3f} → {errors.after[row]:.3f}."
    )
    return draw(lambda path: plot_landscape(landscape, path, title=name), caption)


def detection_of(view: ViewedFrame, errors: BoxErrors, row: int) -> int | None:
    """Place among a frame's detections of the one that belongs to a label; None where there is no detection.

    It is the one that errors name, unless it lies elsewhere, as after a change of weights: then the nearest one.
    """
    refined = view.path[-1]
    if not len(refined):
        return None
    distances = np.linalg.norm(refined[:, :3] - errors.box[row, :3], axis=1)
    place = int(errors.row[row]) if errors.row[row] < len(refined) else int(distances.argmin())
    return place if distances[place] <= distances.min() + SAME_BOX else int(distances.argmin())
