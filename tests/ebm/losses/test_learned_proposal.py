"""The energy's and the proposal's loss in one, each blind to the other's gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lidar_ebm.ebm.losses import MLIS, NCE, LearnedProposal
from lidar_ebm.ebm.proposal_network import GaussianMixture
from tests.ebm.losses.recorder import Recorder, seeded, targets


def parameters(rows: int = 6) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [
        (torch.randn(*shape, dtype=torch.float64, generator=generator) * 0.5).requires_grad_()
        for shape in ((rows, 3), (rows, 3, 2), (rows, 3, 2))
    ]


@pytest.mark.parametrize("base", ["nce", "ml-is"])
def test_the_energy_learns_as_with_a_proposal_that_does_not(base: str) -> None:
    energy, parts = Recorder(), parameters()
    frozen = GaussianMixture(*(part.detach() for part in parts))
    loss = LearnedProposal(GaussianMixture(*parts), 15, base)(energy, targets(), random=seeded())
    alone = {"nce": NCE, "ml-is": MLIS}[base](frozen, 15)(energy, targets(), random=seeded())
    assert len(energy.shown) == 2  # one evaluation each
    got, want = (torch.autograd.grad(value, energy.weights, retain_graph=True)[0] for value in (loss, alone))
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)
    (energy_alone,) = energy.shown[:1]
    draws = energy_alone[:, 1:]
    log_z = (energy.f(draws).exp() / frozen.log_prob(draws).exp()).mean(1).log()
    torch.testing.assert_close(loss, alone + log_z.mean(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("base", ["nce", "ml-is"])
def test_the_proposal_learns_to_be_likely_where_the_energy_is_high(base: str) -> None:
    """The gradient of J_KL: minus the mean of ∇ log q under the weights that exp f / q has."""
    energy, parts = Recorder(), parameters()
    proposal = GaussianMixture(*parts)
    loss = LearnedProposal(proposal, 15, base)(energy, targets(), random=seeded())
    draws = energy.shown[0][:, 1:]
    log_q = proposal.log_prob(draws)
    with torch.no_grad():
        ratios = energy.f(draws).exp() / log_q.exp()
        weights = ratios / ratios.sum(1, keepdim=True)
    surrogate = -(weights * log_q).sum(1).mean()
    for got, want in zip(torch.autograd.grad(loss, parts), torch.autograd.grad(surrogate, parts), strict=True):
        assert want.abs().max() > 1e-3
        torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="base: 'kld-is'"):
        LearnedProposal(GaussianMixture(*parameters()), 4, "kld-is")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="samples: 0"):
        LearnedProposal(GaussianMixture(*parameters()), 0)
