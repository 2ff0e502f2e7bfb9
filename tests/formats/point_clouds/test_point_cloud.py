"""Points with named channels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats.point_clouds import PointCloud, read_point_cloud, write_point_cloud
from tests.formats.point_clouds.damage import small_cloud


def test_channels_are_columns() -> None:
    cloud = small_cloud()
    assert len(cloud) == 60
    np.testing.assert_array_equal(cloud.channel("ring"), cloud.points[:, 4])
    np.testing.assert_array_equal(cloud.as_four_columns(), cloud.points[:, :4])
    other = cloud.with_reflectance(np.arange(60))
    np.testing.assert_array_equal(other.channel("reflectance"), np.arange(60))
    np.testing.assert_array_equal(other.channel("ring"), cloud.channel("ring"))
    with pytest.raises(InputError, match="channel 'time': the points have reflectance, ring"):
        cloud.channel("time")


def test_channels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"shape \[5, 4\] does not have the columns x, y, z, a, b"):
        PointCloud(np.zeros((5, 4)), ("a", "b"))
    with pytest.raises(InputError, match="a name stands twice"):
        PointCloud(np.zeros((5, 5)), ("a", "a"))


@pytest.mark.parametrize("suffix", [".bin", ".npy", ".pcd", ".ply"])
def test_formats_by_suffix(tmp_path: Path, suffix: str) -> None:
    cloud = PointCloud(small_cloud().points[:, :4], ("reflectance",))
    write_point_cloud(tmp_path / f"a{suffix}", cloud)
    np.testing.assert_array_equal(read_point_cloud(tmp_path / f"a{suffix}").points, cloud.points)
    (tmp_path / f"a{suffix}").rename(tmp_path / "a.unknown")
    if suffix == ".bin":
        with pytest.raises(InputError, match=r"unknown kind of point file '\.unknown'"):
            read_point_cloud(tmp_path / "a.unknown")
    else:  # what it begins with says enough
        np.testing.assert_array_equal(read_point_cloud(tmp_path / "a.unknown").points, cloud.points)
    with pytest.raises(InputError, match=r"not written as '\.laz'"):
        write_point_cloud(tmp_path / "a.laz", cloud)


@pytest.mark.parametrize("options", [{"columns": "x,y,z"}, {"dtype": "float32"}])
def test_options_of_raw_files_are_refused_by_others(tmp_path: Path, options: dict) -> None:
    write_point_cloud(tmp_path / "a.pcd", small_cloud())
    with pytest.raises(InputError, match=r"a\.pcd: .* out"):
        read_point_cloud(tmp_path / "a.pcd", **options)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.bin")
    (tmp_path / "b.pcd").mkdir()
    for path in (tmp_path / "a.bin", tmp_path / "b.pcd", tmp_path / "c.ply", Path("/dev/zero"), "a\0.bin"):
        with pytest.raises(InputError, match=r"no regular file|cannot be read"):
            read_point_cloud(path)


def test_no_torch_is_loaded() -> None:
    code = "import sys, lidar_ebm.formats.point_clouds, lidar_ebm.formats.image_size; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
