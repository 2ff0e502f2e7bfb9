"""PCL's .pcd files: ascii, binary and binary_compressed, of version 0.5 to 0.7.

Format: "The PCD (Point Cloud Data) file format", Point Cloud Library.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.formats.point_clouds.header import (
    Field,
    check_fields,
    describe_repeated,
    format_lines,
    name_fields,
    parse_count,
    parse_lines,
    parse_records,
    split_header,
)
from lidar_ebm.formats.point_clouds.lzf import LARGEST_RATIO, compress_lzf, decompress_lzf
from lidar_ebm.formats.point_clouds.point_cloud import PathLike, PointCloud, cloud_from_fields
from lidar_ebm.system.files import atomic_write, read_bytes

ENCODINGS = ("ascii", "binary", "binary_compressed")
_KEYWORDS = ("version", "fields", "columns", "size", "type", "count", "width", "height", "viewpoint", "points", "data")
_TYPES = {"I": ("1", "2", "4", "8"), "U": ("1", "2", "4", "8"), "F": ("2", "4", "8")}
_AT_REST = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
_EXPORT_HINT = "Export it anew, or copy it again."


def read_pcd(path: PathLike, *, origin: Sequence[float] | None = None) -> PointCloud:
    """Read a .pcd file; fields that have several values a point are passed over with a note.

    The header's VIEWPOINT is told in the notes, not applied. What follows the last point is padding.

    Raises:
        InputError: the file is missing, damaged, cut short, or lacks x, y or z.
    """
    content = memoryview(read_bytes(path))
    try:
        fields, notes = _parse(content)
    except (ValueError, struct.error, OverflowError, MemoryError) as error:
        raise InputError(f"{path}: no complete PCD file ({error}). {_EXPORT_HINT}") from error
    return cloud_from_fields(fields, path, notes, origin=origin)


def write_pcd(path: PathLike, cloud: PointCloud, *, encoding: str = "binary") -> None:
    """Write a cloud as float32 fields x, y, z and its channels; its reflectance is called intensity, as PCL does.

    Raises:
        InputError: the encoding is unknown.
        OutputError: the file cannot be written.
    """
    if encoding not in ENCODINGS:
        raise InputError(f"encoding: {encoding!r} is unknown; known are {', '.join(ENCODINGS)}.")
    names = cloud.field_names
    header = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\n"
        f"FIELDS {' '.join(names)}\nSIZE{' 4' * len(names)}\nTYPE{' F' * len(names)}\nCOUNT{' 1' * len(names)}\n"
        f"WIDTH {len(cloud)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(cloud)}\nDATA {encoding}\n"
    ).encode()
    points = np.ascontiguousarray(cloud.points, "<f4")
    if encoding == "ascii":
        body = format_lines({name: points[:, index] for index, name in enumerate(names)})
    elif encoding == "binary":
        body = points.tobytes()
    else:
        data = np.ascontiguousarray(points.T).tobytes()
        packed = compress_lzf(data)
        body = struct.pack("<II", len(packed), len(data)) + packed
    with atomic_write(path) as file:
        file.write(header + body)


def _parse(content: memoryview) -> tuple[dict[str, np.ndarray], list[str]]:
    lines, start = split_header(bytes(content[: 1 << 18]), "data")
    header: dict[str, list[str]] = {}
    for line in lines:
        keyword = line[0].lower()
        if keyword not in _KEYWORDS:
            raise ValueError(f"its header has a line {line[0][:40]!r}")
        if keyword in header:
            raise ValueError(f"its header has two lines {line[0]}")
        header[keyword] = line[1:]
    fields = _parse_fields(header)
    count, notes = _parse_size(header)
    notes += _describe_viewpoint(header.get("viewpoint"))
    notes += describe_repeated(fields)
    encoding = header["data"][0].lower() if len(header["data"]) == 1 else " ".join(header["data"])[:40]
    if encoding not in ENCODINGS:
        raise ValueError(f"DATA is {encoding!r}; known are {', '.join(ENCODINGS)}")
    parse = {"ascii": parse_lines, "binary": parse_records, "binary_compressed": _parse_compressed}[encoding]
    return parse(content[start:], fields, count), notes


def _parse_fields(header: dict[str, list[str]]) -> list[Field]:
    names = header.get("fields", header.get("columns"))  # columns: before version 0.6
    if names is None:
        raise ValueError("its header has no line FIELDS")
    sizes = header.get("size", ["4"] * len(names))
    types = header.get("type", ["F"] * len(names))
    counts = header.get("count", ["1"] * len(names))
    if not len(names) == len(sizes) == len(types) == len(counts):
        raise ValueError(f"{len(names)} FIELDS, {len(sizes)} SIZE, {len(types)} TYPE, {len(counts)} COUNT")
    fields = []
    for name, size, kind, repeat in zip(names, sizes, types, counts, strict=True):
        if size not in _TYPES.get(kind.upper(), ()):
            raise ValueError(f"field {name[:40]} is of TYPE {kind[:20]} and SIZE {size[:20]}")
        fields.append(Field(name, f"<{kind.lower()}{size}", parse_count([repeat], "COUNT")))
    check_fields(fields)
    return fields


def _parse_size(header: dict[str, list[str]]) -> tuple[int, list[str]]:
    """Number of points, and a note where the header says two."""
    width, height = (parse_count(header[key], key.upper()) if key in header else None for key in ("width", "height"))
    organised = None if width is None else width * (1 if height is None else height)
    if "points" not in header:
        if organised is None:
            raise ValueError("its header has no line POINTS")
        return organised, []
    count = parse_count(header["points"], "POINTS")
    if organised is not None and organised != count:
        return count, [f"POINTS {count} is not WIDTH x HEIGHT {width} x {height}; POINTS is taken"]
    return count, []


def _describe_viewpoint(words: list[str] | None) -> list[str]:
    if words is None:
        return []
    values = [float(word) for word in words]
    if len(values) != 7 or not all(map(math.isfinite, values)):
        raise ValueError(f"VIEWPOINT is {' '.join(words)[:80]}")
    if tuple(values) == _AT_REST:
        return []
    return [f"VIEWPOINT {' '.join(words)} is not applied: points are taken as relative to the sensor"]


def _parse_compressed(body: memoryview, fields: Sequence[Field], count: int) -> dict[str, np.ndarray]:
    """Fields of a binary_compressed body: two sizes, then the fields one after the other, compressed."""
    compressed, size = struct.unpack_from("<II", body)
    needed = count * check_fields(fields)
    if size != needed or len(body) < 8 + compressed or needed > LARGEST_RATIO * compressed:
        raise ValueError(f"{len(body)} bytes that hold {size}, but {count} points need {needed}")
    data = memoryview(decompress_lzf(bytes(body[8 : 8 + compressed]), size))
    columns, start = [], 0
    for field in fields:
        length = count * field.bytes_per_point
        if field.repeat == 1:
            columns.append((field.name, np.frombuffer(data[start : start + length], field.dtype)))
        start += length
    return name_fields(columns)
