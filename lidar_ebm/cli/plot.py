"""The verb `plot`: pictures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lidar_ebm.cli.options import Run
from lidar_ebm.cli.verb import Verb


def plot(
    run: Run,
    data: Annotated[Path | None, typer.Option(help="Data set of the evaluation, for bird's-eye views.")] = None,
    split: Annotated[str, typer.Option(help="Split whose evaluation is drawn.")] = "val",
    frames: Annotated[int, typer.Option(help="Number of bird's-eye views.")] = 4,
    out: Annotated[Path | None, typer.Option(help="Folder for the pictures; RUN/pictures where not given.")] = None,
) -> None:
    """Pictures of a run: losses, AP against refinement steps, and boxes before and after."""
    from lidar_ebm.workflows.plot import plot_run

    for path in plot_run(run, data=data, split=split, frames=frames, out=out):
        typer.echo(path)


VERBS = (Verb(plot, "`lidar-ebm plot runs/a --data data/simulated --frames 6`", panel="Pictures", place=130),)
