"""Small point files of every kind, and mutations of them."""

from __future__ import annotations

import random
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.formats.point_clouds import PointCloud, pcd, ply, write_bin, write_npy

_WORDS = (
    *(b"0", b"-1", b"18446744073709551616", b"9223372036854775807", b"2147483647", b"65536", b"1e309"),
    *(b"nan", b"inf", b",", b"list", b"_", b"", b"true", b"x"),
)


def small_cloud(points: int = 60) -> PointCloud:
    """Points with a reflectance and a ring."""
    generator = np.random.default_rng(0)
    columns = generator.uniform((-50, -50, -3, 0, 0), (50, 50, 3, 1, 31), (points, 5))
    columns[:, 4] = columns[:, 4].round()
    return PointCloud(columns.astype(np.float32), ("reflectance", "ring"))


def make_street(points: int, seed: int = 0, *, around: bool = False) -> np.ndarray:
    """[N, 4] float32 of a street as a LiDAR sees it: ground, walls, a few boxes; reflectance in steps of 0.01."""
    generator = np.random.default_rng(seed)
    distance = generator.gamma(2.0, 8.0, points) + 3
    angle = np.sort(generator.uniform(-np.pi, np.pi, points) if around else generator.uniform(-0.7, 0.7, points))
    z = np.where(generator.random(points) < 0.6, -1.73, generator.uniform(-1.7, 2.0, points))
    columns = (distance * np.cos(angle), distance * np.sin(angle), z + generator.normal(0, 0.03, points))
    reflectance = np.round(generator.beta(2, 5, points), 2)
    return np.column_stack((*columns, reflectance)).astype(np.float32)


def small_files(folder: Path) -> dict[str, Path]:
    """A file of each kind that is read without more than numpy."""
    cloud, files = small_cloud(), {}
    for encoding in pcd.ENCODINGS:
        files[f"pcd {encoding}"] = path = folder / f"{encoding}.pcd"
        pcd.write_pcd(path, cloud, encoding=encoding)
    for encoding in ply.ENCODINGS:
        files[f"ply {encoding}"] = path = folder / f"{encoding}.ply"
        ply.write_ply(path, cloud, encoding=encoding)
    files["ply lists ascii"], files["ply lists binary"] = folder / "lists.ply", folder / "binary_lists.ply"
    files["ply lists ascii"].write_bytes(list_header("ascii") + list_lines())
    files["ply lists binary"].write_bytes(list_header("binary_little_endian") + list_records("<"))
    files["npy"], files["npz"], files["packed npz"] = folder / "a.npy", folder / "a.npz", folder / "b.npz"
    write_npy(files["npy"], cloud)
    np.savez(files["npz"], points=cloud.points, other=np.arange(4))
    np.savez_compressed(files["packed npz"], points=cloud.points)
    files["structured npy"] = folder / "fields.npy"
    np.save(files["structured npy"], np.zeros(30, [("x", "<f4"), ("y", "<f4"), ("z", "<f8"), ("intensity", "u1")]))
    files["bin"], files["nuscenes"] = folder / "a.bin", folder / "a.pcd.bin"
    write_bin(files["bin"], cloud.points[:, :4])
    write_bin(files["nuscenes"], cloud.points)
    return files


def write_las(path: Path, cloud: PointCloud, version: str = "1.2", kind: int = 3, offset: float = 0.0) -> None:
    """Write a LAS or, by its suffix, LAZ file by laspy, which a test is left out without."""
    laspy = pytest.importorskip("laspy")
    pytest.importorskip("lazrs")
    header = laspy.LasHeader(point_format=kind, version=version)
    header.scales, header.offsets = np.full(3, 0.001), np.full(3, offset)
    data = laspy.LasData(header)
    data.x, data.y, data.z = cloud.places.T.astype(np.float64) + offset
    data.intensity = (cloud.channel("reflectance") * 65535).astype(np.uint16)
    if kind != 0:
        data.gps_time = np.arange(len(cloud))
    data.write(path)


def list_header(encoding: str, vertices: int = 20) -> bytes:
    """A PLY header with faces before the vertices, and a list within these."""
    return (
        f"ply\nformat {encoding} 1.0\nelement face 3\nproperty list uchar int vertex_indices\n"
        f"element vertex {vertices}\nproperty float x\nproperty list uchar short view\nproperty float y\n"
        "property float z\nproperty uchar i\nend_header\n"
    ).encode()


def list_records(order: str, vertices: int = 20, length: int | None = None) -> bytes:
    """Binary faces and vertices of `list_header`; lists of 0 to 2 values, or of `length`."""
    faces = b"".join(struct.pack(f"{order}B{count}i", count, *range(count)) for count in (3, 4, 3))
    records = []
    for row in range(vertices):
        count = row % 3 if length is None else length
        records.append(struct.pack(f"{order}fB{count}hffB", row + 0.5, count, *range(count), 2.0, 3.0, row))
    return faces + b"".join(records)


def list_lines(vertices: int = 20) -> bytes:
    """The same as text."""
    faces = "3 0 1 2\n4 0 1 2 3\n3 0 1 2\n"
    rows = (f"{row}.5 {row % 3} {' '.join(map(str, range(row % 3)))} 2 3 {row}\n" for row in range(vertices))
    return (faces + "".join(rows)).encode()


def mutate(content: bytes, generator: random.Random) -> bytes:
    """One to four damages: single bytes and bits, what is cut out, put in or cut off, and words that mean much."""
    data = bytearray(content)
    for _ in range(generator.randint(1, 4)):
        if not data:
            break
        # Mostly in the header, where damage does most.
        at = generator.randrange(len(data) if generator.random() < 0.4 else min(len(data), 400))
        kind = generator.randrange(7)
        if kind == 0:
            data[at] = generator.choice((0, 1, 10, 32, 44, 127, 128, 255))
        elif kind == 1:
            data[at] ^= 1 << generator.randrange(8)
        elif kind == 2:
            del data[at : at + generator.randint(1, 8)]
        elif kind == 3:
            data[at:at] = generator.choice(_WORDS)
        elif kind == 4 and generator.random() < 0.3:
            del data[at:]
        elif kind == 5:
            words = list(re.finditer(rb"[A-Za-z0-9_.+-]+", bytes(data[:400])))
            if words:
                word = generator.choice(words)
                data[word.start() : word.end()] = generator.choice(_WORDS)
        else:
            other = generator.randrange(len(data))
            data[at : at + 4] = data[other : other + 4]
    return bytes(data)
