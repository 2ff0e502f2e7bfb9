"""The verb `prepare`: a data set checked and made ready for training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lidar_ebm.cli.options import Prepared
from lidar_ebm.cli.verb import Verb


def prepare(
    data: Annotated[Path, typer.Argument(help="Folder with a dataset.yaml, or in KITTI's layout.")],
    split: Annotated[
        list[str] | None, typer.Option(help="Only this split; once for each. All of them by default.")
    ] = None,
    prepared: Prepared = None,
    workers: Annotated[int | None, typer.Option(help="Processes; one per core where not given.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Prepare anew what was prepared already.")] = False,
) -> None:
    """Check a data set and make it ready for training: cropped point clouds, an index, the label database."""
    from lidar_ebm.datasets.opening import open_data_set
    from lidar_ebm.datasets.preparation.prepare import prepare as run_preparation
    from lidar_ebm.datasets.preparation.report import report_table
    from lidar_ebm.system.progress import progress_bar

    with progress_bar("Preparing", 0) as bar:
        report = run_preparation(
            open_data_set(data, prepared), workers=workers, splits=split, force=force, progress=bar.reach
        )
    Console().print(report_table(report))
    if report.errors:
        raise typer.Exit(1)


VERBS = (
    Verb(
        prepare,
        "`lidar-ebm prepare data/kitti`",
        panel="Data",
        place=20,
        going_on="The same command goes on from here.",
    ),
)
