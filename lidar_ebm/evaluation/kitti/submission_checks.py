"""Checks for what KITTI's server takes amiss in result files, or takes and silently ignores.

The format, its ranges and its placeholders are those of the readme of the KITTI object development kit (2017); what is
ignored follows from the benchmark's rules (`rules.py`). Lines are read one by one; numbers are looked at once all files
are read, a field of all objects at a time.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from lidar_ebm.evaluation.kitti.rules import DIFFICULTIES, UNKNOWN_ANGLE, UNKNOWN_LOCATION
from lidar_ebm.evaluation.kitti.sources import CLASSES
from lidar_ebm.evaluation.problems import Problem
from lidar_ebm.formats.kitti.label import KITTI_TYPES

FIELDS = (
    *("type", "truncated", "occluded", "alpha", "x1", "y1", "x2", "y2", "height", "width", "length"),
    *("x", "y", "z", "rotation_y", "score"),
)
NUMBERS = FIELDS[1:]
_BBOX = ("x1", "y1", "x2", "y2")
_SIZES = ("height", "width", "length")
_LOCATION = ("x", "y", "z")
_BOX_IN_SPACE = (*_SIZES, *_LOCATION, "rotation_y")
_UNKNOWN_SIZE = -1.0
_UNKNOWN_IN_SPACE = np.array([_UNKNOWN_SIZE] * 3 + [UNKNOWN_LOCATION] * 3 + [UNKNOWN_ANGLE])
_LARGEST_ANGLE = 3.15 + 1e-9  # pi, rounded up to two decimals
_IMAGE = np.array([1242.0, 376.0] * 2)  # pixels: no image of KITTI's is wider or higher
_EDGE = 2.0  # pixels: of boxes counted from 1, or rounded up, nothing is said

_TYPE_INDEX = {name.lower().encode(): index for index, name in enumerate(KITTI_TYPES)}
_OTHER_TYPE = -1


class ObjectTable:
    """The objects of many files, and what is wrong with the lines that cannot be read."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._paths: list[Path] = []
        self._path, self._line, self._type = array("q"), array("q"), array("q")
        self._numbers = array("d")

    def add_file(self, path: Path, content: bytes) -> None:
        """Read a file as the server does: blank lines skipped, fields apart by any white space."""
        self._paths.append(path)
        if b"\0" in content:
            self._report(str(path), "not plain text", "save the file as ASCII or UTF-8 text")
            return
        for number, line in enumerate(content.splitlines(), start=1):
            fields = line.split()
            if fields:
                self._add_line(f"{path}:{number}", number, fields)

    def _add_line(self, where: str, number: int, fields: list[bytes]) -> None:
        missing = len(FIELDS) - len(fields)
        if missing == 1:
            self._report(where, "15 fields", "the score is missing; it is the last of a result line's 16 fields")
        elif missing:
            self._report(where, f"{len(fields)} fields", "a result line has 16, apart by spaces")
            return
        values = _read_numbers(fields[1:])
        if math.isnan(sum(values)):
            for name, field, value in zip(NUMBERS, fields[1:], values, strict=False):  # the score may be missing
                if math.isnan(value):
                    self._report(where, f"{name} is {_quoted(field)}", "not a finite number")
        kind = _TYPE_INDEX.get(fields[0].lower(), _OTHER_TYPE)
        if kind == _OTHER_TYPE:
            class_names = ", ".join(KITTI_TYPES)
            self._report(where, f"type is {_quoted(fields[0])}", f"unknown to KITTI, whose classes are {class_names}")
        self._path.append(len(self._paths) - 1)
        self._line.append(number)
        self._type.append(kind)
        self._numbers.extend(values)
        self._numbers.extend([math.nan] * missing)

    def _report(self, where: str, finding: str, kind: str) -> None:
        self.problems.append(Problem(where, finding, kind, blocks=True))

    def __len__(self) -> int:
        return len(self._type)

    def where(self, row: int) -> str:
        """FILE:LINE of an object."""
        return f"{self._paths[self._path[row]]}:{self._line[row]}"

    @cached_property
    def numbers(self) -> np.ndarray:
        """[N, 15] float64, NaN for what could not be read; ask when all files are there."""
        return np.array(self._numbers, dtype=np.float64).reshape(-1, len(NUMBERS))

    def columns(self, *names: str) -> np.ndarray:
        """The fields of these names, [N, len(names)]."""
        return self.numbers[:, [NUMBERS.index(name) for name in names]]

    def is_type(self, *names: str) -> np.ndarray:
        """Mask [N] of the objects of these classes, in KITTI's spelling."""
        return np.isin(np.array(self._type, dtype=np.int64), [KITTI_TYPES.index(name) for name in names])


def _read_numbers(fields: Sequence[bytes]) -> list[float]:
    """Their values, NaN for those that are no finite number."""
    try:
        values = [float(field) for field in fields]
    except ValueError:
        values = [math.nan]
    # What is unusual is looked at once more; 1_0 is a number to Python alone.
    if math.isfinite(sum(values)) and b"_" not in b"".join(fields):
        return values
    return [_read_number(field) for field in fields]


def _read_number(field: bytes) -> float:
    try:
        value = math.nan if b"_" in field else float(field)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _quoted(field: bytes) -> str:
    return repr(field.decode("utf-8", "replace"))


def check_numbers(table: ObjectTable) -> Iterator[Problem]:
    """Problems with the numbers of the objects, field by field and then for all together.

    A field that could not be read (NaN) is wrong in no other way.
    """
    evaluated = table.is_type(*CLASSES)
    yield from _check_types(table)
    yield from _check_visibility(table)
    yield from _check_angles(table)
    yield from _check_image_boxes(table)
    yield from _check_boxes_in_space(table, evaluated)
    yield from _check_classes(table, evaluated)


def _at(table: ObjectTable, mask: np.ndarray, names: Sequence[str], kind: str, *, blocks: bool) -> Iterator[Problem]:
    """A problem for each object of a mask, showing the fields that it is about."""
    values = table.columns(*names)
    for row in np.flatnonzero(mask).tolist():
        shown = " ".join(f"{value:.10g}" for value in values[row])
        yield Problem(table.where(row), f"{' '.join(names)} = {shown}", kind, blocks)


def _check_types(table: ObjectTable) -> Iterator[Problem]:
    for name in KITTI_TYPES:
        if name not in CLASSES:
            kind = f"not evaluated, will be ignored; the server looks at {', '.join(CLASSES)}"
            for row in np.flatnonzero(table.is_type(name)).tolist():
                yield Problem(table.where(row), f"type is {name}", kind, blocks=False)


def _check_visibility(table: ObjectTable) -> Iterator[Problem]:
    truncated, occluded = table.columns("truncated", "occluded").T
    outside = (truncated != -1) & ((truncated < 0) | (truncated > 1))
    yield from _at(table, outside, ["truncated"], "neither -1 (unknown) nor a share 0 to 1", blocks=False)
    broken = occluded != np.floor(occluded)
    broken &= ~np.isnan(occluded)
    yield from _at(table, broken, ["occluded"], "not a whole number; write -1 (unknown)", blocks=True)
    outside = ~broken & ((occluded < -1) | (occluded > 3))
    yield from _at(table, outside, ["occluded"], "neither -1 (unknown) nor 0 to 3", blocks=False)


def _check_angles(table: ObjectTable) -> Iterator[Problem]:
    for name in ("alpha", "rotation_y"):
        angle = table.columns(name)[:, 0]
        outside = (angle != UNKNOWN_ANGLE) & (np.abs(angle) > _LARGEST_ANGLE)
        kind = "angles lie between -pi and pi rad (-10 if unknown); add or subtract 2 pi"
        yield from _at(table, outside, [name], kind, blocks=True)
    unknown = table.columns("alpha")[:, 0] == UNKNOWN_ANGLE
    if unknown.any() and not unknown.all():
        kind = "unknown here, known elsewhere; a single one makes the server leave out orientation (AOS) altogether"
        yield from _at(table, unknown, ["alpha"], kind, blocks=False)


def _check_image_boxes(table: ObjectTable) -> Iterator[Problem]:
    bbox = table.columns(*_BBOX)
    absent = _lacks_image_box(table)
    flat = ~absent & ((bbox[:, 2] <= bbox[:, 0]) | (bbox[:, 3] <= bbox[:, 1]))
    kind = "a 2-D box has x1 < x2 and y1 < y2 (0-based pixels; -1 -1 -1 -1 if there is none)"
    yield from _at(table, flat, _BBOX, kind, blocks=True)
    beside = ~absent & ~flat & ((bbox[:, 2:] <= 0) | (bbox[:, :2] >= _IMAGE[:2])).any(axis=1)
    kind = "outside every image of KITTI (1242 x 376 pixels at most); leave out what the image does not show"
    yield from _at(table, beside, _BBOX, kind, blocks=True)
    inside = ~absent & ~flat & ~beside
    far = inside & ((bbox < -_IMAGE) | (bbox > 2 * _IMAGE)).any(axis=1)
    kind = "reaches far out of the image (1242 x 376 pixels at most); cut it to the image, 2-D boxes are in pixels"
    yield from _at(table, far, _BBOX, kind, blocks=True)
    out = inside & ~far & ((bbox < -_EDGE) | (bbox > _IMAGE + _EDGE)).any(axis=1)
    kind = "reaches out of the image (1242 x 376 pixels at most), as no label does; cut it to the image"
    yield from _at(table, out, _BBOX, kind, blocks=False)
    # Where a whole class has none, that is said of the class.
    for name in CLASSES:
        of_class = table.is_type(name)
        if not absent[of_class].all():
            kind = "no 2-D box, so the object will be ignored: by its height the server tells what to look at"
            yield from _at(table, of_class & absent, _BBOX, kind, blocks=False)


def _lacks_image_box(table: ObjectTable) -> np.ndarray:
    """Mask [N] of the objects whose 2-D box is a placeholder: -1 throughout, or zeros as of what no image shows."""
    bbox = table.columns(*_BBOX)
    return (bbox == -1).all(axis=1) | (bbox == 0).all(axis=1)


def _check_boxes_in_space(table: ObjectTable, evaluated: np.ndarray) -> Iterator[Problem]:
    boxes = table.columns(*_BOX_IN_SPACE)
    _, width, length, x, y, z, rotation_y = boxes.T
    unknown = boxes == _UNKNOWN_IN_SPACE
    absent = unknown.all(axis=1)
    # The development kit's way to take part in the ground benchmark alone: y unknown, the height of no account.
    ground = (y == UNKNOWN_LOCATION) & (width > 0) & (length > 0)
    ground &= (x != UNKNOWN_LOCATION) & (z != UNKNOWN_LOCATION) & (rotation_y != UNKNOWN_ANGLE)
    mixed = unknown.any(axis=1) & ~absent & ~ground
    kind = "some are placeholders (-1, -1000, -10) and some are not; give all of the 3-D box or nothing of it"
    yield from _at(table, mixed, _BOX_IN_SPACE, kind, blocks=True)
    small = ~mixed & ~absent & ~ground & (boxes[:, :3] <= 0).any(axis=1)
    yield from _at(table, small, _SIZES, "sizes are above 0 m (-1 -1 -1 if unknown)", blocks=True)
    placed = ~mixed & ~absent & (z <= 0)
    gone = placed & (z + np.hypot(np.maximum(width, 0), np.maximum(length, 0)) / 2 <= 0)
    kind = "all of the box is behind the camera, which looks along z; leave out what the image does not show"
    yield from _at(table, gone, _LOCATION, kind, blocks=True)
    kind = "the box's centre is behind the camera, which looks along z"
    yield from _at(table, placed & ~gone, _LOCATION, kind, blocks=False)
    if not absent[evaluated].all():
        kind = "no 3-D box, where other objects have one; it will count as a false alarm in 3-D and on the ground"
        yield from _at(table, evaluated & absent, _BOX_IN_SPACE, kind, blocks=False)
        if not (absent | ground)[evaluated].all():
            kind = "no height, where other objects have one; it will count as a false alarm in 3-D"
            yield from _at(table, evaluated & ground, _BOX_IN_SPACE, kind, blocks=False)


def _check_classes(table: ObjectTable, evaluated: np.ndarray) -> Iterator[Problem]:
    """Problems of all objects of a class, or of all that are evaluated, each said once."""
    if not evaluated.any():
        if not table.problems:  # otherwise there may be some in the lines that could not be read
            kind = f"there is nothing to evaluate; write results of {', '.join(CLASSES)}"
            yield Problem("all files", "no object of an evaluated class", kind, blocks=True)
        return
    absent = _lacks_image_box(table)
    y1, y2 = table.columns("y1", "y2").T
    low = absent | (np.trunc(np.abs(y2 - y1)) < DIFFICULTIES[-1].min_height)
    for name in CLASSES:
        of_class = table.is_type(name)
        count = int(of_class.sum())
        if count and absent[of_class].all():
            kind = "nothing of this class would be evaluated; project the 3-D boxes into the image"
            yield Problem("all files", f"none of {count} {name} objects has a 2-D box", kind, blocks=True)
        elif count and low[of_class].all():
            kind = "the server ignores lower ones; 2-D boxes are in pixels"
            finding = f"none of {count} {name} objects is {DIFFICULTIES[-1].min_height:g} pixels high"
            yield Problem("all files", finding, kind, blocks=False)
    if (table.columns("alpha")[:, 0] == UNKNOWN_ANGLE).all():
        yield Problem("all files", "no object has its alpha", "orientation (AOS) will not be evaluated", blocks=False)
    boxes = table.columns(*_BOX_IN_SPACE)[evaluated]
    if (boxes == _UNKNOWN_IN_SPACE).all():
        yield Problem(
            "all files", "no object has a 3-D box", "the image benchmark alone will be evaluated", blocks=False
        )
    elif (boxes[:, _BOX_IN_SPACE.index("y")] == UNKNOWN_LOCATION).all():
        kind = "the image and ground benchmarks alone will be evaluated"
        yield Problem("all files", "every y is -1000", kind, blocks=False)
