"""Annotations of a nuScenes database as columns: 1.2 million records would be gigabytes, their columns are not."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lidar_ebm.formats.nuscenes.records import Annotation, index_of_token, read_blocks, refuse

MAXIMUM_VELOCITY_SPAN = 1.5  # s between an annotation and its neighbour; twice that from neighbour to neighbour


@dataclass(frozen=True, eq=False)
class Annotations:
    """Labels of all samples, in the table's order, in the global frame."""

    path: Path
    tokens: Sequence[str]  # [A]
    sample: np.ndarray  # [A] int32, row of the sample
    instance: np.ndarray  # [A] int32, row of the instance
    category: np.ndarray  # [A] int16, row of the category
    attribute: np.ndarray  # [A] int16, row of the first attribute; -1 without any
    attribute_count: np.ndarray  # [A] int16
    visibility: np.ndarray  # [A] int8, 1..4: up to 40, 60, 80, 100 % seen by the cameras; 0: not told
    centers: np.ndarray  # [A, 3] float64, m
    sizes: np.ndarray  # [A, 3] float64 width, length, height, m
    rotations: np.ndarray  # [A, 4] float64 quaternions w, x, y, z, of any length above 0
    lidar_points: np.ndarray  # [A] int32
    radar_points: np.ndarray  # [A] int32
    previous: np.ndarray  # [A] int32, row of the same object's annotation before this; -1 without one
    following: np.ndarray  # [A] int32, likewise after this

    def __len__(self) -> int:
        return len(self.sample)

    def rows_of_sample(self, sample: int) -> np.ndarray:
        """Rows [K] of a sample's annotations, in the table's order."""
        order, starts = self._by_sample
        return order[starts[sample] : starts[sample + 1]] if sample + 1 < len(starts) else order[:0]

    @cached_property
    def _by_sample(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(self.sample, kind="stable").astype(np.int32)
        count = int(self.sample.max(initial=-1)) + 1
        return order, np.searchsorted(self.sample[order], np.arange(count + 1)).astype(np.int64)

    def velocities(self, times: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Velocities [K, 3] in m/s over ground, global axes: from the neighbours' centres; NaN where unknown.

        They are unknown of an object without neighbours, or with a neighbour more than 1.5 s away (3 s between both).

        Args:
            times: [S] s, of the samples.
            rows: [K] of annotations; all where None.
        """
        chosen = np.arange(len(self)) if rows is None else np.asarray(rows)
        before, after = self.previous[chosen], self.following[chosen]
        neighbours = (before >= 0).astype(np.int64) + (after >= 0)
        first, last = np.where(before < 0, chosen, before), np.where(after < 0, chosen, after)
        spans = times[self.sample[last]] - times[self.sample[first]]
        with np.errstate(divide="ignore", invalid="ignore"):
            velocity = (self.centers[last] - self.centers[first]) / spans[:, None]
        velocity[(neighbours == 0) | (spans > MAXIMUM_VELOCITY_SPAN * np.maximum(neighbours, 1))] = np.nan
        return velocity


def read_annotations(
    path: Path,
    sample_rows: Mapping[str, int],
    instance_rows: Mapping[str, int],
    category_of_instance: np.ndarray,
    attribute_rows: Mapping[str, int],
) -> Annotations:
    """Annotations of a table.

    Args:
        path: of `sample_annotation.json`.
        sample_rows, instance_rows, attribute_rows: rows of their tables by token.
        category_of_instance: [I] rows of the categories.

    Raises:
        InputError: the table is damaged, a number is not finite, or a token leads nowhere.
    """
    tokens: list[str] = []
    links: tuple[list[str], list[str]] = ([], [])
    parts: list[dict[str, np.ndarray]] = []
    for records in read_blocks(path, Annotation):
        start = len(tokens)
        tokens += [record.token for record in records]
        links[0].extend([record.prev for record in records])
        links[1].extend([record.next for record in records])
        part = {
            "sample": _rows(records, start, path, "sample_token", sample_rows),
            "instance": _rows(records, start, path, "instance_token", instance_rows),
            "attribute": _first_attributes(records, start, path, attribute_rows),
            "attribute_count": np.array([len(record.attribute_tokens) for record in records], np.int16),
            "visibility": np.array([_VISIBILITIES.get(record.visibility_token, 0) for record in records], np.int8),
            "centers": _numbers(records, start, path, "translation", 3),
            "sizes": _numbers(records, start, path, "size", 3),
            "rotations": _numbers(records, start, path, "rotation", 4),
            "lidar_points": _counts(records, start, path, "num_lidar_pts"),
            "radar_points": _counts(records, start, path, "num_radar_pts"),
        }
        for row in np.flatnonzero(~part["rotations"].any(axis=1)):
            refuse(
                path, start + int(row), records[row].token, "rotation", "is all zeros; give a quaternion w, x, y, z."
            )
        parts.append(part)
    columns = _joined(parts)
    index = index_of_token(path, tokens)
    previous, following = (
        _linked(tokens, column, index, path, field) for column, field in zip(links, ("prev", "next"), strict=True)
    )
    return Annotations(
        path=path,
        tokens=tokens,
        category=category_of_instance[columns["instance"]].astype(np.int16),
        previous=previous,
        following=following,
        **columns,
    )


_VISIBILITIES = {"1": 1, "2": 2, "3": 3, "4": 4}
_EMPTY: dict[str, np.ndarray] = {
    "sample": np.zeros(0, np.int32),
    "instance": np.zeros(0, np.int32),
    "attribute": np.zeros(0, np.int16),
    "attribute_count": np.zeros(0, np.int16),
    "visibility": np.zeros(0, np.int8),
    "centers": np.zeros((0, 3)),
    "sizes": np.zeros((0, 3)),
    "rotations": np.zeros((0, 4)),
    "lidar_points": np.zeros(0, np.int32),
    "radar_points": np.zeros(0, np.int32),
}


def no_annotations(path: Path) -> Annotations:
    """Annotations of a database without any, as of v1.0-test."""
    nothing = np.zeros(0, np.int32)
    return Annotations(
        path, (), **_EMPTY, category=nothing.astype(np.int16), previous=nothing, following=nothing.copy()
    )


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    joined = {}
    for name, nothing in _EMPTY.items():
        joined[name] = np.concatenate([nothing, *(part.pop(name) for part in parts)])
    return joined


def _rows(records: Sequence[Any], start: int, path: Path, field: str, rows: Mapping[str, int]) -> np.ndarray:
    get: Callable[[str], int | None] = rows.get
    found = [get(getattr(record, field)) for record in records]
    if None in found:
        wrong = found.index(None)
        refuse(path, start + wrong, records[wrong].token, field, _leads_nowhere(field, getattr(records[wrong], field)))
    return np.array(found, np.int32)


def _first_attributes(records: Sequence[Annotation], start: int, path: Path, rows: Mapping[str, int]) -> np.ndarray:
    first = np.full(len(records), -1, np.int16)
    for index, record in enumerate(records):
        for token in record.attribute_tokens:
            if token not in rows:
                refuse(path, start + index, record.token, "attribute_tokens", _leads_nowhere("attribute_tokens", token))
        if record.attribute_tokens:
            first[index] = rows[record.attribute_tokens[0]]
    return first


def _numbers(records: Sequence[Any], start: int, path: Path, field: str, width: int) -> np.ndarray:
    flat: Iterator[float] = itertools.chain.from_iterable([getattr(record, field) for record in records])
    values = np.fromiter(flat, np.float64, count=width * len(records)).reshape(-1, width)
    if not np.isfinite(values).all():
        wrong = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        refuse(
            path,
            start + wrong,
            records[wrong].token,
            field,
            f"{values[wrong].tolist()}: give finite numbers; copy the table again or mend the record.",
        )
    return values


def _counts(records: Sequence[Any], start: int, path: Path, field: str) -> np.ndarray:
    values: Iterable[int] = [getattr(record, field) for record in records]
    counts = np.fromiter(values, np.int64, count=len(records))
    for wrong in np.flatnonzero((counts < 0) | (counts > np.iinfo(np.int32).max)).tolist():
        refuse(path, start + wrong, records[wrong].token, field, f"{counts[wrong]}: give a count of points.")
    return counts.astype(np.int32)


def _linked(tokens: Sequence[str], links: list[str], index: Mapping[str, int], path: Path, field: str) -> np.ndarray:
    """Rows that links lead to, -1 for the empty text; the links are given up one by one, to free them."""
    rows = np.empty(len(links), np.int32)
    for row, token in enumerate(links):
        linked = index.get(token, -1) if token else -1
        if linked < 0 and token:
            refuse(path, row, tokens[row], field, _leads_nowhere(field, token))
        rows[row] = linked
    links.clear()
    return rows


def _leads_nowhere(field: str, token: str) -> str:
    return f"{token!r} leads nowhere: no record has this token. The tables do not fit together; copy all of them again."
