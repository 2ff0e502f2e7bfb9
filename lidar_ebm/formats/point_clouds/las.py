"""LAS and LAZ files of mobile and airborne mapping; the compressed ones by laspy and lazrs (the extra `las`).

Format: "LAS Specification 1.4 - R15", ASPRS. Their coordinates are a map's: large, to be brought to the sensor by
`origin`.
"""

from __future__ import annotations

import importlib.util
import math
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.formats.point_clouds.point_cloud import PathLike, PointCloud, cloud_from_fields
from lidar_ebm.system.files import read_bytes

_SIGNATURE = b"LASF"
_SMALLEST_HEADER = 227
_LARGEST_RATIO = 64  # of a compressed file
_COMPRESSED = 0xC0  # bits of the record's kind
_LENGTHS = (20, 28, 26, 34, 57, 63, 30, 36, 38, 59, 67)  # of records of kind 0 to 10, bytes at least
_WITH_TIME = (1, 3, 4, 5)  # of the older kinds
# Damaged bytes make lazrs abort, or run on for ever, so it works in a process of its own.
_UNPACK = """
import io, sys
import laspy
packed = io.BytesIO(sys.stdin.buffer.read())
plain = io.BytesIO()
laspy.read(packed).write(plain, do_compress=False)
sys.stdout.buffer.write(plain.getvalue())
"""
_UNPACK_SECONDS, _UNPACK_BYTES_PER_SECOND = 10.0, 1e6


@dataclass(frozen=True)
class _Header:
    """The part of a LAS header about its points."""

    start: int  # of the first record, bytes
    kind: int
    length: int  # of a record, bytes
    count: int
    scales: tuple[float, float, float]
    offsets: tuple[float, float, float]
    compressed: bool


def read_las(path: PathLike, *, origin: Sequence[float] | None = None) -> PointCloud:
    """Read x, y, z, intensity (16 bit), classification and time of a .las or .laz file.

    Args:
        origin: x, y, z that is subtracted from every point in float64. Without it coordinates are kept as they are, and
            a warning tells where float32 does not suffice for them.

    Raises:
        InputError: the file is missing, damaged or cut short, or it is compressed and laspy is not installed.
    """
    content = read_bytes(path)
    header = _parse_header(content, path)
    if header.compressed:
        content = _unpack(content, path)
        header = _parse_header(content, path)
    return cloud_from_fields(_parse_records(content, header), path, origin=origin)


def _parse_header(content: bytes, path: PathLike) -> _Header:
    """The header, with sizes that the file can have."""
    if len(content) < _SMALLEST_HEADER or content[:4] != _SIGNATURE:
        raise InputError(f"{path}: this does not begin as a LAS file, or is cut short. Copy it again.")
    start, _, kind, length, count = struct.unpack_from("<IIBHI", content, 96)
    if content[25] >= 4 and len(content) >= 255:
        count = max(count, struct.unpack_from("<Q", content, 247)[0])
    numbers = struct.unpack_from("<6d", content, 131)
    compressed = bool(kind & _COMPRESSED)
    kind &= ~_COMPRESSED
    if kind >= len(_LENGTHS) or length < _LENGTHS[kind] or not all(map(math.isfinite, numbers)) or 0 in numbers[:3]:
        raise InputError(
            f"{path}: records of kind {kind} and {length} bytes, scales {numbers[:3]}: no LAS file of a known version, "
            "or damaged. Copy it again."
        )
    if count * length > (_LARGEST_RATIO if compressed else 1) * (len(content) - start):
        raise InputError(
            f"{path}: {len(content)} bytes are too few for the {count} points of {length} bytes that its header says. "
            "It is cut short or damaged; copy it again."
        )
    return _Header(start, kind, length, count, numbers[:3], numbers[3:], compressed)


def _parse_records(content: bytes, header: _Header) -> dict[str, np.ndarray]:
    newer = header.kind >= 6
    places = {"X": ("<i4", 0), "Y": ("<i4", 4), "Z": ("<i4", 8), "intensity": ("<u2", 12)}
    places["classification"] = ("u1", 16 if newer else 15)
    if newer or header.kind in _WITH_TIME:
        places["gps_time"] = ("<f8", 22 if newer else 20)
    record = np.dtype(
        {
            "names": list(places),
            "formats": [kind for kind, _ in places.values()],
            "offsets": [offset for _, offset in places.values()],
            "itemsize": header.length,
        }
    )
    records = np.frombuffer(content, record, header.count, header.start) if header.count else np.empty(0, record)
    fields = {
        axis.lower(): records[axis] * scale + offset
        for axis, scale, offset in zip("XYZ", header.scales, header.offsets, strict=True)
    }
    classes = {"classification": records["classification"] & (0xFF if newer else 0x1F)}  # older: flags above
    return fields | {name: records[name] for name in places if name.islower()} | classes


def _unpack(content: bytes, path: PathLike) -> bytes:
    """The same file without compression."""
    if importlib.util.find_spec("laspy") is None or importlib.util.find_spec("lazrs") is None:
        raise InputError(
            f"{path}: compressed points need laspy with lazrs. Install them with pip install 'lidar-ebm[las]', or save "
            "the points as .las or .npy."
        )
    seconds = _UNPACK_SECONDS + len(content) / _UNPACK_BYTES_PER_SECOND
    command = [sys.executable, "-c", _UNPACK]
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=seconds, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise InputError(f"{path}: no complete LAZ file; laspy cannot unpack it. Copy it again.") from error
    return done.stdout
