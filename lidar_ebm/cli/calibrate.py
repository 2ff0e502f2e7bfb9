"""The verb `calibrate`: whether a run is as sure as it should be."""

from __future__ import annotations

from typing import Annotated

import typer

from lidar_ebm.cli.options import Data, Device, Prepared, Run
from lidar_ebm.cli.verb import Verb
from lidar_ebm.system.terminal import print_tables


def calibrate(
    run: Run,
    data: Data,
    split: Annotated[str, typer.Option(help="Split to report on.")] = "val",
    fit: Annotated[str, typer.Option(help="Split that the temperature is fitted to.")] = "train",
    prepared: Prepared = None,
    frames: Annotated[int, typer.Option(help="Frames of each split at most, taken evenly.")] = 300,
    steps: Annotated[int | None, typer.Option(help="Refinement steps T; the configuration's where not given.")] = None,
    iou: Annotated[float, typer.Option(help="3-D overlap with a label from which on a detection counts.")] = 0.5,
    weights: Annotated[
        str, typer.Option(help="Which of the run's files; a temperature is kept for model.safetensors alone.")
    ] = "model.safetensors",
    device: Device = "cpu",
) -> None:
    """Find out whether a run is as sure of its boxes as it should be, and fit the temperature that makes it so.

    Figures, tables and a picture go to RUN/calibration, the temperature to RUN/temperature.json, for `detect`.
    """
    from lidar_ebm.workflows.calibrate import calibrate_run, calibration_table

    calibration = calibrate_run(
        run,
        data,
        prepared=prepared,
        split=split,
        fit_split=fit,
        frames=frames,
        steps=steps,
        iou=iou,
        device=device,
        weights=weights,
    )
    print_tables(calibration_table(calibration))


VERBS = (Verb(calibrate, "`lidar-ebm calibrate runs/a --data data/simulated`", panel="Evaluation", place=70),)
