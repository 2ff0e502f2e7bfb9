"""The verb of the command that shows frames in space: view."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lidar_ebm import cli_options as options


def view(
    paths: Annotated[list[Path], typer.Argument(help="A folder in KITTI's layout, or .bin, .npy, .pcd, .ply files.")],
    screenshot: Annotated[Path, options.output("Folder for the pictures.")],
    frame: Annotated[
        list[str] | None, typer.Option(help="Name of a frame, once for each; the first where not given.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Name of a file in ImageSets.")] = None,
    labels: Annotated[bool, typer.Option("--labels/--no-labels", help="Show labels where they are known.")] = True,
    results: Annotated[
        list[Path] | None, typer.Option(help="Folder of KITTI result files of any program, once for each.")
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Run that detects, before and after refinement.")] = None,
    seen: Annotated[
        str, typer.Option("--from", help="behind (the sensor), above, image (points and boxes in the camera's image).")
    ] = "behind",
    color: Annotated[str, typer.Option(help="Points by height, reflectance, distance or boxes.")] = "height",
) -> None:
    """Pictures of frames in space with labels and any number of result sets, drawn without a display."""
    from lidar_ebm.visualization.scene_pictures import write_pictures

    for path in write_pictures(
        paths,
        screenshot,
        names=frame,
        split=split,
        labels=labels,
        results=results or [],
        run=run,
        seen=seen,
        color=color,
    ):
        typer.echo(path)
