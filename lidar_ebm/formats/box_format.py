"""Box formats: the interface that a format's module has, what it is told beside the path, and the search for formats.

A format is a module below `lidar_ebm.formats` that has `TITLE`, `COLUMNS`, `recognise` and `read`; there is no list to
add it to. Its name is that of the module; in a package `kitti/` the module `boxes` is called `kitti` and the module
`tracking` is called `kitti_tracking`.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, cast

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError

_PACKAGE = "lidar_ebm.formats"
_INTERFACE = ("TITLE", "COLUMNS", "recognise", "read")


@dataclass(frozen=True)
class Context:
    """Things that reading or writing boxes needs beside the file itself; each format says which of them.

    Functions take the name of a frame.
    """

    camera_of: Callable[[str], Any] | None = None  # Calibration; InputError: there is none
    calibration: Path | None = None  # calibration file of all frames, or a folder with one a frame
    classes: tuple[str, ...] | None = None  # class names by index, for formats that hold indices alone
    points_of: Callable[[str], np.ndarray] | None = None  # [N, >= 3] x, y, z, LiDAR frame, m
    sensor_pose_of: Callable[[str], np.ndarray] | None = None  # [4, 4] LiDAR frame → world of the format's boxes
    image_size: tuple[int, int] | None = None  # width, height in pixels of the image that rectangles lie in
    keep_regions: bool = False  # keep entries that say "ignore this" and have no box in space, with NaN for a box


class BoxFormat(Protocol):
    """Contents of a format's module."""

    TITLE: str  # one line for people
    COLUMNS: frozenset[str]  # columns of Boxes that the format holds beside boxes and names

    def recognise(self, path: Path) -> bool:
        """Tell cheaply if this file or folder looks like the format; nothing is raised."""

    def read(self, path: Path, context: Context) -> dict[str, Boxes]:
        """Boxes of each frame by its name, in the file's order.

        Raises:
            InputError: the file or folder cannot be used; the message names file and line or field.
        """

    def write(self, path: Path, frames: Mapping[str, Boxes], context: Context) -> list[Path]:
        """Write a file or a folder, as the format has it; returns the files that were written.

        Raises:
            InputError: something cannot be written in this format.
            OutputError: a file cannot be written.
        """


@cache
def box_formats() -> Mapping[str, BoxFormat]:
    """All box formats by name, in alphabetical order."""
    package = importlib.import_module(_PACKAGE)
    formats = {}
    for module_info in pkgutil.walk_packages(package.__path__, f"{_PACKAGE}."):
        module = importlib.import_module(module_info.name)
        if all(hasattr(module, name) for name in _INTERFACE):
            name = module_info.name.removeprefix(f"{_PACKAGE}.").removesuffix(".boxes").replace(".", "_")
            formats[name] = cast(BoxFormat, module)
    return MappingProxyType(dict(sorted(formats.items())))


def find_format(name: str) -> BoxFormat:
    """The format of this name, in which `-` and `_` are the same.

    Raises:
        InputError: there is none; the message names the closest one and all there are.
    """
    formats = box_formats()
    box_format = formats.get(format_name(name))
    if box_format is None:
        raise InputError(f"unknown format {name!r}{closest(name, formats)}; there are {', '.join(formats)}.")
    return box_format


def format_name(name: str) -> str:
    """A format's own name, of any spelling of it."""
    return name.strip().lower().replace("-", "_")


def recognise_format(path: Path) -> str:
    """Name of the one format that a file or folder is in, by its content.

    Raises:
        InputError: there is nothing there, no format fits, or several do; the message lists them.
    """
    check_source(path)
    formats = box_formats()
    fitting = [name for name, module in formats.items() if module.recognise(path)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise InputError(f"{path}: fits several formats: {', '.join(fitting)}. Name the right one in `format`.")
    raise InputError(f"{path}: fits no format of boxes. Name it in `format`: {', '.join(formats)}.")


def check_source(path: Path) -> None:
    """Refuse a path that leads nowhere.

    Raises:
        InputError: there is no file or folder, or it cannot be looked at.
    """
    try:
        path.stat()
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file or folder. Check the name.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{str(path)[:200]!r}: cannot be looked at ({reason}). Check the name.") from error


def columns_left_out(module: BoxFormat, frames: Iterable[Boxes]) -> dict[str, int]:
    """Columns that some frames have and the format cannot hold, with the number of boxes that have them."""
    counts: dict[str, int] = {}
    for boxes in frames:
        for name in boxes.columns():
            if name not in module.COLUMNS and len(boxes):
                counts[name] = counts.get(name, 0) + len(boxes)
    return counts


def closest(name: str, names: Iterable[str]) -> str:
    """Hint, in brackets, at the closest of several names; nothing where none is close."""
    spellings = {each.lower(): each for each in names}
    matches = difflib.get_close_matches(name.lower(), spellings, 1)
    return f" (did you mean {spellings[matches[0]]!r}?)" if matches else ""
