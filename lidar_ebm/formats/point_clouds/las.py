"""LAS and LAZ files of airborne and mobile mapping, by laspy (the extra `las`).

Format: "LAS Specification 1.4 - R15", ASPRS. Their coordinates are a map's: large, to be brought to the sensor by
`origin`.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.files import read_bytes
from lidar_ebm.formats.point_clouds.point_cloud import PathLike, PointCloud, cloud_from_fields

_SIGNATURE = b"LASF"
_SMALLEST_HEADER = 227
_LARGEST_RATIO = 64  # of a compressed file
_CHANNELS = ("intensity", "gps_time", "return_number", "classification", "red", "green", "blue")


def read_las(path: PathLike, *, origin: Sequence[float] | None = None) -> PointCloud:
    """Read a .las or .laz file; intensity is 16 bit.

    Args:
        origin: x, y, z that is subtracted from every point in float64. Without it coordinates are kept as they are, and
            a warning tells where float32 does not suffice for them.

    Raises:
        InputError: laspy is not installed, or the file is missing, damaged or cut short.
    """
    content = read_bytes(path)
    _check_header(content, path)
    laspy = _import_laspy()
    try:
        with laspy.open(io.BytesIO(content)) as reader:
            data = reader.read()
        names = set(data.point_format.dimension_names)
        fields = {axis: np.asarray(getattr(data, axis), np.float64) for axis in "xyz"}
        fields |= {name: np.asarray(data[name]) for name in _CHANNELS if name in names}
    except Exception as error:
        raise InputError(f"{path}: no complete LAS file ({str(error)[:200]}). Copy it again.") from error
    except BaseException as error:
        # What lazrs, written in Rust, raises where damaged bytes break its own rules is no Exception.
        if type(error).__name__ != "PanicException":
            raise
        raise InputError(f"{path}: no complete LAZ file ({str(error)[:200]}). Copy it again.") from error
    return cloud_from_fields(fields, path, origin=origin)


def _check_header(content: bytes, path: PathLike) -> None:
    """Refuse sizes that the file cannot have, before anything is allocated for them."""
    if len(content) < _SMALLEST_HEADER or content[:4] != _SIGNATURE:
        raise InputError(f"{path}: this does not begin as a LAS file, or is cut short. Copy it again.")
    minor = content[25]
    start, vlrs, kind, record, count = struct.unpack_from("<IIBHI", content, 96)
    if minor >= 4 and len(content) >= 255:
        count = max(count, struct.unpack_from("<Q", content, 247)[0])
    ratio = _LARGEST_RATIO if kind & 0xC0 else 1
    if (
        start > len(content)
        or 54 * vlrs > len(content)
        or record < 20
        or count * record > ratio * (len(content) - start)
    ):
        raise InputError(
            f"{path}: {len(content)} bytes are too few for the {count} points of {record} bytes that its header says. "
            "It is cut short or damaged; copy it again."
        )


def _import_laspy() -> Any:
    try:
        import laspy
        import lazrs  # noqa: F401 (laspy asks for it only once it meets compressed points)
    except ImportError as error:
        raise InputError(
            "LAS and LAZ files need laspy with lazrs: pip install 'lidar-ebm[las]', or save the points as .npy."
        ) from error
    return laspy
