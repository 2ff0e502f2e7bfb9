"""The verb of the command that puts a run on one page: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lidar_ebm.cli import options as options
from lidar_ebm.cli.verb import Verb


def report(
    run: Annotated[Path, typer.Argument(help="Run folder that was trained and evaluated.")],
    out: Annotated[Path | None, options.output("The HTML file; RUN/report.html where not given.")] = None,
    data: Annotated[Path | None, typer.Option(help="Data set; the one of the evaluation where not given.")] = None,
    split: Annotated[str, typer.Option(help="Split that was evaluated.")] = "val",
    frames: Annotated[int, typer.Option(help="Frames in the 3-D view.")] = 20,
    boxes: Annotated[int, typer.Option(help="Most improved and worst boxes, as many of each, with landscapes.")] = 4,
) -> None:
    """Put all of a run on one HTML page that needs no network: figures, curves, errors, landscapes, frames in 3-D."""
    from lidar_ebm.workflows.report import write_report

    typer.echo(write_report(run, out, data=data, split=split, frames=frames, boxes=boxes))


VERBS = (Verb(report, "`lidar-ebm report runs/a --data data/simulated`", panel="Pictures", place=120),)
