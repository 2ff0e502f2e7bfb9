"""Densities on a grid against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lidar_ebm.ebm.grid import Grid, GridDensity, grid_search, tabulate
from lidar_ebm.ebm.targets import TargetSpace

MEANS = torch.tensor([[0.5, -1.0], [-0.3, 0.8]], dtype=torch.float64)
COVARIANCE = torch.tensor([[0.25, 0.12], [0.12, 0.16]], dtype=torch.float64)


def gaussian(y: Tensor) -> Tensor:
    """Two inputs, the same covariance, unnormalised: each row with an offset of its own."""
    offset = y - MEANS.to(y).unsqueeze(1)
    inverse = COVARIANCE.inverse().to(y)
    return -0.5 * torch.einsum("nsi,ij,nsj->ns", offset, inverse, offset) + y.new_tensor([[1000.0], [-1000.0]])


def normal_quantile(probability: float) -> float:
    return math.sqrt(2) * torch.erfinv(torch.tensor(2 * probability - 1, dtype=torch.float64)).item()


@pytest.fixture(scope="module")
def table() -> GridDensity:
    return tabulate(gaussian, Grid([-4, -4], [4, 4], [160, 200], dtype=torch.float64), 2)


def test_points_are_the_centres_of_cells_in_order() -> None:
    grid = Grid([0, 10], [3, 12], [3, 2])
    expected = [[0.5, 10.5], [0.5, 11.5], [1.5, 10.5], [1.5, 11.5], [2.5, 10.5], [2.5, 11.5]]
    assert grid.points.tolist() == expected
    assert grid.points_between(1, 4).tolist() == expected[1:4]
    assert (grid.dims, grid.size, grid.cell, grid.cell_volume) == (2, 6, (1.0, 1.0), 1.0)
    assert Grid(-3, 3, 6).points.flatten().tolist() == [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]


def test_normaliser_and_moments_of_a_gaussian(table: GridDensity) -> None:
    log_z = math.log(2 * math.pi) + 0.5 * COVARIANCE.logdet() + torch.tensor([1000.0, -1000.0], dtype=torch.float64)
    torch.testing.assert_close(table.log_z, log_z, rtol=0, atol=1e-9)
    torch.testing.assert_close(table.mean(), MEANS, rtol=0, atol=1e-9)
    torch.testing.assert_close(table.covariance(), COVARIANCE.expand(2, 2, 2), rtol=0, atol=1e-9)
    torch.testing.assert_close(table.std(), COVARIANCE.diagonal().sqrt().expand(2, 2), rtol=0, atol=1e-9)
    truth = torch.distributions.MultivariateNormal(MEANS.unsqueeze(1), COVARIANCE).log_prob(table.points())
    torch.testing.assert_close(table.log_density, truth, rtol=0, atol=1e-9)
    second = table.expectation(lambda y: y[..., 0] * y[..., 1])
    torch.testing.assert_close(second, MEANS.prod(1) + COVARIANCE[0, 1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_intervals_of_a_gaussian(table: GridDensity, level: float) -> None:
    interval = table.interval(level)
    half = normal_quantile((1 + level) / 2) * COVARIANCE.diagonal().sqrt()
    torch.testing.assert_close(interval.low, MEANS - half, rtol=0, atol=2e-3)
    torch.testing.assert_close(interval.high, MEANS + half, rtol=0, atol=2e-3)
    torch.testing.assert_close(
        table.cumulative_probability(interval.high),
        torch.full((2, 2), (1 + level) / 2, dtype=torch.float64),
        rtol=0,
        atol=1e-9,
    )


def test_density_ranks_of_a_gaussian(table: GridDensity) -> None:
    """Outside a Mahalanobis distance r of a 2-D Gaussian lies exp(-r² / 2)."""
    radius = torch.tensor([0.5, 2.5], dtype=torch.float64)
    f_at_y = torch.tensor([1000.0, -1000.0], dtype=torch.float64) - radius.square() / 2
    rank = table.highest_density_rank(f_at_y)
    torch.testing.assert_close(rank, 1 - (-radius.square() / 2).exp(), rtol=0, atol=5e-3)
    assert table.highest_density_rank(torch.tensor([math.nan, -math.inf])).isnan().tolist() == [True, False]


def test_temperature_widens(table: GridDensity) -> None:
    warm = table.at_temperature(4.0)
    torch.testing.assert_close(warm.covariance(), 4 * COVARIANCE.expand(2, 2, 2), rtol=0, atol=0.05)  # 4 stds fit
    torch.testing.assert_close(warm.log_prob(table.f).exp().sum(1) * table.grid.cell_volume, torch.ones(2).double())
    assert torch.equal(warm.f, table.f)
    with pytest.raises(ValueError, match="temperature"):
        table.at_temperature(0.0)


def test_samples_have_the_moments_and_repeat(table: GridDensity) -> None:
    y = table.sample(40_000, torch.Generator().manual_seed(0))
    assert y.shape == (2, 40_000, 2)
    torch.testing.assert_close(y.mean(1), MEANS, rtol=0, atol=0.01)
    for row in range(2):
        torch.testing.assert_close(y[row].T.cov(), COVARIANCE, rtol=0, atol=0.01)
    assert torch.equal(y, table.sample(40_000, torch.Generator().manual_seed(0)))


def test_wrapped_dimension_across_the_seam() -> None:
    """A von Mises density at π: its circular mean, an interval and ranks that do not know of the seam."""
    space = TargetSpace.angles(1)
    kappa, mu = 8.0, torch.tensor([[math.pi - 0.1], [0.3], [-math.pi + 0.2]], dtype=torch.float64)
    grid = Grid(-math.pi, math.pi, 720, space, dtype=torch.float64)
    table = tabulate(lambda y: kappa * (y - mu.unsqueeze(1)).squeeze(-1).cos(), grid, 3)
    torch.testing.assert_close(space.difference(table.mean(), mu), torch.zeros(3, 1).double(), rtol=0, atol=1e-9)
    bessel = torch.special.i0(torch.tensor(kappa, dtype=torch.float64)).log() + math.log(2 * math.pi)
    torch.testing.assert_close(table.log_z, bessel.expand(3), rtol=0, atol=1e-9)
    interval = table.interval(0.9)
    torch.testing.assert_close(
        interval.high - interval.low, (interval.high - interval.low)[:1].expand(3, 1), atol=1e-3, rtol=0
    )
    torch.testing.assert_close((interval.high + interval.low) / 2, mu, rtol=0, atol=1e-3)
    assert interval.contains(mu).all()
    assert interval.contains(space.wrap(mu + 0.4)).all()
    assert not interval.contains(space.wrap(mu + 0.8)).any()
    half = (interval.high - mu).flatten()
    probabilities = table.cumulative_probability(space.wrap(mu + half.unsqueeze(1)))
    torch.testing.assert_close(probabilities, torch.full((3, 1), 0.95).double(), rtol=0, atol=1e-3)
    samples = table.sample(2000, torch.Generator().manual_seed(1))
    assert ((samples >= -math.pi) & (samples < math.pi)).all()


def test_search_finds_the_best_cell_whatever_the_chunk() -> None:
    grid = Grid([-4, -4], [4, 4], [40, 50])
    sizes: list[int] = []

    def energy(y: Tensor) -> Tensor:
        sizes.append(y.shape[0] * y.shape[1])
        assert not torch.is_grad_enabled()
        return gaussian(y)

    everything = tabulate(energy, grid, 2)
    for chunk in (2, 77, 10_000):
        sizes.clear()
        best = grid_search(energy, grid, 2, chunk=chunk)
        assert max(sizes) <= chunk
        assert sum(sizes) == 2 * grid.size
        # To rounding: a chunk's size chooses in which order the library adds up f.
        torch.testing.assert_close(best.f, everything.f.max(1).values)
        assert torch.equal(best.y, grid.points[everything.f.argmax(1)])
        torch.testing.assert_close(tabulate(energy, grid, 2, chunk=chunk).f, everything.f)
    assert (best.y - MEANS).abs().max() < 0.11


def test_no_inputs() -> None:
    grid = Grid([-1, -1], [1, 1], [5, 5])
    table = tabulate(lambda y: y.sum(-1), grid, 0)
    assert table.log_z.shape == (0,)
    assert table.mean().shape == (0, 2)
    assert table.covariance().shape == (0, 2, 2)
    assert table.interval(0.9).low.shape == (0, 2)
    assert table.sample(3).shape == (0, 3, 2)
    assert grid_search(lambda y: y.sum(-1), grid, 0).y.shape == (0, 2)


def test_no_numbers_give_no_numbers() -> None:
    """A row of NaN says so, and the other row does not mind."""
    grid = Grid(-1, 1, 50)
    table = tabulate(lambda y: torch.stack([-y[0, :, 0].square(), y[1, :, 0] * math.nan]), grid, 2)
    for values in (table.log_z, table.mean(), table.covariance(), table.sample(3)):
        assert values[1].isnan().all()
        assert values[0].isfinite().all()


def test_impossible_arguments_are_refused() -> None:
    angle = TargetSpace.angles(1)
    size = TargetSpace(("size",), (None,), (0.0,), (1.0,))
    with pytest.raises(ValueError, match="2 lows"):
        Grid([0, 0], [1], [5])
    with pytest.raises(ValueError, match="no range"):
        Grid(1, 1, 5)
    with pytest.raises(ValueError, match="no range"):
        Grid(0, 1, 0)
    with pytest.raises(ValueError, match="period"):
        Grid(0, 7, 5, angle)
    with pytest.raises(ValueError, match="bound"):
        Grid(-1, 1, 5, size)
    with pytest.raises(ValueError, match="dimensions"):
        Grid([0, 0], [1, 1], [5, 5], size)
    with pytest.raises(ValueError, match="chunk"):
        grid_search(gaussian, Grid(0, 1, 5), 1, chunk=0)
