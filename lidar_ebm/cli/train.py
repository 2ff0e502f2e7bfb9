"""The verb `train`: a detector and its energy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lidar_ebm.cli.options import Data, Prepared
from lidar_ebm.cli.verb import Verb


def train(
    config: Annotated[str, typer.Argument(help="YAML file, or the name of a preset in configs/.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="Run folder to write.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value settings to change.")] = None,
    prepared: Prepared = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    detector: Annotated[Path | None, typer.Option(help="Take this run's detector; train only an energy head.")] = None,
    init: Annotated[
        Path | None, typer.Option(help="Run folder or weights to begin with, as far as names and shapes fit.")
    ] = None,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    devices: Annotated[
        int | None, typer.Option(help="Processes on this machine, one a GPU; torchrun's where it started them, or one.")
    ] = None,
    skip_nonfinite: Annotated[
        bool, typer.Option("--skip-nonfinite", help="Leave out steps whose loss is not finite, and count them.")
    ] = False,
) -> None:
    """Train the detector, then its energy head."""
    from lidar_ebm.config.loading import load_config
    from lidar_ebm.workflows.train import train as run_training

    run_training(
        load_config(config, overrides),
        data,
        out,
        resume=resume,
        prepared=prepared,
        detector_run=detector,
        init=init,
        accelerator=accelerator,
        devices=devices,
        skip_nonfinite=skip_nonfinite,
    )


VERBS = (
    Verb(
        train,
        "`lidar-ebm train demo training.detector.epochs=20 --data data/simulated --out runs/a`",
        panel="Training",
        place=40,
        going_on="The same command with --resume goes on from the last checkpoint.",
    ),
)
