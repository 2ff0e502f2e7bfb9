"""Noise: the plain Gaussian mixture against torch.distributions, and that every draw has the density it is given."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from lidar_ebm.ebm.noise import GaussianMixtureNoise, ShiftedNoise, StudentMixtureNoise, UniformNoise
from lidar_ebm.ebm.random_numbers import GroupedGenerator
from lidar_ebm.ebm.targets import TargetSpace

AnyNoise = GaussianMixtureNoise | StudentMixtureNoise | UniformNoise | ShiftedNoise

SPACE = TargetSpace(("size", "angle"), (None, 2 * math.pi), (0.7, -math.inf), (0.1, 0.1))
WIDTHS = torch.tensor([[0.1, 0.2], [0.4, 0.9]], dtype=torch.float64)
HALF_TURN = torch.tensor([0.0, math.pi], dtype=torch.float64)
NOISES: dict[str, AnyNoise] = {
    "shared": GaussianMixtureNoise(WIDTHS, SPACE),
    "apart": GaussianMixtureNoise(WIDTHS, SPACE, shared=False),
    "wide": GaussianMixtureNoise([[1.0, 3.0], [0.5, 60.0]], SPACE),
    "cauchy": StudentMixtureNoise(WIDTHS / 4, 1, SPACE),
    "student": StudentMixtureNoise(WIDTHS, 2, SPACE, shared=False),
    "uniform": UniformNoise([0.75, -math.pi], [2.0, 2.0], SPACE),
    "flipped": ShiftedNoise(GaussianMixtureNoise(WIDTHS, SPACE), HALF_TURN, 0.3, SPACE),
    "moved": ShiftedNoise(GaussianMixtureNoise(WIDTHS, SPACE, shared=False), [-0.5, 1.0], 0.6, SPACE),
}
CENTERS = torch.tensor([[0.9, 3.0], [0.3, -1.0], [1.5, 0.0]], dtype=torch.float64)  # one of them below the bound
SIZES, BINS, POINTS = (0.7, 2.2), (12, 16), 12  # of histograms, and points in each bin to a side

STDS = torch.tensor([[0.05, 0.1, 0.02], [0.2, 0.4, 0.08], [0.8, 1.6, 0.32]], dtype=torch.float64)


def reference(stds: Tensor, center: Tensor) -> MixtureSameFamily:
    """The same mixture for each row of center [N, D]."""
    components = Independent(Normal(center.unsqueeze(1), stds.expand(len(center), -1, -1)), 1)
    return MixtureSameFamily(Categorical(torch.ones(len(center), len(stds), dtype=stds.dtype)), components)


@pytest.mark.parametrize("components", [1, 2, 3])
def test_log_prob_agrees_with_torch_distributions(components: int) -> None:
    generator = torch.Generator().manual_seed(components)
    stds = STDS[:components]
    center = torch.randn(5, 3, dtype=torch.float64, generator=generator) * 30
    noise = GaussianMixtureNoise(stds)
    y = noise.sample(center, 200, generator)
    expected = reference(stds, center).log_prob(y.transpose(0, 1)).T
    torch.testing.assert_close(noise.log_prob(y, center), expected, rtol=0, atol=1e-6)


def test_log_prob_is_stable_in_float32() -> None:
    """Tiny stds, and offsets of thousands of them, where the densities themselves under- and overflow."""
    noise = GaussianMixtureNoise([[1e-6] * 7, [1e-3] * 7])
    center = torch.zeros(1, 7)
    y = torch.tensor([0.0, 1e-6, 1e-3, 1.0, 1e3])[None, :, None].expand(1, 5, 7)
    log_q = noise.log_prob(y, center)
    assert log_q.isfinite().all()
    expected = reference(noise.stds.double(), center.double()).log_prob(y.transpose(0, 1).double()).T
    torch.testing.assert_close(log_q.double(), expected, rtol=1e-5, atol=1e-5)


def test_samples_share_a_component_and_have_its_moments() -> None:
    noise = GaussianMixtureNoise(torch.tensor([[0.01, 0.01], [1.0, 1.0]]))
    center = torch.tensor([[5.0, -3.0], [0.0, 100.0]])
    offset = noise.sample(center, 20_000, torch.Generator().manual_seed(0)) - center.unsqueeze(1)
    torch.testing.assert_close(offset.mean(1), torch.zeros(2, 2), atol=0.03, rtol=0)
    torch.testing.assert_close(offset.square().mean(1), torch.full((2, 2), (1e-4 + 1) / 2), atol=0.03, rtol=0)
    small = offset.abs() < 0.05  # nearly all draws of the first component, few of the second
    assert (small[..., 0] == small[..., 1]).float().mean() > 0.95


def test_same_seed_same_samples() -> None:
    noise = GaussianMixtureNoise(STDS.float())
    draws = [noise.sample(torch.zeros(2, 3), 4, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*draws)
    assert noise.sample(torch.zeros(0, 3), 4).shape == (0, 4, 3)


def test_leaves_nothing_in_checkpoints() -> None:
    assert not GaussianMixtureNoise(STDS).state_dict()


@pytest.mark.parametrize("stds", [[[0.1, 0.0]], [[0.1, -1.0]], [[0.1, float("nan")]], [0.1, 0.2], torch.zeros(0, 3)])
def test_refuses_stds_that_are_none(stds: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="stds"):
        GaussianMixtureNoise(stds)


def test_without_a_space_the_draws_are_components_then_normals() -> None:
    center = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    draws = GaussianMixtureNoise(STDS.float()).sample(center, 50, torch.Generator().manual_seed(2))
    generator = torch.Generator().manual_seed(2)
    component = torch.randint(3, (4, 50), generator=generator)
    normals = torch.randn(4, 50, 3, generator=generator)
    assert torch.equal(draws, center.unsqueeze(1) + normals * STDS.float()[component])
    torch.manual_seed(3)
    first = GaussianMixtureNoise(STDS.float()).sample(center, 50)
    torch.manual_seed(3)
    assert torch.equal(GaussianMixtureNoise(STDS.float()).sample(center, 50), first)


def nodes(low: float, high: float, pieces: int) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre points and weights of an interval, POINTS in each of its equal pieces."""
    x, w = (torch.from_numpy(values) / 2 for values in np.polynomial.legendre.leggauss(POINTS))
    width = (high - low) / pieces
    starts = low + width * torch.arange(pieces, dtype=torch.float64)
    return (starts.unsqueeze(1) + width * (x + 0.5)).flatten(), (width * w).repeat(pieces)


@pytest.mark.parametrize("name", NOISES)
def test_densities_integrate_to_one_over_the_space(name: str) -> None:
    """Over all angles and all sizes from the bound to far away, as Cauchy's tails need."""
    ratio, ratio_weight = nodes(0.0, 1.0, 40)
    excess, slope = 2 * ratio / (1 - ratio) ** 1.5, (2 + ratio) / (1 - ratio) ** 2.5
    angle, angle_weight = nodes(-math.pi, math.pi, 24)
    y = torch.cartesian_prod(0.7 + excess, angle).expand(len(CENTERS), -1, -1)
    density = NOISES[name].log_prob(y, CENTERS).exp().reshape(len(CENTERS), len(ratio), len(angle))
    integral = torch.einsum("nra,r,a->n", density, slope * ratio_weight, angle_weight)
    tolerance = 0.02 if name == "uniform" else 5e-4  # its edges fall anywhere between the points
    torch.testing.assert_close(integral, torch.ones_like(integral), atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", NOISES)
def test_draws_have_the_density_they_are_given(name: str) -> None:
    """Counts in a 2-D histogram against the density, integrated over its bins."""
    noise, count, (low, high) = NOISES[name], 20_000, SIZES
    draws = noise.sample(CENTERS, count, torch.Generator().manual_seed(7))
    assert SPACE.contains(draws).all()
    assert torch.equal(noise.constrain(draws), draws)
    assert (draws[..., 1].abs() <= math.pi).all()
    size, size_weight = nodes(low, high, BINS[0])
    angle, angle_weight = nodes(-math.pi, math.pi, BINS[1])
    y = torch.cartesian_prod(size, angle).expand(len(CENTERS), -1, -1)
    density = noise.log_prob(y, CENTERS).exp() * torch.outer(size_weight, angle_weight).flatten()
    expected = count * density.reshape(len(CENTERS), BINS[0], POINTS, BINS[1], POINTS).sum((2, 4))
    for row, bins in zip(draws, expected, strict=True):
        observed = torch.histogramdd(row, list(BINS), range=[low, high, -math.pi, math.pi]).hist
        many = bins > 20
        assert bins[many].sum() > 0.5 * count  # so that the comparison says something
        statistic = ((observed - bins).square() / bins)[many].sum().item()
        assert stats.chi2.sf(statistic, int(many.sum())) > 1e-5


def test_a_component_for_each_dimension() -> None:
    """The density is the product of 1-D mixtures, and wide draws of one dimension go with narrow ones of another."""
    widths = torch.tensor([[0.01, 0.01], [1.0, 1.0]], dtype=torch.float64)
    apart, center = GaussianMixtureNoise(widths, shared=False), torch.zeros(1, 2, dtype=torch.float64)
    y = torch.randn(1, 100, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) / 2
    each = [GaussianMixtureNoise(widths[:, d : d + 1]).log_prob(y[..., d : d + 1], center[:, :1]) for d in range(2)]
    torch.testing.assert_close(apart.log_prob(y, center), each[0] + each[1])
    small = apart.sample(center, 20_000, torch.Generator().manual_seed(1)).abs() < 0.05
    assert (small[..., 0] == small[..., 1]).double().mean().item() == pytest.approx(0.5, abs=0.05)


def test_components_of_one_kind_are_the_same_shared_or_not() -> None:
    y = NOISES["shared"].sample(CENTERS, 50, torch.Generator().manual_seed(0))
    for kind in (
        GaussianMixtureNoise,
        lambda widths, space, shared: StudentMixtureNoise(widths, 1, space, shared=shared),
    ):
        together, apart = (kind(WIDTHS[:1], SPACE, shared=shared) for shared in (True, False))
        torch.testing.assert_close(together.log_prob(y, CENTERS), apart.log_prob(y, CENTERS))


def test_clamped_boundaries_are_the_published_ones() -> None:
    """Draws and densities as without a space; only what f is shown is brought into it."""
    clamped, free = GaussianMixtureNoise(WIDTHS, SPACE, boundary="clamped"), GaussianMixtureNoise(WIDTHS)
    draws = clamped.sample(CENTERS, 300, torch.Generator().manual_seed(4))
    assert torch.equal(draws, free.sample(CENTERS, 300, torch.Generator().manual_seed(4)))
    assert torch.equal(clamped.log_prob(draws, CENTERS), free.log_prob(draws, CENTERS))
    assert not SPACE.contains(draws).all()
    assert torch.equal(clamped.constrain(draws), SPACE.constrain(draws))
    assert free.constrain(draws) is draws


def test_exact_boundaries_move_only_what_must_be() -> None:
    """With the same seed a draw far from bounds and seams is the same, with nearly the same density."""
    center = torch.tensor([[50.0, 0.0]], dtype=torch.float64)
    exact, free = GaussianMixtureNoise(WIDTHS / 3, SPACE), GaussianMixtureNoise(WIDTHS / 3)
    draws = exact.sample(center, 300, torch.Generator().manual_seed(4))
    torch.testing.assert_close(draws, free.sample(center, 300, torch.Generator().manual_seed(4)))
    torch.testing.assert_close(exact.log_prob(draws, center), free.log_prob(draws, center))


def test_angles_may_come_unwrapped() -> None:
    turns = torch.tensor([0.0, 2 * math.pi], dtype=torch.float64)
    for name, noise in NOISES.items():
        y = noise.sample(CENTERS, 20, torch.Generator().manual_seed(4))
        if name != "uniform":  # an angle of -π exactly may be rounded to the other side
            torch.testing.assert_close(noise.log_prob(y + turns, CENTERS - 2 * turns), noise.log_prob(y, CENTERS))
        torch.testing.assert_close(noise.constrain(y + turns), y)


def test_scaled_noise_is_narrower_and_otherwise_the_same() -> None:
    for noise in (NOISES["shared"], NOISES["apart"], NOISES["student"], NOISES["flipped"]):
        assert not isinstance(noise, UniformNoise)
        narrow = noise.scaled(1e-3)
        offset = SPACE.difference(narrow.sample(CENTERS[::2], 100), CENTERS[::2].unsqueeze(1))
        assert offset.abs().median() < 1e-3  # no flip either
        assert narrow.constrain(CENTERS) is not CENTERS
    scaled = GaussianMixtureNoise(WIDTHS, SPACE, boundary="clamped", shared=False).scaled(2.0)
    assert (scaled.boundary, scaled.shared, scaled.space) == ("clamped", False, SPACE)
    assert torch.equal(scaled.stds, 2 * WIDTHS)
    with pytest.raises(ValueError, match="factor: 0"):
        scaled.scaled(0.0)


def test_shifted_noise_moves_its_share() -> None:
    noise = NOISES["flipped"]
    draws = noise.sample(CENTERS, 20_000, torch.Generator().manual_seed(6))
    flipped = SPACE.difference(draws, CENTERS.unsqueeze(1))[..., 1].abs() > math.pi / 2
    assert flipped.double().mean().item() == pytest.approx(0.3, abs=0.04)  # wide draws cross the middle either way
    still = NOISES["shared"]
    expected = 0.7 * still.log_prob(draws, CENTERS).exp() + 0.3 * still.log_prob(draws, CENTERS + HALF_TURN).exp()
    torch.testing.assert_close(noise.log_prob(draws, CENTERS), expected.log())


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize(("rows", "count"), [(0, 5), (3, 0), (0, 0)])
def test_nothing_to_draw(name: str, rows: int, count: int) -> None:
    noise, center = NOISES[name], torch.zeros(rows, 2)
    for random in (None, GroupedGenerator([1], torch.zeros(rows, dtype=torch.int64))):
        draws = noise.sample(center, count, random)
        assert draws.shape == (rows, count, 2)
        assert noise.log_prob(draws, center).shape == (rows, count)
        assert noise.constrain(draws).shape == (rows, count, 2)


@pytest.mark.parametrize("name", NOISES)
def test_a_rows_draws_do_not_depend_on_the_batch(name: str) -> None:
    noise, groups = NOISES[name], torch.tensor([0, 1, 0])
    together = noise.sample(CENTERS, 40, GroupedGenerator([5, 6], groups))
    for seed, rows in ((5, groups == 0), (6, groups == 1)):
        alone = GroupedGenerator([seed], torch.zeros(int(rows.sum()), dtype=torch.int64))
        torch.testing.assert_close(noise.sample(CENTERS[rows], 40, alone), together[rows], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NOISES)
def test_follows_the_targets_type_and_leaves_nothing_behind(name: str) -> None:
    noise = NOISES[name]
    center = CENTERS.float().requires_grad_()
    draws = noise.sample(center, 30, torch.Generator().manual_seed(0))
    log_density = noise.log_prob(draws, center)
    assert draws.dtype == log_density.dtype == torch.float32
    assert not draws.requires_grad
    assert SPACE.contains(draws).all()
    assert log_density.isfinite().all()
    torch.testing.assert_close(
        log_density.double().detach(), noise.log_prob(draws.double(), center.double()).detach(), rtol=1e-4, atol=1e-4
    )
    assert not noise.state_dict()
    assert not list(noise.parameters())


def test_what_is_impossible_has_no_density() -> None:
    y = torch.tensor([[[0.69, 0.0]]], dtype=torch.float64).expand(3, 1, 2)
    for noise in NOISES.values():
        assert (noise.log_prob(y, CENTERS) == -math.inf).all()
    beyond = torch.tensor([[[1.0, 2.1], [2.1, 0.0], [1.0, 2.0], [1.0, math.pi + 0.1]]], dtype=torch.float64)
    log_density = NOISES["uniform"].log_prob(beyond, CENTERS[:1])
    inside = -math.log(1.25 * (2 + math.pi))
    torch.testing.assert_close(log_density, beyond.new_tensor([[-math.inf, -math.inf, inside, inside]]))


def test_buffers_move_with_the_model() -> None:
    model = copy.deepcopy(nn.ModuleDict(NOISES)).to(torch.float16)
    assert [buffer.dtype for buffer in model.buffers()] == [torch.float16] * 11  # those inside of others as well


WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: GaussianMixtureNoise(WIDTHS, SPACE, boundary="open"), "boundary: 'open'"),  # type: ignore[arg-type]
    (lambda: GaussianMixtureNoise(STDS, SPACE), "stds: 3 dimensions, but the target space has 2: size, angle"),
    (lambda: StudentMixtureNoise([[0.0]], 1), "scales must be positive"),
    (lambda: StudentMixtureNoise(WIDTHS, 0), "degrees: 0"),
    (lambda: StudentMixtureNoise(WIDTHS, 3, SPACE), "degrees: 3; give 1 or 2"),
    (lambda: UniformNoise([0.0, 1.0], [1.0, 1.0]), "each high above its low"),
    (lambda: UniformNoise([0.0], [math.inf]), "each high above its low"),
    (lambda: UniformNoise([0.0], [1.0, 2.0]), "each high above its low"),
    (lambda: UniformNoise([0.0], [1.0], SPACE), "low and high: 1 dimensions"),
    (lambda: ShiftedNoise(GaussianMixtureNoise(WIDTHS), HALF_TURN, 1.0), "share: 1.0"),
    (lambda: ShiftedNoise(GaussianMixtureNoise(WIDTHS), [math.nan, 0.0], 0.5), "shift must be"),
    (lambda: ShiftedNoise(GaussianMixtureNoise(WIDTHS), [1.0], 0.5, SPACE), "shift: 1 dimensions"),
    (lambda: GaussianMixtureNoise(WIDTHS).sample(torch.zeros(4, 3), 5), r"\[N, 2\].*got \[4, 3\]"),
    (lambda: StudentMixtureNoise(WIDTHS, 1).log_prob(torch.zeros(4, 1, 2), torch.zeros(4, 1, 2)), r"got \[4, 1, 2\]"),
    (lambda: UniformNoise([0.0], [1.0]).sample(torch.zeros(4), 5), r"got \[4\]"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_refuses_what_cannot_be(wrong: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrong()
