"""The verb `detect`: objects in point-cloud files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lidar_ebm.cli.options import Device, Run
from lidar_ebm.cli.verb import Verb


def detect(
    run: Run,
    points: Annotated[list[Path], typer.Argument(help="Point clouds: .bin, .npy, .npz, .pcd, .ply, .las or .laz.")],
    out: Annotated[Path, typer.Option(help="Folder for a result file and a picture of each.")],
    calib: Annotated[
        Path | None, typer.Option(help="KITTI calibration file, or folder of them; ../calib where it is there.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Refinement steps T; the configuration's where not given.")] = None,
    uncertainty: Annotated[
        bool | None,
        typer.Option(
            "--uncertainty/--no-uncertainty",
            help="Write how sure the energy is of each box (covariance, expected IoU) to NAME.json, and draw it; as "
            "the run's configuration says where not given.",
        ),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Columns of .bin and .npy files, such as x,y,z,intensity,ring.")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="Numbers of .bin files: float32 or float64.")] = None,
    reflectance: Annotated[
        float | None,
        typer.Option(help="The files' reflectance that is 1.0: 1, 255 or 65535; else by the values."),
    ] = None,
    device: Device = "cpu",
) -> None:
    """Detect objects in point-cloud files."""
    from lidar_ebm.workflows.detect import detect_files

    detected = detect_files(
        run,
        points,
        out,
        calibration=calib,
        steps=steps,
        uncertainty=uncertainty,
        columns=columns,
        dtype=dtype,
        full_scale=reflectance,
        device=device,
        tell=lambda line: typer.echo(line, err=True),
    )
    for path in detected.written:
        typer.echo(path)
    if detected.failed:
        typer.echo(f"{len(detected.failed)} of {len(points)} files were left out:", err=True)
        for line in detected.failed:
            typer.echo(f"  {line}", err=True)
        raise typer.Exit(2)


VERBS = (
    Verb(
        detect,
        "`lidar-ebm detect runs/a clouds/*.pcd --out runs/detected`",
        panel="Detection",
        place=80,
    ),
)
