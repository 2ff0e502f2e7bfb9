"""Lines of KITTI's label and result files with any class name, and the files' numbers.

Fields of an object: type, truncated, occluded, alpha, four of the image rectangle, height, width, length, x, y, z,
rotation_y, and of results a score. The readme of the development kit (Geiger, Lenz, Urtasun, CVPR 2012) says more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lidar_ebm.errors import InputError
from lidar_ebm.formats.text_lists import parse_or_nan

FIELDS = (
    "type",
    "truncated",
    "occluded",
    "alpha",
    *("bbox x1", "bbox y1", "bbox x2", "bbox y2"),
    *("height", "width", "length"),
    *("location x", "location y", "location z"),
    *("rotation_y", "score"),
)
REGION = "DontCare"
_DECIMALS = (2, 6)  # minimum and maximum


class Camera3D(NamedTuple):
    """A box in the camera's frame."""

    height: float  # m
    width: float
    length: float
    x: float  # centre of the bottom face, rectified camera frame, m
    y: float
    z: float
    rotation_y: float  # rad


@dataclass(frozen=True)
class Line:
    """An object as a line gives it; None for what it says is unknown."""

    name: str
    truncated: float | None  # the file's own number
    occluded: float | None
    alpha: float | None  # rad
    rectangle: tuple[float, ...] | None  # x1, y1, x2, y2, pixels
    box: Camera3D | None  # None of regions, and of objects with a rectangle alone
    score: float | None


def parse_line(fields: Sequence[str], where: str) -> Line:
    """An object from a line's fields; `where` is "file:line".

    Raises:
        InputError: too few or too many fields, or one that is no finite number.
    """
    if len(fields) not in (len(FIELDS) - 1, len(FIELDS)):
        raise InputError(f"{where}: {len(fields)} fields; a label has 15, a result 16. Correct or remove the line.")
    numbers = [parse_number(text, field, where) for field, text in zip(FIELDS[1:], fields[1:], strict=False)]
    truncated, occluded, alpha = numbers[:3]
    rectangle, box = tuple(numbers[3:7]), Camera3D(*numbers[7:14])
    no_box = fields[0] == REGION or (min(box[:3]) < 0 and box.x <= -1000) or box[:3] == (-1, -1, -1)
    if not no_box and min(box[:3]) < 0:
        raise InputError(f"{where}: a size is negative ({min(box[:3])}). Correct or remove the line.")
    return Line(
        name=fields[0],
        truncated=None if truncated < 0 else truncated,
        occluded=None if occluded < 0 else occluded,
        alpha=None if alpha <= -10 else alpha,
        rectangle=rectangle if rectangle[2] > rectangle[0] and rectangle[3] > rectangle[1] else None,
        box=None if no_box else box,
        score=numbers[14] if len(numbers) > 14 else None,
    )


def format_line(line: Line) -> str:
    """The line, without its end, that `parse_line` takes."""
    box = (-1.0, -1.0, -1.0, -1000.0, -1000.0, -1000.0, -10.0) if line.box is None else line.box
    fields = [
        line.name,
        "-1" if line.truncated is None else format_number(line.truncated),
        "-1" if line.occluded is None else f"{line.occluded:.0f}",
        "-10" if line.alpha is None else format_number(line.alpha),
        *(format_number(value) for value in line.rectangle or (0.0,) * 4),
        *(format_number(value) for value in box),
    ]
    if line.score is not None:
        fields.append(repr(line.score))
    return " ".join(fields)


def parse_number(text: str, field: str, where: str) -> float:
    """A finite number from a field.

    Raises:
        InputError: it is none.
    """
    number = parse_or_nan(text)
    if not math.isfinite(number):
        raise InputError(f"{where}: field {field!r} is {text[:60]!r}, which is not a finite number.")
    return number


def format_number(value: float) -> str:
    """A number with two to six decimals, as many as it needs."""
    rounded = round(value, _DECIMALS[1]) + 0.0  # no -0.00
    whole, _, rest = f"{rounded:.{_DECIMALS[1]}f}".partition(".")
    return f"{whole}.{rest.rstrip('0').ljust(_DECIMALS[0], '0')}"


def check_name(name: str, where: object) -> str:
    """A class name that can stand in a line.

    Raises:
        InputError: it is empty or holds white space.
    """
    if not name or name.split() != [name]:
        raise InputError(
            f"{where}: the class {name!r} cannot stand in a line of this format, for spaces part its fields; rename it."
        )
    return name
