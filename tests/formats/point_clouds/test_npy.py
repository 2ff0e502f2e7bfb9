"""numpy's files: arrays, named fields, archives, and what looks transposed."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats.point_clouds import read_point_cloud, write_npy
from tests.formats.point_clouds.damage import make_street, small_cloud


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<i4", ">i2"])
def test_arrays_of_any_type_and_order(tmp_path: Path, order: str, dtype: str) -> None:
    table = np.asarray(np.random.default_rng(0).uniform(-50, 50, (40, 6)).astype(dtype), order=order)  # type: ignore[call-overload]
    np.save(tmp_path / "a.npy", table)
    cloud = read_point_cloud(tmp_path / "a.npy")
    assert cloud.channels == ("reflectance", "column_4", "column_5")
    np.testing.assert_array_equal(cloud.points, table.astype(np.float32))
    named = read_point_cloud(tmp_path / "a.npy", columns="x,y,z,ring,_,remission")
    assert named.channels == ("reflectance", "ring")
    np.testing.assert_array_equal(named.points, table[:, [0, 1, 2, 5, 3]].astype(np.float32))


def test_clouds_come_back(tmp_path: Path) -> None:
    write_npy(tmp_path / "a.npy", small_cloud())
    np.testing.assert_array_equal(read_point_cloud(tmp_path / "a.npy").points, small_cloud().points)


def test_named_fields(tmp_path: Path) -> None:
    records = np.zeros(
        9, [("ring", "<u2"), ("Z", "<f8"), ("x", "<f4"), ("y", "<f4"), ("intensity", "u1"), ("n", "<f4", 3)]
    )
    for index, name in enumerate(("x", "y", "Z", "intensity", "ring")):
        records[name] = np.arange(9) + index
    np.save(tmp_path / "a.npy", records)
    cloud = read_point_cloud(tmp_path / "a.npy")
    assert cloud.channels == ("reflectance", "ring")
    assert cloud.full_scale == 255
    np.testing.assert_array_equal(cloud.points, np.arange(9)[:, None] + np.arange(5))
    with pytest.raises(InputError, match="its fields have names"):
        read_point_cloud(tmp_path / "a.npy", columns="x,y,z")


@pytest.mark.parametrize("shape", [(4, 18864), (3, 11), (5, 300), (8, 11), (20, 40)])
def test_transposed_arrays_are_refused(tmp_path: Path, shape: tuple[int, int]) -> None:
    np.save(tmp_path / "a.npy", np.ones(shape, np.float32))
    with pytest.raises(InputError, match=r"a\.npy: the array .* looks transposed; save points\.T"):
        read_point_cloud(tmp_path / "a.npy")


@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (3, 4), (4, 4), (4, 5), (100, 32)])
def test_few_points_are_not_transposed(tmp_path: Path, shape: tuple[int, int]) -> None:
    np.save(tmp_path / "a.npy", np.ones(shape, np.float32))
    assert read_point_cloud(tmp_path / "a.npy").points.shape == shape


@pytest.mark.parametrize("shape", [(100, 33), (12,), (4, 2), (1, 10, 4), (2, 3, 4, 5)])
def test_other_shapes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", np.ones(shape, np.float32))
    with pytest.raises(InputError, match=r"a\.npy"):
        read_point_cloud(tmp_path / "a.npy")


def header(text: str, version: int = 1) -> bytes:
    data = text.encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + len(data).to_bytes(2 if version == 1 else 4, "little") + data


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': '<f2', 'fortran_order': False, 'shape': (18446744073709551616, 4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True, 4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 4}",
        "{'descr': '<f4', 'fortran_order': 2, 'shape': (1, 4)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1, 4)}",
        "{'descr': '<q9', 'fortran_order': False, 'shape': (1, 4)}",
        "{'descr': '|S0', 'fortran_order': False, 'shape': (9999999999, 4)}",
        "{'descr': [('x', '<f4', (99999999,))], 'fortran_order': False, 'shape': (99,)}",
        "{'descr': '<f4', 'shape': (1, 4)}",
        "[" * 5000,
        "9" * 6000,
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 5000 + ", 4)}",
        "__import__('os')",
    ],
)
@pytest.mark.parametrize("version", [1, 2, 3])
def test_headers_that_cannot_be_are_refused(tmp_path: Path, text: str, version: int) -> None:
    (tmp_path / "a.npy").write_bytes(header(text, version) + bytes(64))
    with pytest.raises(InputError, match=r"a\.npy: no readable array of numbers"):
        read_point_cloud(tmp_path / "a.npy")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives(tmp_path: Path, save: object) -> None:
    street = make_street(50)
    path = tmp_path / "a.npz"
    for arrays in (
        {"arr_0": street},
        {"points": street, "boxes": np.zeros((3, 7))},
        {"whatever": street, "time": np.arange(50)},
        {"xyz": street[:, :3], "intensity": street[:, 3], "boxes": np.zeros((3, 7))},
        {"xyz": street[:, :3], "reflectance": street[:, 3:]},
        {"x": street[:, 0], "y": street[:, 1], "z": street[:, 2], "i": street[:, 3], "pose": np.eye(4)},
    ):
        save(path, **arrays)  # type: ignore[operator]
        np.testing.assert_array_equal(read_point_cloud(path).points, street)
    save(path, a=street, b=street)  # type: ignore[operator]
    with pytest.raises(InputError, match=r"a\.npz: none or several of its arrays may be points: a \[50, 4\], b"):
        read_point_cloud(path)


def test_archives_that_unpack_to_much_are_refused(tmp_path: Path) -> None:
    data = io.BytesIO()
    np.save(data, np.zeros((1_000_000, 4), np.float32))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("points.npy", data.getvalue())
    with pytest.raises(InputError, match=r"a\.npz: .*would unpack to 16000128 bytes"):
        read_point_cloud(tmp_path / "a.npz")
