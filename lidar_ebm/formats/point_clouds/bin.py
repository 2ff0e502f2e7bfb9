"""Raw .bin files: KITTI's float32 x, y, z, reflectance; nuScenes' five columns; any other columns by their names.

The file has no header, so what it holds is checked against what it is said to hold (`layouts`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.formats.point_clouds.layouts import Layout, find_other_layout, is_impossible
from lidar_ebm.formats.point_clouds.point_cloud import (
    PathLike,
    PointCloud,
    clear_reflectance,
    cloud_from_fields,
    drop_non_finite,
    parse_columns,
)
from lidar_ebm.system.files import atomic_write, read_bytes

KITTI_COLUMNS = ("x", "y", "z", "reflectance")
NUSCENES_COLUMNS = ("x", "y", "z", "intensity", "ring")
NUSCENES_SUFFIX = ".pcd.bin"
DTYPES = ("float32", "float64")
_SUGGESTED_COLUMNS = {
    3: "x,y,z",
    4: "x,y,z,intensity",
    5: "x,y,z,intensity,ring",
    6: "x,y,z,intensity,ring,time",
    7: "x,y,z,intensity,_,_,_",
    8: "x,y,z,intensity,_,_,_,_",
}
_MAX_BYTES_PER_POINT = 1024


def read_bin(
    path: PathLike,
    *,
    columns: str | Sequence[str] | None = None,
    dtype: str = "float32",
    origin: Sequence[float] | None = None,
) -> PointCloud:
    """Read a raw file of little-endian numbers.

    Args:
        columns: names of the columns (`_`: passed over); None: nuScenes' where the name ends in .pcd.bin and the
            values fit, KITTI's otherwise. Given columns are believed unless the values cannot be numbers of the type.
        dtype: float32 or float64.
        origin: x, y, z that is subtracted from every point.

    Raises:
        InputError: the file is missing, cut short, or holds other columns; the message names those that fit.
    """
    if dtype not in DTYPES:
        raise InputError(f"dtype: {dtype!r} is unknown; known are {', '.join(DTYPES)}.")
    content = read_bytes(path)
    if columns is not None:
        names = parse_columns(columns)
        layout = Layout(len(names), dtype)
        if layout.bytes_per_point > _MAX_BYTES_PER_POINT:
            raise InputError(f"columns: {len(names)} are too many. Name the first ones and pass none but them.")
        _check_size(content, layout, path)
    elif dtype == "float32" and str(path).lower().endswith(NUSCENES_SUFFIX) and _is_nuscenes(content):
        names = NUSCENES_COLUMNS
    else:
        names = KITTI_COLUMNS
        if dtype == "float32":
            return PointCloud(read_kitti_columns(content, path), ("reflectance",))
        _check_size(content, Layout(len(names), dtype), path)
    kind = np.dtype(dtype).newbyteorder("<")
    table = np.frombuffer(content, kind).reshape(-1, len(names))
    if is_impossible(table[:, :3]):
        raise InputError(f"{path}: {_describe_misfit(content, Layout(len(names), dtype))}")
    return cloud_from_fields(
        {f"_{index}" if name == "_" else name: table[:, index] for index, name in enumerate(names) if name != "_"},
        path,
        origin=origin,
    )


def read_kitti_columns(content: bytes, path: PathLike) -> np.ndarray:
    """[N, 4] float32 x, y, z, reflectance of a four-column file's bytes; points that are not finite are dropped.

    Raises:
        InputError: the bytes are no whole number of points, or plainly those of other columns.
    """
    layout = Layout(4)
    _check_size(content, layout, path)
    points = np.frombuffer(content, "<f4").reshape(-1, 4)
    other = find_other_layout(content, layout)
    if other is not None or is_impossible(points):
        raise InputError(f"{path}: {_describe_misfit(content, layout)}")
    points = points.astype(np.float32)
    if np.isfinite(points).all():  # nearly always, and faster than column by column
        return points
    clear_reflectance(points, path)
    return drop_non_finite(points, path)


def write_bin(path: PathLike, cloud: PointCloud | np.ndarray) -> None:
    """Write every column as raw float32: with four, a point cloud as KITTI has it.

    Raises:
        InputError: an array has not the shape [N, 3 or more].
        OutputError: the file cannot be written.
    """
    points = cloud.points if isinstance(cloud, PointCloud) else np.asarray(cloud)
    if points.ndim != 2 or points.shape[1] < 3:
        raise InputError(f"{path}: points have shape {list(points.shape)}; [N, 3 or more] can be written.")
    with atomic_write(path) as file:
        file.write(np.ascontiguousarray(points, dtype="<f4").tobytes())


def _is_nuscenes(content: bytes) -> bool:
    layout = Layout(len(NUSCENES_COLUMNS))
    return len(content) % layout.bytes_per_point == 0 and find_other_layout(content, layout) is None


def _check_size(content: bytes, layout: Layout, path: PathLike) -> None:
    if len(content) % layout.bytes_per_point == 0:
        return
    # Cut to whole numbers, the values may still tell of other columns.
    other = find_other_layout(content[: len(content) // 8 * 8], layout)
    advice = _advise(other) if other is not None else "The file is cut short or no point cloud. Copy it again."
    raise InputError(
        f"{path}: {len(content)} bytes are no whole number of points of {layout.bytes_per_point} bytes ({layout}). "
        f"{advice}"
    )


def _describe_misfit(content: bytes, layout: Layout) -> str:
    other = find_other_layout(content, layout)
    if other is not None:
        return f"this does not hold {layout}. {_advise(other)}"
    return (
        f"read as {layout} its numbers are no coordinates (up to 1e38, or next to 0); it holds other columns or is "
        "damaged. Give columns and dtype, such as columns=x,y,z,intensity,ring, or copy it again."
    )


def _advise(layout: Layout) -> str:
    dtype = "" if layout.dtype == "float32" else f" and dtype={layout.dtype}"
    return f"It looks like {layout}: give columns={_SUGGESTED_COLUMNS[layout.columns]}{dtype}."
