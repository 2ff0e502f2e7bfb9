"""numpy's .npy and .npz files; nothing is ever unpickled.

Format: "NEP 1: a simple file format for NumPy arrays". The header is checked against the file's size before anything is
allocated.
"""

from __future__ import annotations

import ast
import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.formats.point_clouds.layouts import is_impossible
from lidar_ebm.formats.point_clouds.point_cloud import (
    AXES,
    REFLECTANCE,
    REFLECTANCE_NAMES,
    PathLike,
    PointCloud,
    cloud_from_fields,
    normalise_name,
    parse_columns,
)
from lidar_ebm.system.files import atomic_write, read_bytes

MAX_COLUMNS = 32
_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 10_000  # as numpy itself allows
_FEW_ROWS, _MANY_COLUMNS = 8, 10  # an array of these is points by columns, not by rows
_PREFERRED_ARRAYS = ("points", "point_cloud", "pointcloud", "lidar", "pcd", "pts", "xyz", "arr_0", "data")
_LARGEST_RATIO, _FREE_SIZE = 100, 1 << 20  # of a compressed member; what is smaller than 1 MiB is read anyway
_SAVE_HINT = "Save it with numpy.save."


def read_npy(
    path: PathLike, *, columns: str | Sequence[str] | None = None, origin: Sequence[float] | None = None
) -> PointCloud:
    """Read an array [N, 3 or more] or a structured one with named fields.

    Args:
        columns: names of the columns; None: x, y, z, reflectance, column_4, …
        origin: x, y, z that is subtracted from every point.

    Raises:
        InputError: the file is missing, cut short, or holds something else; an array [4, N] is called transposed.
    """
    return _to_cloud(_parse_npy(memoryview(read_bytes(path)), path), path, columns, origin)


def read_npz(
    path: PathLike, *, columns: str | Sequence[str] | None = None, origin: Sequence[float] | None = None
) -> PointCloud:
    """Read the points of an archive: arrays x, y, z, …, or one array [N, 3 or more], called points or the only one.

    An array [N] that is called reflectance, intensity, … goes with an array [N, 3].

    Raises:
        InputError: the file is missing, damaged, or none of its arrays, or several, may be points.
    """
    content = read_bytes(path)
    try:
        arrays = _read_members(content, path)
    except (
        *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, KeyError),
        *(ValueError, struct.error, OverflowError, MemoryError),
    ) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: no readable archive of arrays ({error}). Save it with numpy.savez.") from error
    named = {normalise_name(name): array for name, array in arrays.items()}
    if all(axis in named and named[axis].ndim == 1 for axis in AXES):
        length = len(named["x"])
        fields = {
            name: array for name, array in named.items() if array.shape == (length,) and array.dtype.kind in "fiu"
        }
        if columns is None and all(axis in fields for axis in AXES):
            return cloud_from_fields(fields, path, origin=origin)
    tables = {name: array for name, array in named.items() if array.ndim == 2 or array.dtype.names}
    chosen = next((name for name in _PREFERRED_ARRAYS if name in tables), None)
    if chosen is None and len(tables) == 1:
        chosen = next(iter(tables))
    if chosen is None:
        held = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items()) or "none"
        raise InputError(f"{path}: none or several of its arrays may be points: {held[:500]}. Call one `points`.")
    table = tables[chosen]
    reflectance = next((name for name in REFLECTANCE_NAMES if name in named), None)
    extra = None if reflectance is None else named[reflectance]
    if extra is not None and extra.size == len(table) and table.ndim == 2 and table.shape[1] == 3 and columns is None:
        fields = {axis: table[:, index] for index, axis in enumerate(AXES)}
        return cloud_from_fields({**fields, str(reflectance): extra.ravel()}, path, origin=origin)
    return _to_cloud(table, path, columns, origin)


def write_npy(path: PathLike, cloud: PointCloud) -> None:
    """Write the columns as an array [N, 3 + C] float32; their names are lost.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_write(path) as file:
        np.save(file, cloud.points, allow_pickle=False)


def column_names(number: int) -> tuple[str, ...]:
    """Names for columns without any: x, y, z, reflectance, column_4, …"""
    return (*AXES, REFLECTANCE, *(f"column_{index}" for index in range(4, number)))[:number]


def check_table(table: np.ndarray, name: str) -> None:
    """Refuse what is no table of points.

    Args:
        table: an array of any shape and type.
        name: what the message calls it.

    Raises:
        InputError: it does not hold numbers [N, 3 or more], or looks transposed.
    """
    shape = tuple(int(length) for length in table.shape)
    if table.dtype.kind not in "fiu" or len(shape) != 2:
        raise InputError(f"{name}: holds {table.dtype} of shape {shape}; save numbers of shape [N, 3 or more].")
    transposed = 3 <= shape[0] <= _FEW_ROWS and shape[1] > _MANY_COLUMNS
    if transposed or (shape[1] > MAX_COLUMNS and 3 <= shape[0] <= MAX_COLUMNS):
        raise InputError(f"{name}: the array {list(shape)} looks transposed; save points.T, one point a row.")
    if shape[1] < 3 or shape[1] > MAX_COLUMNS:
        raise InputError(
            f"{name}: the array {list(shape)} has {shape[1]} columns; save numbers [N, 3 to {MAX_COLUMNS}]."
        )


def _to_cloud(
    array: np.ndarray, path: PathLike, columns: str | Sequence[str] | None, origin: Sequence[float] | None
) -> PointCloud:
    if array.dtype.names:
        if columns is not None:
            raise InputError(f"{path}: its fields have names: {', '.join(array.dtype.names)}. Leave columns out.")
        flat = array.reshape(-1)
        fields = {name: flat[name] for name in array.dtype.names}
        return cloud_from_fields(
            {name: values for name, values in fields.items() if values.ndim == 1 and values.dtype.kind in "fiu"},
            path,
            origin=origin,
        )
    check_table(array, str(path))
    names = column_names(array.shape[1]) if columns is None else parse_columns(columns)
    if len(names) != array.shape[1]:
        raise InputError(f"{path}: {array.shape[1]} columns, but columns names {len(names)}: {','.join(names)}.")
    if is_impossible(array[:, :3]):
        raise InputError(f"{path}: its numbers are no coordinates (up to 1e38, or next to 0). {_SAVE_HINT}")
    return cloud_from_fields(
        {name: array[:, index] for index, name in enumerate(names) if name != "_"}, path, origin=origin
    )


def _parse_npy(content: memoryview, path: PathLike) -> np.ndarray:
    """The array of a file's bytes, a view of them.

    Raises:
        InputError: they are none, or too few.
    """
    try:
        if bytes(content[:6]) != _MAGIC:
            raise ValueError("it does not begin as one")
        major = content[6]
        start = 10 if major == 1 else 12
        length = struct.unpack_from("<H" if major == 1 else "<I", content, 8)[0]
        if major not in (1, 2, 3) or length > _LONGEST_HEADER or start + length > len(content):
            raise ValueError(f"version {major}, a header of {length} bytes")
        text = bytes(content[start : start + length]).decode("utf-8" if major == 3 else "latin-1")
        header = ast.literal_eval(text.strip())
        if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
            raise ValueError("its header is no description of an array")
        shape, order = header["shape"], header["fortran_order"]
        if not isinstance(shape, tuple) or not all(type(each) is int and each >= 0 for each in shape) or len(shape) > 4:
            raise ValueError(f"its shape is {str(shape)[:60]}")
        dtype = np.lib.format.descr_to_dtype(header["descr"])
        if dtype.hasobject or not isinstance(order, bool):
            raise ValueError(f"it holds {str(dtype)[:60]}")
        count = math.prod(shape)
        if dtype.itemsize == 0 or count * dtype.itemsize > len(content) - start - length:
            raise ValueError(f"{len(content)} bytes are too few for {str(dtype)[:60]} of shape {list(shape)}")
        array = np.frombuffer(content, dtype, count, offset=start + length) if count else np.empty(0, dtype)
        return array.reshape(shape, order="F" if order else "C")
    except (
        *(ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, RecursionError, MemoryError),
        *(SyntaxError, tokenize.TokenError, struct.error),
    ) as error:
        raise InputError(f"{path}: no readable array of numbers ({error}). {_SAVE_HINT}") from error


def _read_members(content: bytes, path: PathLike) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    left = max(_FREE_SIZE, _LARGEST_RATIO * len(content))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                continue
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("it is compressed otherwise than by numpy")
            if member.file_size > left:
                raise ValueError(f"{member.filename} would unpack to {member.file_size} bytes")
            with archive.open(member) as file:
                data = file.read(member.file_size)
            left -= len(data)
            name = member.filename.removesuffix(".npy")
            arrays[name] = _parse_npy(memoryview(data), f"{path}/{member.filename}")
    return arrays
