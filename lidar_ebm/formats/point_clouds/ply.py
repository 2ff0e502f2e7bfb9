"""Stanford's .ply files: ascii, binary_little_endian and binary_big_endian; lists and other elements are passed over.

Format: "The PLY polygon file format", Turk, 1994.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.formats.point_clouds.header import (
    MAX_FIELDS,
    Field,
    as_type,
    check_fields,
    format_lines,
    name_fields,
    parse_count,
    parse_lines,
    parse_records,
    split_header,
)
from lidar_ebm.formats.point_clouds.point_cloud import PathLike, PointCloud, cloud_from_fields
from lidar_ebm.system.files import atomic_write, read_bytes

ENCODINGS = ("ascii", "binary_little_endian", "binary_big_endian")
_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2"},
    **{"int32": "i4", "uint32": "u4", "int64": "i8", "uint64": "u8", "float32": "f4", "float64": "f8"},
}
_EXPORT_HINT = "Export it anew, or copy it again."


@dataclass(frozen=True)
class _Property:
    """A property of an element; a list where `length_type` is not None."""

    name: str
    dtype: str
    length_type: str | None = None


@dataclass(frozen=True)
class _Element:
    """A kind of record, and how many of it the file holds."""

    name: str
    count: int
    properties: tuple[_Property, ...]

    @property
    def has_lists(self) -> bool:
        """True where records differ in length."""
        return any(each.length_type is not None for each in self.properties)

    def fields(self) -> list[Field]:
        """The properties of records without lists."""
        return [Field(each.name, each.dtype) for each in self.properties]


def read_ply(path: PathLike, *, origin: Sequence[float] | None = None) -> PointCloud:
    """Read the vertices of a .ply file.

    Raises:
        InputError: the file is missing, damaged, cut short, or its vertices lack x, y or z.
    """
    content = memoryview(read_bytes(path))
    try:
        fields, notes = _parse(content)
    except (ValueError, OverflowError, MemoryError) as error:
        raise InputError(f"{path}: no complete PLY file of a known kind ({error}). {_EXPORT_HINT}") from error
    return cloud_from_fields(fields, path, notes, origin=origin)


def write_ply(path: PathLike, cloud: PointCloud, *, encoding: str = "binary_little_endian") -> None:
    """Write a cloud as float vertices x, y, z and its channels; its reflectance is called intensity.

    Raises:
        InputError: the encoding is unknown.
        OutputError: the file cannot be written.
    """
    if encoding not in ENCODINGS:
        raise InputError(f"encoding: {encoding!r} is unknown; known are {', '.join(ENCODINGS)}.")
    names = cloud.field_names
    properties = "".join(f"property float {name}\n" for name in names)
    header = f"ply\nformat {encoding} 1.0\nelement vertex {len(cloud)}\n{properties}end_header\n".encode()
    if encoding == "ascii":
        body = format_lines({name: cloud.points[:, index] for index, name in enumerate(names)})
    else:
        body = np.ascontiguousarray(cloud.points, "<f4" if "little" in encoding else ">f4").tobytes()
    with atomic_write(path) as file:
        file.write(header + body)


def _parse(content: memoryview) -> tuple[dict[str, np.ndarray], list[str]]:
    lines, start = split_header(bytes(content[: 1 << 18]), "end_header")
    if lines[0] != ["ply"]:
        raise ValueError("it does not begin with `ply`")
    encoding = next((line[1] for line in lines if line[0] == "format" and len(line) == 3), "")
    if encoding not in ENCODINGS:
        raise ValueError(f"its format is {encoding[:40]!r}; known are {', '.join(ENCODINGS)}")
    elements = _parse_elements(lines, ">" if "big" in encoding else "<")
    before: list[_Element] = []
    for element in elements:
        if element.name == "vertex":
            break
        before.append(element)
    else:
        raise ValueError("it has no element vertex")
    if not element.properties:
        raise ValueError("its vertices have no property")
    lists = [each.name for each in element.properties if each.length_type is not None]
    notes = [f"property {name} is a list and is passed over" for name in lists]
    body = content[start:]
    if encoding == "ascii":
        body = _skip_lines(body, sum(each.count for each in before if each.properties))
        if lists:
            return _parse_lines_with_lists(body, element), notes
        return parse_lines(body, element.fields(), element.count), notes
    for each in before:
        body = body[_Walk(body, each).length() :]
    if lists:
        return _Walk(body, element).fields(), notes
    return parse_records(body, element.fields(), element.count), notes


def _parse_elements(lines: Sequence[Sequence[str]], order: str) -> list[_Element]:
    elements: list[_Element] = []
    for line in lines[1:-1]:
        if line[0] == "element":
            if len(line) != 3:
                raise ValueError(f"its header has a line {' '.join(line)[:60]!r}")
            elements.append(_Element(line[1], parse_count(line[2:], f"the number of {line[1][:40]}"), ()))
        elif line[0] == "property":
            if not elements or len(elements[-1].properties) >= MAX_FIELDS:
                raise ValueError("it has a property without an element, or too many")
            last = elements.pop()
            elements.append(_Element(last.name, last.count, (*last.properties, _parse_property(line, order))))
        elif line[0] not in ("format", "comment", "obj_info"):
            raise ValueError(f"its header has a line {line[0][:40]!r}")
    return elements


def _parse_property(line: Sequence[str], order: str) -> _Property:
    is_list = line[1:2] == ["list"]
    kinds = [_TYPES.get(word, "") for word in (line[2:4] if is_list else line[1:2])]
    if len(line) != (5 if is_list else 3) or "" in kinds or (is_list and "f" in kinds[0]):
        raise ValueError(f"its header has a line {' '.join(line)[:60]!r}")
    return _Property(line[-1], order + kinds[-1], order + kinds[0] if is_list else None)


def _skip_lines(body: memoryview, count: int) -> memoryview:
    if not count:
        return body
    stream = io.BytesIO(body)
    skipped = sum(1 for _ in islice(stream, count))
    if skipped < count:
        raise ValueError(f"{skipped} lines follow, but {count} elements stand before the vertices")
    return body[stream.tell() :]


def _parse_lines_with_lists(body: memoryview, element: _Element) -> dict[str, np.ndarray]:
    """Numbers of vertices whose lines differ in length."""
    scalars = [index for index, each in enumerate(element.properties) if each.length_type is None]
    if not scalars or 2 * element.count * len(element.properties) > len(body) + 1:
        raise ValueError(f"{len(body)} bytes follow, too few for {element.count} vertices")
    values = np.empty((element.count, len(scalars)))
    stream = io.BytesIO(body)
    for row in range(element.count):
        words = stream.readline().split()
        at, column = 0, 0
        for each in element.properties:
            if each.length_type is None:
                values[row, column] = float(words[at]) if at < len(words) else np.nan
                column += 1
                at += 1
            else:
                at += 1 + (parse_count([words[at].decode("latin-1")], "a list's length") if at < len(words) else 0)
        if at != len(words):
            raise ValueError(f"vertex {row} has {len(words)} values instead of {at}")
    columns = [element.properties[index] for index in scalars]
    return name_fields([(each.name, as_type(values[:, place], each.dtype)) for place, each in enumerate(columns)])


class _Walk:
    """Binary records of an element, one after the other where their lists differ in length."""

    def __init__(self, body: memoryview, element: _Element) -> None:
        self.body = body
        self.element = element

    def length(self) -> int:
        """Bytes of all records."""
        element = self.element
        if not element.properties or not element.count:
            return 0
        if not element.has_lists:
            length = element.count * check_fields(element.fields())
            if length > len(self.body):
                raise ValueError(f"{len(self.body)} bytes follow, too few for {element.count} {element.name[:40]}")
            return length
        equal = self._equal_record()
        return element.count * equal.itemsize if equal is not None else int(self._starts()[-1, -1])

    def fields(self) -> dict[str, np.ndarray]:
        """Numbers of each record by name."""
        element = self.element
        scalars = [(index, each) for index, each in enumerate(element.properties) if each.length_type is None]
        if not element.count:
            return name_fields([(each.name, np.empty(0, each.dtype)) for _, each in scalars])
        equal = self._equal_record()
        if equal is not None:
            records = np.frombuffer(self.body, equal, element.count)
            return name_fields([(each.name, records[f"v{index}"]) for index, each in scalars])
        starts = self._starts()
        whole = np.frombuffer(self.body, np.uint8)
        columns = []
        for index, each in scalars:
            size = np.dtype(each.dtype).itemsize
            rows = whole[starts[:-1, index, None] + np.arange(size)]  # [count, size]
            columns.append((each.name, np.ascontiguousarray(rows).view(each.dtype)[:, 0]))
        return name_fields(columns)

    def _equal_record(self) -> np.dtype | None:
        """The record, where every one has lists as long as the first."""
        parts: list[tuple[str, str] | tuple[str, str, tuple[int]]] = []
        offset = 0
        lengths: dict[str, int] = {}
        for index, each in enumerate(self.element.properties):
            if each.length_type is not None:
                lengths[f"n{index}"] = length = self._list_length(offset, each.length_type)
                parts += [(f"n{index}", each.length_type), (f"v{index}", each.dtype, (length,))]
                offset += np.dtype(each.length_type).itemsize + length * np.dtype(each.dtype).itemsize
            else:
                parts.append((f"v{index}", each.dtype))
                offset += np.dtype(each.dtype).itemsize
        if self.element.count * offset > len(self.body):
            return None
        record = np.dtype(parts)
        records = np.frombuffer(self.body, record, self.element.count)
        return record if all((records[name] == length).all() for name, length in lengths.items()) else None

    def _list_length(self, offset: int, dtype: str) -> int:
        size = np.dtype(dtype).itemsize
        order: Literal["big", "little"] = "big" if dtype[0] == ">" else "little"
        if offset + size > len(self.body):
            raise ValueError(f"the file ends within its {self.element.name[:40]}")
        length = int.from_bytes(self.body[offset : offset + size], order, signed=dtype[1] == "i")
        if not 0 <= length <= len(self.body):
            raise ValueError(f"a list of {length} values")
        return length

    def _starts(self) -> np.ndarray:
        """[count + 1, properties] offset of each property of each record; the last row is the end."""
        properties, count = self.element.properties, self.element.count
        shortest = sum(np.dtype(each.length_type or each.dtype).itemsize for each in properties)
        if count * shortest > len(self.body):
            raise ValueError(f"{len(self.body)} bytes follow, too few for {count} {self.element.name[:40]}")
        starts = np.zeros((count + 1, len(properties)), np.int64)
        sizes = [np.dtype(each.dtype).itemsize for each in properties]
        length_types = [each.length_type for each in properties]
        offset = 0
        for row in range(count):
            for column, (size, length_type) in enumerate(zip(sizes, length_types, strict=True)):
                starts[row, column] = offset
                if length_type is not None:
                    offset += np.dtype(length_type).itemsize + size * self._list_length(offset, length_type)
                else:
                    offset += size
            if offset > len(self.body):
                raise ValueError(f"the file ends within its {self.element.name[:40]}")
        starts[count] = offset
        return starts
