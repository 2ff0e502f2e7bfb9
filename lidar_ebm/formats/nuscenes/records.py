"""Records of nuScenes' tables: one table's file read in blocks, its wanted fields alone, and what is wrong in it.

A table is one list of records, up to a gigabyte of it. It is decoded some megabytes at a time, so that only what a
caller keeps of the records stays in memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec

from lidar_ebm.errors import InputError
from lidar_ebm.formats.fields import read_json

_BLOCK = 1 << 23  # bytes that are decoded at a time
_SPACE = b" \t\r\n"
_PLACE = re.compile(r"^(?P<problem>.*?)(?: - at `\$(?P<place>[^`]*)`)?$", re.DOTALL)
_INDEX = re.compile(r"^\[(\d+)\]\.?(.*)$")


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record of any table."""

    token: str


class Scene(Record, frozen=True, gc=False):
    """A record of `scene`: about 20 s of a drive."""

    name: str
    log_token: str
    nbr_samples: int
    first_sample_token: str
    last_sample_token: str
    description: str = ""


class Sample(Record, frozen=True, gc=False):
    """A record of `sample`: a keyframe."""

    timestamp: int  # µs
    scene_token: str
    prev: str  # token, "" where there is none
    next: str


class SampleData(Record, frozen=True, gc=False):
    """A record of `sample_data`: one file of one sensor."""

    sample_token: str
    ego_pose_token: str
    calibrated_sensor_token: str
    timestamp: int  # µs
    filename: str  # relative to the root
    is_key_frame: bool
    prev: str
    next: str


class EgoPose(Record, frozen=True, gc=False):
    """A record of `ego_pose`: ego frame → global frame at one file's instant."""

    translation: tuple[float, float, float]
    rotation: tuple[float, float, float, float]  # w, x, y, z


class CalibratedSensor(Record, frozen=True, gc=False):
    """A record of `calibrated_sensor`: sensor frame → ego frame."""

    sensor_token: str
    translation: tuple[float, float, float]
    rotation: tuple[float, float, float, float]  # w, x, y, z
    camera_intrinsic: list[list[float]] = []  # 3 x 3; empty if this is no camera


class Sensor(Record, frozen=True, gc=False):
    """A record of `sensor`."""

    channel: str
    modality: str = ""


class Annotation(Record, frozen=True, gc=False):
    """A record of `sample_annotation`: one object in one sample, in the global frame."""

    sample_token: str
    instance_token: str
    attribute_tokens: list[str]
    translation: tuple[float, float, float]
    size: tuple[float, float, float]  # width, length, height
    rotation: tuple[float, float, float, float]  # w, x, y, z
    num_lidar_pts: int
    num_radar_pts: int
    prev: str
    next: str
    visibility_token: str = ""


class Instance(Record, frozen=True, gc=False):
    """A record of `instance`: one object through one scene."""

    category_token: str


class Named(Record, frozen=True, gc=False):
    """A record of `category` or `attribute`."""

    name: str


class Log(Record, frozen=True, gc=False):
    """A record of `log`: one drive."""

    logfile: str = ""
    vehicle: str = ""
    date_captured: str = ""
    location: str = ""


Kind = TypeVar("Kind", bound=Record)


def read_blocks(path: Path, kind: type[Kind]) -> Iterator[list[Kind]]:
    """Records of a table, a block of them after the other, in the file's order.

    Args:
        path: of the table.
        kind: of its records; fields that it lacks are passed over.

    Raises:
        InputError: the file is missing, is no JSON, or a record lacks a field or holds something else than it should.
    """
    decoder = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]
    count = 0
    try:
        for block in _blocks(path):
            records = decoder.decode(block)
            count += len(records)
            yield records
            del records, block
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}). Check the root folder and the version; each table is a file "
            "ROOT/VERSION/TABLE.json."
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Read again as a whole: where a block ends is a guess, and a message should tell the line.
        yield from _read_rest(path, kind, count)


def read_records(path: Path, kind: type[Kind]) -> list[Kind]:
    """All records of a table; see `read_blocks`.

    Raises:
        InputError: what `read_blocks` refuses, or two records with one token.
    """
    records = [record for block in read_blocks(path, kind) for record in block]
    index_of_token(path, [record.token for record in records])
    return records


def index_of_token(path: Path, tokens: list[str]) -> dict[str, int]:
    """Rows by token.

    Raises:
        InputError: two records have the same.
    """
    index = {token: row for row, token in enumerate(tokens)}
    if len(index) < len(tokens):
        row = next(row for row, token in enumerate(tokens) if index[token] != row)
        raise InputError(
            f"{path}: records {row} and {index[tokens[row]]}: both have the token {tokens[row]!r}, which only one may "
            "have. Copy the table again or remove one."
        )
    return index


def refuse(path: Path, row: int, token: str, field: str, problem: str) -> NoReturn:
    """Refuse a record.

    Raises:
        InputError: always.
    """
    raise InputError(f"{path}: record {row} (token {token!r}): {field}: {problem}")


def _blocks(path: Path) -> Iterator[bytes]:
    """The file as JSON lists of whole records, some megabytes each."""
    with path.open("rb") as file:
        rest = file.read(_BLOCK)
        while True:
            more = file.read(_BLOCK)
            if not more:
                yield rest
                return
            end = _end_of_records(rest)
            if end:
                yield rest[:end] + b"]"
                after = rest[end:].lstrip(_SPACE)
                rest = b"[" + after[1:] + more
            else:
                rest += more


def _end_of_records(block: bytes) -> int:
    """Place after the last "}" that a comma follows; 0 where there is none."""
    end = len(block)
    while (end := block.rfind(b"}", 0, end)) > 0:
        if block[end + 1 : end + 64].lstrip(_SPACE)[:1] == b",":
            return end + 1
    return 0


def _read_rest(path: Path, kind: type[Kind], count: int) -> Iterator[list[Kind]]:
    """The records after the first `count`, or what is wrong with one of them."""
    content = read_json(path).value
    try:
        records: list[Kind] = msgspec.convert(content, list[kind])  # type: ignore[valid-type]
    except msgspec.ValidationError as error:
        _refuse_content(path, content, str(error))
    yield records[count:]


def _refuse_content(path: Path, content: Any, message: str) -> NoReturn:
    match = _PLACE.match(message)
    problem, place = (match["problem"], match["place"] or "") if match else (message, "")
    at = _INDEX.match(place)
    if at is None:
        raise InputError(f"{path}: {problem}. A table is one list of records; copy it again.")
    row, field = int(at[1]), at[2]
    record = content[row]
    token = record.get("token") if isinstance(record, dict) else None
    raise InputError(
        f"{path}: record {row}{f' (token {json.dumps(token)})' if isinstance(token, str) else ''}: "
        f"{f'{field}: ' if field else ''}{problem[:1].lower() + problem[1:]}. Copy the table again or mend the record."
    )
