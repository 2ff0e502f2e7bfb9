from __future__ import annotations

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.calibration import SIMULATED_CAMERA
from lidar_ebm.geometry.camera import Camera
from lidar_ebm.simulation.scene import make_scene
from lidar_ebm.simulation.sensor import (
    AZIMUTH_STEP,
    ELEVATIONS,
    MAX_RANGE,
    NOTHING,
    RANGE_NOISE,
    SURROUNDINGS,
    TURN,
    Echoes,
    RayGrid,
    camera_grid,
    cast,
    full_grid,
    receive,
)
from lidar_ebm.simulation.solids import Solid, SolidBuilder, ball, block, merge, upright_prism
from lidar_ebm.simulation.street import SENSOR_HEIGHT, Ground


def _directions(grid: RayGrid) -> np.ndarray:
    azimuth, elevation = np.meshgrid(grid.azimuths, grid.elevations, indexing="ij")
    return np.stack(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], axis=-1
    )  # [C, R, 3]


def _brute_force(solid: Solid, grid: RayGrid) -> np.ndarray:
    """[C, R] distance to the nearest piece over a level ground, every ray against every piece."""
    directions = _directions(grid)
    with np.errstate(divide="ignore", invalid="ignore"):
        nearest = np.where(directions[..., 2] < 0, -SENSOR_HEIGHT / directions[..., 2], np.inf)
        nearest[nearest * np.cos(grid.elevations) > MAX_RANGE / 1.03] = np.inf
        for first, last in zip(solid.plane_starts[:-1], solid.plane_starts[1:], strict=True):
            towards = directions @ solid.planes[first:last, :3].T
            t = solid.planes[first:last, 3] / towards
            enter = np.where(towards < 0, t, -np.inf).max(axis=-1)
            leave = np.where(towards > 0, t, np.inf).min(axis=-1)
            nearest = np.where((enter > 0) & (enter < leave) & (enter < nearest), enter, nearest)
    return nearest


def _random_solid(seed: int) -> Solid:
    rng = np.random.default_rng(seed)
    parts = []
    for index in range(25):
        shapes = (
            block((-1, 1), (-1, 1), (-1, 1)),
            ball((0, 0, 0), (1, 1, 1)),
            upright_prism((0, 0), (1, 1), (-1, 1), top_scale=0.7),
        )
        part = SolidBuilder().add(shapes[index % 3], 0.5).build().fitted(rng.uniform(0.3, 8.0, 3))
        azimuth, distance = rng.uniform(-np.pi, np.pi), rng.uniform(9.0, 50.0)
        position = (distance * np.cos(azimuth), distance * np.sin(azimuth), rng.uniform(-1.5, 0.5))
        parts.append(part.placed(position, rng.uniform(-np.pi, np.pi)))
    return merge(parts)


@pytest.mark.parametrize("seed", range(4))
def test_casting_agrees_with_brute_force(seed: int) -> None:
    solid, grid = _random_solid(seed), full_grid()
    echoes = cast(solid, np.arange(25), Ground.level(), grid, seed=1)
    expected = _brute_force(solid, grid)
    hit = np.isfinite(expected)
    assert (np.isfinite(echoes.depth) != hit).mean() < 1e-3  # the ground's far edge, and rays that graze an edge
    both = hit & np.isfinite(echoes.depth)
    assert (np.abs(echoes.depth[both] / expected[both] - 1) > 1e-6).mean() < 1e-3
    assert ((echoes.actor == NOTHING) == ~np.isfinite(echoes.depth)).all()


def test_camera_view_is_a_part_of_the_full_view() -> None:
    scene = make_scene(np.random.default_rng(5))
    solid, owners = scene.solid()
    whole, part = (
        cast(solid, owners, scene.ground, grid, seed=2)
        for grid in (full_grid(SIMULATED_CAMERA), camera_grid(SIMULATED_CAMERA))
    )
    grid = camera_grid(SIMULATED_CAMERA)
    columns = slice(grid.first, grid.first + len(grid.azimuths))
    beams = slice(0, len(grid.elevations))
    for name in ("depth", "albedo", "cosine", "actor", "glass"):
        np.testing.assert_array_equal(getattr(whole, name)[columns, beams], getattr(part, name))
    np.testing.assert_array_equal(whole.alone, part.alone)
    np.testing.assert_array_equal(whole.visible, part.visible)


def test_a_thing_straight_behind_is_seen() -> None:
    wall = SolidBuilder().add(block((-11, -10), (-3, 3), (-2, 3)), 0.5).build()
    echoes = cast(wall, np.array([0]), Ground.level(), full_grid(SIMULATED_CAMERA), seed=0)
    behind = [0, 1, TURN - 1]
    np.testing.assert_allclose(echoes.depth[behind, 0] * np.cos(ELEVATIONS[0]), 10.0, rtol=1e-4)
    assert echoes.alone[0] == 0  # but not in the image
    around = cast(wall, np.array([0]), Ground.level(), full_grid(), seed=0)
    np.testing.assert_array_equal(around.depth, echoes.depth)  # what is in view changes no echo
    assert around.alone[0] >= around.visible[0] == (echoes.actor == 0).sum() > 0


def test_nothing_but_ground() -> None:
    nothing = SolidBuilder().build()
    echoes = cast(nothing, np.zeros(0, np.int64), Ground.level(), camera_grid(SIMULATED_CAMERA), seed=0)
    down = camera_grid(SIMULATED_CAMERA).elevations < np.radians(-2.0)
    expected = np.broadcast_to(
        SENSOR_HEIGHT / np.sin(-camera_grid(SIMULATED_CAMERA).elevations[down]), echoes.depth[:, down].shape
    )
    np.testing.assert_allclose(echoes.depth[:, down], expected, rtol=1e-9)
    np.testing.assert_allclose(echoes.cosine[:, down], SENSOR_HEIGHT / expected, rtol=1e-6)
    assert (echoes.actor[:, down] == SURROUNDINGS).all()


def test_beams_span_the_given_angles() -> None:
    assert len(ELEVATIONS) == 64
    assert np.degrees(ELEVATIONS[[0, -1]]).tolist() == pytest.approx([2.0, -24.8])
    assert (np.diff(ELEVATIONS) < 0).all()
    assert pytest.approx(2 * np.pi) == TURN * AZIMUTH_STEP


def test_points_lie_on_the_beams_of_the_pattern() -> None:
    scene = make_scene(np.random.default_rng(6))
    solid, owners = scene.solid()
    grid = camera_grid(SIMULATED_CAMERA)
    returns = receive(cast(solid, owners, scene.ground, grid, seed=2), grid, np.random.default_rng(0))
    x, y, z, reflectance = returns.points.T.astype(np.float64)
    far = np.hypot(x, y) > 5.0  # files hold millimetres, which turn near points by a little
    column = (np.arctan2(y, x)[far] + np.pi) / AZIMUTH_STEP
    assert np.abs(column - np.round(column)).max() < 0.06
    elevation = np.arctan2(z, np.hypot(x, y))[far]
    assert np.degrees(np.abs(elevation[:, None] - ELEVATIONS).min(axis=1)).max() < 0.02
    assert ((reflectance >= 0) & (reflectance <= 1)).all()


def test_range_noise() -> None:
    wall = SolidBuilder().add(block((20, 21), (-15, 15), (-5, 5)), 0.5).build()
    grid = camera_grid(SIMULATED_CAMERA)
    echoes = cast(wall, np.array([SURROUNDINGS]), Ground.level(), grid, seed=0)
    returns = receive(echoes, grid, np.random.default_rng(1))
    points = returns.points[np.abs(returns.points[:, 0] - 20.0) < 0.5].astype(np.float64)
    points = points[points[:, 2] > -1.0]
    along = points[:, 0] / np.linalg.norm(points[:, :3], axis=1)
    residual = (points[:, 0] - 20.0) / along
    assert abs(residual.mean()) < 0.002
    assert residual.std() == pytest.approx(RANGE_NOISE, rel=0.05)


def _wall_returns(distance: float, albedo: float, *, glass: tuple[int, ...] = ()) -> tuple[float, float]:
    """Share of rays on a wall that come back, and the mean reflectance."""
    planes = block((distance, distance + 2.0), (-0.2 * distance, 0.2 * distance), (-1.0, 1.0))
    wall = SolidBuilder().add(planes, albedo, glass=glass).build()
    grid = camera_grid(SIMULATED_CAMERA)
    echoes: Echoes = cast(wall, np.array([0]), Ground.level(), grid, seed=0)
    returns = receive(echoes, grid, np.random.default_rng(1))
    back = returns.actor == 0
    return back.sum() / (echoes.actor == 0).sum(), float(returns.points[back, 3].mean())


def test_distance_material_and_glass_decide_what_comes_back() -> None:
    near, bright = _wall_returns(10.0, 0.5)
    far, _ = _wall_returns(100.0, 0.05)
    window, _ = _wall_returns(10.0, 0.5, glass=(1,))
    _, dark = _wall_returns(10.0, 0.1)
    assert near > 0.95
    assert far < 0.5
    assert 0.1 < window < 0.6
    assert bright > 3 * dark


def test_a_fence_stops_some_rays_and_leaves_others() -> None:
    fence = SolidBuilder().add(block((10, 10.1), (-3, 3), (-1.7, 1.0)), 0.5, opacity=0.4).build()
    wall = SolidBuilder().add(block((20, 21), (-6, 6), (-1.7, 2.0)), 0.5).build()
    echoes = cast(merge([fence, wall]), np.array([0, 1]), Ground.level(), camera_grid(SIMULATED_CAMERA), seed=0)
    behind = np.abs(echoes.depth - 20.0) < 1.0
    before = np.abs(echoes.depth - 10.0) < 0.5
    assert (echoes.actor[before] == 0).mean() > 0.35
    assert (echoes.actor[behind] == 1).sum() > 1000
    assert echoes.alone[1] > echoes.visible[1] > 0.4 * echoes.alone[1]


def test_a_camera_that_sees_no_ray_is_refused() -> None:
    upwards = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    with pytest.raises(InputError, match="lidar_to_camera"):
        camera_grid(Camera(np.array([[500.0, 0, 50, 0], [0, 500, 50, 0], [0, 0, 1, 0]]), upwards, (100, 100)))
