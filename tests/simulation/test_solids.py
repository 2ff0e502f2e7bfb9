from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import ConvexHull, HalfspaceIntersection

from lidar_ebm.simulation.solids import SolidBuilder, ball, block, hull, merge, profile, sides, upright_prism


def _rows(points: np.ndarray) -> np.ndarray:
    """Points in an order that does not depend on how they were found."""
    return points[np.lexsort(np.round(points, 5).T)]


@pytest.mark.parametrize("seed", range(5))
def test_corners_agree_with_an_independent_half_space_intersection(seed: int) -> None:
    rng = np.random.default_rng(seed)
    normals = rng.standard_normal((12, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    planes = np.column_stack([normals, rng.uniform(0.5, 1.5, 12)])
    planes = np.concatenate([planes, np.array(block((-2, 2), (-2, 2), (-2, 2)))])
    solid = SolidBuilder().add([tuple(plane) for plane in planes], 0.5).build()
    reference = HalfspaceIntersection(np.column_stack([planes[:, :3], -planes[:, 3]]), np.zeros(3)).intersections
    reference = reference[np.unique(np.round(reference, 6), axis=0, return_index=True)[1]]
    np.testing.assert_allclose(_rows(solid.corners), _rows(reference), atol=1e-6)


def test_fitted_solid_touches_all_faces_and_its_planes_still_hold_its_corners() -> None:
    solid = SolidBuilder().add(upright_prism((0.1, 0.2), (0.5, 0.3), (0.0, 1.0), top_scale=0.6), 0.3).build()
    size = (3.9, 1.6, 1.5)
    fitted = solid.fitted(size)
    low, high = fitted.extent
    np.testing.assert_allclose(high, np.array(size) / 2, atol=1e-9)
    np.testing.assert_allclose(low, -np.array(size) / 2, atol=1e-9)
    values = fitted.corners @ fitted.planes[:, :3].T - fitted.planes[:, 3]
    assert values.max() < 1e-6
    assert (np.abs(values) < 1e-6).sum(axis=1).min() >= 3  # every corner lies on at least three planes


def test_placing_moves_planes_and_corners_alike() -> None:
    solid = SolidBuilder().add(ball((0.0, 0.0, 0.0), (1.0, 2.0, 0.5)), 0.3).build()
    placed = solid.placed((10.0, -4.0, 1.0), 0.7)
    before = solid.corners @ solid.planes[:, :3].T - solid.planes[:, 3]
    after = placed.corners @ placed.planes[:, :3].T - placed.planes[:, 3]
    np.testing.assert_allclose(before, after, atol=1e-9)
    np.testing.assert_allclose(ConvexHull(placed.corners).volume, ConvexHull(solid.corners).volume, rtol=1e-9)
    heading = placed.corners - np.array([10.0, -4.0, 1.0])
    np.testing.assert_allclose(np.hypot(*heading[:, :2].T), np.hypot(*solid.corners[:, :2].T), atol=1e-9)


def test_profile_and_sides_make_the_polygon_they_are_given() -> None:
    outline = [(0.0, 0.0), (2.0, 0.0), (1.5, 1.0), (0.5, 1.0)]
    solid = SolidBuilder().add(profile(outline) + sides((0.0, 0.5), (1.0, 0.3)), 0.5).build()
    expected = [(x, side * (0.5 - 0.2 * z), z) for x, z in outline for side in (-1, 1)]
    np.testing.assert_allclose(_rows(solid.corners), _rows(np.array(expected)), atol=1e-9)


def test_hull_agrees_with_an_independent_one() -> None:
    points = np.random.default_rng(0).standard_normal((30, 2))
    reference = points[ConvexHull(points).vertices]  # counter-clockwise too
    ours = np.array(hull([(float(x), float(z)) for x, z in points]))
    start = int(np.abs(reference - ours[0]).sum(axis=1).argmin())
    np.testing.assert_allclose(ours, np.roll(reference, -start, axis=0))


def test_merging_keeps_every_piece() -> None:
    one = SolidBuilder().add(block((0, 1), (0, 1), (0, 1)), 0.1).build()
    two = (
        SolidBuilder().add(ball((0, 0, 0), (1, 1, 1)), 0.2, opacity=0.5).add(block((2, 3), (0, 1), (0, 1)), 0.3).build()
    )
    nothing = SolidBuilder().build()
    merged = merge([one, nothing, two])
    assert merged.opacity.tolist() == [1.0, 0.5, 1.0]
    assert np.diff(merged.plane_starts).tolist() == [6, 14, 6]
    last = merged.corners[merged.corner_starts[2] : merged.corner_starts[3]]
    np.testing.assert_allclose(last.mean(axis=0), (2.5, 0.5, 0.5))
    assert merged.albedo[merged.plane_starts[2]] == 0.3
