"""LAS and LAZ files against laspy's own reading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats.point_clouds import las, read_point_cloud
from tests.formats.point_clouds.damage import small_cloud, write_las


@pytest.mark.parametrize("suffix", ["las", "laz"])
@pytest.mark.parametrize(("version", "kind"), [("1.2", 0), ("1.2", 1), ("1.2", 3), ("1.4", 6), ("1.4", 7)])
def test_points_of_every_kind(tmp_path: Path, suffix: str, version: str, kind: int) -> None:
    laspy = pytest.importorskip("laspy")
    path, cloud = tmp_path / f"a.{suffix}", small_cloud()
    write_las(path, cloud, version, kind)
    data = laspy.read(path)
    again = read_point_cloud(path)
    assert again.full_scale == 65535
    np.testing.assert_array_equal(again.places, np.column_stack((data.x, data.y, data.z)).astype(np.float32))
    np.testing.assert_array_equal(again.channel("reflectance"), np.asarray(data.intensity, np.float32))
    assert ("gps_time" in again.channels) == (kind != 0)
    if kind:
        np.testing.assert_array_equal(again.channel("gps_time"), np.arange(60))


def test_coordinates_of_a_map_are_told_and_brought_to_the_sensor(tmp_path: Path) -> None:
    write_las(tmp_path / "a.las", small_cloud(), offset=5e6)
    with pytest.warns(UserWarning, match="give the sensor's place as origin"):
        assert read_point_cloud(tmp_path / "a.las").places.min() > 4e6
    cloud = read_point_cloud(tmp_path / "a.las", origin=(5e6, 5e6, 5e6))
    np.testing.assert_allclose(cloud.places, small_cloud().places, atol=0.001)


@pytest.mark.parametrize("suffix", ["las", "laz"])
def test_files_that_are_cut_short_or_claim_too_much(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    write_las(path, small_cloud())
    content = path.read_bytes()
    for size in (0, 100, 230, len(content) * 2 // 3):
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match=f"a.{suffix}"):
            read_point_cloud(path)
    path.write_bytes(content[:107] + (2**32 - 1).to_bytes(4, "little") + content[111:])
    with pytest.raises(InputError, match="too few for the 4294967295 points"):
        read_point_cloud(path)


def test_without_laspy_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_las(tmp_path / "a.laz", small_cloud())
    monkeypatch.setattr(las.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'lidar-ebm\[las\]'"):
        read_point_cloud(tmp_path / "a.laz")
