"""Normal and Student densities in wrapped and bounded dimensions, from the narrowest to the widest."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor

from lidar_ebm.ebm.densities import draw_normal, draw_student, normal_log_prob, student_log_prob
from lidar_ebm.ebm.targets import TargetSpace

BOUND = 0.0625  # the same number in float32
REAL, CIRCLE = TargetSpace.real(1), TargetSpace.angles(1)
SIZE = TargetSpace(("size",), (None,), (BOUND,), (0.1,))
MIXED = TargetSpace(("x", "size", "angle"), (None, None, 1.0), (-math.inf, -1.9, -math.inf), (1.0, 0.5, 0.1))
WIDTHS = [1e-6, 1e-3, 0.1, 0.5, 1.0, 2.0, 2.5133, 2.6, 4.0, 20.0, 1e3, 1e6]
CENTERS = [-1e6, -1e3, -7.0, -0.1, BOUND, 0.3, 40.0, 1e6]  # of sizes, far below the bound to far above


def column(values: float | Tensor) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64).reshape(-1, 1)


def effective_width(center: float, width: float, lower: float = BOUND) -> float:
    """Reach of a truncated normal above the bound, its centre being below."""
    return width / max(1.0, (lower - center) / width)


def nodes(low: float, high: float, pieces: int = 400) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre points and weights, 20 in each of the pieces of an interval."""
    x, w = (torch.from_numpy(values) for values in np.polynomial.legendre.leggauss(20))
    half = (high - low) / pieces / 2
    middles = low + half * (2 * torch.arange(pieces, dtype=torch.float64) + 1)
    return (middles.unsqueeze(1) + half * x).flatten(), (half * w).repeat(pieces)


def chi_square(counts: np.ndarray, shares: np.ndarray) -> float:
    """p-value of counts against the shares that are expected, in the bins that hold more than a few."""
    expected = shares * counts.sum()
    many = expected > 20
    return float(stats.chi2.sf(((counts - expected) ** 2 / expected)[many].sum(), many.sum()))


# ---------------------------------------------------------------------------------------------------- normal


def test_is_normal_on_the_real_line() -> None:
    y, center = column(torch.linspace(-5, 5, 50)), torch.tensor([0.7], dtype=torch.float64)
    for width in WIDTHS:
        std = center.new_tensor([width])
        expected = torch.distributions.Normal(center, std).log_prob(y)
        for space in (None, REAL):
            torch.testing.assert_close(normal_log_prob(y, center, std, space), expected)


@pytest.mark.parametrize("width", WIDTHS)
def test_wrapped_normal_is_the_sum_over_its_wraps(width: float) -> None:
    """Against wraps to six stds; where those are too many, against the uniform density."""
    offset = torch.cat([torch.linspace(-math.pi, math.pi, 101), torch.linspace(-1, 1, 51) * min(width, 1) * 5]).double()
    if width < 100:
        turns = 2 * math.pi * torch.arange(-20 - int(width * 2), 21 + int(width * 2)).double()
        z = (offset.unsqueeze(1) + turns) / width
        expected = torch.logsumexp(-0.5 * z.square(), dim=1) - math.log(width * math.sqrt(2 * math.pi))
    else:
        expected = torch.full_like(offset, -math.log(2 * math.pi))
    for center, tolerance in ((0.0, 1e-12), (3.0, 1e-8), (-50.0, 1e-7)):  # the sum center + offset is itself rounded
        if center and width < 1e-3:
            continue
        log_density = normal_log_prob(column(center + offset), column(center), column(width), CIRCLE).squeeze(1)
        torch.testing.assert_close(log_density, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("width", WIDTHS)
def test_wrapped_normal_integrates_to_one(width: float) -> None:
    for center in (0.0, 1.0, 3.14):
        reach = min(12 * width, math.pi)
        y, weights = nodes(center - reach, center + reach)
        density = normal_log_prob(column(y), column(center), column(width), CIRCLE).exp().squeeze(1)
        assert (density * weights).sum().item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("width", WIDTHS)
def test_truncated_normal_agrees_with_scipy_and_integrates_to_one(center: float, width: float) -> None:
    start, reach, middle = (BOUND - center) / width, effective_width(center, width), max(center, BOUND)
    excess, weights = nodes(max(middle - 12 * width - BOUND, 0.0), middle - BOUND + (40 if start > 0 else 12) * reach)
    log_density = normal_log_prob(column(BOUND + excess), column(center), column(width), SIZE).squeeze(1)
    # The grid itself is rounded at the bound plus excess, which a width of 1e-6 beside 1e6 notices.
    rounding = torch.finfo(torch.float64).eps * (BOUND + excess.max().item()) / reach
    integral = (log_density.exp() * weights).sum().item()
    assert integral == pytest.approx(1, abs=1e-9 + 20 * rounding)
    u = excess.numpy() / width
    if start > 0:
        expected = -u * (u / 2 + start) - math.log(width * math.sqrt(math.pi / 2) * special.erfcx(start / math.sqrt(2)))
    else:
        expected = stats.norm.logpdf(BOUND + excess.numpy(), center, width) - special.log_ndtr(-start)
    likely = expected > expected.max() - 20
    np.testing.assert_allclose(log_density.numpy()[likely], expected[likely], rtol=1e-10, atol=1e-9 + 200 * rounding)


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("width", WIDTHS)
def test_float32_is_as_good_as_its_inputs(center: float, width: float) -> None:
    """Of a truncated normal with points as many widths off as float32 can tell, of a wrapped one anywhere."""
    steps = torch.tensor([0.0, 0.1, 1.0, 3.0])
    y = (max(center, BOUND) + steps * max(effective_width(center, width), 1e-6 * abs(center))).float()
    y, mean, std = y.reshape(-1, 1), torch.tensor([center]), torch.tensor([width])
    for space in (SIZE, CIRCLE):
        coarse = normal_log_prob(y, mean, std, space)
        exact = normal_log_prob(y.double(), mean.double(), std.double(), space)
        assert coarse.dtype == torch.float32
        assert coarse.isfinite().all()
        if space is SIZE:
            torch.testing.assert_close(coarse.double(), exact, rtol=1e-4, atol=1e-4)


def test_nothing_lies_below_a_bound() -> None:
    y = torch.tensor([[0.0624], [-1e6], [BOUND], [0.0626]])
    log_density = normal_log_prob(y, torch.tensor([0.0]), torch.tensor([0.1]), SIZE).flatten()
    assert log_density[:2].tolist() == [-math.inf, -math.inf]
    assert log_density[2:].isfinite().all()


@pytest.mark.parametrize("width", [1e-3, 0.02, 0.39, 0.41, 1.0, 3.0])
@pytest.mark.parametrize("center", [-8.0, -2.5, -1.0, 1.0])
def test_gradients_by_finite_differences(center: float, width: float) -> None:
    """To y, centre and std, in every dimension of a mixed space, on both sides of every switch of formulas."""
    random = torch.Generator().manual_seed(0)
    reach = effective_width(center, width, -1.9)
    sizes = max(center, -1.9) + torch.tensor([0.1, 1.0, 2.0], dtype=torch.float64) * reach
    angles = center + torch.tensor([-1.0, 0.3, 2.0], dtype=torch.float64) * width
    y0 = torch.stack([angles, sizes, angles], dim=1)
    centers = center + 0.1 * width * torch.rand(3, 3, dtype=torch.float64, generator=random)
    std = torch.full_like(centers, width)
    scale = y0.new_tensor([width, reach, width])

    def log_prob(y: Tensor, offset: Tensor, log_std: Tensor) -> Tensor:  # relative to what matters at that width
        return normal_log_prob(y0 + y * scale, centers + offset * scale, std * log_std.exp(), MIXED)

    zeros = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    arguments = (zeros, zeros.detach().clone().requires_grad_(), zeros.detach().clone().requires_grad_())
    assert torch.autograd.gradcheck(log_prob, arguments, eps=1e-4, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("center", CENTERS)
def test_gradients_are_finite_in_float32(center: float, width: float) -> None:
    y = torch.tensor([[max(center, BOUND)], [max(center, BOUND) + width], [-3.0]])
    for space in (SIZE, CIRCLE):
        std = torch.tensor([width], requires_grad=True)
        mean = torch.tensor([center], requires_grad=True)
        log_density = normal_log_prob(y, mean, std, space)
        log_density[log_density.isfinite()].sum().backward()
        assert mean.grad is not None
        assert std.grad is not None
        assert mean.grad.isfinite().all()
        assert std.grad.isfinite().all()


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("width", WIDTHS)
def test_draws_of_the_truncated_normal(center: float, width: float) -> None:
    """P(draw > y) is uniform at draws: in the far tail from e (t + e / 2) and erfcx, elsewhere from scipy's sf."""
    generator = torch.Generator().manual_seed(3)
    y = draw_normal(column(center).expand(4000, 1), column(width), SIZE, generator).squeeze(1)
    assert (y >= BOUND).all()
    if effective_width(center, width) < 1e-13:  # too narrow to be told from the bound itself
        assert (y < BOUND + 1e-12).all()
        return
    start, e = (BOUND - center) / width, ((y - BOUND) / width).numpy()
    if start > 0:
        ratio = special.erfcx((start + e) / math.sqrt(2)) / special.erfcx(start / math.sqrt(2))
        share = np.exp(-e * (start + e / 2)) * ratio
    else:
        share = stats.norm.sf((y.numpy() - center) / width) / stats.norm.sf(start)
    assert stats.kstest(share, "uniform").pvalue > 1e-5


@pytest.mark.parametrize("width", WIDTHS)
def test_draws_of_the_wrapped_normal(width: float) -> None:
    center = 3.0
    y = draw_normal(column(center).expand(20_000, 1), column(width), CIRCLE, torch.Generator().manual_seed(4))
    assert (y.abs() <= math.pi).all()
    offset = CIRCLE.difference(y, column(center)).squeeze(1)
    edges = torch.linspace(-1, 1, 41, dtype=torch.float64) * min(5 * width, math.pi)
    counts = np.histogram(offset.numpy(), edges.numpy())[0]
    parts = [nodes(low, high, 2) for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)]
    shares = np.array(
        [(normal_log_prob(column(t), column(0.0), column(width), CIRCLE).exp().squeeze(1) * w).sum() for t, w in parts]
    )
    assert counts.sum() > 0.999 * len(y)
    assert chi_square(counts, shares / shares.sum()) > 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_stay_in_the_space(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(5)
    for center in CENTERS:
        for width in WIDTHS:
            centers, stds = torch.full((3, 1, 3), center, dtype=dtype), torch.full((3, 50, 3), width, dtype=dtype)
            for y in (draw_normal(centers, stds, MIXED, generator), draw_student(centers, stds, 1, MIXED, generator)):
                assert y.dtype == dtype
                assert y.shape == (3, 50, 3)
                assert y.isfinite().all()
                assert MIXED.contains(y).all()
                assert torch.equal(MIXED.wrap(y), y)


def test_draws_are_those_without_a_space_where_nothing_is_near() -> None:
    center, std = torch.tensor([[3.0, 5.0, 0.1]]).expand(200, 3), torch.tensor([0.3, 0.6, 0.02])
    free = draw_normal(center, std, None, torch.Generator().manual_seed(6))
    assert torch.equal(free, center + std * torch.randn(200, 3, generator=torch.Generator().manual_seed(6)))
    torch.testing.assert_close(draw_normal(center, std, MIXED, torch.Generator().manual_seed(6)), free)


def test_draws_carry_no_gradients() -> None:
    center = torch.ones(2, 3, requires_grad=True)
    for space in (None, MIXED):
        assert not draw_normal(center, torch.ones(3), space).requires_grad
        assert not draw_student(center, torch.ones(3), 2, space).requires_grad


# --------------------------------------------------------------------------------------------------- Student


@pytest.mark.parametrize("degrees", [0.5, 1, 2, 3.5, 30])
def test_student_on_the_real_line_agrees_with_scipy(degrees: float) -> None:
    y = torch.linspace(-300, 300, 101, dtype=torch.float64)
    for width in (1e-6, 0.2, 1e6):
        expected = stats.t.logpdf(y.numpy(), degrees, 0.7, width)
        log_density = student_log_prob(column(y), column(0.7), column(width), degrees).squeeze(1)
        np.testing.assert_allclose(log_density.numpy(), expected, rtol=1e-9)
        draws = draw_student(
            column(0.7).expand(4000, 1), column(width), degrees, None, torch.Generator().manual_seed(1)
        )
        assert stats.kstest(draws.squeeze(1).numpy(), stats.t(degrees, 0.7, width).cdf).pvalue > 1e-5


@pytest.mark.parametrize("degrees", [1, 2])
@pytest.mark.parametrize("width", [1e-6, 1e-3, 0.3, 3.0, 1e3, 1e6])
def test_student_around_the_circle(degrees: float, width: float) -> None:
    """Cut off half a turn away: shares of scipy's distribution, relative to that of the half turns."""
    turn, weights = nodes(-math.pi / width, math.pi / width)
    inside = (
        (stats.t.pdf(turn.numpy(), degrees) * weights.numpy()).sum()
        if width > 0.1
        else 1.0 - 2 * stats.t.sf(math.pi / width, degrees)
    )
    offset = torch.linspace(-3.1, 3.1, 61, dtype=torch.float64)
    log_density = student_log_prob(column(offset + 2), column(2.0), column(width), degrees, CIRCLE).squeeze(1)
    expected = stats.t.logpdf(offset.numpy() / width, degrees) - math.log(width * inside)
    np.testing.assert_allclose(log_density.numpy(), expected, rtol=1e-7, atol=1e-7)
    y = draw_student(column(2.0).expand(4000, 1), column(width), degrees, CIRCLE, torch.Generator().manual_seed(2))
    z = CIRCLE.difference(y, column(2.0)).squeeze(1).numpy() / width
    share = (stats.t.cdf(z, degrees) - stats.t.cdf(-math.pi / width, degrees)) / inside
    assert stats.kstest(share, "uniform").pvalue > 1e-5


@pytest.mark.parametrize("degrees", [1, 2])
@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("width", [1e-6, 0.3, 1e6])
def test_student_above_a_bound(degrees: float, center: float, width: float) -> None:
    above = stats.t.sf(BOUND, degrees, center, width)
    y = draw_student(column(center).expand(4000, 1), column(width), degrees, SIZE, torch.Generator().manual_seed(2))
    assert (y >= BOUND).all()
    assert stats.kstest(stats.t.sf(y.squeeze(1).numpy(), degrees, center, width) / above, "uniform").pvalue > 1e-5
    log_density = student_log_prob(y, column(center), column(width), degrees, SIZE).squeeze(1)
    expected = stats.t.logpdf(y.squeeze(1).numpy(), degrees, center, width) - math.log(above)
    np.testing.assert_allclose(log_density.numpy(), expected, rtol=1e-7, atol=1e-7)
    below = student_log_prob(column(0.0), column(center), column(width), degrees, SIZE)
    assert below.item() == -math.inf


@pytest.mark.parametrize("degrees", [1, 2])
def test_gradients_of_student_by_finite_differences(degrees: float) -> None:
    random = torch.Generator().manual_seed(0)
    y = torch.rand(4, 3, dtype=torch.float64, generator=random) - 1.5
    center = torch.randn(4, 3, dtype=torch.float64, generator=random) - 1.5
    scale = torch.rand(4, 3, dtype=torch.float64, generator=random) + 0.1

    def log_prob(y: Tensor, center: Tensor, scale: Tensor) -> Tensor:
        return student_log_prob(y, center, scale, degrees, MIXED)

    assert torch.autograd.gradcheck(log_prob, tuple(values.requires_grad_() for values in (y, center, scale)))
