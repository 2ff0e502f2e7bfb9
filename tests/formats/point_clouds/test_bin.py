"""Raw files: the columns that are told, and those that the values tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats.point_clouds import PointCloud, read_bin, read_point_cloud, write_bin
from lidar_ebm.formats.point_clouds.layouts import Layout, find_other_layout
from tests.formats.point_clouds.damage import make_street

SIZES = [16, 40, 200, 5000]


def other_columns(street: np.ndarray, seed: int = 0) -> dict[tuple[int, str], list[np.ndarray]]:
    """Files of other layouts of a street [N, 4]: what the first columns are, and what stands after them."""
    generator = np.random.default_rng(seed)
    count = len(street)
    ring = np.arange(count) % 32
    time = np.linspace(0, 0.1, count)
    colour = generator.integers(0, 256, (count, 3))
    byte = np.round(street[:, 3] * 255)
    wide = street.astype(np.float64)
    return {
        (3, "float32"): [street[:, :3]],
        (5, "float32"): [np.column_stack((street, ring)), np.column_stack((street[:, :3], byte, ring))],
        (6, "float32"): [np.column_stack((street[:, :3], colour)), np.column_stack((street, ring, time))],
        (7, "float32"): [np.column_stack((street, generator.normal(size=(count, 2)), 0 * time))],
        (8, "float32"): [
            np.column_stack((street, colour, ring)),
            np.column_stack((street[:, :3], np.ones(count), street[:, 3], np.zeros((count, 3)))),
        ],
        (3, "float64"): [wide[:, :3]],
        (4, "float64"): [wide, np.round(wide, 2), wide + generator.normal(0, 1e-3, wide.shape) * (1, 1, 1, 0)],
        (5, "float64"): [np.column_stack((wide, ring))],
    }


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("around", [False, True])
@pytest.mark.parametrize("order", ["scan", "shuffled"])
def test_files_of_other_layouts_are_refused_with_the_layout_that_fits(
    tmp_path: Path, count: int, around: bool, order: str
) -> None:
    street = make_street(count, around=around)
    if order == "shuffled":
        street = np.random.default_rng(1).permutation(street)
    for (columns, dtype), tables in other_columns(street).items():
        for table in tables:
            path = tmp_path / "a.bin"
            path.write_bytes(np.ascontiguousarray(table.astype(np.dtype(dtype))).tobytes())
            with pytest.raises(InputError, match=r"a\.bin.*give columns=x,y,z") as caught:
                read_point_cloud(path)
            if count >= 40:
                assert f"{columns} columns of {dtype}" in str(caught.value)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 10, 40, 200, 5000])
@pytest.mark.parametrize("scale", [1, 255, 0])
def test_kitti_files_are_never_refused(tmp_path: Path, count: int, scale: int) -> None:
    for seed in range(20):
        street = make_street(count, seed, around=seed % 2 == 0)
        street[:, 3] = np.round(street[:, 3] * scale, 2)
        for points in (street, np.random.default_rng(seed).permutation(street)):
            write_bin(tmp_path / "a.bin", points)
            np.testing.assert_array_equal(read_point_cloud(tmp_path / "a.bin").points, points)


@pytest.mark.parametrize("count", [16, 100, 1000, 10_000])
def test_lasers_that_fire_by_turns_are_no_eight_columns(tmp_path: Path, count: int) -> None:
    generator = np.random.default_rng(count)
    street = make_street(count, around=True)
    # Rows of even number look down, those of odd number up, as those of a VLP-16 do.
    distance = np.hypot(street[:, 0], street[:, 1])
    street[:, 2] = distance * np.tan(
        np.deg2rad(generator.uniform(1, 15, count) * np.where(np.arange(count) % 2, 1, -1))
    )
    write_bin(tmp_path / "a.bin", street)
    np.testing.assert_array_equal(read_point_cloud(tmp_path / "a.bin").points, street)


def test_points_in_other_units_are_still_points(tmp_path: Path) -> None:
    street = make_street(1000)
    for points in (
        street * (1000, 1000, 1000, 1),
        street + np.array((6e5, 5.3e6, 400, 0)),
        street * (1, 1, 1, 0) + (0, 0, 0, 60000),
    ):
        write_bin(tmp_path / "a.bin", points.astype(np.float32))
        np.testing.assert_array_equal(read_point_cloud(tmp_path / "a.bin").points, points.astype(np.float32))


def test_real_files_in_every_layout(kitti_frames: Path) -> None:
    for path in sorted((kitti_frames / "training" / "velodyne").glob("*.bin")):
        content = path.read_bytes()
        points = np.frombuffer(content, "<f4").reshape(-1, 4)
        assert find_other_layout(content, Layout(4)) is None
        for (columns, dtype), tables in other_columns(points).items():
            for table in tables:
                data = np.ascontiguousarray(table[: len(table) // 8 * 8].astype(np.dtype(dtype))).tobytes()
                assert find_other_layout(data, Layout(4)) == Layout(columns, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_named_columns_come_back(tmp_path: Path, dtype: str) -> None:
    table = np.column_stack((make_street(100), np.arange(100) % 7, np.arange(100))).astype(dtype)
    (tmp_path / "a.bin").write_bytes(table.tobytes())
    cloud = read_point_cloud(tmp_path / "a.bin", columns="y,z,x,_,ring,Intensity", dtype=dtype)
    assert cloud.channels == ("reflectance", "ring")
    np.testing.assert_array_equal(cloud.places, table[:, [2, 0, 1]].astype(np.float32))
    np.testing.assert_array_equal(cloud.channel("ring"), table[:, 4].astype(np.float32))
    np.testing.assert_array_equal(cloud.channel("reflectance"), table[:, 5].astype(np.float32))


def test_an_origin_is_subtracted_before_numbers_are_rounded(tmp_path: Path) -> None:
    street = make_street(100).astype(np.float64)
    (tmp_path / "a.bin").write_bytes((street + np.array((6e5, 5.3e6, 400, 0))).tobytes())
    cloud = read_bin(tmp_path / "a.bin", columns="x,y,z,i", dtype="float64", origin=(6e5, 5.3e6, 400))
    np.testing.assert_allclose(cloud.places, street[:, :3], atol=1e-5)
    with pytest.warns(UserWarning, match=r"y reaches 530\d{4} m, of which float32 keeps steps of 0\.5 m"):
        read_bin(tmp_path / "a.bin", columns="x,y,z,i", dtype="float64")


@pytest.mark.parametrize("count", [32, 320])
def test_five_columns_of_nuscenes_by_name_and_values(tmp_path: Path, count: int) -> None:
    table = np.column_stack((make_street(count, around=True) * (1, 1, 1, 100), np.arange(count) % 32)).astype(
        np.float32
    )
    (tmp_path / "a.pcd.bin").write_bytes(table.tobytes())
    cloud = read_point_cloud(tmp_path / "a.pcd.bin")
    assert cloud.channels == ("reflectance", "ring")
    np.testing.assert_array_equal(cloud.points, table)
    (tmp_path / "b.pcd.bin").write_bytes(table[:, :4].tobytes())  # a name alone makes no fifth column
    np.testing.assert_array_equal(read_point_cloud(tmp_path / "b.pcd.bin").points, table[:, :4])


def test_reflectance_that_is_not_finite_costs_the_reflectance_and_places_the_point(tmp_path: Path) -> None:
    points = make_street(50)
    points[3, 0], points[5, 2], points[[7, 9, 5], 3] = np.nan, np.inf, np.nan
    write_bin(tmp_path / "a.bin", points)
    with pytest.warns(UserWarning) as caught:
        cloud = read_point_cloud(tmp_path / "a.bin")
    told = " ".join(str(warning.message) for warning in caught)
    assert "dropped 2 of 50 points" in told
    assert "reflectance of 2 of 50 points" in told
    assert len(cloud) == 48
    assert np.isfinite(cloud.points).all()


def test_bits_of_another_type_are_refused(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    (tmp_path / "a.bin").write_bytes(generator.bytes(1600))
    with pytest.raises(InputError, match=r"a\.bin: read as 4 columns of float32 its numbers are no coordinates"):
        read_point_cloud(tmp_path / "a.bin")
    (tmp_path / "b.bin").write_bytes(make_street(400).tobytes())
    with pytest.raises(InputError, match=r"b\.bin"):
        read_point_cloud(tmp_path / "b.bin", columns="x,y,z,i", dtype="float64")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": "x,y,intensity"}, "columns: z is missing"),
        ({"columns": "x,y,z,i,i"}, "columns: 'i' in"),
        ({"columns": "x,y,z,"}, "columns: 'an empty name' in"),
        ({"columns": ["x", "y", "z", "i", "r"]}, r"a\.bin: 1600 bytes are no whole number of points of 20 bytes|None"),
        ({"columns": "x,y,z,i,ring,t"}, "no whole number of points of 24 bytes"),
        ({"dtype": "int32"}, "dtype: 'int32' is unknown; known are float32, float64"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path: Path, options: dict, message: str) -> None:
    (tmp_path / "a.bin").write_bytes(make_street(101).tobytes()[:1604])
    with pytest.raises(InputError, match=message.replace("1600", "1604")):
        read_point_cloud(tmp_path / "a.bin", **options)


def test_other_shapes_are_not_written(tmp_path: Path) -> None:
    for points in (np.zeros(4), np.zeros((5, 2))):
        with pytest.raises(InputError, match=r"\[N, 3 or more\]"):
            write_bin(tmp_path / "a.bin", points)
    write_bin(tmp_path / "a.bin", PointCloud(np.ones((2, 5), np.float32), ("reflectance", "ring")))
    assert (tmp_path / "a.bin").stat().st_size == 40


def test_real_samples(samples: Path) -> None:
    (path,) = (samples / "nuscenes_keyframe").glob("*.pcd.bin")
    table = np.fromfile(path, "<f4").reshape(-1, 5)
    cloud = read_point_cloud(path)
    assert cloud.channels == ("reflectance", "ring")
    np.testing.assert_array_equal(cloud.points, table)
    for path in (samples / "view_of_delft").rglob("*.bin"):
        np.testing.assert_array_equal(read_point_cloud(path).points, np.fromfile(path, "<f4").reshape(-1, 4))
