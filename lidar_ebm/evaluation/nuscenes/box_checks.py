"""Boxes of a result file read value by value: what the benchmark's program refuses, and what it takes in an odd way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lidar_ebm.evaluation.nuscenes.rules import ATTRIBUTE_INDEX, CLASS_INDEX, STOPS
from lidar_ebm.evaluation.problems import Problem
from lidar_ebm.formats.nuscenes.classes import ATTRIBUTES, CLASSES

_LENGTHS = {"translation": 3, "size": 3, "rotation": 4}
_FIELDS = (*_LENGTHS, "sample_token", "velocity", "detection_name", "detection_score", "attribute_name")
_OPTIONAL = ("num_pts", "ego_translation")
_SHOWN = 60
_REQUIRED = "every box has " + ", ".join(sorted(_FIELDS))


@dataclass(frozen=True)
class CheckedBox:
    """One box whose fields the benchmark's program takes."""

    sample_token: str
    translation: list[float]
    size: list[float]
    rotation: list[float]
    velocity: list[float]
    detection_name: str
    detection_score: float
    attribute_name: str
    num_pts: int
    bad_velocity: bool


@dataclass
class CheckedBoxes:
    """Boxes of one sample, and what is wrong with them."""

    count: int = 0  # boxes in the file, those that cannot be used among them
    boxes: list[CheckedBox] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def check_boxes(rows: Any, token: str) -> CheckedBoxes:
    """Read the boxes of a sample.

    Args:
        rows: what the file holds for it.
        token: of the sample.
    """
    checked = CheckedBoxes()
    if not isinstance(rows, list):
        kind = "a sample has a list of boxes, an empty one where nothing was detected"
        checked.problems.append(Problem(f"sample {token}", _shown(rows), kind, blocks=True))
        return checked
    checked.count = len(rows)
    for index, row in enumerate(rows):
        where = f"sample {token}, box {index}"
        if not isinstance(row, dict):
            checked.problems.append(Problem(where, _shown(row), "a box is an object {field: value}", blocks=True))
            continue
        problems = [*_check_box(row, where)]
        checked.problems += problems
        if not any(problem.blocks for problem in problems):
            checked.boxes.append(_read_box(row))
    return checked


def _check_box(row: Mapping[str, Any], where: str) -> Iterator[Problem]:
    def problem(name: str, kind: str, *, blocks: bool = True) -> Problem:
        return Problem(f"{where}: {name}", _shown(row[name]), kind, blocks=blocks)

    for name in _FIELDS:
        if name not in row:
            if name == "detection_score":
                kind = "the program takes -1 for it; give a score"
                yield Problem(f"{where}: {name}", "missing", kind, blocks=False)
            else:
                yield Problem(f"{where}: {name}", "missing", _REQUIRED, blocks=True)
    for name in row:
        if name not in _FIELDS and name not in _OPTIONAL:
            yield Problem(f"{where}: {name}", "not a field of a box", "it is not looked at", blocks=False)
    if not isinstance(row.get("sample_token", ""), str):
        yield problem("sample_token", "the token of the sample is a text")
    for name, length in _LENGTHS.items():
        if name in row and not _are_numbers(row[name], length):
            yield problem(name, f"give {length} numbers, none of them NaN")
    if "velocity" in row:
        velocity = row["velocity"]
        if not isinstance(velocity, list) or len(velocity) != 2:
            yield problem("velocity", "give vx and vy, m/s")
        elif not all(map(_is_number, velocity)):
            yield problem("velocity", f"{STOPS} as soon as such a box is matched; give numbers", blocks=False)
    if "detection_name" in row and not _is_one_of(row["detection_name"], CLASS_INDEX):
        yield problem("detection_name", f"choose one of {', '.join(CLASSES)}")
    if "attribute_name" in row and not _is_one_of(row["attribute_name"], ATTRIBUTE_INDEX):
        yield problem("attribute_name", f"choose one of {', '.join(ATTRIBUTES)}, or an empty text")
    if "detection_score" in row:
        score = _as_score(row["detection_score"])
        if score is None or math.isnan(score):
            yield problem("detection_score", "give a number")
        elif not _is_number(row["detection_score"]) or isinstance(row["detection_score"], bool):
            yield problem("detection_score", "is read as a number; write one", blocks=False)
    if "num_pts" in row and _as_count(row["num_pts"]) is None:
        yield problem("num_pts", "give a count of points, or leave it out")


def _read_box(row: Mapping[str, Any]) -> CheckedBox:
    velocity = [float(value) if _is_number(value) else math.nan for value in row["velocity"]]
    return CheckedBox(
        row["sample_token"],
        [float(value) for value in row["translation"]],
        [float(value) for value in row["size"]],
        [float(value) for value in row["rotation"]],
        velocity,
        row["detection_name"],
        _as_score(row.get("detection_score", -1.0)) or 0.0,
        row["attribute_name"],
        _as_count(row.get("num_pts", -1)) or 0,
        not all(map(_is_number, row["velocity"])),
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 1e308)


def _are_numbers(value: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) == length and all(_is_number(each) and each == each for each in value)


def _is_one_of(value: Any, names: Mapping[str, int]) -> bool:
    return isinstance(value, str) and value in names


def _as_score(value: Any) -> float | None:
    """A score as Python's `float` reads it; None where it does not."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _as_count(value: Any) -> int | None:
    """A count as Python's `int` reads it; None where it does not."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
