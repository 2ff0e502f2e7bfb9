"""KITTI's files, field by field: velodyne, label and result, calib, split lists, and the size of an image.

Formats: the readme of the KITTI object development kit (Geiger, Lenz, Urtasun, CVPR 2012). Numbers in label files have
two decimals, those in result files more; what is unknown is written as KITTI does: -1, -10 for angles, -1000 for
locations, without decimals.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.calibration import Calibration
from lidar_ebm.formats.kitti.label import KITTI_TYPES, Label
from lidar_ebm.formats.point_clouds.bin import read_kitti_columns
from lidar_ebm.formats.text_lists import decode_text, parse_or_nan
from lidar_ebm.system.files import atomic_write, read_bytes

__all__ = [
    "KITTI_TYPES",
    "Label",
    "parse_labels",
    "parse_matrix",
    "read_bytes",
    "read_calibration",
    "read_labels",
    "read_png_size",
    "read_points",
    "write_calibration",
    "write_labels",
    "write_points",
    "write_split",
]

_CANONICAL_TYPES = {name.lower(): name for name in KITTI_TYPES}
MIN_DECIMALS = 2
RESULT_DECIMALS = 6  # at most, so that scoring the files gives what scoring the boxes themselves does
_LABEL_FIELDS = (
    *(
        "type",
        "truncated",
        "occluded",
        "alpha",
        "bbox x1",
        "bbox y1",
        "bbox x2",
        "bbox y2",
        "height",
        "width",
        "length",
    ),
    *("location x", "location y", "location z", "rotation_y", "score"),
)
_CALIBRATION_SHAPES = {"P2": (3, 4), "R0_rect": (3, 3), "Tr_velo_to_cam": (3, 4)}

PathLike = str | os.PathLike[str]


def read_points(path: PathLike) -> np.ndarray:
    """Read a velodyne file.

    Points that are not finite are dropped and reflectances that are not become 0, with a warning that names the file. A
    file of 0 bytes is a frame without points.

    Returns:
        [N, 4] float32: x, y, z in m, LiDAR frame, and the reflectance as the file has it, 0..1 in KITTI's.

    Raises:
        InputError: the file is missing, its size is no multiple of 16 bytes, or it plainly holds other columns.
    """
    return read_kitti_columns(read_bytes(path), path)


def write_points(path: PathLike, points: np.ndarray) -> None:
    """Write points [N, 4] (x, y, z in m, reflectance 0..1) as a velodyne file.

    Raises:
        InputError: the array has another shape.
        OutputError: the file cannot be written.
    """
    if points.ndim != 2 or points.shape[1] != 4:
        raise InputError(f"{path}: points have shape {points.shape}; a velodyne file takes [N, 4].")
    with atomic_write(path) as file:
        file.write(np.ascontiguousarray(points, dtype="<f4").tobytes())


def read_labels(
    path: PathLike, *, require_score: bool = False, types: Sequence[str] | None = KITTI_TYPES
) -> list[Label]:
    """Read a label file (15 fields a line) or a result file (16, the last being the score).

    Class names are read without regard to case and returned in the spelling of `types`. Blank lines are skipped; an
    empty file is a frame without objects. `score` is None where a line has none.

    Args:
        path: the file.
        require_score: these are results: a line without a score is an error, an `occluded` that is not whole (which
            nobody looks at) is none and is cut to a whole number.
        types: the classes that are known; None for any names, in the file's spelling.

    Raises:
        InputError: the file is missing or no text, a line has too few or too many fields, one that is no number, or an
            unknown class, or (with `require_score`) no score. The message names file and line.
    """
    return parse_labels(decode_text(read_bytes(path), path), path, require_score=require_score, types=types)


def parse_labels(
    text: str, path: PathLike, *, require_score: bool = False, types: Sequence[str] | None = KITTI_TYPES
) -> list[Label]:
    """`read_labels` of a file's text; `path` is what a message calls the file.

    Raises:
        InputError: as `read_labels`, of a line.
    """
    spellings: dict[str, str] = {}
    for name in types or ():
        spellings.setdefault(name.lower(), name)
    return [
        _parse_label(line, f"{path}:{number}", require_score, None if types is None else spellings)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip()
    ]


def write_labels(path: PathLike, labels: Sequence[Label]) -> None:
    """Write a label file, or a result file where the labels have scores.

    Raises:
        InputError: a label's class is unknown or a number is not finite; nothing is written then.
        OutputError: the file cannot be written.
    """
    text = "".join(_format_label(label, path) + "\n" for label in labels)
    with atomic_write(path, "w") as file:
        file.write(text)


def parse_matrix(path: PathLike, lines: Mapping[str, str], key: str, shape: tuple[int, int]) -> np.ndarray:
    """The matrix of a key in a calibration file, row by row.

    Args:
        path: for messages.
        lines: what stands behind each key.

    Raises:
        InputError: a value is no number, or there are more or fewer than the shape has.
    """
    try:
        values = [float(value) for value in lines[key].split()]
    except ValueError as error:
        raise InputError(f"{path}: {key} holds something that is no number ({error}).") from error
    if len(values) != math.prod(shape):
        raise InputError(f"{path}: {key} has {len(values)} values, it needs {math.prod(shape)}.")
    return np.array(values).reshape(shape)


def read_calibration(path: PathLike, *, need_headings: bool = False) -> Calibration:
    """Read P2, R0_rect and Tr_velo_to_cam of a calib file; its other lines are not used.

    Raises:
        InputError: the file is missing, lacks one of the three, or one has a wrong number of values, a value that is no
            number, or is singular; or `need_headings` is set and the camera is tilted so far that `rotation_y` says
            nothing about yaw. The message names the file, and the key where it is one.
    """
    lines = dict(line.split(":", 1) for line in decode_text(read_bytes(path), path).splitlines() if ":" in line)
    matrices = {}
    for key, shape in _CALIBRATION_SHAPES.items():
        if key not in lines:
            raise InputError(f"{path}: {key} is missing. Restore the frame's original calib file.")
        matrices[key.lower()] = parse_matrix(path, lines, key, shape)
    try:
        calibration = Calibration(**matrices)
        if need_headings:
            _ = calibration.heading_to_lidar  # raises where there is none
        return calibration
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def write_calibration(path: PathLike, calibration: Calibration) -> None:
    """Write a calib file with all of KITTI's lines.

    This program knows one camera and no inertial unit: P0, P1 and P3, which other tools expect, repeat P2, and
    Tr_imu_to_velo is the identity.

    Raises:
        OutputError: the file cannot be written.
    """
    lines = [(f"P{camera}", calibration.p2) for camera in range(4)]
    lines += [("R0_rect", calibration.r0_rect), ("Tr_velo_to_cam", calibration.tr_velo_to_cam)]
    lines += [("Tr_imu_to_velo", np.eye(3, 4))]
    with atomic_write(path, "w") as file:
        for key, matrix in lines:
            file.write(f"{key}: {' '.join(f'{value:.12e}' for value in matrix.flat)}\n")
        file.write("\n")  # KITTI's own files end in a blank line


def write_split(path: PathLike, frame_ids: Sequence[str]) -> None:
    """Write a split: one frame name a line.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_write(path, "w") as file:
        file.writelines(f"{frame_id}\n" for frame_id in frame_ids)


def read_png_size(path: PathLike) -> tuple[int, int]:
    """Width and height in pixels of a PNG image, from its first 24 bytes.

    Raises:
        InputError: the file is missing, no PNG image, or one without a pixel.
    """
    try:
        with Path(path).open("rb") as file:
            header = file.read(24)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    if len(header) < 24 or not header.startswith(b"\x89PNG\r\n\x1a\n"):
        raise InputError(f"{path}: this is no PNG image, or it is cut short. Copy it again or remove it.")
    width, height = struct.unpack(">II", header[16:24])
    if min(width, height) < 1:
        raise InputError(f"{path}: an image of {width} x {height} pixels; damaged. Copy it again or remove it.")
    return width, height


def _parse_label(line: str, where: str, require_score: bool, spellings: Mapping[str, str] | None) -> Label:
    """One line of a label or result file; `where` is "file:line", `spellings` the known classes by lower case."""
    fields = line.split()
    if not len(_LABEL_FIELDS) - 1 <= len(fields) <= len(_LABEL_FIELDS):
        raise InputError(f"{where}: {len(fields)} fields; a label has 15, a result 16. Correct or remove the line.")
    if require_score and len(fields) < len(_LABEL_FIELDS):
        raise InputError(f"{where}: the score is missing; a result line has 16 fields, the last being the score.")
    name = fields[0]
    if spellings is None:
        if not any(character.isalpha() for character in name):
            raise InputError(f"{where}: the class is {name!r}; a line begins with a name. Is this another format?")
    elif name.lower() not in spellings:
        raise InputError(f"{where}: unknown class {name!r}; known are {', '.join(spellings.values())}.")
    else:
        name = spellings[name.lower()]
    numbers = []
    for field, text in zip(_LABEL_FIELDS[1:], fields[1:], strict=False):  # the score may be missing
        number = parse_or_nan(text)
        # Of a result KITTI's program does not look at the occlusion.
        whole = field == "occluded" and not require_score
        if not math.isfinite(number) or (whole and not number.is_integer()):
            kind = "a whole number" if whole else "a finite number"
            raise InputError(f"{where}: field {field!r} is {text!r}, which is not {kind}.")
        numbers.append(number)
    truncated, occluded, alpha, x1, y1, x2, y2, height, width, length, x, y, z, rotation_y, *score = numbers
    return Label(
        type=name,
        truncated=truncated,
        occluded=int(occluded),
        alpha=alpha,
        bbox=(x1, y1, x2, y2),
        dimensions=(height, width, length),
        location=(x, y, z),
        rotation_y=rotation_y,
        score=score[0] if score else None,
    )


def _format_label(label: Label, path: PathLike) -> str:
    """One line, without its end, of a label file or (with a score) a result file."""
    if not label.type or len(label.type.split()) != 1:
        raise InputError(f"{path}: class {label.type!r} cannot be written: a name is one word without spaces.")
    numbers = (label.truncated, label.alpha, *label.bbox, *label.dimensions, *label.location, label.rotation_y)
    if not all(math.isfinite(number) for number in (*numbers, label.score or 0.0)):
        raise InputError(f"{path}: a number of {label} is not finite and cannot be written.")
    decimals = MIN_DECIMALS if label.score is None else RESULT_DECIMALS
    fields = [
        _CANONICAL_TYPES.get(label.type.lower(), label.type),
        _format_number(label.truncated, MIN_DECIMALS, unknown=-1),
        str(label.occluded),
        _format_number(label.alpha, decimals, unknown=-10),
        *(_format_number(value, decimals) for value in label.bbox),
        *(_format_number(value, decimals, unknown=-1) for value in label.dimensions),
        *(_format_number(value, decimals, unknown=-1000) for value in label.location),
        _format_number(label.rotation_y, decimals, unknown=-10),
    ]
    if label.score is not None:
        fields.append(f"{label.score:.9g}")  # nine digits tell any two float32 apart
    return " ".join(fields)


def _format_number(value: float, decimals: int, *, unknown: int | None = None) -> str:
    """A number with two to `decimals` decimals, as many as it needs, or KITTI's placeholder for what is unknown."""
    if value == unknown:
        return str(unknown)
    whole, _, rest = f"{value:.{decimals}f}".partition(".")
    return f"{whole}.{rest.rstrip('0').ljust(MIN_DECIMALS, '0')}"
