"""Whatever stands in a file: points, or an InputError that names it, within a small multiple of the file's size."""

from __future__ import annotations

import random
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats.point_clouds import describe_points, read_point_cloud, scale_reflectance
from tests.formats.point_clouds.damage import mutate, small_cloud, small_files, write_las

MUTATIONS = 200


def read_within_bounds(path: Path, max_bytes: int) -> bool:
    """Read a file, and say whether it held points."""
    tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", RuntimeWarning)
            cloud, _ = scale_reflectance(read_point_cloud(path))
        assert np.isfinite(cloud.points[:, :4]).all()
        assert cloud.reflectance is not None
        assert ((cloud.reflectance >= 0) & (cloud.reflectance <= 1)).all()
        assert str(describe_points(cloud.points, (0, -40, -3, 70, 40, 1)))
        return True
    except InputError as error:
        assert path.name in str(error)
        assert len(str(error)) < 1500
        return False
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < max_bytes


def check_mutations(path: Path, mutations: int = MUTATIONS) -> None:
    content = path.read_bytes()
    generator = random.Random(path.name)
    assert read_within_bounds(path, 100_000_000)  # loads modules
    assert read_within_bounds(path, 1_000_000)
    read = 0
    for _ in range(mutations):
        path.write_bytes(mutate(content, generator))
        read += read_within_bounds(path, 1_000_000)
    assert read < mutations  # the mutations do something


@pytest.mark.parametrize(
    "kind",
    [
        *("pcd ascii", "pcd binary", "pcd binary_compressed", "ply ascii", "ply binary_little_endian"),
        *("ply binary_big_endian", "ply lists ascii", "ply lists binary", "npy", "structured npy", "npz", "packed npz"),
        *("bin", "nuscenes"),
    ],
)
def test_mutations(tmp_path: Path, kind: str) -> None:
    check_mutations(small_files(tmp_path)[kind])


@pytest.mark.parametrize(("version", "kind"), [("1.2", 3), ("1.4", 6)])
def test_mutations_of_las(tmp_path: Path, version: str, kind: int) -> None:
    write_las(tmp_path / "a.las", small_cloud(), version, kind)
    check_mutations(tmp_path / "a.las")
    write_las(tmp_path / "a.laz", small_cloud(), version, kind)
    check_mutations(tmp_path / "a.laz", 4)  # each in a process of its own
