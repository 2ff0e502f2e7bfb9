"""Checks of nuScenes' tables as a whole: tokens that lead nowhere, chains, names, and several attributes of a label.

Reading stops at the first fault that makes a table useless; here all of them are listed, one finding for each field. Of
the two largest tables, files and poses, those of the LiDAR alone are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lidar_ebm.datasets.nuscenes.chain_checks import Links, check_chain
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
from lidar_ebm.formats.nuscenes.tables import LIDAR, Tables

_SHOWN = 5


def check_tables(tables: Tables) -> list[Finding]:
    """Findings of all tables, each of them read some megabytes at a time."""
    checks = _TableChecks(tables)
    for check in (
        *(checks.check_scenes, checks.check_samples, checks.check_sensors, checks.check_files),
        *(checks.check_names, checks.check_instances, checks.check_annotations),
    ):
        check()
    return checks.findings


class _Faults:
    """Faults of one table by what they have in common, with the records."""

    def __init__(self, place: str, *, of_labels: bool = False) -> None:
        self._place, self._of_labels = place, of_labels
        self._shown: dict[tuple[str, str, str], list[str]] = {}

    def add(self, severity: str, kind: str, field: str, row: int, shown: str) -> None:
        """Take a fault of a record."""
        self._shown.setdefault((severity, kind, field), []).append(f"record {row}: {shown!r}")

    def check_link(self, field: str, row: int, token: str, there: Mapping[str, int] | None) -> None:
        """Look for a token among those of another table; None where that cannot be read, and all is well."""
        if there is not None and token not in there:
            self.add(ERROR, "tokens that lead nowhere", field, row, token)

    def findings(self) -> Iterator[Finding]:
        """A finding for each field with faults."""
        for (severity, kind, field), shown in self._shown.items():
            more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
            message = f"{field}: {'; '.join(shown[:_SHOWN])}{more}. Copy the tables again or mend the records."
            yield Finding(severity, kind, self._place, message, of_labels=self._of_labels)


class _TableChecks:
    """Tables read so far: rows by token, None of a table that cannot be read."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._rows: dict[str, dict[str, int] | None] = {}
        self._scenes: list[Scene] = []
        self._scene_of_sample: list[int] = []
        self._time_of_sample: list[int] = []
        self._lidar: set[str] = set()  # tokens of its calibrations
        self.findings: list[Finding] = []

    def check_scenes(self) -> None:
        """The table `scene`; its links are looked at with the samples."""
        self._check("scene", Scene, lambda scene, row, faults: self._scenes.append(scene))

    def check_samples(self) -> None:
        """The table `sample`, and the links of scenes to it."""
        scenes, links = self._rows["scene"], Links()

        def take(sample: Sample, row: int, faults: _Faults) -> None:
            faults.check_link("scene_token", row, sample.scene_token, scenes)
            scene = -1 if scenes is None else scenes.get(sample.scene_token, -1)
            links.add(sample.token, sample.prev, sample.next, scene, sample.timestamp)
            self._scene_of_sample.append(scene)
            self._time_of_sample.append(sample.timestamp)

        self._check("sample", Sample, take)
        self.findings += check_chain(links, self._place("sample"), "scene")
        faults = _Faults(self._place("scene"))
        for row, scene in enumerate(self._scenes):
            for field in ("first_sample_token", "last_sample_token"):
                faults.check_link(field, row, getattr(scene, field), self._rows["sample"])
        self.findings += faults.findings()

    def check_sensors(self) -> None:
        """The tables `sensor` and `calibrated_sensor`."""
        lidars: set[str] = set()

        def take_sensor(sensor: Sensor, row: int, faults: _Faults) -> None:
            if sensor.channel == LIDAR:
                lidars.add(sensor.token)

        def take(calibration: CalibratedSensor, row: int, faults: _Faults) -> None:
            faults.check_link("sensor_token", row, calibration.sensor_token, self._rows["sensor"])
            if calibration.sensor_token in lidars:
                self._lidar.add(calibration.token)

        self._check("sensor", Sensor, take_sensor)
        self._check("calibrated_sensor", CalibratedSensor, take)

    def check_files(self) -> None:
        """The tables `sample_data` and `ego_pose`, as far as they are of the LiDAR."""
        samples, calibrations, links = self._rows["sample"], self._rows["calibrated_sensor"], Links()
        number = {token: index for index, token in enumerate(sorted(self._lidar))}
        poses: dict[str, int] = {}  # that are needed, with a row of a file that needs them

        def take(file: SampleData, row: int, faults: _Faults) -> bool:
            faults.check_link("calibrated_sensor_token", row, file.calibrated_sensor_token, calibrations)
            if file.calibrated_sensor_token not in number:
                return False
            faults.check_link("sample_token", row, file.sample_token, samples)
            scene = self._of_sample(self._scene_of_sample, file.sample_token)
            # Files of two cars are no chain either.
            group = scene * len(number) + number[file.calibrated_sensor_token]
            links.add(file.token, file.prev, file.next, group, file.timestamp)
            poses.setdefault(file.ego_pose_token, row)
            return True

        def take_pose(pose: EgoPose, row: int, faults: _Faults) -> bool:
            poses.pop(pose.token, None)
            return False

        self._check("sample_data", SampleData, take)
        self.findings += check_chain(links, self._place("sample_data"), "scene or sensor")
        self._check("ego_pose", EgoPose, take_pose)
        faults = _Faults(self._place("sample_data"))
        for token, row in poses.items():
            faults.check_link("ego_pose_token", row, token, self._rows["ego_pose"])
        self.findings += faults.findings()

    def check_names(self) -> None:
        """The tables `category` and `attribute`."""

        def take_category(category: Named, row: int, faults: _Faults) -> None:
            if not is_category_of_nuscenes(category.name):
                faults.add(ERROR, "unknown categories", "name", row, category.name)

        def take_attribute(attribute: Named, row: int, faults: _Faults) -> None:
            if attribute.name not in ATTRIBUTES:
                faults.add(WARNING, "unknown attributes", "name", row, attribute.name)

        self._check("category", Named, take_category, of_labels=True)
        self._check("attribute", Named, take_attribute, of_labels=True)

    def check_instances(self) -> None:
        """The table `instance`."""

        def take(instance: Instance, row: int, faults: _Faults) -> None:
            faults.check_link("category_token", row, instance.category_token, self._rows["category"])

        self._check("instance", Instance, take, of_labels=True)

    def check_annotations(self) -> None:
        """The table `sample_annotation`."""
        samples, instances, attributes = (self._rows[name] for name in ("sample", "instance", "attribute"))
        links = Links()

        def take(label: Annotation, row: int, faults: _Faults) -> None:
            faults.check_link("sample_token", row, label.sample_token, samples)
            faults.check_link("instance_token", row, label.instance_token, instances)
            for token in label.attribute_tokens:
                faults.check_link("attribute_tokens", row, token, attributes)
            if len(label.attribute_tokens) > 1:
                shown = f"{len(label.attribute_tokens)} (the first counts)"
                faults.add(WARNING, "labels with several attributes", "attribute_tokens", row, shown)
            if min(label.size) <= 0:
                faults.add(WARNING, "labels without a size", "size", row, ", ".join(f"{each:g}" for each in label.size))
            instance = -1 if instances is None else instances.get(label.instance_token, -1)
            time = self._of_sample(self._time_of_sample, label.sample_token)
            links.add(label.token, label.prev, label.next, instance, time)

        self._check("sample_annotation", Annotation, take, of_labels=True)
        self.findings += check_chain(links, self._place("sample_annotation"), "instance")

    def _check(
        self,
        name: str,
        kind: type[Record],
        take: Callable[[Any, int, _Faults], bool | None],
        *,
        of_labels: bool = False,
    ) -> None:
        """Give every record of a table to `take`, which returns False for one whose token nobody will ask for."""
        self._rows[name] = None
        if of_labels and self._tables.is_test and not self._tables.path(name).exists():
            return  # as v1.0-test may be
        faults, rows = _Faults(self._place(name), of_labels=of_labels), dict[str, int]()
        try:
            for row, record in enumerate(_records(read_blocks(self._tables.path(name), kind))):
                if take(record, row, faults) is not False and rows.setdefault(record.token, row) != row:
                    faults.add(ERROR, "tokens that are there twice", "token", row, record.token)
        except InputError as error:
            message = str(error).removeprefix(f"{self._tables.path(name)}: ")
            self.findings.append(Finding(ERROR, "unreadable tables", self._place(name), message))
            return
        self._rows[name] = rows
        self.findings += faults.findings()

    def _place(self, name: str) -> str:
        return f"{self._tables.version}/{name}.json"

    def _of_sample(self, values: Sequence[int], token: str) -> int:
        """The value of a sample; -1 where there is none of this token."""
        rows = self._rows["sample"]
        row = None if rows is None else rows.get(token)
        return -1 if row is None else values[row]


def _records(blocks: Iterable[list[Any]]) -> Iterator[Any]:
    for block in blocks:
        yield from block
