"""Mixtures that a network gives: their density, their draws, where they start, and that they can learn."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from lidar_ebm.ebm.losses import LearnedProposal
from lidar_ebm.ebm.proposal_network import GaussianMixture, MixtureDensityNetwork
from lidar_ebm.ebm.random_numbers import GroupedGenerator
from lidar_ebm.ebm.targets import TargetSpace

SPACE = TargetSpace(
    ("position", "angle", "size"), (None, 2 * math.pi, None), (-math.inf, -math.inf, 0.5), (2, 0.3, 0.4)
)
ONE_D = {
    "position": TargetSpace.real(1),
    "angle": TargetSpace.angles(1),
    "size": TargetSpace(("size",), (None,), (0.5,), (0.4,)),
}


def parts(rows: int, components: int, dims: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = ((rows, components), (rows, components, dims), (rows, components, dims))
    return [torch.randn(*shape, dtype=torch.float64, generator=generator) for shape in shapes]


def test_log_prob_agrees_with_torch_distributions() -> None:
    logits, means, log_stds = parts(4, 3, 2)
    reference = MixtureSameFamily(Categorical(logits=logits), Independent(Normal(means, log_stds.exp()), 1))
    y = torch.randn(4, 50, 2, dtype=torch.float64) * 3
    expected = reference.log_prob(y.transpose(0, 1)).T
    torch.testing.assert_close(GaussianMixture(logits, means, log_stds).log_prob(y), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", list(ONE_D))
def test_draws_have_the_density(kind: str) -> None:
    """The density integrates to one over the space, and the draws' histogram is it, row by row."""
    space = ONE_D[kind]
    mixture = GaussianMixture(*parts(2, 3, 1), space)
    low = space.lower[0] if space.bounded else -math.pi if space.wrapped else -20.0
    high = math.pi if space.wrapped else 20.0
    edges = torch.linspace(low, high, 20_001, dtype=torch.float64)
    middle = (edges[1:] + edges[:-1]) / 2
    mass = mixture.log_prob(middle[None, :, None].expand(2, -1, -1)).exp() * (edges[1] - edges[0])
    torch.testing.assert_close(mass.sum(1), torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-6)
    count = 20_000
    draws = mixture.sample(torch.zeros(2, 1, dtype=torch.float64), count, torch.Generator().manual_seed(0))
    assert draws.shape == (2, count, 1)
    assert space.contains(draws).all()
    for row in range(2):
        drawn = torch.searchsorted(draws[row, :, 0].sort().values, edges[1:]) / count
        assert (drawn - mass[row].cumsum(0)).abs().max() < 1.95 / math.sqrt(count)  # Kolmogorov, 1 in 1000


def test_gradients_to_the_mixtures_parameters() -> None:
    y = torch.rand(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.5
    inputs = [part.requires_grad_() for part in parts(2, 2, 3)]
    assert torch.autograd.gradcheck(lambda *p: GaussianMixture(*p, SPACE).log_prob(y), inputs)


def test_draws_of_a_row_are_its_own_and_carry_no_gradient() -> None:
    tensors = [part.requires_grad_() for part in parts(3, 2, 3)]
    center = torch.zeros(3, 3, dtype=torch.float64)
    random = GroupedGenerator([5, 6, 7], torch.arange(3))
    together = GaussianMixture(*tensors, SPACE).sample(center, 8, random)
    assert not together.requires_grad
    for row in range(3):
        alone = GaussianMixture(*(part[row : row + 1] for part in tensors), SPACE)
        random = GroupedGenerator([5 + row], torch.zeros(1, dtype=torch.int64))
        torch.testing.assert_close(alone.sample(center[:1], 8, random), together[row : row + 1])


def test_no_rows() -> None:
    mixture = MixtureDensityNetwork(4, 3, SPACE)(torch.zeros(0, 4))
    assert mixture.sample(torch.zeros(0, 3), 5).shape == (0, 5, 3)
    assert mixture.log_prob(torch.zeros(0, 5, 3)).shape == (0, 5)


def test_components_start_around_the_reference_with_the_spaces_scales() -> None:
    torch.manual_seed(0)
    network = MixtureDensityNetwork(4, 5, SPACE)
    reference = torch.tensor([[10.0, 1.0, 3.0], [-50.0, 3.0, 8.0]])
    mixture = network(torch.randn(2, 4), reference)
    scales = torch.tensor(SPACE.scales)
    assert ((mixture.means - reference.unsqueeze(1)) / scales).abs().max() < 3
    ratios = mixture.log_stds.exp() / scales
    assert 0.4 < ratios.min() < ratios.max() < 2.3
    assert torch.equal(network(torch.ones(2, 4), None).means[0], network(torch.ones(2, 4), None).means[1])
    wide = MixtureDensityNetwork(4, 5, SPACE, spread=[5.0, 1.0, 2.0])(torch.randn(2, 4))
    assert (wide.log_stds.exp().mean((0, 1)) > torch.tensor([4.0, 0.8, 1.6])).all()


def test_moving_the_reference_moves_the_density() -> None:
    network = MixtureDensityNetwork(4, 3, TargetSpace.real(2)).double()
    x, y = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 6, 2, dtype=torch.float64)
    reference = torch.randn(3, 2, dtype=torch.float64)
    shift = torch.tensor([2.0, -5.0], dtype=torch.float64)
    torch.testing.assert_close(
        network(x, reference).log_prob(y), network(x, reference + shift).log_prob(y + shift), rtol=1e-9, atol=1e-9
    )


def test_wild_features_leave_finite_stds() -> None:
    mixture = MixtureDensityNetwork(4, 3, SPACE)(torch.randn(20, 4) * 1e6)
    stds = mixture.log_stds.exp()
    assert stds.isfinite().all()
    assert (stds > 0).all()


def test_learns_a_conditional_density_together_with_the_energy() -> None:
    """y = sin x + noise, the energy a parabola around a learnt multiple of sin x: q follows it."""
    torch.manual_seed(0)
    network = MixtureDensityNetwork(1, 2, TargetSpace.real(1), hidden=(32,), spread=1.0)
    slope = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.Adam([*network.parameters(), slope], lr=0.02)
    for _ in range(250):
        x = torch.rand(128, 1) * 6 - 3
        y = x.sin() + 0.3 * torch.randn(128, 1)

        def energy(c: Tensor, x: Tensor = x) -> Tensor:
            return -0.5 * ((c - slope * x.unsqueeze(1).sin()).squeeze(-1) / 0.3).square()

        optimizer.zero_grad()
        LearnedProposal(network(x), 64)(energy, y).backward()
        optimizer.step()
    torch.testing.assert_close(slope.detach(), torch.ones(()), rtol=0, atol=0.05)
    x = torch.linspace(-3, 3, 4000).unsqueeze(1)
    y = x.sin() + 0.3 * torch.randn(4000, 1)
    with torch.no_grad():
        log_q = network(x).log_prob(y.unsqueeze(1))
    best = Normal(x.sin(), 0.3).log_prob(y)
    assert (best - log_q).mean() < 0.05


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="features: 0"):
        MixtureDensityNetwork(0, 1, SPACE)
    for spread in (0.0, [1.0, 2.0], -1.0):
        with pytest.raises(ValueError, match="spread"):
            MixtureDensityNetwork(1, 1, SPACE, spread=spread)
    with pytest.raises(ValueError, match="a mixture has logits"):
        GaussianMixture(torch.zeros(2, 3), torch.zeros(2, 3, 1), torch.zeros(2, 4, 1))
