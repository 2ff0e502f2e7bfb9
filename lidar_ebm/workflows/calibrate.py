"""The calibration of a run: from its folder and a data set to figures, a table, a picture and the run's temperature."""

from __future__ import annotations

import json
from pathlib import Path

from rich import box, console
from rich.table import Table

from lidar_ebm.datasets.opening import open_data_set, open_samples
from lidar_ebm.ebm.calibration import LEVELS, TEMPERATURES, Reliability
from lidar_ebm.errors import InputError
from lidar_ebm.inference.box_calibration import BoxCalibration, calibrate
from lidar_ebm.runs.run import load_run
from lidar_ebm.runs.temperature import FINISHED_WEIGHTS, weights_digest, write_temperature
from lidar_ebm.system.files import atomic_write
from lidar_ebm.visualization.calibration_plots import plot_calibration

ROUGH = 5.0  # effective samples of a match (their median), below which figures are not to be trusted
FEW = 50  # matches, below which a temperature is a rough one


def calibrate_run(
    run: str | Path,
    data: str | Path,
    *,
    prepared: str | Path | None = None,
    split: str = "val",
    fit_split: str = "train",
    frames: int | None = 300,
    steps: int | None = None,
    iou: float = 0.5,
    device: str = "cpu",
    weights: str = FINISHED_WEIGHTS,
) -> BoxCalibration:
    """Calibrate a run, and write what was found to RUN/calibration/SPLIT.

    That folder then holds calibration.json (every figure), calibration.md (the tables) and calibration.png (coverage
    against probability). The temperature of the finished run's weights goes to RUN/temperature.json, where detection
    with uncertainty finds it. Nothing is written before all is known.

    Args:
        run: folder of a finished run.
        data: folder of the data set, with labels.
        prepared: where `prepare` left its files; within the data set where None.
        split: name of one of its splits, to report on.
        fit_split: another one, to fit the temperature to.
        frames: of each split at most, taken evenly; None for all.
        steps: refinement steps T; the run's configuration where None, 0 for the detector's own boxes.
        iou: 3-D IoU with a label from which on a detection counts.
        device: where to compute.
        weights: which of the run's files: the finished run's, or a checkpoint.

    Raises:
        InputError: the run or the data set cannot be used, a number is out of its range, or no detection matches.
        OutputError: a file cannot be written.
    """
    if frames is not None and frames < 1:
        raise InputError(f"frames: {frames}; give 1 or more.")
    if steps is not None and steps < 0:
        raise InputError(f"steps: {steps} refinement steps cannot be taken; give 0 or more.")
    if not 0 < iou <= 1:
        raise InputError(f"iou: {iou:g}; give an overlap above 0 and at most 1.")
    if split == fit_split:
        raise InputError(
            f"split {split!r}: the temperature would be reported on the frames that it was fitted to. Name two splits."
        )
    detector = load_run(run, device, weights=weights)
    data_set = open_data_set(data, prepared)
    fitted_to, reported_on = (open_samples(data_set, name, detector.config) for name in (fit_split, split))
    result = calibrate(detector, fitted_to, reported_on, max_frames=frames, steps=steps, iou=iou)
    facts = {
        "weights": weights,
        "data": str(data),
        "split": split,
        "fit_split": fit_split,
        "steps": detector.config.refinement.steps if steps is None else steps,
        "iou": iou,
        "sampling": detector.config.uncertainty.model_dump(mode="json", include={"samples", "rounds", "stds"}),
    }
    folder = Path(run) / "calibration" / split
    with atomic_write(folder / "calibration.json", "w") as file:
        json.dump({"weights_sha256": weights_digest(detector)} | facts | result.as_dict(), file, indent=1)
        file.write("\n")
    with atomic_write(folder / "calibration.md", "w") as file:
        file.write(_markdown(result))
    plot_calibration(
        {"temperature 1": result.before.boxes, f"temperature {result.temperature:.2f}": result.after.boxes},
        folder / "calibration.png",
        title=f"p(y | x) of boxes against {result.matches:,} labels of {split!r}",
    )
    if weights == FINISHED_WEIGHTS:
        write_temperature(run, detector, result.temperature, facts | {"matches": result.fit_matches})
    return result


def calibration_table(result: BoxCalibration) -> console.Group:
    """Coverage before → after temperature scaling, and the figures around it."""
    table = Table(
        title="Coverage of p(y | x), %, at temperature 1 → fitted",
        box=box.SIMPLE_HEAD,
        title_style="bold",
        expand=False,
    )
    table.add_column("Regions of")
    for level in LEVELS:
        table.add_column(f"{level:.0%}", justify="right")
    for name, *cells in _coverage(result):
        if name == "all together":
            table.add_section()
        table.add_row(name, *cells)
    table.add_row("(± by chance)", *(f"{100 * result.after.boxes.standard_error(level):.1f}" for level in LEVELS))
    return console.Group(table, *_summary(result))


def _coverage(result: BoxCalibration) -> list[tuple[str, ...]]:
    """A row for each dimension and one for all together: the name, and for each level before → after in per cent."""

    def covered(calibration: Reliability, row: int | None) -> list[float]:
        places = [calibration.levels.index(level) for level in LEVELS]
        shares = calibration.joint_coverage if row is None else [each[row] for each in calibration.coverage]
        return [100 * shares[place] for place in places]

    before, after = result.before.boxes, result.after.boxes
    return [
        (name, *(f"{a:.1f} → {b:.1f}" for a, b in zip(covered(before, row), covered(after, row), strict=True)))
        for row, name in [*enumerate(after.names), (None, "all together")]
    ]


def _summary(result: BoxCalibration) -> list[str]:
    before, after = result.before, result.after
    samples = (before.boxes.effective_sample_size, after.boxes.effective_sample_size)
    lines = [
        f"temperature {result.temperature:.3f}, fitted to {result.fit_matches:,} labels in {result.fit_frames:,} "
        f"frames; reported on {result.matches:,} in {result.frames:,}",
        f"negative log-likelihood, nats: {before.boxes.nll:.3f} → {after.boxes.nll:.3f} (standard errors "
        f"{before.boxes.nll_error:.3f}, {after.boxes.nll_error:.3f})",
        f"effective samples (median): {samples[0]:.0f} → {samples[1]:.0f}",
        f"expected 3-D IoU: {before.expected_iou:.3f} → {after.expected_iou:.3f}; found: {result.mean_iou:.3f}",
    ]
    if before.flips is None or after.flips is None:
        lines.append(
            f"flipped headings: {result.flipped_share:.1%}, of which this energy cannot know (looked past above)"
        )
    else:
        lines.append(
            f"flipped headings: {result.flipped_share:.1%}; expected: {before.flips.mean_probability:.1%} → "
            f"{after.flips.mean_probability:.1%}, log loss {before.flips.log_loss:.3f} → {after.flips.log_loss:.3f}"
        )
    if min(samples) < ROUGH:
        lines.append(
            "Few samples count, so all figures are rough: set uncertainty.samples or uncertainty.rounds higher."
        )
    if min(result.matches, result.fit_matches) < FEW:
        lines.append("Few labels were matched, so all figures are rough: calibrate on more frames.")
    low, high = TEMPERATURES
    if not low * 1.01 < result.temperature < high / 1.01:
        lines.append("No temperature fits: the labels do not lie where this energy is high. Train it for longer.")
    return lines


def _markdown(result: BoxCalibration) -> str:
    lines = ["| coverage, % | " + " | ".join(f"of {level:.0%}" for level in LEVELS) + " |"]
    lines.append("| --- |" + " ---: |" * len(LEVELS))
    lines += ["| " + " | ".join(row) + " |" for row in _coverage(result)]
    chance = " | ".join(f"± {100 * result.after.boxes.standard_error(level):.1f}" for level in LEVELS)
    return "\n".join([*lines, f"| (by chance) | {chance} |", "", *(f"- {line}" for line in _summary(result)), ""])
