"""PCL's files: every type, order and padding of fields, and headers that lie."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats.point_clouds import read_point_cloud, write_pcd
from lidar_ebm.formats.point_clouds.lzf import compress_lzf
from lidar_ebm.formats.point_clouds.pcd import ENCODINGS
from tests.formats.point_clouds.damage import small_cloud

TYPES = {"I": (1, 2, 4, 8), "U": (1, 2, 4, 8), "F": (4, 8)}


def random_file(generator: np.random.Generator, encoding: str, count: int) -> tuple[bytes, dict[str, np.ndarray]]:
    """A file of fields of any type in any order with padding, and the values of its fields."""
    names = list(generator.permutation(["x", "y", "z", "intensity", "ring", "t", "_", "normal", "_"]))
    fields = []  # name, TYPE, SIZE, COUNT
    for name in names:
        kind = "F" if name in ("x", "y", "z") else str(generator.choice(list(TYPES)))
        repeat = {"normal": 3, "_": int(generator.integers(1, 9))}.get(name, 1)
        fields.append((name, kind, int(generator.choice(TYPES[kind])), repeat))
    columns, values = [], {}
    for name, kind, size, repeat in fields:
        if kind == "F":
            column = generator.uniform(-60, 60, (count, repeat)).astype(f"<f{size}")
        else:
            column = generator.integers(0 if kind == "U" else -100, 100, (count, repeat)).astype(
                f"<{kind.lower()}{size}"
            )
        columns.append(column)
        values.setdefault(name, column[:, 0])
    header = (
        f"# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS {' '.join(names)}\n"
        f"SIZE {' '.join(str(size) for _, _, size, _ in fields)}\nTYPE {' '.join(kind for _, kind, _, _ in fields)}\n"
        f"COUNT {' '.join(str(repeat) for _, _, _, repeat in fields)}\nWIDTH {count}\nHEIGHT 1\n"
        f"VIEWPOINT 0 0 0 1 0 0 0\nPOINTS {count}\nDATA {encoding}\n"
    ).encode()
    if encoding == "ascii":
        rows = [[repr(value) for column in columns for value in column[row].tolist()] for row in range(count)]
        return header + "".join(" ".join(row) + "\n" for row in rows).encode(), values
    if encoding == "binary":
        return header + b"".join(c[row].tobytes() for row in range(count) for c in columns), values
    data = b"".join(column.tobytes() for column in columns)
    packed = compress_lzf(data)
    return header + struct.pack("<II", len(packed), len(data)) + packed, values


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("seed", range(12))
def test_fields_of_any_type_and_order(tmp_path: Path, encoding: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    content, values = random_file(generator, encoding, int(generator.integers(0, 50)))
    (tmp_path / "a.pcd").write_bytes(content + b"\0" * int(generator.integers(0, 200)) * (encoding != "ascii"))
    cloud = read_point_cloud(tmp_path / "a.pcd")
    assert set(cloud.channels) == {"reflectance", "ring", "t"}
    assert any("normal has 3 values" in note for note in cloud.notes)
    for axis, column in zip("xyz", cloud.places.T, strict=True):
        np.testing.assert_array_equal(column, values[axis].astype(np.float32))
    for channel, field in (("reflectance", "intensity"), ("ring", "ring"), ("t", "t")):
        np.testing.assert_array_equal(cloud.channel(channel), values[field].astype(np.float32))
    expected = {"u1": 255, "u2": 65535}.get(values["intensity"].dtype.str[1:])
    if len(cloud):
        assert cloud.full_scale == expected


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_clouds_come_back(tmp_path: Path, encoding: str) -> None:
    for points in (0, 1, 60):
        cloud = small_cloud(points)
        write_pcd(tmp_path / "a.pcd", cloud, encoding=encoding)
        again = read_point_cloud(tmp_path / "a.pcd")
        assert again.channels == cloud.channels
        np.testing.assert_array_equal(again.points, cloud.points)
    with pytest.raises(InputError, match="encoding: 'zip' is unknown"):
        write_pcd(tmp_path / "a.pcd", cloud, encoding="zip")


def changed(tmp_path: Path, old: str, new: str, encoding: str = "ascii") -> Path:
    write_pcd(tmp_path / "a.pcd", small_cloud(), encoding=encoding)
    content = (tmp_path / "a.pcd").read_bytes()
    assert old.encode() in content
    (tmp_path / "a.pcd").write_bytes(content.replace(old.encode(), new.encode(), 1))
    return tmp_path / "a.pcd"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("VERSION 0.7\nFIELDS", "VERSION .5\nCOLUMNS"),
        ("VERSION 0.7", "VERSION .6"),
        ("COUNT 1 1 1 1 1\n", ""),
        ("VIEWPOINT 0 0 0 1 0 0 0\n", ""),
        ("POINTS 60\n", ""),
        ("WIDTH 60\nHEIGHT 1\n", ""),
        ("WIDTH 60\nHEIGHT 1\n", "WIDTH 12\nHEIGHT 5\n"),
        ("DATA ascii", "\n# a comment\n  data ASCII"),
    ],
)
def test_headers_of_all_ages(tmp_path: Path, old: str, new: str) -> None:
    np.testing.assert_array_equal(read_point_cloud(changed(tmp_path, old, new)).points, small_cloud().points)


def test_what_the_header_says_twice_or_besides_is_told(tmp_path: Path) -> None:
    cloud = read_point_cloud(changed(tmp_path, "POINTS 60", "POINTS 50"))
    assert len(cloud) == 50
    assert any("POINTS 50 is not WIDTH x HEIGHT 60 x 1" in note for note in cloud.notes)
    cloud = read_point_cloud(changed(tmp_path, "VIEWPOINT 0", "VIEWPOINT 2.5"))
    assert any("VIEWPOINT 2.5 0 0 1 0 0 0 is not applied" in note for note in cloud.notes)


@pytest.mark.parametrize("encoding", ["ascii", "binary", "binary_compressed"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("POINTS 60", "POINTS 0 60"),
        ("POINTS 60", "POINTS 61"),
        ("POINTS 60", "POINTS 18446744073709551616"),
        ("POINTS 60", "POINTS 999999999999999"),
        ("POINTS 60", "POINTS -1"),
        ("POINTS 60", "POINTS 6_0"),
        ("COUNT 1 1 1", "COUNT 9223372036854775808 -9223372036854775808 1"),
        ("COUNT 1 1 1 1", "COUNT 1 1 1 2147483647"),
        ("COUNT 1 1 1 1 1", "COUNT 1 1 1 1"),
        ("TYPE F F F F", "TYPE F F F ,"),
        ("SIZE 4 4 4 4", "SIZE 4 4 4 3"),
        ("FIELDS x y z", "FIELDS x y x"),
        ("FIELDS x y z", "FIELDS x y depth"),
        ("WIDTH 60", "WIDTH true"),
        ("COUNT ", "C\xffOUNT "),
        ("VIEWPOINT 0 0 0", "VIEWPOINT inf 0 0"),
        ("POINTS 60", "POINTS 60\nPOINTS 60"),
        ("DATA", "DATUM"),
    ],
)
def test_headers_that_cannot_be_are_refused(tmp_path: Path, encoding: str, old: str, new: str) -> None:
    with pytest.raises(InputError, match=r"a\.pcd: .*[Ee]xport it anew"):
        read_point_cloud(changed(tmp_path, old, new, encoding))


@pytest.mark.parametrize("extra", ["100", "2147483585"])
def test_offsets_beyond_the_file_are_refused(tmp_path: Path, extra: str) -> None:
    header = f"FIELDS a b x y z i\nSIZE 1 1 4 4 4 1\nTYPE U U F F F U\nCOUNT 2147483647 {extra} 1 1 1 64\nPOINTS 4\n"
    (tmp_path / "a.pcd").write_bytes(f"{header}DATA binary\n".encode() + b"\x01" * 4096)
    with pytest.raises(InputError, match=r"a\.pcd: no complete PCD file"):
        read_point_cloud(tmp_path / "a.pcd")


def test_organised_clouds_lose_their_gaps_with_a_word(tmp_path: Path) -> None:
    cloud = small_cloud()
    points = cloud.points.copy()
    points[::3, :3] = np.nan
    object.__setattr__(cloud, "points", points)
    write_pcd(tmp_path / "a.pcd", cloud)
    with pytest.warns(UserWarning, match="dropped 20 of 60 points"):
        assert len(read_point_cloud(tmp_path / "a.pcd")) == 40


def test_real_samples(samples: Path) -> None:
    path = samples / "kitti_raw_pcd" / "0000000000.pcd"
    body = path.read_bytes().split(b"DATA binary\n", 1)[1]
    cloud = read_point_cloud(path)
    np.testing.assert_array_equal(cloud.points, np.frombuffer(body, "<f4", 4 * len(cloud)).reshape(-1, 4))
    assert 0 <= len(body) - 16 * len(cloud) < 4096  # what follows is padding
    (path,) = (samples / "sustechpoints").rglob("*.pcd")
    body = path.read_bytes().split(b"DATA binary\n", 1)[1]
    cloud = read_point_cloud(path)
    np.testing.assert_array_equal(cloud.places, np.frombuffer(body, "<f4", 12 * len(cloud)).reshape(-1, 12)[:, :3])
    assert cloud.channels == ("reflectance", "timestamp", "ring")
