"""Reading and writing boxes of any format by its name, or by what the file looks like."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import Context, check_source, closest, find_format, recognise_format

PathLike = str | os.PathLike[str]


def read_boxes(
    path: PathLike,
    format: str | None = None,
    frame: str | os.PathLike[str] | None = None,
    *,
    classes: Sequence[str] | None = None,
    camera: Any = None,
    calib: PathLike | None = None,
) -> Boxes | dict[str, Boxes]:
    """Boxes of a file or folder of any tool, in the LiDAR frame.

    Args:
        path: file or folder.
        format: name of the format, as `box_formats()` lists them; recognised from the content where not given.
        frame: name of the frame to return.
        classes: class names by index, for formats that hold indices alone.
        camera: calibration of all frames, for formats in a camera's frame.
        calib: calibration file, or folder of one a frame; looked up beside the labels where not given.

    Returns:
        The boxes of the frame asked for, or of the only one; of several frames a dictionary by name, in file order.

    Raises:
        InputError: the file cannot be used, there is no such frame or format, or several formats fit; the message names
            the closest name.
    """
    frames = read_frames(path, format, classes=classes, camera=camera, calib=calib)
    if frame is not None:
        if not isinstance(frame, str | os.PathLike):
            raise InputError(
                f"frame: {frame!r} is no name of a frame; give a text such as {next(iter(frames), '0')!r}."
            )
        name = os.fspath(frame)
        if name not in frames:
            shown = ", ".join(list(frames)[:5])
            raise InputError(
                f"{path}: there is no frame {name!r}{closest(name, frames)}; "
                f"{len(frames)} are there{f', such as {shown}' if frames else ''}."
            )
        return frames[name]
    return next(iter(frames.values())) if len(frames) == 1 else frames


def read_frames(
    path: PathLike,
    format: str | None = None,
    *,
    classes: Sequence[str] | None = None,
    camera: Any = None,
    calib: PathLike | None = None,
) -> dict[str, Boxes]:
    """`read_boxes` of all frames: boxes by the frame's name, in file order, be it one frame or many."""
    source = Path(path)
    check_source(source)
    name = recognise_format(source) if format is None else format
    return find_format(name).read(source, make_context(classes=classes, camera=camera, calib=calib))


def write_boxes(
    path: PathLike,
    frames: Boxes | Mapping[str, Boxes],
    format: str,
    *,
    classes: Sequence[str] | None = None,
    camera: Any = None,
    calib: PathLike | None = None,
    image_size: tuple[int, int] | None = None,
) -> list[Path]:
    """Write boxes of the LiDAR frame in any format.

    Args:
        path: file or folder to write, as the format has it.
        frames: boxes by the frame's name; of `Boxes` alone the frame is called as the file.
        format: name of the format.
        classes: class names by index, for formats that hold indices alone.
        camera: calibration of all frames, for formats in a camera's frame.
        calib: calibration file, or folder of one a frame.
        image_size: width and height in pixels, for formats that hold rectangles in an image.

    Returns:
        The files that were written.

    Raises:
        InputError: there is no such format, or the boxes cannot be written in it.
        OutputError: a file cannot be written.
    """
    target = Path(path)
    named = {target.stem: frames} if isinstance(frames, Boxes) else frames
    context = make_context(classes=classes, camera=camera, calib=calib, image_size=image_size)
    writer = find_format(format)
    if not hasattr(writer, "write"):
        raise InputError(f"{format} can be read, not written. Choose another format to write.")
    return writer.write(target, named, context)


def make_context(
    *,
    classes: Sequence[str] | None = None,
    camera: Any = None,
    calib: PathLike | None = None,
    image_size: tuple[int, int] | None = None,
) -> Context:
    """Context of the arguments that a user gives.

    Raises:
        InputError: `classes` is a text instead of several.
    """
    if isinstance(classes, str):
        raise InputError(f"classes: {classes!r} is one text; give a list of names.")
    return Context(
        camera_of=None if camera is None else lambda _: camera,
        calibration=None if calib is None else Path(calib),
        classes=None if classes is None else tuple(classes),
        image_size=image_size,
    )
