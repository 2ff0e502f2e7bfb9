"""The line that tells how many points a detector sees, and what looks wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.formats.point_clouds import describe_points, read_point_cloud
from lidar_ebm.formats.point_clouds.units import estimate_ground
from tests.formats.point_clouds.damage import make_street

AHEAD = (0, -16, -3, 48, 16, 1)
AROUND = (-75, -75, -3, 75, 75, 2)
TURNS = {
    "metres": np.eye(3) * 1000,
    "axes": np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]]),  # x to the right, y ahead
    "behind": np.diag([-1, -1, 1]),
    "down": np.diag([1, -1, -1]),
    "is z not up": np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]]),  # a camera's
    "kilometres": np.eye(3) / 1000,
}


def turn(points: np.ndarray, name: str) -> np.ndarray:
    """Points in another unit or frame."""
    return points[:, :3] @ TURNS[name].T


def test_the_points_in_range_and_view_are_counted() -> None:
    points = make_street(2000)
    inside = ((points[:, :3] >= AHEAD[:3]) & (points[:, :3] < AHEAD[3:])).all(axis=1)
    view = np.arange(2000) % 3 == 0
    report = describe_points(points, AHEAD, in_view=view, reflectance="reflectance divided by 1 (given)")
    assert (report.total, report.in_range, report.in_view) == (2000, inside.sum(), (inside & view).sum())
    assert str(report) == (
        f"{inside.sum():,} of 2,000 points are in x 0…48, y -16…16, z -3…1 m, {(inside & view).sum():,} of them in the "
        "camera's view; reflectance divided by 1 (given)."
    )
    blind = describe_points(points, AHEAD, in_view=np.zeros(2000, bool))
    assert "No point is in the camera's view" in str(blind)


def test_empty_clouds_and_single_points_are_no_reason_for_guesses() -> None:
    assert str(describe_points(np.zeros((0, 4)), AHEAD)).endswith("The cloud has no points.")
    assert str(describe_points(np.array([[90.0, 0, 0, 0]]), AHEAD)).endswith("Are they in metres, x forward?")
    assert not describe_points(np.array([[9.0, 0, 0, 0]]), AHEAD).findings


@pytest.mark.parametrize("around", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_streets_are_found_in_order(around: bool, seed: int) -> None:
    points = make_street(5000, seed, around=around)
    assert not describe_points(points, AROUND if around else AHEAD).findings
    assert estimate_ground(points) == pytest.approx(-1.73, abs=0.15)


def words(name: str) -> str:
    return {"axes": "does x point forward, or y", "down": "does z point down"}.get(name, name)


@pytest.mark.parametrize("name", TURNS)
@pytest.mark.parametrize("seed", range(5))
def test_other_units_and_axes_are_told(name: str, seed: int) -> None:
    report = describe_points(turn(make_street(5000, seed), name), AHEAD)
    assert words(name) in str(report)


def test_a_maps_frame_and_another_height_are_told() -> None:
    street = make_street(5000)[:, :3]
    assert "UTM" in str(describe_points(street + np.array((6e5, 5.3e6, 400)), AHEAD))
    raised = street + np.array((0, 0, 1.73))
    assert "ground seems to be at z = " in str(describe_points(raised, AHEAD))
    assert not describe_points(raised, AHEAD, ground=0.0).findings
    assert not describe_points(raised, AHEAD, ground=None).findings


def test_real_frames(kitti_frames: Path) -> None:
    for path in sorted((kitti_frames / "training" / "velodyne").glob("*.bin")):
        points = read_point_cloud(path).points
        for region in (AHEAD, AROUND):
            assert not describe_points(points, region).findings
        ahead = points[points[:, 0] > np.abs(points[:, 1])]  # as a camera sees them
        assert not describe_points(ahead, AHEAD).findings
        for name in TURNS:
            assert words(name) in str(describe_points(turn(ahead, name), AHEAD)), name


def test_samples_of_other_sensors(samples: Path) -> None:
    for path in (*samples.glob("*/*.pcd"), *samples.glob("*/*.bin"), *samples.glob("*/lidar/*.pcd")):
        assert not describe_points(read_point_cloud(path).points, AROUND).findings
