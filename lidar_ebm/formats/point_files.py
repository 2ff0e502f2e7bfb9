"""Point clouds from the files that people have: KITTI's .bin, numpy's .npy, PCL's .pcd, Stanford's .ply.

Formats: "The PCD file format", Point Cloud Library, version 0.7; "The PLY polygon file format", Turk, 1994; LibLZF's
stream for compressed PCD.
"""

from __future__ import annotations

import io
import math
import struct
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.files import PathLike, drop_non_finite, read_bytes, read_points

POINT_SUFFIXES = (".bin", ".npy", ".pcd", ".ply")

_INTENSITY_NAMES = ("reflectance", "intensity", "reflectivity", "i", "scalar_intensity")
_PLY_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2"},
    **{"int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8"},
}
_EXPORT_HINT = "Export it anew as KITTI .bin, .npy, or ascii or little-endian binary .pcd or .ply."


@dataclass(frozen=True)
class _Field:
    """One field of a point record."""

    name: str
    dtype: str  # numpy's, little-endian
    repeat: int = 1  # values a point


def read_point_file(path: PathLike) -> np.ndarray:
    """Read a point cloud; its suffix says how.

    .bin: KITTI's float32 x, y, z, reflectance. .npy: [N, >= 3], the fourth column being the reflectance. .pcd (ascii,
    binary, binary_compressed) and .ply (ascii, binary_little_endian): fields x, y, z and, where there is one, intensity
    or reflectance. Without reflectance it is 0. Reflectance is brought to 0..1: where values above 1.5 occur they are
    taken as 8 bit (or, above 255, as 16 bit) and divided by 255 (65,535). Points that are not finite are dropped with a
    warning.

    Returns:
        [N, 4] float32: x, y, z in m, in the file's own frame (the detector expects x forward, y left, z up), and
        reflectance 0..1.

    Raises:
        InputError: the file is missing, cut short, of an unknown kind, or lacks x, y or z.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".bin":
        points = read_points(path)
    elif suffix == ".npy":
        points = drop_non_finite(_read_npy(path), path)
    elif suffix == ".pcd":
        points = drop_non_finite(_select_columns(_read_pcd(path), path), path)
    elif suffix == ".ply":
        points = drop_non_finite(_select_columns(_read_ply(path), path), path)
    else:
        raise InputError(f"{path}: unknown kind of point file {suffix!r}; known are {', '.join(POINT_SUFFIXES)}.")
    return _normalise_reflectance(points)


def _normalise_reflectance(points: np.ndarray) -> np.ndarray:
    """Points [N, 4] with column 3 brought to 0..1."""
    highest = points[:, 3].max(initial=0.0)
    full_scale = 1.0 if highest <= 1.5 else 255.0 if highest <= 255 else 65535.0
    points[:, 3] = np.clip(points[:, 3] / np.float32(full_scale), 0, 1)
    return points


def _select_columns(columns: dict[str, np.ndarray], path: PathLike) -> np.ndarray:
    """x, y, z and reflectance (zeros where there is none) of named columns [N]: [N, 4] float32."""
    lacking = [axis for axis in "xyz" if axis not in columns]
    if lacking:
        raise InputError(f"{path}: field {lacking[0]} is missing; the fields are {', '.join(columns)}. {_EXPORT_HINT}")
    intensity = next((columns[name] for name in _INTENSITY_NAMES if name in columns), np.zeros(len(columns["x"])))
    return np.column_stack((columns["x"], columns["y"], columns["z"], intensity)).astype(np.float32)


def _read_npy(path: PathLike) -> np.ndarray:
    """[N, 4] float32 of a .npy file; nothing is ever unpickled."""
    try:
        # Not np.load, which goes by what the file looks like: a damaged one may look like an archive.
        array = np.lib.format.read_array(io.BytesIO(read_bytes(path)), allow_pickle=False)
    except (ValueError, EOFError, MemoryError, SyntaxError, tokenize.TokenError) as error:
        raise InputError(f"{path}: no readable array of numbers ({error}). Save it with numpy.save.") from error
    if array.ndim != 2 or array.shape[1] < 3 or array.dtype.kind not in "fiu":
        raise InputError(f"{path}: holds {array.dtype} of shape {array.shape}; save numbers of shape [N, 3 or more].")
    points = np.zeros((len(array), 4), np.float32)
    points[:, : array.shape[1]] = array[:, :4]
    return points


def _read_pcd(path: PathLike) -> dict[str, np.ndarray]:
    """Columns [N] of a .pcd file by field name."""
    lines, body = _split_header(read_bytes(path), "DATA")
    header = {line[0].upper(): line[1:] for line in lines}
    try:
        names, types, sizes = header["FIELDS"], header["TYPE"], header["SIZE"]
        repeats = [int(value) for value in header.get("COUNT", ["1"] * len(names))]
        fields = [
            _Field(name.lower(), f"<{kind.lower()}{int(size)}", repeat)
            for name, kind, size, repeat in zip(names, types, sizes, repeats, strict=True)
        ]
        count, encoding = int(header["POINTS"][0]), header["DATA"][0].lower()
        reader = {"ascii": _parse_ascii, "binary": _parse_binary, "binary_compressed": _parse_compressed}[encoding]
        return reader(body, fields, count)
    except (KeyError, IndexError, ValueError, TypeError, struct.error) as error:
        raise InputError(f"{path}: no complete PCD file ({error}). {_EXPORT_HINT}") from error


def _read_ply(path: PathLike) -> dict[str, np.ndarray]:
    """Columns [N] of the vertices of a .ply file by property name."""
    lines, body = _split_header(read_bytes(path), "end_header")
    try:
        encoding = next(line[1] for line in lines if line[0] == "format")
        elements = [number for number, line in enumerate(lines) if line[0] == "element"]
        if lines[0] != ["ply"] or lines[elements[0]][1] != "vertex":
            raise ValueError("it does not begin with `ply` and have its vertices first")
        end = elements[1] if len(elements) > 1 else len(lines)
        properties = [line[1:] for line in lines[elements[0] + 1 : end] if line[0] == "property"]
        fields = [_Field(name.lower(), f"<{_PLY_TYPES[kind]}") for kind, name in properties]
        reader = {"ascii": _parse_ascii, "binary_little_endian": _parse_binary}[encoding]
        return reader(body, fields, int(lines[elements[0]][2]))
    except (KeyError, IndexError, StopIteration, ValueError, TypeError) as error:
        raise InputError(f"{path}: no complete PLY file of a known kind ({error}). {_EXPORT_HINT}") from error


def _split_header(content: bytes, last: str) -> tuple[list[list[str]], bytes]:
    """The words of each header line up to the one that begins with `last`, comments left out, and what follows it."""
    lines: list[list[str]] = []
    start = 0
    while start < len(content):
        end = content.find(b"\n", start)
        end = len(content) if end < 0 else end
        words = content[start:end].decode("latin-1").split()
        start = end + 1
        if words and not words[0].startswith("#"):
            lines.append(words)
            if words[0] == last:
                break
    return lines, content[start:]


def _parse_ascii(body: bytes, fields: Sequence[_Field], count: int) -> dict[str, np.ndarray]:
    """Columns of `count` text lines. ValueError where they are fewer or not as wide as the header says."""
    lines = body.decode("latin-1").splitlines()[:count]
    width = sum(field.repeat for field in fields)
    values = np.loadtxt(lines, ndmin=2) if lines else np.empty((0, width))  # [count, width]
    if values.shape != (count, width):
        raise ValueError(f"{values.shape[0]} points of {values.shape[1]} values, the header says {count} of {width}")
    columns, start = {}, 0
    for field in fields:
        columns[field.name] = values[:, start]
        start += field.repeat
    return columns


def _parse_binary(body: bytes, fields: Sequence[_Field], count: int) -> dict[str, np.ndarray]:
    """Columns of `count` packed records. ValueError where the bytes do not suffice."""
    record = np.dtype([(str(number), field.dtype, (field.repeat,)) for number, field in enumerate(fields)])
    if count < 0 or len(body) < count * record.itemsize:
        raise ValueError(f"{len(body)} bytes, {count} points of {record.itemsize} bytes need {count * record.itemsize}")
    records = np.frombuffer(body, record, count)
    return {field.name: records[str(number)][:, 0] for number, field in enumerate(fields) if field.repeat}


def _parse_compressed(body: bytes, fields: Sequence[_Field], count: int) -> dict[str, np.ndarray]:
    """Columns of a binary_compressed PCD body: two sizes, then the fields one after the other, compressed."""
    compressed, size = struct.unpack_from("<II", body)
    lengths = [np.dtype(field.dtype).itemsize * field.repeat * count for field in fields]
    if count < 0 or size != sum(lengths) or len(body) < 8 + compressed:
        raise ValueError(f"{len(body)} bytes that hold {size}, {count} points need {sum(lengths)}")
    data = decompress_lzf(body[8 : 8 + compressed], size)
    columns, start = {}, 0
    for field, length in zip(fields, lengths, strict=True):
        if field.repeat:
            columns[field.name] = np.frombuffer(data[start : start + length], field.dtype)[:: field.repeat]
        start += length
    return columns


def decompress_lzf(data: bytes, size: int) -> bytes:
    """Unpack a LibLZF stream of known unpacked size.

    A control byte below 32 announces that many literal bytes and one; any other holds a length in its upper three bits
    (7: the next byte adds to it) and, with the next byte, the distance back to what is repeated.

    Raises:
        ValueError: the stream is cut short, damaged, or of another size.
    """
    output = bytearray()
    at = 0
    try:
        while at < len(data) and len(output) <= size:
            control = data[at]
            at += 1
            if control < 32:
                output += data[at : at + control + 1]
                at += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += data[at]
                at += 1
            distance = ((control & 31) << 8 | data[at]) + 1
            at += 1
            if distance > len(output):
                raise ValueError("the compressed stream is damaged")
            pattern = bytes(output[-distance:])
            length += 2
            output += (pattern * math.ceil(length / distance))[:length]
    except IndexError as error:
        raise ValueError("the compressed stream is cut short") from error
    if len(output) != size:
        raise ValueError(f"the compressed stream holds {len(output)} bytes instead of {size}")
    return bytes(output)
