"""All pictures of one run, from what training and evaluation left in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.config.config import Config
from lidar_ebm.datasets.source import FrameSource
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.refinement import CHANGES_FILE, STEPS_FILE
from lidar_ebm.report.frames import best_overlaps
from lidar_ebm.report.metrics import read_losses
from lidar_ebm.report.records import (
    read_ap_against_steps,
    read_changes,
    read_comparisons,
    read_figures_against_steps,
)
from lidar_ebm.runs.run import load_run_config
from lidar_ebm.visualization.bev_plot import plot_refinement
from lidar_ebm.visualization.box_arrays import as_array
from lidar_ebm.visualization.curve_plots import plot_ap_against_steps, plot_comparison, plot_losses
from lidar_ebm.visualization.figure_plots import plot_differences, plot_figures_against_steps
from lidar_ebm.visualization.views import view_of_range
from lidar_ebm.workflows.report import labels_in_range, points_in_range, steps_title
from lidar_ebm.workflows.sources import open_frame_source, points_in_view, read_results


def plot_run(
    run: str | Path,
    *,
    data: str | Path | None = None,
    split: str = "val",
    frames: int = 4,
    out: str | Path | None = None,
) -> list[Path]:
    """Draw what there is to see of a run.

    Always its loss curves; if it was evaluated, AP before and after refinement and against refinement steps; with its
    data set also bird's-eye views with points, labels, and boxes before and after.

    Args:
        run: folder that training has written.
        data: data set of the evaluation; None for no bird's-eye views.
        split: split that was evaluated.
        frames: number of bird's-eye views, taken evenly from the split's frames with labels.
        out: folder for the pictures; RUN/pictures where None.

    Returns:
        The pictures.

    Raises:
        InputError: there is no run, or bird's-eye views are asked for and the split was not evaluated.
        OutputError: a picture cannot be written.
    """
    run = Path(run)
    config = load_run_config(run)
    folder = run / "pictures" if out is None else Path(out)
    evaluation = run / "evaluation" / split
    written = [plot_losses(read_losses(run / "metrics.csv"), folder / "losses.png")]
    if (evaluation / CHANGES_FILE).exists():
        written += _plot_evaluation(evaluation, config, folder)
    if data is not None:
        written += _plot_frames(run, config, Path(data), split, frames, folder)
    return written


def _plot_evaluation(evaluation: Path, config: Config, folder: Path) -> list[Path]:
    """The change by refinement (of the first class, by protocols with curves), and against the number of steps."""
    changes = read_changes(evaluation)
    if changes is not None:
        steps, lines = read_figures_against_steps(evaluation / STEPS_FILE)
        return [
            plot_differences(changes, folder / "figures_before_after.png"),
            plot_figures_against_steps(steps, lines, folder / "figures_against_steps.png"),
        ]
    comparisons = read_comparisons(evaluation / CHANGES_FILE)
    if not comparisons:  # no overlap was asked for
        return []
    first = comparisons[0]
    steps, lines = read_ap_against_steps(evaluation / STEPS_FILE)
    title = steps_title(config, comparisons)
    return [
        plot_comparison(first, folder / "ap_before_after.png"),
        plot_ap_against_steps(steps, lines, folder / "ap_against_steps.png", title=title, recall=first.recall),
    ]


def _plot_frames(run: Path, config: Config, data: Path, split: str, count: int, folder: Path) -> list[Path]:
    """Bird's-eye views of frames with labels, before and after refinement."""
    source = open_frame_source(data, split)
    results = [run / "evaluation" / split / part / "data" for part in ("results_before", "results_after")]
    if not all(path.is_dir() for path in results):
        command = f"lidar-ebm evaluate {run} --data {data} --split {split}"
        raise InputError(f"{run}: its evaluation on split {split!r} is missing. Run `{command}` first.")
    labelled = [k for k in range(len(source)) if len(labels_in_range(source[k], config))]
    chosen = labelled[:: max(1, len(labelled) // max(count, 1))][:count]
    return [_plot_frame(source, index, config, results, folder) for index in chosen]


def _plot_frame(source: FrameSource, index: int, config: Config, results: Sequence[Path], folder: Path) -> Path:
    frame = source[index]
    before, after = (read_results(path, frame, source) or Boxes.empty(scores=True) for path in results)
    labels, first, last = (
        as_array(each).astype(np.float32) for each in (labels_in_range(frame, config), before, after)
    )
    return plot_refinement(
        points_in_range(points_in_view(frame), config),
        labels,
        first,
        last,
        folder / f"frame_{frame.name}.png",
        scores=after.scores,
        iou_before=_best_iou(first, labels),
        iou_after=_best_iou(last, labels),
        view=view_of_range(config.voxels.range),
        title=f"Frame {frame.name}",
    )


def _best_iou(boxes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """3-D IoU [M] of each box with the label that it overlaps best, NaN where it overlaps none."""
    best = best_overlaps(boxes, labels)
    return np.where(best > 0, best, np.nan)
