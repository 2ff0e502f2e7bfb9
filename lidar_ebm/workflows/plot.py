"""All pictures of one run, from what training and evaluation left in its folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lidar_ebm.config.config import Config
from lidar_ebm.datasets.opening import open_samples
from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.conversion import labels_to_boxes
from lidar_ebm.formats.kitti.files import read_labels
from lidar_ebm.report.frames import best_overlaps
from lidar_ebm.report.records import read_ap_against_steps, read_comparisons
from lidar_ebm.runs.run import load_run_config
from lidar_ebm.visualization.bev_plot import plot_refinement
from lidar_ebm.visualization.curve_plots import plot_ap_against_steps, plot_comparison, plot_losses


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
    written = [plot_losses(run / "metrics.csv", folder / "losses.png")]
    if (evaluation / "refinement.csv").exists():
        written += _plot_evaluation(evaluation, folder)
    if data is not None:
        written += _plot_frames(run, config, Path(data), split, frames, folder)
    return written


def _plot_evaluation(evaluation: Path, folder: Path) -> list[Path]:
    """AP before and after (3-D, moderate, first class), and AP against the number of refinement steps."""
    comparisons = read_comparisons(evaluation / "refinement.csv")
    if not comparisons:  # no overlap was asked for
        return []
    first = comparisons[0]
    steps, lines = read_ap_against_steps(evaluation / "ap_against_steps.csv")
    title = f"{first.class_name}, 3-D, moderate"
    return [
        plot_comparison(first, folder / "ap_before_after.png"),
        plot_ap_against_steps(steps, lines, folder / "ap_against_steps.png", title=title, recall=first.recall),
    ]


def _plot_frames(run: Path, config: Config, data: Path, split: str, count: int, folder: Path) -> list[Path]:
    """Bird's-eye views of frames with labels, before and after refinement."""
    low_x, low_y, _, high_x, high_y, _ = config.voxels.range
    dataset = open_samples(data, split, config)
    results = [run / "evaluation" / split / part / "data" for part in ("results_before", "results_after")]
    if not all(path.is_dir() for path in results):
        command = f"lidar-ebm evaluate {run} --data {data} --split {split}"
        raise InputError(f"{run}: its evaluation on split {split!r} is missing. Run `{command}` first.")
    labelled = [i for i in range(len(dataset)) if any(item.type in config.class_names for item in dataset.labels(i))]
    chosen = labelled[:: max(1, len(labelled) // max(count, 1))][:count]
    written = []
    for index in chosen:
        frame, calibration = dataset[index], dataset.calibration(index)
        found = [read_labels(path / f"{frame.frame_id}.txt", require_score=True) for path in results]
        before, after = (labels_to_boxes(labels, calibration).astype(np.float32) for labels in found)
        written.append(
            plot_refinement(
                frame.points,
                frame.boxes,
                before,
                after,
                folder / f"frame_{frame.frame_id}.png",
                scores=[label.score or 0.0 for label in found[1]],
                iou_before=_best_iou(before, frame.boxes),
                iou_after=_best_iou(after, frame.boxes),
                view=(low_x, low_y, high_x, high_y),
                title=f"Frame {frame.frame_id}",
            )
        )
    return written


def _best_iou(boxes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """3-D IoU of each box with the label that it overlaps most, NaN where it overlaps none: [M]."""
    best = best_overlaps(boxes, labels)
    return np.where(best > 0, best, np.nan)
