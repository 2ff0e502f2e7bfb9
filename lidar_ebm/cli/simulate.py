"""The verb `simulate`: a data set of simulated frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lidar_ebm.cli.options import read_renames
from lidar_ebm.cli.verb import Verb


def simulate(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    frames: Annotated[int, typer.Option(help="Number of frames.")] = 750,
    seed: Annotated[int, typer.Option(help="Frame i of a seed is always the same bytes.")] = 0,
    val_fraction: Annotated[float, typer.Option(help="Share of the frames that go to the val split.")] = 1 / 3,
    full: Annotated[bool, typer.Option("--full", help="All 360°, not the camera's view alone.")] = False,
    layout: Annotated[
        str, typer.Option(help="kitti, or folder: with a dataset.yaml, points and labels all around.")
    ] = "kitti",
    rename: Annotated[
        list[str] | None, typer.Option(help="Another name for a class, Car=forklift; once for each.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; one per core where not given.")] = None,
) -> None:
    """Make a data set of simulated LiDAR frames with labels."""
    from lidar_ebm.system.progress import progress_bar
    from lidar_ebm.workflows.simulate import simulate as run_simulation

    with progress_bar("Simulating", frames) as bar:
        run_simulation(
            out,
            frames=frames,
            seed=seed,
            val_fraction=val_fraction,
            full=full,
            layout=layout,
            names=read_renames(rename),
            workers=workers,
            progress=bar.reach,
        )


VERBS = (
    Verb(
        simulate,
        "`lidar-ebm simulate data/simulated --frames 750 --seed 0`",
        panel="Data",
        place=10,
        going_on="The same command goes on from here.",
    ),
)
