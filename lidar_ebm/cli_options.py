"""What several verbs of the command take, and how their texts are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lidar_ebm.errors import InputError

if TYPE_CHECKING:
    from lidar_ebm.evaluation.rules import Difficulty

Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, …")]
Recall = Annotated[str, typer.Option(help="40, 11 or 41 recall positions.")]

# Of the verbs that read result files.
Labels = Annotated[Path, typer.Argument(help="Folder of KITTI label files (label_2).")]
Classes = Annotated[str, typer.Option(help="Names, separated by commas.")]
Iou = Annotated[
    str | None,
    typer.Option(help="Overlaps that a match exceeds, separated by commas; or `loose`: 0.5 / 0.25 in BEV and 3-D."),
]
Split = Annotated[
    Path | None, typer.Option(help="File of frame names: score these; without a result file a frame counts as empty.")
]
Difficulties = Annotated[
    list[str] | None,
    typer.Option(
        help="Limits in place of KITTI's, once for each: NAME=LIMIT:VALUE,… of occluded, truncated, height (px), "
        "distance (m), points. Example: `near=distance:30,points:20`"
    ),
]
Project = Annotated[
    bool, typer.Option("--project", help="Results without a 2-D box: take the projection of their 3-D box.")
]
LidarOnly = Annotated[
    bool, typer.Option("--lidar-only", help="Data without 2-D boxes: difficulty by distance and points in the box.")
]
Calib = Annotated[Path | None, typer.Option(help="Calibration files; LABELS/../calib where not given.")]
Velodyne = Annotated[Path | None, typer.Option(help="Point clouds, for --lidar-only; LABELS/../velodyne by default.")]

_LIMITS = {
    "occluded": ("max_occluded", float),
    "truncated": ("max_truncated", float),
    "height": ("min_height", float),
    "distance": ("max_distance", float),
    "points": ("min_points", int),
}
_RECALLS = {"40": "R40", "11": "R11", "41": "mean41"}


def read_numbers(text: str, option: str) -> list[float]:
    """Numbers separated by commas.

    Raises:
        InputError: something else; the message names the option.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"{option} {text!r}: expected numbers separated by commas, for example 0.7,0.8.") from error


def read_recall(text: str) -> str:
    """The name of a kind of recall.

    Raises:
        InputError: there is none of this number of positions.
    """
    if text not in _RECALLS:
        raise InputError(f"--recall {text!r}: choose 40, 11 or 41.")
    return _RECALLS[text]


def read_rules(classes: str, iou: str | None, difficulties: list[str] | None) -> dict[str, Any]:
    """The arguments of `kitti_ap.evaluate` that --classes, --iou and --difficulty stand for.

    Raises:
        InputError: one of them cannot be read; the message names it.
    """
    from lidar_ebm.evaluation.rules import LOOSE_OVERLAPS
    from lidar_ebm.types import KITTI_TYPES

    spelling = {name.lower(): name for name in KITTI_TYPES}
    given = [name.strip() for name in classes.split(",") if name.strip()]
    names = list(dict.fromkeys(spelling.get(name.lower(), name) for name in given))
    if not names:
        raise InputError("--classes: name at least one, for example Car,Cyclist.")
    overlaps = LOOSE_OVERLAPS if iou == "loose" else None if iou is None else read_numbers(iou, "--iou")
    limits = [read_difficulty(text) for text in difficulties or []]
    twice = [each.name for each in limits if [other.name for other in limits].count(each.name) > 1]
    if twice:
        raise InputError(f"--difficulty {twice[0]}: given twice. Give each a name of its own.")
    return {"classes": names, "iou": overlaps, "difficulties": limits or None}


def read_difficulty(text: str) -> Difficulty:
    """A difficulty from NAME=LIMIT:VALUE,LIMIT:VALUE.

    Raises:
        InputError: it has another form, or a limit is unknown or no number.
    """
    from lidar_ebm.evaluation.rules import Difficulty

    name, _, rest = text.partition("=")
    limits: dict[str, Any] = {}
    for part in rest.split(","):
        key, _, value = part.partition(":")
        if not name.strip() or key.strip() not in _LIMITS:
            raise InputError(
                f"--difficulty {text!r}: {part!r} is none of NAME=LIMIT:VALUE,… with the limits {', '.join(_LIMITS)}, "
                "for example near=distance:30,points:20."
            )
        field, kind = _LIMITS[key.strip()]
        try:
            limits[field] = kind(value)
        except ValueError as error:
            raise InputError(f"--difficulty {text!r}: {key.strip()} is {value!r}, which is not a number.") from error
    return Difficulty(name.strip(), **limits)
