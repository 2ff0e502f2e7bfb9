"""One rule for the scale of reflectance: by type, by a quantile, once for all files."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats.point_clouds import (
    PointCloud,
    ReflectanceScale,
    choose_reflectance_scale,
    read_point_cloud,
    read_point_file,
    scale_of_values,
    scale_reflectance,
)
from tests.formats.point_clouds.damage import make_street


def cloud_of(values: np.ndarray, full_scale: float | None = None) -> PointCloud:
    return PointCloud(np.column_stack((np.ones((len(values), 3)), values)), ("reflectance",), (), full_scale)


@pytest.mark.parametrize(("factor", "expected"), [(1, 1), (255, 255), (4095, 65535), (65535, 65535)])
@pytest.mark.parametrize("seed", range(5))
def test_a_scale_survives_outliers(factor: float, expected: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = np.round(generator.beta(2, 5, 5000), 3) * factor
    values[generator.random(5000) < 0.3] = 0
    assert scale_of_values(values).full_scale == expected
    odd = generator.choice(5000, 20, replace=False)
    values[odd] = generator.uniform(1.6, 1e6, 20)
    values[odd[0]] = np.nan
    scale = scale_of_values(values)
    assert scale.full_scale == expected
    scaled, clipped = scale.apply(values)
    assert clipped <= 20
    assert ((scaled >= 0) & (scaled <= 1)).all()


@pytest.mark.parametrize("values", [[], [0, 0], [np.nan]])
def test_nothing_to_go_by_is_a_scale_of_one(values: list[float]) -> None:
    assert scale_of_values(np.array(values, np.float32)).full_scale == 1


def test_the_fields_type_decides_where_there_is_one() -> None:
    dark = np.array([0, 1, 1], np.float32)
    assert choose_reflectance_scale([cloud_of(dark, 255)]).full_scale == 255
    for highest in (255, 256, 60000):
        assert choose_reflectance_scale([cloud_of(dark * highest, 65535)]).full_scale == 65535
    assert "if 8 bit are meant" in choose_reflectance_scale([cloud_of(dark * 256, 65535)]).source
    clouds = [cloud_of(dark, 255), cloud_of(dark, 255), cloud_of(dark, 65535)]
    told = r"some files have it in 8 bit and some in 16 bit \({}\)\. Take the files of each kind by themselves"
    with pytest.raises(InputError, match=told.format("cloud 0 and cloud 2")):
        choose_reflectance_scale(clouds)
    with pytest.raises(InputError, match=told.format("b/1.pcd and a/3.pcd")):
        choose_reflectance_scale(clouds, [Path("b/1.pcd"), Path("a/2.pcd"), Path("a/3.pcd")])


@pytest.mark.parametrize(("low", "high"), [(-60, 0), (-0.5, 0.5), (-1, 0)])
def test_values_below_zero_are_told(low: float, high: float) -> None:
    values = np.linspace(low, high, 1001)
    for choose in (scale_of_values, lambda values: choose_reflectance_scale([cloud_of(values)])):
        with pytest.warns(UserWarning, match=rf"reflectance: values from {low} to {high}: those below 0 become 0"):
            assert choose(values).full_scale == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scale_of_values(np.concatenate((values[:9], np.linspace(0, 1, 1000))))  # single damaged ones


@pytest.mark.parametrize("full_scale", [None, 65535])
def test_fewer_than_16_bit_are_asked_about(full_scale: float | None) -> None:
    for highest, meant in ((2539, 4095), (4095, 4095), (900, 1023)):
        scale = choose_reflectance_scale([cloud_of(np.linspace(1, highest, 500), full_scale)])
        assert scale.full_scale == 65535
        assert scale.source.endswith(f"; values reach {highest} alone; is it {meant}?")
    assert "is it" not in choose_reflectance_scale([cloud_of(np.linspace(1, 4096, 500), full_scale)]).source


def test_frames_of_a_drive_have_one_scale() -> None:
    generator = np.random.default_rng(0)
    frames = [cloud_of(generator.integers(0, 256, 1000)) for _ in range(9)] + [cloud_of(np.linspace(0, 1, 50))]
    scale = choose_reflectance_scale(frames)
    assert scale.full_scale == 255
    np.testing.assert_allclose(scale_reflectance(frames[-1], scale)[0].channel("reflectance").max(), 1 / 255)
    assert ReflectanceScale.from_dict(scale.to_dict()) == scale


def test_what_was_done_is_told() -> None:
    cloud, told = scale_reflectance(cloud_of(np.array([0.5, 0.25, 2, -1])), ReflectanceScale(1.0))
    np.testing.assert_array_equal(cloud.channel("reflectance"), np.array([0.5, 0.25, 1, 0], np.float32))
    assert told == "reflectance divided by 1 (given), 2 of 4 values outside 0…1 clipped"
    bare, told = scale_reflectance(PointCloud(np.ones((2, 4)), ("ring",)))
    assert told == "no reflectance, 0 is taken"
    assert bare.channels == ("reflectance", "ring")
    np.testing.assert_array_equal(bare.points, [[1, 1, 1, 0, 1]] * 2)


@pytest.mark.parametrize(
    "values", [{}, {"full_scale": "x"}, {"full_scale": None}, {"full_scale": 0}, {"full_scale": -1}]
)
def test_scales_that_are_none_are_refused(values: dict) -> None:
    with pytest.raises(InputError, match="full_scale"):
        ReflectanceScale.from_dict(values)


@pytest.mark.parametrize(
    "name", ["reflectance", "Intensity", "reflectivity", "remission", "signal", "I", "r", "scalar_Reflectance"]
)
def test_a_reflectance_has_many_names(tmp_path: Path, name: str) -> None:
    street = make_street(50)
    np.save(tmp_path / "a.npy", np.rec.fromarrays(street.T, names=["x", "y", "z", name]))
    np.testing.assert_array_equal(read_point_file(tmp_path / "a.npy"), street)


def test_no_reflectance_is_told_with_the_fields(tmp_path: Path) -> None:
    street = make_street(50)
    np.save(tmp_path / "a.npy", np.rec.fromarrays((*street.T, street[:, 0], street[:, 1]), names="x,y,z,r,g,b"))
    with pytest.warns(UserWarning, match=r"a\.npy: no reflectance among the fields x, y, z, r, g, b; 0 is taken"):
        cloud = read_point_cloud(tmp_path / "a.npy")
    assert cloud.reflectance is None
    with pytest.warns(UserWarning):
        np.testing.assert_array_equal(read_point_file(tmp_path / "a.npy"), street * (1, 1, 1, 0))
