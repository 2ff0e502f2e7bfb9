"""Stanford's files: byte orders, types, lists, and elements before the vertices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats.point_clouds import read_point_cloud, write_ply
from lidar_ebm.formats.point_clouds.ply import ENCODINGS
from tests.formats.point_clouds.damage import list_header, list_lines, list_records, small_cloud

TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4"},
    **{"double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float32": "f4", "float64": "f8"},
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_clouds_come_back(tmp_path: Path, encoding: str) -> None:
    for points in (0, 1, 60):
        cloud = small_cloud(points)
        write_ply(tmp_path / "a.ply", cloud, encoding=encoding)
        again = read_point_cloud(tmp_path / "a.ply")
        assert again.channels == cloud.channels
        np.testing.assert_array_equal(again.points, cloud.points)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_properties_of_any_type(tmp_path: Path, encoding: str, kind: str, line_end: str) -> None:
    order = ">" if "big" in encoding else "<"
    names = np.random.default_rng(0).permutation(["x", "y", "z", "scalar_Intensity", "red"])
    record = np.dtype([(name, order + (TYPES[kind] if len(name) > 1 else "f8")) for name in names])
    records = np.zeros(20, record)
    for index, name in enumerate(names):
        records[name] = np.arange(20) + index
    lines = ["ply", f"format {encoding} 1.0", "obj_info made by a test", "element vertex 20"]
    lines += [f"property {kind if len(name) > 1 else 'double'} {name}" for name in names]
    header = line_end.join([*lines, "element face 0", "property list uchar int vertex_indices", "end_header", ""])
    body = records.tobytes()
    if encoding == "ascii":
        body = line_end.join(" ".join(str(value) for value in row) for row in records.tolist()).encode()
    (tmp_path / "a.ply").write_bytes(header.encode() + body)
    cloud = read_point_cloud(tmp_path / "a.ply")
    assert cloud.channels == ("reflectance", "red")
    assert cloud.full_scale == {"u1": 255, "u2": 65535}.get(TYPES[kind])
    for name, values in zip(("x", "y", "z", "scalar_Intensity", "red"), cloud.points.T, strict=True):
        np.testing.assert_array_equal(values, records[name].astype(np.float32))


def test_mac_line_ends(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", small_cloud())
    header, body = (tmp_path / "a.ply").read_bytes().split(b"end_header\n", 1)
    (tmp_path / "a.ply").write_bytes((header + b"end_header\n").replace(b"\n", b"\r") + body)
    np.testing.assert_array_equal(read_point_cloud(tmp_path / "a.ply").points, small_cloud().points)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("length", [None, 0, 2])
def test_lists_are_passed_over(tmp_path: Path, encoding: str, length: int | None) -> None:
    order = ">" if "big" in encoding else "<"
    body = list_lines() if encoding == "ascii" else list_records(order, length=length)
    (tmp_path / "a.ply").write_bytes(list_header(encoding) + body)
    cloud = read_point_cloud(tmp_path / "a.ply")
    rows = np.arange(20)
    np.testing.assert_array_equal(cloud.points, np.column_stack((rows + 0.5, 0 * rows + 2, 0 * rows + 3, rows)))
    assert cloud.notes[0] == "property view is a list and is passed over"
    assert cloud.full_scale == 255
    (tmp_path / "b.ply").write_bytes((list_header(encoding) + body)[: -3 if encoding != "ascii" else -30])
    with pytest.raises(InputError, match=r"b\.ply: no complete PLY file"):
        read_point_cloud(tmp_path / "b.ply")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("element vertex 60", "element vertex 61"),
        ("element vertex 60", "element vertex 18446744073709551616"),
        ("element vertex 60", "element vertex 99999999999999"),
        ("element vertex 60", "element vertex -1"),
        ("element vertex 60", "element face 60"),
        ("element vertex 60", "element face 99999999999\nproperty list uchar int v\nelement vertex 60"),
        ("element vertex 60", "element face 99999999999\nproperty int v\nelement vertex 60"),
        ("property float x", "p,roperty float x"),
        ("property float x", "property quad x"),
        ("property float x", "property"),
        ("property float x", "property list float float x"),
        ("property float x", "property float x\nproperty float x"),
        ("ply\n", "plyx\n"),
        ("end_header", "end"),
    ],
)
def test_headers_that_cannot_be_are_refused(tmp_path: Path, encoding: str, old: str, new: str) -> None:
    write_ply(tmp_path / "a.ply", small_cloud(), encoding=encoding)
    content = (tmp_path / "a.ply").read_bytes()
    (tmp_path / "a.ply").write_bytes(content.replace(old.encode(), new.encode(), 1))
    with pytest.raises(InputError, match=r"a\.ply: "):
        read_point_cloud(tmp_path / "a.ply")
