"""Rules that hold for each loss: gradients, rows apart from each other, no rows at all, the divisor."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from lidar_ebm.ebm.energy import Loss
from lidar_ebm.ebm.losses import DSM, KLDIS, MLIS, MLMCMC, NCE, SM, LearnedProposal
from lidar_ebm.ebm.noise import GaussianMixtureNoise
from lidar_ebm.ebm.proposal_network import GaussianMixture
from lidar_ebm.ebm.random_numbers import GroupedGenerator
from lidar_ebm.ebm.targets import TargetSpace
from tests.ebm.losses.recorder import seeded

SPACE = TargetSpace(
    ("position", "angle", "size"), (None, 2 * math.pi, None), (-math.inf, -math.inf, 0.5), (1, 0.1, 0.1)
)
ROWS = 5
METHODS = ["nce", "nce+", "ml-is", "kld-is", "ml-mcmc", "sm", "dsm", "learned-nce", "learned-ml-is"]


def make(method: str, rows: slice = slice(None)) -> Loss:
    """In float64; `rows` are those of the proposal that is for `targets()`."""
    noise = GaussianMixtureNoise(torch.tensor([[0.1] * 3, [0.5] * 3], dtype=torch.float64), SPACE)
    parts = [
        torch.linspace(-1, 1, ROWS * 2 * count, dtype=torch.float64).view(ROWS, 2, *shape)[rows]
        for count, shape in ((1, ()), (3, (3,)), (3, (3,)))
    ]
    proposal = GaussianMixture(*parts, SPACE)
    losses: dict[str, Loss] = {
        "nce": NCE(noise, 8),
        "nce+": NCE(noise, 8, label_noise=0.1),
        "ml-is": MLIS(noise, 8),
        "kld-is": KLDIS(noise, 8, [0.2] * 3, SPACE),
        "ml-mcmc": MLMCMC(4, 3, 0.1, SPACE),
        "sm": SM(SPACE),
        "dsm": DSM([0.2] * 3, 4, SPACE),
        "learned-nce": LearnedProposal(proposal, 8, "nce"),
        "learned-ml-is": LearnedProposal(proposal, 8, "ml-is"),
    }
    return losses[method]


def targets(rows: int = ROWS) -> Tensor:
    return 1 + torch.rand(rows, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(7))


def network(weight: Tensor, last: Tensor) -> nn.Module | object:
    """A small smooth network of the sine and cosine of the angle, and of the rest."""

    def energy(y: Tensor) -> Tensor:
        inputs = torch.cat([y[..., ::2], y[..., 1:2].sin(), y[..., 1:2].cos()], dim=-1)
        return ((inputs @ weight).tanh() * last).sum(-1)

    return energy


def weights() -> list[Tensor]:
    generator = torch.Generator().manual_seed(8)
    return [torch.randn(*s, dtype=torch.float64, generator=generator).requires_grad_() for s in ((4, 3), (3,))]


@pytest.mark.parametrize(
    "method", [method for method in METHODS if method not in ("ml-mcmc", "learned-nce", "learned-ml-is")]
)
def test_gradients_to_parameters(method: str) -> None:
    """With random numbers held fixed. Where samples or weights are detached on purpose, their own tests look."""
    loss = make(method)
    assert torch.autograd.gradcheck(lambda *w: loss(network(*w), targets(), random=seeded()), weights())


@pytest.mark.parametrize("method", METHODS)
def test_each_row_is_alone(method: str) -> None:
    """The loss of a batch is the sum of its rows', the random numbers being each row's own."""
    energy, y, seeds = network(*weights()), targets(), list(range(10, 10 + ROWS))
    together = make(method)(energy, y, random=GroupedGenerator(seeds, torch.arange(ROWS)), count=1)
    apart = sum(
        make(method, slice(row, row + 1))(
            energy, y[row : row + 1], random=GroupedGenerator(seeds[row : row + 1], torch.zeros(1, dtype=torch.int64))
        )
        for row in range(ROWS)
    )
    torch.testing.assert_close(together, apart, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_no_targets_give_zero_with_gradients(method: str) -> None:
    parts = weights()
    loss = make(method, slice(0))(network(*parts), targets(0))
    loss.backward()
    assert loss == 0
    for part in parts:
        assert part.grad is not None
        assert not part.grad.any()


@pytest.mark.parametrize("method", METHODS)
def test_divides_by_the_count_given(method: str) -> None:
    energy, loss = network(*weights()), make(method)
    mean = loss(energy, targets(), random=seeded())
    torch.testing.assert_close(loss(energy, targets(), random=seeded(), count=2.5), mean * (ROWS / 2.5))
    assert mean.shape == ()


@pytest.mark.parametrize("method", METHODS)
def test_evaluates_the_energy_once_unless_chains_walk(method: str) -> None:
    calls: list[tuple[int, ...]] = []
    energy = network(*weights())

    def counted(y: Tensor) -> Tensor:
        calls.append(tuple(y.shape))
        return energy(y)

    make(method)(counted, targets())
    assert len(calls) == (4 if method == "ml-mcmc" else 1)
    assert all(shape[0] == ROWS and shape[2] == 3 for shape in calls)


@pytest.mark.parametrize("method", METHODS)
def test_targets_gather_no_gradient(method: str) -> None:
    """Nor is it refused that they could."""
    y = targets().requires_grad_()
    energy = network(*weights())
    make(method)(energy, y, random=seeded()).backward()
    torch.testing.assert_close(
        make(method)(energy, y, random=seeded()), make(method)(energy, y.detach(), random=seeded())
    )
