"""Point clouds in every format that is read, and what is said of those that are not."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.files import write_points
from lidar_ebm.formats.point_clouds import read_point_file
from lidar_ebm.formats.point_clouds.lzf import decompress_lzf

POINTS = np.random.default_rng(0).uniform((-50, -50, -3, 0), (50, 50, 3, 1), (200, 4)).astype(np.float32)


def pcd_header(
    encoding: str,
    count: int = len(POINTS),
    fields: str = "x y z intensity",
    size: str = "4 4 4 4",
    kinds: str = "F F F F",
    repeat: str = "1 1 1 1",
) -> bytes:
    return (
        f"# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS {fields}\nSIZE {size}\nTYPE {kinds}\n"
        f"COUNT {repeat}\nWIDTH {count}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {count}\nDATA {encoding}\n"
    ).encode()


def npy_header(shape: str) -> bytes:
    """A .npy file of float32 without its data."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def ply_header(encoding: str, count: int = len(POINTS), intensity: str = "float intensity") -> bytes:
    return (
        f"ply\nformat {encoding} 1.0\ncomment made by a test\nelement vertex {count}\nproperty float x\n"
        f"property float y\nproperty float z\nproperty {intensity}\nelement face 0\n"
        "property list uchar int vertex_indices\nend_header\n"
    ).encode()


def as_text(points: np.ndarray) -> bytes:
    return "".join(" ".join(f"{value:.9g}" for value in row) + "\n" for row in points.tolist()).encode()


def literal_lzf(data: bytes) -> bytes:
    """A valid LibLZF stream that repeats nothing."""
    return b"".join(bytes([len(data[i : i + 32]) - 1]) + data[i : i + 32] for i in range(0, len(data), 32))


def compressed(data: bytes) -> bytes:
    stream = literal_lzf(data)
    return struct.pack("<II", len(stream), len(data)) + stream


FILES = {
    "pcd ascii": ("a.pcd", pcd_header("ascii") + as_text(POINTS)),
    "pcd binary": ("a.pcd", pcd_header("binary") + POINTS.tobytes()),
    "pcd compressed": ("a.pcd", pcd_header("binary_compressed") + compressed(POINTS.T.tobytes())),
    "pcd with Windows line ends": ("a.pcd", (pcd_header("ascii") + as_text(POINTS)).replace(b"\n", b"\r\n")),
    "ply ascii": ("a.ply", ply_header("ascii") + as_text(POINTS)),
    "ply binary": ("a.ply", ply_header("binary_little_endian") + POINTS.tobytes()),
    "suffix in capitals": ("A.PLY", ply_header("binary_little_endian") + POINTS.tobytes()),
    "kitti": ("a.bin", POINTS.tobytes()),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_points(tmp_path: Path, name: str) -> None:
    file, content = FILES[name]
    (tmp_path / file).write_bytes(content)
    points = read_point_file(tmp_path / file)
    assert points.dtype == np.float32
    np.testing.assert_array_equal(points, POINTS)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_npy_with_and_without_reflectance(tmp_path: Path, dtype: type) -> None:
    np.save(tmp_path / "a.npy", POINTS.astype(dtype))
    np.testing.assert_array_equal(read_point_file(tmp_path / "a.npy"), POINTS)
    np.save(tmp_path / "b.npy", np.column_stack((POINTS, POINTS[:, 0])))
    np.testing.assert_array_equal(read_point_file(tmp_path / "b.npy"), POINTS)
    np.save(tmp_path / "c.npy", POINTS[:, :3])
    np.testing.assert_array_equal(read_point_file(tmp_path / "c.npy"), POINTS * np.array([1, 1, 1, 0], np.float32))


def test_fields_in_any_order_size_and_number(tmp_path: Path) -> None:
    record = np.dtype([("r", "<u2"), ("pad", "u1", 6), ("z", "<f8"), ("y", "<f4"), ("x", "<f4"), ("pad2", "u1", 2)])
    records = np.zeros(len(POINTS), record)
    for axis, column in (("x", 0), ("y", 1), ("z", 2)):
        records[axis] = POINTS[:, column]
    records["r"] = np.round(POINTS[:, 3] * 65535)
    header = pcd_header("binary", len(POINTS), "Intensity _ z y x _", "2 1 8 4 4 1", "U U F F F U", "1 6 1 1 1 2")
    (tmp_path / "a.pcd").write_bytes(header + records.tobytes())
    np.testing.assert_allclose(read_point_file(tmp_path / "a.pcd"), POINTS, atol=1e-5)

    columns = b"".join(np.ascontiguousarray(records[name]).tobytes() for name in record.names or ())
    header = header.replace(b"DATA binary", b"DATA binary_compressed")
    (tmp_path / "b.pcd").write_bytes(header + compressed(columns))
    np.testing.assert_allclose(read_point_file(tmp_path / "b.pcd"), POINTS, atol=1e-5)


@pytest.mark.parametrize(("values", "expected"), [([0, 1.2], [0, 1]), ([0, 51], [0, 0.2]), ([0, 13107], [0, 0.2])])
def test_reflectance_is_brought_to_the_unit_range(tmp_path: Path, values: list[float], expected: list[float]) -> None:
    points = np.column_stack((np.ones((2, 3)), values))
    np.save(tmp_path / "a.npy", points)
    np.testing.assert_allclose(read_point_file(tmp_path / "a.npy")[:, 3], expected)


def test_points_that_are_not_finite_are_dropped_with_a_warning(tmp_path: Path) -> None:
    text = as_text(POINTS[:3]) + b"nan nan nan 0\n"
    (tmp_path / "a.pcd").write_bytes(pcd_header("ascii", 4) + text)
    with pytest.warns(UserWarning, match=r"a\.pcd: dropped 1 of 4"):
        np.testing.assert_array_equal(read_point_file(tmp_path / "a.pcd"), POINTS[:3])


@pytest.mark.parametrize("name", ["pcd ascii", "pcd binary", "pcd compressed", "ply ascii", "ply binary"])
def test_files_without_points_are_read(tmp_path: Path, name: str) -> None:
    file, content = FILES[name]
    header = content[: content.index(b"\n", max(content.find(b"DATA"), content.find(b"end_header"))) + 1]
    body = struct.pack("<II", 0, 0) if name == "pcd compressed" else b""
    (tmp_path / file).write_bytes(header.replace(b" 200\n", b" 0\n") + body)
    assert read_point_file(tmp_path / file).shape == (0, 4)


@pytest.mark.parametrize("name", ["pcd ascii", "pcd binary", "pcd compressed", "ply ascii", "ply binary", "kitti"])
@pytest.mark.parametrize("kept", [0.9, 0.5, 0.01])
def test_files_that_are_cut_short_are_named(tmp_path: Path, name: str, kept: float) -> None:
    file, content = FILES[name]
    (tmp_path / file).write_bytes(content[: int(len(content) * kept) | 1])
    with pytest.raises(InputError, match=file):
        read_point_file(tmp_path / file)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("a.xyz", b"", r"unknown kind of point file '\.xyz'; known are \.bin, \.npy, \.npz, \.pcd, \.ply, \.las"),
        ("a.pcd", pcd_header("binary", 0, "x y depth intensity"), "field z is missing; the fields are x, y, depth"),
        ("a.pcd", pcd_header("zipped"), "zipped"),
        ("a.pcd", pcd_header("ascii", 1) + b"1 2 three 4\n", "Export it anew"),
        ("a.pcd", pcd_header("binary", -1), "Export it anew"),
        ("a.ply", ply_header("binary_middle_endian"), "binary_middle_endian.*Export it anew"),
        ("a.ply", ply_header("ascii", 1, "list uchar float w"), "Export it anew"),
        ("a.ply", b"not a ply file", "Export it anew"),
        ("a.npy", b"\x93NUMPY", "Save it with numpy.save"),
        ("a.npy", b"", "Save it with numpy.save"),
        ("a.npy", b"PK\x03\x04 cut short", "Save it with numpy.save"),
        ("a.npy", b"\x93NUMPY\x01\x00\x10\x00" + b"(" * 16, "Save it with numpy.save"),
        ("a.npy", npy_header("(1000000000000, 4)"), "Save it with numpy.save"),
    ],
)
def test_files_that_are_not_understood_are_named(tmp_path: Path, file: str, content: bytes, message: str) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_point_file(tmp_path / file)
    assert file in str(caught.value)


def test_arrays_of_other_things_are_refused_and_never_unpickled(tmp_path: Path) -> None:
    for array in (np.zeros(12), np.zeros((4, 2)), np.full((4, 4), "x"), np.full((4, 4), None)):
        np.save(tmp_path / "a.npy", array)
        with pytest.raises(InputError, match=r"a\.npy"):
            read_point_file(tmp_path / "a.npy")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for suffix in ("bin", "npy", "pcd", "ply"):
        with pytest.raises(InputError, match=f"none.{suffix}: cannot be read"):
            read_point_file(tmp_path / f"none.{suffix}")


def test_lzf_repeats_what_came_before() -> None:
    assert decompress_lzf(b"\x02abc" + bytes([1 << 5, 2]), 6) == b"abcabc"
    assert decompress_lzf(b"\x00a" + bytes([7 << 5, 3, 0]), 13) == b"a" * 13  # longer than what it repeats
    far_back = literal_lzf(bytes(range(256)) * 2) + bytes([1 << 5 | 1, 0])  # three bytes from 257 bytes before
    assert decompress_lzf(far_back, 515)[512:] == bytes([255, 0, 1])


@pytest.mark.parametrize("stream", [b"\x02ab", b"\x00a" + bytes([1 << 5]), b"\x00a" + bytes([1 << 5, 9]), b"\x00a" * 9])
def test_damaged_lzf_streams_are_refused(stream: bytes) -> None:
    with pytest.raises(ValueError, match="stream"):
        decompress_lzf(stream, 4)


def test_kitti_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_points(tmp_path / "a.bin", POINTS)
    np.testing.assert_array_equal(read_point_file(tmp_path / "a.bin"), POINTS)
