"""ML-MCMC: where the chains start and end, and the gradient that they give."""

from __future__ import annotations

import pytest
import torch

from lidar_ebm.ebm.losses import MLMCMC
from tests.ebm.losses.recorder import Recorder, seeded, targets


def test_is_the_mean_at_the_chains_ends_minus_f_at_the_label() -> None:
    """Chains by hand, with the slope by hand."""
    energy, y = Recorder(), targets()
    alpha = torch.tensor([0.3, 0.1], dtype=torch.float64)
    loss = MLMCMC(5, 3, (0.3, 0.1))(energy, y, random=seeded())
    random = seeded()
    chains = y.unsqueeze(1).expand(-1, 5, -1)
    for step in range(3):
        torch.testing.assert_close(energy.shown[step], chains, rtol=0, atol=1e-12)
        kick = torch.randn(6, 5, 2, dtype=torch.float64, generator=random)
        chains = (chains + alpha**2 / 2 * energy.slope(chains) + alpha * kick).detach()
    assert len(energy.shown) == 4  # a step each, and all at once in the end
    torch.testing.assert_close(energy.shown[3], torch.cat([y.unsqueeze(1), chains], dim=1), rtol=0, atol=1e-12)
    expected = (energy.f(chains).mean(1) - energy.f(y)).mean()
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
    # The gradient is that with the samples held where they are.
    got, want = (torch.autograd.grad(value, energy.weights)[0] for value in (loss, expected))
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


def test_chains_gather_no_gradient() -> None:
    energy = Recorder()
    MLMCMC(5, 3, 0.1)(energy, targets(), random=seeded())
    assert energy.weights.grad is None


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="samples: 0"):
        MLMCMC(0, 1, 0.1)
    with pytest.raises(ValueError, match="steps: 0"):
        MLMCMC(1, 0, 0.1)
    with pytest.raises(ValueError, match="step_length"):
        MLMCMC(1, 1, [0.1, 0.0])
