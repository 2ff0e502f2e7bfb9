"""Every method finds a normal density with known parameters, in R^2 and in a space with an angle and a bound."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lidar_ebm.ebm.energy import Loss
from lidar_ebm.ebm.losses import DSM, KLDIS, MLIS, MLMCMC, NCE, SM, LearnedProposal
from lidar_ebm.ebm.noise import GaussianMixtureNoise
from lidar_ebm.ebm.proposal_network import GaussianMixture
from lidar_ebm.ebm.targets import TargetSpace
from tests.ebm.losses.learning import CENTER, SPACE, STD, Normal2D, Separate3D, train

METHODS = ["nce", "nce+", "ml-is", "kld-is", "ml-mcmc", "sm", "dsm"]
BATCH = 128
SAMPLES = 64  # NCE and ML-IS are off by a share of order 1 / M where the noise is centred at the label


def make(method: str, space: TargetSpace, std: float = 0.1) -> Loss:
    """The method with noise that reaches everywhere; `std` of what blurs the labels, where something does."""
    dims = space.dims
    noise = GaussianMixtureNoise([[0.5] * dims, [1.5] * dims], space)
    losses: dict[str, Loss] = {
        "nce": NCE(noise, SAMPLES),
        "nce+": NCE(noise, SAMPLES, label_noise=0.05),
        "ml-is": MLIS(noise, SAMPLES),
        "kld-is": KLDIS(noise, SAMPLES, [std] * dims, space),
        "ml-mcmc": MLMCMC(4, 4, 0.15, space),
        "sm": SM(space),
        "dsm": DSM([std] * dims, 8, space),
    }
    return losses[method]


@pytest.mark.parametrize("energy_class", [Normal2D, Separate3D])
@pytest.mark.parametrize("method", METHODS)
def test_finds_the_density(method: str, energy_class: type[Normal2D] | type[Separate3D]) -> None:
    torch.manual_seed(0)
    energy = energy_class()
    assert energy.divergence() > 0.2
    loss = make(method, energy.space)
    train(list(energy.parameters()), lambda: loss(energy, energy.draw(BATCH)))
    assert energy.divergence() < 0.01


@pytest.mark.parametrize("method", ["kld-is", "dsm"])
def test_finds_the_density_blurred_by_its_own_noise(method: str) -> None:
    torch.manual_seed(0)
    energy = Normal2D()
    loss = make(method, energy.space, std=0.3)
    train(list(energy.parameters()), lambda: loss(energy, energy.draw(BATCH)))
    assert energy.divergence(widened=0.3) < 0.01
    assert energy.divergence() > 0.03


@pytest.mark.parametrize("energy_class", [Normal2D, Separate3D])
@pytest.mark.parametrize("base", ["nce", "ml-is"])
def test_finds_the_density_and_a_proposal(base: str, energy_class: type[Normal2D] | type[Separate3D]) -> None:
    torch.manual_seed(0)
    energy = energy_class()
    space = energy.space
    parts = [torch.zeros(2), 0.3 * torch.randn(2, space.dims), torch.full((2, space.dims), 0.3)]
    parts[1] = parts[1] + torch.tensor([1.0, 2.0, 1.0])[: space.dims]
    parameters = [nn.Parameter(part) for part in parts]

    def proposal(rows: int) -> GaussianMixture:
        logits, means, log_stds = (part.expand(rows, *part.shape) for part in parameters)
        return GaussianMixture(logits, means, log_stds, space)

    def loss() -> Tensor:
        return LearnedProposal(proposal(BATCH), SAMPLES, base)(energy, energy.draw(BATCH))

    train([*energy.parameters(), *parameters], loss)
    assert energy.divergence() < 0.01
    if space is SPACE:  # which one component can be
        truth = GaussianMixture(torch.zeros(1, 1), CENTER[None, None], STD.log()[None, None], space)
        y = energy.draw(4000).unsqueeze(0)
        assert (truth.log_prob(y) - proposal(1).log_prob(y)).mean() < 0.05
