from __future__ import annotations

import numpy as np
import pytest

from lidar_ebm.simulation.bodies import STATISTICS, VEHICLES, draw_size, draw_vehicle_class, make_body
from lidar_ebm.simulation.cars import CAR_STYLES, car_body, choose_style
from lidar_ebm.simulation.solids import Solid


def _inside(solid: Solid, points: np.ndarray) -> np.ndarray:
    """Mask of the points [N, 3] that lie in any piece."""
    inside = np.zeros(len(points), dtype=bool)
    for first, last in zip(solid.plane_starts[:-1], solid.plane_starts[1:], strict=True):
        planes = solid.planes[first:last]
        inside |= (points @ planes[:, :3].T <= planes[:, 3]).all(axis=1)
    return inside


def test_there_are_at_least_six_body_shapes() -> None:
    assert len(CAR_STYLES) >= 6


@pytest.mark.parametrize("style", list(CAR_STYLES))
def test_car_touches_all_faces_of_its_box_and_is_not_the_box(style: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(10):
        size = draw_size("Car", rng)
        body = car_body(style, size, rng)
        low, high = body.extent
        np.testing.assert_allclose(high, np.array(size) / 2, atol=1e-7)
        np.testing.assert_allclose(low, -np.array(size) / 2, atol=1e-7)
        points = rng.uniform(-0.5, 0.5, (4000, 3)) * size
        assert 0.4 < _inside(body, points).mean() < 0.85
        bonnet = points[points[:, 0] > 0.42 * size[0]]
        assert not _inside(body, bonnet[bonnet[:, 2] > 0.25 * size[2]]).any()  # the bonnet is lower than the roof
        assert body.glass.any()


@pytest.mark.parametrize("class_name", list(STATISTICS))
def test_every_class_has_tight_bodies(class_name: str) -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        size = draw_size(class_name, rng)
        low, high = make_body(class_name, size, rng).extent
        np.testing.assert_allclose(high - low, size, atol=1e-7)
        np.testing.assert_allclose(high + low, 0.0, atol=1e-7)


@pytest.mark.parametrize("class_name", list(STATISTICS))
def test_every_piece_of_a_body_is_a_solid(class_name: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        body = make_body(class_name, draw_size(class_name, rng), rng)
        assert np.diff(body.corner_starts).min() >= 4
        assert np.isfinite(body.planes).all()


@pytest.mark.parametrize("class_name", list(STATISTICS))
def test_sizes_follow_the_statistics(class_name: str) -> None:
    rng = np.random.default_rng(4)
    sizes = np.array([draw_size(class_name, rng) for _ in range(4000)])
    statistics = STATISTICS[class_name]
    np.testing.assert_allclose(sizes.mean(axis=0), statistics.mean, rtol=0.02)
    np.testing.assert_allclose(sizes.std(axis=0), statistics.deviation, rtol=0.12)  # a little less: truncated
    assert sizes.min() > 0.2
    assert np.corrcoef(sizes[:, 0], sizes[:, 1])[0, 1] > 0.3


def test_vehicle_classes_have_the_shares_of_kitti() -> None:
    rng = np.random.default_rng(5)
    drawn = [draw_vehicle_class(rng) for _ in range(10000)]
    total = sum(STATISTICS[name].count for name in VEHICLES)
    for name in VEHICLES:
        assert drawn.count(name) / 10000 == pytest.approx(STATISTICS[name].count / total, abs=0.012)


def test_style_goes_with_the_size_and_all_styles_occur() -> None:
    rng = np.random.default_rng(6)
    for style, (length, height) in {"coupe": (4.1, 1.33), "compact": (3.2, 1.5), "pickup": (4.9, 1.7)}.items():
        drawn = [choose_style((length, 1.7, height), rng) for _ in range(300)]
        assert max(set(drawn), key=drawn.count) == style
    styles = [choose_style(draw_size("Car", rng), rng) for _ in range(3000)]
    for style in CAR_STYLES:
        assert styles.count(style) > 30
