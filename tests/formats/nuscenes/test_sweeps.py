"""Sweeps of nuScenes: files, the square of the ego vehicle, and several put together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats.nuscenes.sweeps import Sweep, merge_sweeps, outside_ego_vehicle, read_sweep, time_lag
from lidar_ebm.geometry.poses import FROM_RIGHT_AHEAD, make_pose, move_points


def write(path: Path, points: np.ndarray) -> Path:
    path.write_bytes(points.astype("<f4").tobytes())
    return path


def drawn_points(rng: np.random.Generator, count: int) -> np.ndarray:
    points = rng.normal(0, 3, (count, 5))
    points[:, 3:] = rng.integers(0, 32, (count, 2))
    return points.astype(np.float32)


def drawn_pose(rng: np.random.Generator) -> np.ndarray:
    return make_pose(rng.normal(0, 500, 3), rng.normal(0, 1, 4))


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    points = drawn_points(np.random.default_rng(0), 100)
    np.testing.assert_array_equal(read_sweep(write(tmp_path / "a.pcd.bin", points)), points)
    assert read_sweep(write(tmp_path / "b.pcd.bin", points[:0])).shape == (0, 5)


@pytest.mark.parametrize("cut", [1, 4, 16, 19])
def test_a_file_that_is_cut_short_is_refused_by_name(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path / "a.pcd.bin", np.ones((7, 5)))
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(InputError, match=r"a\.pcd\.bin: .* no whole number of points"):
        read_sweep(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", range(5))
def test_what_is_no_number_is_refused(tmp_path: Path, value: float, column: int) -> None:
    points = np.ones((7, 5))
    points[3, column] = value
    with pytest.raises(InputError, match=r"a\.pcd\.bin: 1 of 7 points hold NaN or infinity, number 3"):
        read_sweep(write(tmp_path / "a.pcd.bin", points))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.pcd\.bin"):
        read_sweep(tmp_path / "a.pcd.bin")


def test_the_ego_vehicles_square_has_no_edge() -> None:
    inside = np.nextafter(np.float32(1), np.float32(0))
    edge = np.float32(1)
    points = [(0, 0), (inside, -inside), (edge, 0), (0, -edge), (-edge, edge), (0.9, 0.9), (2, 0), (0, 2)]
    expected = [False, False, True, True, True, False, True, True]
    assert outside_ego_vehicle(np.array(points, np.float32)).tolist() == expected


def test_lags_are_differences_of_seconds_not_of_microseconds() -> None:
    key, sweep = 1_532_402_927_647_951, 1_532_402_927_597_428
    assert time_lag(key, sweep) == key * 1e-6 - sweep * 1e-6
    assert time_lag(key, sweep) != (key - sweep) * 1e-6
    assert time_lag(key, key) == 0


def test_points_that_stand_still_in_the_world_meet(tmp_path: Path) -> None:
    """The same points of the global frame, seen from three places, are the same in the frame of the first."""
    rng = np.random.default_rng(1)
    poses = [drawn_pose(rng) for _ in range(3)]
    in_first = rng.normal(0, 20, (50, 3))
    sweeps = []
    for index, pose in enumerate(poses):
        seen = move_points(move_points(in_first, poses[0]), np.linalg.inv(pose))
        points = np.column_stack((seen, np.full((50, 1), 7.0), np.arange(50)))
        path = write(tmp_path / f"{index}.pcd.bin", points)
        sweeps.append(Sweep(path, 1_000_000 - 50_000 * index, pose))
    merged = merge_sweeps(sweeps)
    assert merged.dtype == np.float32
    np.testing.assert_allclose(merged[:, :3], in_first[merged[:, 5].astype(int)], atol=2e-4)  # float32 at 500 m
    starts = np.flatnonzero(np.diff(merged[:, 4]) > 0) + 1
    assert len(starts) == 2  # the newest first
    np.testing.assert_allclose(merged[[0, *starts], 4], [0, 0.05, 0.1], atol=1e-6)


def test_every_sweep_loses_its_own_points_near_the_vehicle(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    clouds = [drawn_points(rng, 200) for _ in range(4)]
    poses = [drawn_pose(rng) for _ in clouds]
    sweeps = [
        Sweep(write(tmp_path / f"{i}.pcd.bin", cloud), 10**15 - 50_000 * i, pose)
        for i, (cloud, pose) in enumerate(zip(clouds, poses, strict=True))
    ]
    merged = merge_sweeps(sweeps, FROM_RIGHT_AHEAD)
    kept = [cloud[(np.abs(cloud[:, 0]) >= 1) | (np.abs(cloud[:, 1]) >= 1)] for cloud in clouds]
    assert len(merged) == sum(map(len, kept)) < 800
    np.testing.assert_array_equal(merged[:, [3, 5]], np.concatenate(kept)[:, 3:])
    # The key sweep is only turned: x ahead is its y.
    key = kept[0]
    np.testing.assert_allclose(merged[: len(key), :3], np.column_stack((key[:, 1], -key[:, 0], key[:, 2])), rtol=1e-6)


def test_no_sweep_is_no_point() -> None:
    assert merge_sweeps([]).shape == (0, 6)
