"""From a run's folder, and the data set that it was evaluated on, to one HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.config.config import Config
from lidar_ebm.datasets.frame import Frame, take_channels
from lidar_ebm.datasets.frames import Frames
from lidar_ebm.datasets.samples import index_by_name
from lidar_ebm.datasets.source import FrameSource
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.curves import Comparison
from lidar_ebm.evaluation.kitti.rules import OFFICIAL_OVERLAPS
from lidar_ebm.evaluation.refinement import CHANGES_FILE, STEPS_FILE
from lidar_ebm.inference.detection import LoadedDetector, load_detector
from lidar_ebm.inference.landscape import landscapes
from lidar_ebm.report import drawings
from lidar_ebm.report.box_errors import BoxErrors, ComparedFrame, find_errors
from lidar_ebm.report.contents import Contents
from lidar_ebm.report.frames import ViewedFrame, spread
from lidar_ebm.report.metrics import read_losses, read_metrics
from lidar_ebm.report.page import to_html
from lidar_ebm.report.pictures import Picture
from lidar_ebm.report.records import (
    read_about,
    read_ap_against_steps,
    read_calibrations,
    read_changes,
    read_comparisons,
    read_figures_against_steps,
)
from lidar_ebm.runs.run import load_run_config
from lidar_ebm.runs.temperature import weights_digest
from lidar_ebm.system.environment import describe_environment
from lidar_ebm.system.files import atomic_write, check_output_file
from lidar_ebm.system.progress import progress_bar
from lidar_ebm.visualization.box_arrays import as_array
from lidar_ebm.visualization.curve_plots import SCHEDULE_COLUMNS, headline_difficulty
from lidar_ebm.workflows.scoring import SplitScoring
from lidar_ebm.workflows.sources import all_channels_in_view, open_frame_source, points_in_view, read_results

MAXIMUM_FRAMES = 1000  # whose points are read to see where the errors are
OTHER_OVERLAP = 0.5  # that a match exceeds in classes for which the protocol has no rule


def write_report(
    run: str | Path,
    out: str | Path | None = None,
    *,
    data: str | Path | None = None,
    split: str = "val",
    frames: int = 20,
    boxes: int = 4,
    resamples: int = 1000,
) -> Path:
    """Write one HTML file that shows a run: figures, curves, errors, boxes with their landscapes, frames in 3-D.

    It needs nothing beside it, and asks for nothing from a network.

    Args:
        run: folder of a finished run that was evaluated.
        out: the file; RUN/report.html where None.
        data: the data set; where None the one that the run was evaluated on. Where that is gone, the page has what the
            run's folder alone can tell.
        split: that was evaluated.
        frames: for the 3-D view, 0 or more.
        boxes: most improved ones and worst ones, as many of each, 0 or more.
        resamples: of the intervals.

    Returns:
        The file.

    Raises:
        InputError: there is no run, the split was not evaluated, a number is negative, or a file cannot be used.
        OutputError: the file cannot be written.
    """
    for name, value in (("frames", frames), ("boxes", boxes)):
        if value < 0:
            raise InputError(f"{name}: {value}; give 0 or more.")
    run = Path(run)
    path = run / "report.html" if out is None else Path(out)
    check_output_file(path)
    contents = gather(
        run, data=None if data is None else Path(data), split=split, frames=frames, boxes=boxes, resamples=resamples
    )
    with atomic_write(path, "w") as file:
        file.write(to_html(contents))
    return path


def gather(
    run: Path, *, data: Path | None = None, split: str = "val", frames: int = 20, boxes: int = 4, resamples: int = 1000
) -> Contents:
    """Read a run, and with its data set compute what is to be shown; arguments and errors as for `write_report`."""
    config, evaluation = load_run_config(run), run / "evaluation" / split
    results = (evaluation / "results_before" / "data", evaluation / "results_after" / "data")
    if not all(path.is_dir() for path in results):
        raise InputError(
            f"{run}: its evaluation on split {split!r} is missing. Run `lidar-ebm evaluate {run} --data DATA --split "
            f"{split}` first."
        )
    contents = _from_run(run, config, split)
    if data is None and contents.about and Path(contents.about["data"]).is_dir():
        data = Path(contents.about["data"])
    if data is None:
        why = "Intervals, errors, boxes and the 3-D view: the data set is not at hand. Name it with --data."
        return replace(contents, missing=[*contents.missing, why])
    detector = load_detector(run, weights=contents.about.get("weights", "model.safetensors"))
    source = open_frame_source(data, split)
    errors = find_errors(_compared(source, *results, detector.config), _needed_overlap)
    scored = _with_scores(contents, source, detector.config.class_names, results, errors, resamples)
    return _with_boxes(scored, detector, source, errors, frames, boxes)


def _from_run(run: Path, config: Config, split: str) -> Contents:
    """Contents that the run's folder alone can tell."""
    evaluation, metrics = run / "evaluation" / split, run / "metrics.csv"
    about = read_about(evaluation / "about.json")
    changes = read_changes(evaluation)
    comparisons = read_comparisons(evaluation / CHANGES_FILE) if changes is None else ()
    calibrations = read_calibrations(run / "calibration" / split / "calibration.json")
    uncalibrated = f"Calibration: `lidar-ebm calibrate {run} --data DATA --split {split}` was not run."
    losses = read_losses(metrics) if metrics.is_file() else []
    schedule = read_metrics(metrics, SCHEDULE_COLUMNS) if metrics.is_file() else []
    return Contents(
        name=run.resolve().name,
        split=split,
        config=(run / "config.yaml").read_text(encoding="utf-8"),
        environment=about.get("environment") or describe_environment(),
        about=about,
        training=_training_facts(schedule),
        comparisons=comparisons,
        changes=changes,
        pictures={
            "training": drawings.training_pictures(losses, schedule),
            "ap": drawings.change_pictures(comparisons),
            "steps": _steps_pictures(evaluation / STEPS_FILE, config, comparisons, in_figures=changes is not None),
            "calibration": drawings.calibration_pictures(calibrations),
        },
        missing=[] if calibrations else [uncalibrated],
        class_names=config.class_names,
    )


def _steps_pictures(
    path: Path, config: Config, comparisons: Sequence[Comparison], *, in_figures: bool
) -> list[Picture]:
    if in_figures:
        return drawings.figure_steps_pictures(*read_figures_against_steps(path))
    steps, lines = read_ap_against_steps(path)
    return drawings.steps_pictures(steps, lines, steps_title(config, comparisons), _recall(comparisons))


def steps_title(config: Config, comparisons: Sequence[Comparison]) -> str:
    """Title of AP against the number of steps, which `evaluate` measures for the first class."""
    difficulty = headline_difficulty(comparisons[0]) if comparisons else None
    return ", ".join([config.class_names[0], "3-D", *([difficulty] if difficulty else [])])


def _compared(source: FrameSource, before: Path, after: Path, config: Config) -> Iterator[ComparedFrame]:
    """Frames of a split with labels of the run's classes and its detections; some of them where there are many."""
    chosen = np.unique(np.linspace(0, len(source) - 1, min(MAXIMUM_FRAMES, len(source))).round().astype(int))
    with progress_bar("Comparing boxes", len(chosen)) as bar:
        for index in chosen.tolist():
            frame = source[index]
            labels = _all_columns(source, index, frame).of_class(*config.class_names)
            points = points_in_range(points_in_view(frame), config)
            results = tuple(_results(folder, frame, source) for folder in (before, after))
            yield ComparedFrame(index, frame.name, points, labels, results[0], results[1])
            bar.advance()


def _all_columns(source: FrameSource, index: int, frame: Frame) -> Boxes:
    """Labels with a box in space, with all that their file says of them where the source tells it."""
    read = getattr(source, "labels", None)
    labels: Boxes = (frame.boxes or Boxes.empty()) if read is None else read(index)
    return labels.select(np.isfinite(labels.boxes).all(axis=1))


def _results(folder: Path, frame: Frame, source: FrameSource) -> Boxes:
    boxes = read_results(folder, frame, source)
    if boxes is None:
        raise InputError(f"{folder}: has no results of frame {frame.name}. Evaluate the run again.")
    return boxes


def _needed_overlap(class_name: str) -> float:
    return OFFICIAL_OVERLAPS.get(class_name, OTHER_OVERLAP)


def points_in_range(points: np.ndarray, config: Config) -> np.ndarray:
    """The points [N, 3 + C] that lie in a run's range."""
    return points[_inside(points[:, :3], config)]


def labels_in_range(frame: Frame, config: Config) -> Boxes:
    """Labels that a run is to detect: of its classes or those merged into them, under its names, in its range."""
    if frame.boxes is None:
        return Boxes.empty()
    names = {name: config.class_names[index] for name, index in index_by_name(config.classes).items()}
    called = np.array([names.get(name.lower(), "") for name in frame.boxes.names.tolist()], dtype=np.str_)
    rows = np.flatnonzero((called != "") & _inside(frame.boxes.boxes[:, :3].astype(np.float32), config))
    return frame.boxes.select(rows).with_columns(names=called[rows])


def _inside(places: np.ndarray, config: Config) -> np.ndarray:
    low, high = np.asarray(config.voxels.range, np.float32).reshape(2, 3)
    return np.all((places >= low) & (places < high), axis=1)


def view_frame(detector: LoadedDetector, frame: Frame, steps: int | None) -> ViewedFrame:
    """Detect in a frame, and keep the way that refinement took.

    Raises:
        InputError: the frame's points cannot be used.
    """
    config = detector.config
    points = points_in_view(frame, config.points.channels)
    refined = detector.refinement_path(points, steps=steps)
    labels = labels_in_range(frame, config)
    return ViewedFrame(
        name=frame.name,
        points=points_in_range(all_channels_in_view(frame), config),
        channels=frame.channels,
        labels=as_array(labels),
        label_types=tuple(labels.names.tolist()),
        types=tuple(refined.boxes.names.tolist()),
        scores=np.asarray(refined.boxes.scores),
        path=refined.path,
        path_f=refined.f,
    )


def _with_scores(
    contents: Contents,
    source: FrameSource,
    classes: Sequence[str],
    results: tuple[Path, Path],
    errors: BoxErrors,
    resamples: int,
) -> Contents:
    """Contents with what the data set's labels say of the result files before and after refinement."""
    shown = {"errors": drawings.error_pictures(errors, min(MAXIMUM_FRAMES, len(source)))}
    if not isinstance(source, Frames):
        why = "Precision against recall and intervals: these frames are of no data set with rules for scoring."
        return replace(contents, pictures=contents.pictures | shown, missing=[*contents.missing, why])
    scoring = SplitScoring.of(source, classes)
    options = scoring.protocol.comparison_options
    before, after = (scoring.score_files(folder, **options) for folder in results)
    paired = scoring.compare_files(
        *results, resamples=resamples, names=("before refinement", "after refinement"), **options
    )
    pictures = {
        "curves": drawings.curve_pictures(before, after, classes),
        "paired": drawings.paired_pictures(paired, _recall(contents.comparisons)),
    }
    return replace(contents, paired=paired, pictures=contents.pictures | shown | pictures)


def _with_boxes(
    contents: Contents, detector: LoadedDetector, source: FrameSource, errors: BoxErrors, frames: int, boxes: int
) -> Contents:
    """Contents with frames to be seen, and f around the most improved and the worst boxes."""
    improved, worst = errors.improved(boxes), errors.worst(boxes)
    steps = contents.about.get("steps")
    missing = list(contents.missing)
    if contents.about and contents.about["weights_sha256"] != weights_digest(detector.model):
        missing.append(
            f"{contents.about['weights']} has changed since the evaluation: figures and boxes are of different weights."
        )
    viewed = {}
    chosen = spread(len(source), frames, list(dict.fromkeys(errors.frame[improved + worst].tolist())))
    with progress_bar("Detecting", len(chosen)) as bar:
        for index in chosen:
            viewed[index] = view_frame(detector, source[index], steps)
            bar.advance()
    drawn: dict[int, Picture] = {}  # by row of the errors
    with progress_bar("Landscapes", len(improved) + len(worst)) as bar:
        for row in improved + worst:
            index = int(errors.frame[row])
            view = viewed[index] if index in viewed else view_frame(detector, source[index], steps)
            picture = _landscape(detector, view, errors, row, steps)
            if picture is not None:
                drawn[row] = picture
            bar.advance()
    return replace(
        contents,
        improved=[drawn[row] for row in improved if row in drawn],
        worst=[drawn[row] for row in worst if row in drawn],
        frames=list(viewed.values()),
        missing=missing,
    )


def _landscape(
    detector: LoadedDetector, view: ViewedFrame, errors: BoxErrors, row: int, steps: int | None
) -> Picture | None:
    """f around the detection that belongs to a label; None where the run detects nothing there any more."""
    place = drawings.detection_of(view, errors, row)
    if place is None:
        return None
    config = detector.config
    points = take_channels(view.points, view.channels, config.points.channels)
    shown = landscapes(detector, points, [place], labels=view.labels[:, : config.box_dimensions], steps=steps)[0]
    return drawings.landscape_picture(shown, errors, row, view.name)


def _recall(comparisons: Sequence[Comparison]) -> str:
    """The kind of average precision that an evaluation's tables have."""
    return comparisons[0].recall if comparisons else "R40"


def _training_facts(rows: Sequence[tuple[str, float, dict[str, float]]]) -> dict[str, str]:
    """Steps and time of each stage, from rows of metrics."""
    facts, done, pace = {}, 0.0, "seconds_per_step"
    for stage in dict.fromkeys(stage for stage, _, _ in rows):
        last = max(step for at, step, _ in rows if at == stage)  # counted on from stage to stage
        facts[f"training, {stage}"] = f"{last - done:,.0f} steps"
        paces = [values[pace] for at, _, values in rows if at == stage and pace in values]
        if paces:
            facts[f"training, {stage}"] += f", {1000 * np.median(paces):.0f} ms each (median)"
        done = last
    return facts
