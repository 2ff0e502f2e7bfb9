"""Checks of nuScenes' tables as a whole: tokens that lead nowhere, chains, names, and several attributes of a label.

Reading stops at the first fault that makes a table useless; here all of them are listed, one finding for each field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from lidar_ebm.datasets.preparation.findings import ERROR, WARNING, Finding
from lidar_ebm.errors import InputError
from lidar_ebm.formats.nuscenes.classes import ATTRIBUTES, is_category_of_nuscenes
from lidar_ebm.formats.nuscenes.records import (
    Annotation,
    CalibratedSensor,
    EgoPose,
    Instance,
    Named,
    Record,
    Sample,
    SampleData,
    Scene,
    Sensor,
    read_blocks,
)
from lidar_ebm.formats.nuscenes.tables import Tables

_SHOWN = 5
# Of each table its records, and the tables that its fields lead to; "" is no link.
_KINDS: Mapping[str, type[Record]] = {
    "scene": Scene,
    "sample": Sample,
    "sensor": Sensor,
    "calibrated_sensor": CalibratedSensor,
    "ego_pose": EgoPose,
    "sample_data": SampleData,
    "category": Named,
    "attribute": Named,
    "instance": Instance,
    "sample_annotation": Annotation,
}
_LINKS: Mapping[str, Mapping[str, str]] = {
    "sample": {"scene_token": "scene"},
    "calibrated_sensor": {"sensor_token": "sensor"},
    "sample_data": {
        "sample_token": "sample",
        "ego_pose_token": "ego_pose",
        "calibrated_sensor_token": "calibrated_sensor",
    },
    "instance": {"category_token": "category"},
    "sample_annotation": {"sample_token": "sample", "instance_token": "instance", "attribute_tokens": "attribute"},
}
_SCENE_LINKS = {"first_sample_token": "sample", "last_sample_token": "sample"}  # read when the samples are
_LABEL_TABLES = ("category", "attribute", "instance", "sample_annotation")  # v1.0-test may lack them


@dataclass(frozen=True, eq=False)
class _Links:
    """Links of a table's records to others of the same, with what may not change along them and what has to rise."""

    tokens: list[str]
    prev: list[str]
    following: list[str]
    group: list[str]  # the same in all records of a chain
    time: list[int]  # µs


def check_tables(tables: Tables) -> list[Finding]:
    """Findings of all tables, each of them read once, some megabytes at a time."""
    findings: list[Finding] = []
    tokens: dict[str, dict[str, int]] = {}
    chains: dict[str, _Links] = {}
    for name, kind in _KINDS.items():
        if name in _LABEL_TABLES and tables.is_test and not tables.path(name).exists():
            continue
        place = f"{tables.version}/{name}.json"
        links = _Links([], [], [], [], [])
        reader = _TableReader(place, tokens)
        try:
            for records in read_blocks(tables.path(name), kind):
                reader.read(records, _LINKS.get(name, {}))
                _add_links(links, name, records, tokens, chains)
        except InputError as error:
            message = str(error).removeprefix(f"{tables.path(name)}: ")
            findings.append(Finding(ERROR, "unreadable tables", place, message))
            continue  # and nothing is said of links to what is not known
        findings += reader.findings(of_labels=name in _LABEL_TABLES)
        tokens[name] = reader.tokens
        if links.tokens:
            chains[name] = links
            findings += _check_chain(links, place, _CHAINED[name])
    scenes = _TableReader(f"{tables.version}/scene.json", tokens)
    with suppress(InputError):  # said already
        for block in read_blocks(tables.path("scene"), Scene):
            scenes.read(block, _SCENE_LINKS)
    return [*findings, *(each for each in scenes.findings(of_labels=False) if "_sample_token" in each.message)]


class _TableReader:
    """Faults of one table, record by record."""

    def __init__(self, place: str, others: Mapping[str, Mapping[str, int]]) -> None:
        self.tokens: dict[str, int] = {}
        self._place, self._others = place, others
        self._faults: dict[tuple[str, str, str], list[str]] = {}

    def read(self, records: Sequence[Any], links: Mapping[str, str]) -> None:
        """Take a block of records, whose fields lead to other tables."""
        start = len(self.tokens)
        for row, record in enumerate(records, start=start):
            if self.tokens.setdefault(record.token, row) != row:
                self._add(ERROR, "tokens that are there twice", "token", row, record.token)
            if isinstance(record, Annotation):
                self._read_annotation(record, row)
            elif isinstance(record, Named):
                self._read_name(record, row)
        for field, target in links.items():
            there = self._others.get(target)
            if there is None:
                continue
            for row, record in enumerate(records, start=start):
                value = getattr(record, field)
                for token in value if isinstance(value, list) else (value,):
                    if token not in there:
                        self._add(ERROR, "tokens that lead nowhere", field, row, token)

    def findings(self, *, of_labels: bool) -> Iterator[Finding]:
        """A finding for each field with faults."""
        for (severity, kind, field), shown in self._faults.items():
            more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
            message = f"{field}: {'; '.join(shown[:_SHOWN])}{more}. Copy the tables again or mend the records."
            yield Finding(severity, kind, self._place, message, of_labels=of_labels)

    def _read_annotation(self, record: Annotation, row: int) -> None:
        if len(record.attribute_tokens) > 1:
            shown = f"{len(record.attribute_tokens)} (the first counts)"
            self._add(WARNING, "labels with several attributes", "attribute_tokens", row, shown)
        if min(record.size) <= 0:
            self._add(WARNING, "labels without a size", "size", row, ", ".join(f"{each:g}" for each in record.size))

    def _read_name(self, record: Named, row: int) -> None:
        if self._place.endswith("/category.json") and not is_category_of_nuscenes(record.name):
            self._add(ERROR, "unknown categories", "name", row, record.name)
        if self._place.endswith("/attribute.json") and record.name not in ATTRIBUTES:
            self._add(WARNING, "unknown attributes", "name", row, record.name)

    def _add(self, severity: str, kind: str, field: str, row: int, shown: str) -> None:
        self._faults.setdefault((severity, kind, field), []).append(f"record {row}: {shown!r}")


_CHAINED: Mapping[str, str] = {"sample": "scene", "sample_data": "scene", "sample_annotation": "instance"}
"""Tables whose records are chained by prev and next, and what a chain is of."""


def _add_links(
    links: _Links,
    name: str,
    records: Sequence[Any],
    tokens: Mapping[str, Mapping[str, int]],
    chains: Mapping[str, _Links],
) -> None:
    """Take the chained records of a block."""
    if name not in _CHAINED or (name != "sample" and "sample" not in chains):
        return
    links.tokens.extend(record.token for record in records)
    links.prev.extend(record.prev for record in records)
    links.following.extend(record.next for record in records)
    if name == "sample":
        links.group.extend(record.scene_token for record in records)
        links.time.extend(record.timestamp for record in records)
        return
    samples, rows = chains["sample"], tokens["sample"]
    of_samples = [rows.get(record.sample_token, -1) for record in records]
    if name == "sample_data":
        scenes = ["" if row < 0 else samples.group[row] for row in of_samples]
        # Files of different sensors, or cars, are no chain either.
        links.group.extend(
            f"{scene} {record.calibrated_sensor_token}" for scene, record in zip(scenes, records, strict=True)
        )
        links.time.extend(record.timestamp for record in records)
    else:
        links.group.extend(record.instance_token for record in records)
        links.time.extend(0 if row < 0 else samples.time[row] for row in of_samples)


def _check_chain(links: _Links, place: str, of: str) -> Iterator[Finding]:
    """Findings about prev and next of a table."""
    rows = {token: row for row, token in enumerate(links.tokens)}
    times = np.array(links.time, np.int64)
    targets = {
        "prev": np.array([rows.get(token, -2) if token else -1 for token in links.prev], np.int64),
        "next": np.array([rows.get(token, -2) if token else -1 for token in links.following], np.int64),
    }
    groups = np.unique(np.array(links.group, np.str_), return_inverse=True)[1]
    for field, back, sign in (("prev", "next", -1), ("next", "prev", 1)):
        target = targets[field]
        linked = np.flatnonzero(target >= 0)
        to = target[linked]
        faults: dict[str, np.ndarray] = {
            "leads nowhere": np.flatnonzero(target == -2),
            f"leads to another {of}": linked[groups[to] != groups[linked]],
            f"leads to a record that is not {'before' if sign < 0 else 'after'} it, as in a circle": linked[
                (times[to] - times[linked]) * sign <= 0
            ],
            f"leads to a record whose {back} leads elsewhere": linked[targets[back][to] != linked],
        }
        tokens: Callable[[int], str] = links.tokens.__getitem__
        for fault, wrong in faults.items():
            if len(wrong):
                shown = "; ".join(f"record {row} (token {tokens(row)!r})" for row in wrong[:_SHOWN].tolist())
                more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
                message = f"{field} {fault}: {shown}{more}. Copy the tables again or mend the records."
                yield Finding(ERROR, "broken token chains", place, message)
