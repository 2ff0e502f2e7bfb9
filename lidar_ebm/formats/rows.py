"""Boxes gathered row by row, as a reader meets them, and checked before a writer begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.geometry.upright import wrap_angle

_MISSING = {item.name: item.metadata["missing"] for item in fields(Boxes) if item.metadata} | {"scores": np.nan}


class BoxRows:
    """Boxes of a frame while they are read; a column that no row has stays None."""

    def __init__(self, path: Any) -> None:
        self._path = path  # file that a message names
        self._boxes: list[Sequence[float]] = []
        self._names: list[str] = []
        self._columns: dict[str, dict[int, Any]] = {}

    def add(self, name: str, box: Sequence[float], **columns: Any) -> None:
        """Append a box (x, y, z, l, w, h, yaw) with what is given of its columns; None says nothing of one."""
        for column, value in columns.items():
            if value is not None:
                self._columns.setdefault(column, {})[len(self._names)] = value
        self._boxes.append(box)
        self._names.append(name)

    def __len__(self) -> int:
        return len(self._names)

    def boxes(self) -> Boxes:
        """All boxes.

        Raises:
            InputError: a column's values differ in shape.
        """
        columns: dict[str, Any] = {}
        for name, values in self._columns.items():
            shape = np.shape(next(iter(values.values())))
            if any(np.shape(value) != shape for value in values.values()):
                raise InputError(f"{self._path}: {name}: values of different shapes in one frame.")
            missing = np.full(shape, _MISSING[name]) if shape else _MISSING[name]
            columns[name] = [values.get(index, missing) for index in range(len(self._names))]
        boxes = np.array(self._boxes, dtype=np.float64).reshape(-1, 7)
        boxes[:, 6] = wrap_angle(boxes[:, 6])
        try:
            return Boxes(boxes, np.array(self._names, dtype=np.str_), **columns)
        except InputError as error:
            raise InputError(f"{self._path}: {error}") from error


def value_or_none(row: Mapping[str, Any], column: str) -> Any:
    """Value of a row of `Boxes.rows()`, as Python has it; None where the row has none."""
    value = row.get(column)
    if value is None:
        return None
    if isinstance(value, np.ndarray) and value.ndim:
        return None if np.isnan(value).all() else value.tolist()
    missing = _MISSING[column]
    if isinstance(missing, str):
        return str(value) or None
    if isinstance(missing, int):
        return None if value == missing else int(value)
    return None if np.isnan(value) else float(value)


def check_boxes(frames: Mapping[str, Boxes], path: Any) -> None:
    """Refuse boxes that no file should hold.

    Raises:
        InputError: a number of a box, a score or a velocity is infinite, or one of a box NaN.
    """
    for frame, boxes in frames.items():
        bad = ~np.isfinite(boxes.boxes).all(axis=1)
        for values in boxes.columns().values():
            if values.dtype.kind == "f" and len(values):
                bad |= np.isinf(values).reshape(len(values), -1).any(axis=1)
        if bad.any():
            raise InputError(
                f"{path}: box {int(np.flatnonzero(bad)[0])} of frame {frame!r} holds a number that is not finite; "
                "nothing was written. Correct or remove it."
            )
