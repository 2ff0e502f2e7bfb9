"""The verb `convert`: boxes of one tool's files into another's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from lidar_ebm.cli.verb import Verb
from lidar_ebm.errors import InputError
from lidar_ebm.system.terminal import print_line


def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="File or folder of boxes.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="File or folder to write, as the format has it.")],
    to: Annotated[str, typer.Option("--to", help="Format to write; a wrong name lists all there are.")],
    source_format: Annotated[
        str | None, typer.Option("--from", help="Format to read; recognised from the content where not given.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Class names in their order, A,B,C, for formats that hold numbers alone.")
    ] = None,
    calib: Annotated[
        Path | None,
        typer.Option(help="Calibration file, or folder with one a frame, for formats in a camera's frame; ../calib."),
    ] = None,
    image_size: Annotated[
        str | None, typer.Option(help="Width,height in pixels, for formats that hold rectangles in an image.")
    ] = None,
) -> None:
    """Convert boxes between the files of labelling tools, toolboxes and data sets."""
    from lidar_ebm.workflows.convert import convert as run_conversion

    done = run_conversion(
        source,
        target,
        target_format=to,
        source_format=source_format,
        classes=None if classes is None else [name.strip() for name in classes.split(",")],
        calib=calib,
        image_size=None if image_size is None else _read_size(image_size),
    )
    for line in done.lines():
        print_line(escape(line))


def _read_size(text: str) -> tuple[int, int]:
    parts = text.replace("x", ",").split(",")
    if len(parts) != 2 or not all(part.strip().isascii() and part.strip().isdigit() for part in parts):
        raise InputError(f"--image-size {text!r}: give width and height in pixels, such as 1920,1080.")
    width, height = (int(part) for part in parts)
    if not (0 < width < 100_000 and 0 < height < 100_000):
        raise InputError(f"--image-size {text!r}: this is no size of an image.")
    return width, height


VERBS = (
    Verb(
        convert,
        "`lidar-ebm convert labels data/mine.json --from sustechpoints --to boxes_json`",
        panel="Data",
        place=30,
    ),
)
