"""The verb of the command that draws f around a detection: landscape."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lidar_ebm.cli import options as options
from lidar_ebm.cli.verb import Verb


def landscape(
    run: Annotated[Path, typer.Argument(help="Run folder that `train` has written.")],
    frame: Annotated[str, typer.Argument(help="Point-cloud file, or with --data a frame's name.")],
    box: Annotated[
        list[int] | None,
        typer.Option(help="Number of the detection by falling score, from 0; once for each. The first by default."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Data set that the frame is of.")] = None,
    label: Annotated[
        Path | None, typer.Option(help="Label file to compare with; the frame's own where not given.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Refinement steps T; the configuration's where not given.")] = None,
    out: Annotated[Path | None, options.output("Folder for the pictures; RUN/pictures where not given.")] = None,
    theme: Annotated[str, typer.Option(help="light or dark.")] = "light",
    device: options.Device = "cpu",
) -> None:
    """Draw the energy f around a detection: where it could be instead, and how refinement came there.

    Heat maps over (x, y), (l, w) and (z, h) and curves over yaw, the box's other numbers held, with the label, the
    proposal, the ascent's path and credible regions.
    """
    from lidar_ebm.visualization.palette import find_theme
    from lidar_ebm.workflows.landscape import plot_frame_landscapes

    for path in plot_frame_landscapes(
        run,
        frame,
        data=data,
        boxes=box or [0],
        labels=label,
        out=out,
        steps=steps,
        theme=find_theme(theme),
        device=device,
    ):
        typer.echo(path)


VERBS = (
    Verb(
        landscape,
        "`lidar-ebm landscape runs/a 000012 --data data/simulated --box 0 --box 1`",
        panel="Pictures",
        place=110,
    ),
)
