"""The 1-D study: its data are of its densities, its measure is a KL divergence, and a row trains."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools" / "studies"))

from grouped_network import GroupedNetwork
from regression_1d import SETS, Settings, divergence, draw_targets, log_density, train, variants


@pytest.mark.parametrize("dataset", SETS)
@pytest.mark.parametrize("x", [-1.3, 0.4, 2.9])
def test_targets_are_of_the_density(dataset: int, x: float) -> None:
    """Kolmogorov and Smirnov: the largest difference of both distributions, of 100,000 draws."""
    place = torch.tensor(x)
    draws = draw_targets(dataset, place.expand(100_000), torch.Generator().manual_seed(1)).sort().values
    y = torch.linspace(-3, 3, 100_001, dtype=torch.float64)
    density = log_density(dataset, place.double(), y).exp()
    total = density.cumsum(0) * (y[1] - y[0])
    assert total[-1] == pytest.approx(1, abs=1e-4)
    share = torch.searchsorted(draws.double(), y) / len(draws)
    assert (share - total).abs().max() < 0.007  # 1.6 / √100,000 is exceeded once in a hundred times


def test_divergence_is_that_of_the_definition() -> None:
    network = GroupedNetwork(2, generator=torch.Generator().manual_seed(0))
    grid = torch.linspace(-3, 3, 64)
    for dataset in SETS:
        x = grid.double()
        log_p = log_density(dataset, x[:, None], x).log_softmax(1)
        candidates = grid.view(1, -1, 1).expand(2 * 64, -1, -1)
        f = network.energy(grid.expand(2, -1), plain=True)(candidates).view(2, 64, 64).double()
        terms = torch.where(log_p.exp() > 0, log_p.exp() * (log_p - f.log_softmax(2)), 0.0)
        torch.testing.assert_close(divergence(network, dataset, 64), terms.sum(2).mean(1), rtol=1e-5, atol=1e-6)


SETTINGS = Settings(models=2, pairs=320, epochs=12, learning_rate=1e-2, grid=64)


def untrained(method: str) -> Tensor:
    return train(replace(SETTINGS, epochs=1, learning_rate=0.0), 1, method, 4)["divergence"]


@pytest.mark.parametrize("method", ["NCE", "NCE+", "ML-IS", "KLD-IS", "ML-MCMC-16", "DSM", "SM"])
def test_every_method_brings_every_model_nearer(method: str) -> None:
    trained = train(SETTINGS, 1, method, 4)["divergence"]
    assert bool((trained < untrained(method)).all())
    assert len(trained.unique()) == SETTINGS.models  # each has data and weights of its own


def test_variants_are_trained_otherwise() -> None:
    found = [trained(1, "NCE", 4)["divergence"] for trained in (partial(train, SETTINGS), *variants(SETTINGS).values())]
    assert all(bool((divergence < untrained("NCE")).all()) for divergence in found)
    assert len(torch.stack(found)[:, 0].unique()) == len(found)
