"""Options that several verbs of the command take, and the reading of their texts."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lidar_ebm.errors import InputError

if TYPE_CHECKING:
    from lidar_ebm.evaluation.limits import Difficulty
    from lidar_ebm.evaluation.options import ScoringOptions


Data = Annotated[Path, typer.Option(help="Folder of the data set: with a dataset.yaml, or in KITTI's layout.")]
Prepared = Annotated[
    Path | None,
    typer.Option(help="Where `prepare` leaves its files, for data that may not be written to; else within the data."),
]
Run = Annotated[Path, typer.Argument(help="Run folder that `train` has written.")]


def output(help_text: str) -> Any:
    """An option for the path of something to write; an empty one would be taken for the current folder."""
    return typer.Option(help=help_text, parser=_read_output, metavar="<path>")


def _read_output(text: str) -> Path:
    if not text:
        raise typer.BadParameter("the name is empty.")
    return Path(text)


Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, …")]
Recall = Annotated[
    str,
    typer.Option(
        help="Recall positions whose precision is averaged: 40 (the benchmark's own), 11 (its own until 2019), or 41: "
        "the mean of all 41, recall 0 among them."
    ),
]

# Of the verbs that read result files.
Labels = Annotated[
    Path,
    typer.Argument(
        help="Folder of label files, or a file or folder of any format that `convert` reads; or, with `--protocol "
        "nuscenes`, the root of the database."
    ),
]
Protocol = Annotated[
    str | None,
    typer.Option(
        help="Rules to score by: `kitti`, `nuscenes` (a database's root, --version and --split, and a result file), or "
        "`distance` (all around the sensor, by distance and points, any classes); what the files fit where not given."
    ),
]
Classes = Annotated[
    str | None,
    typer.Option(
        help="Names, separated by commas, of any classes; others are passed over. Where not given: those of the "
        "benchmark whose rules are used, or all that are labelled."
    ),
]
Iou = Annotated[
    str | None,
    typer.Option(
        help="Overlaps that a match exceeds, separated by commas, the same for all classes; the benchmark's own where "
        "not given (0.5 with `--protocol distance`). Or `loose`: an older, looser table of the benchmark's."
    ),
]
Split = Annotated[
    Path | None,
    typer.Option(
        help="File of frame names: score these; without a result file a frame counts as empty. With `--protocol "
        "nuscenes` the name of a split: val, mini_val, or one of the database's splits.json."
    ),
]
Version = Annotated[
    str | None,
    typer.Option(help="With `--protocol nuscenes`: which tables, v1.0-trainval say; the only ones if left out."),
]
Difficulties = Annotated[
    list[str] | None,
    typer.Option(
        help="Limits in place of the usual ones, once for each: NAME=LIMIT:VALUE,… of occluded, truncated, height "
        "(px), distance (m), points. Example: `near=distance:30,points:20`"
    ),
]
CenterDistances = Annotated[
    str | None,
    typer.Option(help="With `--protocol distance`: metres that the centres of a match are apart at most; 0.5,1,2,4."),
]
Project = Annotated[
    bool,
    typer.Option("--project", help="Labels and results without a 2-D box: take the projection of their 3-D box."),
]
LidarOnly = Annotated[
    bool, typer.Option("--lidar-only", help="Data without 2-D boxes: difficulty by distance and points in the box.")
]
Calib = Annotated[Path | None, typer.Option(help="Calibration files; `calib` beside the labels where not given.")]
PointFolder = Annotated[
    Path | None,
    typer.Option("--velodyne", help="Point clouds, for --lidar-only; those beside the labels where not given."),
]

_LIMITS = {
    "occluded": ("max_occluded", float),
    "truncated": ("max_truncated", float),
    "height": ("min_height", float),
    "distance": ("max_distance", float),
    "points": ("min_points", int),
}
_MINIMA = ("height", "points")  # limits from below; to those from above infinity is no limit
_RECALLS = {"40": "R40", "11": "R11", "41": "mean41"}


def read_numbers(text: str, option: str) -> list[float]:
    """Numbers separated by commas.

    Raises:
        InputError: something else; the message names the option.
    """
    try:
        return [_number(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"{option} {text!r}: expected numbers separated by commas, for example 0.7,0.8.") from error


def read_renames(texts: Sequence[str] | None) -> dict[str, str]:
    """Pairs such as Car=forklift as a mapping.

    Raises:
        InputError: one is no such pair.
    """
    pairs = [text.split("=") for text in texts or ()]
    for pair in pairs:
        if len(pair) != 2 or not all(part.strip() for part in pair):
            raise InputError(f"--rename {'='.join(pair)!r}: expected OLD=NEW, for example Car=forklift.")
    return {old.strip(): new.strip() for old, new in pairs}


def check_apart(outputs: Mapping[str, Path | None]) -> None:
    """Make sure that no output would replace another.

    Raises:
        InputError: two options, the keys, name the same path.
    """
    seen: dict[str, str] = {}
    for option, path in outputs.items():
        if path is not None:
            other = seen.setdefault(os.path.realpath(path), option)
            if other != option:
                raise InputError(f"{other} and {option}: both name {path}. Give each a name of its own.")


def read_recall(text: str) -> str:
    """The name of a kind of recall.

    Raises:
        InputError: there is none of this number of positions.
    """
    if text not in _RECALLS:
        raise InputError(f"--recall {text!r}: choose 40, 11 or 41.")
    return _RECALLS[text]


def read_scoring_options(
    *,
    protocol: str | None,
    classes: str | None,
    iou: str | None,
    center: str | None,
    difficulties: list[str] | None,
    distance: str | None = None,
    split: Path | None,
    version: str | None = None,
    project: bool,
    lidar_only: bool,
    calib: Path | None,
    point_folder: Path | None,
) -> ScoringOptions:
    """The options of a scoring that the command's texts stand for.

    Raises:
        InputError: one of them cannot be read; the message names it.
    """
    from lidar_ebm.evaluation.kitti.rules import LOOSE_OVERLAPS
    from lidar_ebm.evaluation.options import ScoringOptions
    from lidar_ebm.formats.kitti.label import official_spelling

    names = None
    if classes is not None:
        given = [name.strip() for name in classes.split(",") if name.strip()]
        names = tuple(dict.fromkeys(name if protocol == "distance" else official_spelling(name) for name in given))
        if not names:
            raise InputError("--classes: name at least one, for example the first of the labels'.")
    limits = tuple(read_difficulty(text) for text in difficulties or [])
    twice = [each.name for each in limits if [other.name for other in limits].count(each.name) > 1]
    if twice:
        raise InputError(f"--difficulty {twice[0]}: given twice. Give each a name of its own.")
    return ScoringOptions(
        protocol=protocol,
        classes=names,
        iou=LOOSE_OVERLAPS if iou == "loose" else None if iou is None else read_numbers(iou, "--iou"),
        center_distances=None if center is None else read_numbers(center, "--center-distances"),
        difficulties=limits or None,
        distances=() if distance is None else read_numbers(distance, "--distance"),
        split=split,
        version=version,
        project=project,
        lidar_only=lidar_only,
        calib=calib,
        point_folder=point_folder,
    )


def read_difficulty(text: str) -> Difficulty:
    """A difficulty from NAME=LIMIT:VALUE,LIMIT:VALUE.

    Raises:
        InputError: it has another form, a limit is unknown or stands there twice, or its value makes no sense.
    """
    from lidar_ebm.evaluation.limits import Difficulty

    name, _, rest = text.partition("=")
    limits: dict[str, Any] = {}
    for part in rest.split(","):
        key, _, value = (piece.strip() for piece in part.partition(":"))
        if not name.strip() or key not in _LIMITS:
            raise InputError(
                f"--difficulty {text!r}: {part!r} is none of NAME=LIMIT:VALUE,… with the limits {', '.join(_LIMITS)}, "
                "for example near=distance:30,points:20."
            )
        field, kind = _LIMITS[key]
        if field in limits:
            raise InputError(f"--difficulty {text!r}: {key} is given twice. Give each limit once.")
        limits[field] = _read_limit(f"--difficulty {text!r}: {key} is {value!r}", key, value, whole=kind is int)
    return Difficulty(name.strip(), **limits)


def _read_limit(where: str, key: str, text: str, *, whole: bool) -> float:
    """The value of a limit; `where` begins the message that refuses it."""
    try:
        value = _number(text)
    except ValueError as error:
        raise InputError(f"{where}, which is not a number.") from error
    if math.isnan(value):
        raise InputError(f"{where}, which is not a number.")
    if key in _MINIMA and math.isinf(value):
        raise InputError(f"{where}, which no label reaches. Give a finite number.")
    if whole and not value.is_integer():
        raise InputError(f"{where}, which is not a whole number.")
    if value < 0 or (key == "distance" and value == 0):
        raise InputError(f"{where}: give {'a number above 0' if key == 'distance' else '0 or more'}.")
    return int(value) if whole else value


def _number(text: str) -> float:
    """As `float`, but 1_0 and digits of other scripts are numbers to Python alone.

    Raises:
        ValueError: it is none.
    """
    if "_" in text or not text.isascii():
        raise ValueError(text)
    return float(text)
