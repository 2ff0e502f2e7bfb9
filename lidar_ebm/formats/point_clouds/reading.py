"""Point clouds from files of any known format, by their suffix and first bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.formats.point_clouds.bin import read_bin, write_bin
from lidar_ebm.formats.point_clouds.las import read_las
from lidar_ebm.formats.point_clouds.npy import read_npy, read_npz, write_npy
from lidar_ebm.formats.point_clouds.pcd import read_pcd, write_pcd
from lidar_ebm.formats.point_clouds.ply import read_ply, write_ply
from lidar_ebm.formats.point_clouds.point_cloud import PathLike, PointCloud
from lidar_ebm.formats.point_clouds.reflectance import ReflectanceScale, scale_reflectance
from lidar_ebm.system.files import open_regular

POINT_SUFFIXES = (".bin", ".npy", ".npz", ".pcd", ".ply", ".las", ".laz")
_FORMATS = {suffix: suffix[1:] for suffix in POINT_SUFFIXES} | {".laz": "las"}
# What a file begins with says more than its name; raw numbers do not begin so.
_SIGNATURES = (
    (b"ply\n", "ply"),
    (b"ply\r", "ply"),
    (b"# .PCD", "pcd"),
    (b"\x93NUMPY", "npy"),
    (b"LASF", "las"),
    (b"PK\x03\x04", "npz"),
)


def read_point_cloud(
    path: PathLike,
    *,
    columns: str | Sequence[str] | None = None,
    dtype: str | None = None,
    origin: Sequence[float] | None = None,
) -> PointCloud:
    """Read a point cloud with its channels as the file has them.

    Args:
        path: a .bin, .npy, .npz, .pcd, .ply, .las or .laz file. What it begins with counts more than its suffix.
        columns: names of the columns of .bin, .npy and .npz, which have none; a list, or separated by commas. `_`
            passes a column over. None: x, y, z, reflectance.
        dtype: type of a .bin file's numbers, float32 (None) or float64.
        origin: x, y, z that is subtracted from every point before float32 rounds, for coordinates of a map.

    Returns:
        Points in the file's own frame and unit; reflectance in the file's own scale (see `reflectance`). Points whose
        place is not finite are dropped and reflectances that are not finite become 0, with a warning.

    Raises:
        InputError: the file is missing, cut short, of an unknown kind, or lacks x, y or z; columns or dtype are given
            for a file that says its own.
    """
    kind = _detect_format(path)
    if dtype is not None and kind != "bin":
        raise InputError(f"{path}: dtype is for raw .bin files; this one says its own. Leave it out.")
    if kind == "bin":
        return read_bin(path, columns=columns, dtype=dtype or "float32", origin=origin)
    if kind == "npy":
        return read_npy(path, columns=columns, origin=origin)
    if kind == "npz":
        return read_npz(path, columns=columns, origin=origin)
    if columns is not None:
        raise InputError(f"{path}: columns are for files without names; this one has its own. Leave them out.")
    return {"pcd": read_pcd, "ply": read_ply, "las": read_las}[kind](path, origin=origin)


def read_point_file(
    path: PathLike,
    *,
    scale: ReflectanceScale | None = None,
    columns: str | Sequence[str] | None = None,
    dtype: str | None = None,
) -> np.ndarray:
    """Read x, y, z and reflectance of a point-cloud file.

    Args:
        scale: full scale of the reflectance; None: decided by this file alone.
        columns: as `read_point_cloud` takes them.
        dtype: likewise.

    Returns:
        [N, 4] float32: x, y, z in the file's own frame (the detector expects m, x forward, y left, z up), and
        reflectance 0..1.

    Raises:
        InputError: as `read_point_cloud`.
    """
    cloud, _ = scale_reflectance(read_point_cloud(path, columns=columns, dtype=dtype), scale)
    return cloud.as_four_columns()


def write_point_cloud(path: PathLike, cloud: PointCloud) -> None:
    """Write a cloud in the format of the file's suffix: .bin, .npy, .pcd (binary) or .ply (binary).

    Raises:
        InputError: nothing is written in this format.
        OutputError: the file cannot be written.
    """
    writers = {".bin": write_bin, ".npy": write_npy, ".pcd": write_pcd, ".ply": write_ply}
    suffix = Path(path).suffix.lower()
    if suffix not in writers:
        raise InputError(f"{path}: point clouds are not written as {suffix!r}; known are {', '.join(writers)}.")
    writers[suffix](path, cloud)


def _detect_format(path: PathLike) -> str:
    """One of the formats' names.

    Raises:
        InputError: neither the suffix nor the first bytes are of one.
    """
    suffix = Path(path).suffix.lower()
    with open_regular(path) as file:
        first = file.read(6)
    for signature, kind in _SIGNATURES:
        if first.startswith(signature):
            return kind
    if suffix not in _FORMATS:
        raise InputError(f"{path}: unknown kind of point file {suffix!r}; known are {', '.join(POINT_SUFFIXES)}.")
    return _FORMATS[suffix]
