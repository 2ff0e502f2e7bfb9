"""The study of dynamic systems: what enters them, what they answer, what networks see, and one tiny run to its page."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools" / "studies"))

import system_identification as study
from system_identification import NOISE, Networks, Settings, Signals, Units

from lidar_ebm.ebm import tabulate


@pytest.mark.parametrize("last", [0.2, -0.8])
@pytest.mark.parametrize("name", NOISE)
def test_a_noises_density_is_one_and_that_of_its_draws(name: str, last: float) -> None:
    noise, count, reach = NOISE[name], 20_000, 100.0
    e = torch.linspace(-reach, reach, 400_001, dtype=torch.float64)
    cumulative = noise.log_density(e, torch.full_like(e, last)).exp().cumsum(dim=0) * (e[1] - e[0])
    beyond = 1 - 2 / math.pi * math.atan(reach / 0.2) if name == "Cauchy" else 0.0
    assert float(cumulative[-1]) == pytest.approx(1 - beyond, abs=1e-4)
    drawn = noise.draw(torch.full((count,), last), torch.Generator().manual_seed(0)).double().sort().values
    expected = torch.from_numpy(np.interp(drawn.numpy(), e.numpy(), cumulative.numpy() + beyond / 2))
    steps = torch.arange(count) / count
    assert float((expected - steps).abs().max()) < 2 / math.sqrt(count)  # Kolmogorov and Smirnov's distance


def answer(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Chen's system as it is written."""
    y = np.zeros(len(u))
    for t in range(2, len(u)):
        bump = math.exp(-(y[t - 1] ** 2))
        y[t] = (0.8 - 0.5 * bump) * y[t - 1] - (0.3 + 0.9 * bump) * y[t - 2]
        y[t] += u[t - 1] + 0.2 * u[t - 2] + 0.1 * u[t - 1] * u[t - 2] + v[t]
    return y


def assert_past(signals: Signals, measured: np.ndarray, u: np.ndarray) -> None:
    """One signal [N] of these outputs and inputs [2 + N]."""
    np.testing.assert_allclose(signals.y, measured[2:], atol=1e-4)
    for column, (values, back) in enumerate(((measured, 1), (measured, 2), (u, 1), (u, 2))):
        np.testing.assert_allclose(signals.x[:, column], values[2 - back : -back], atol=1e-4)


def test_chens_system_is_as_it_is_written() -> None:
    u, v, w = 0.5 * torch.randn(3, 2, 60, generator=torch.Generator().manual_seed(1))
    w[:, :2] = 0
    signals = study.chen_response(u, v, w)
    for row in range(2):
        measured = answer(u[row].numpy(), v[row].numpy()) + w[row].numpy()
        assert_past(Signals(signals.x[row], signals.y[row]), measured, u[row].numpy())
    drawn = study.chen(0.3, 3, 40, torch.Generator().manual_seed(2))
    assert drawn.x.shape == (3, 40, 4) and drawn.y.shape == (3, 40)
    changes = drawn.x[:, 1:, 2] != drawn.x[:, :-1, 2]
    assert (changes.sum(dim=1) == 40 // study.HOLD).all()  # the input is held between


def test_the_published_signals_come_from_one_stream() -> None:
    stream = np.random.RandomState(study.PUBLISHED_SEED)
    for signals, count in zip(study.published_chen(0.3, 2, 100, 50), (100, 50), strict=True):
        u = np.repeat(stream.normal(size=(count // study.HOLD, study.HOLD))[:, 0], study.HOLD)
        v, w = np.zeros(count), np.zeros(count)
        for t in range(2, count):
            v[t], w[t] = 0.3 * stream.normal(), 0.3 * stream.normal()
        assert signals.y.shape == (2, count - 2) and torch.equal(signals.x[0], signals.x[1])
        assert_past(Signals(signals.x[1], signals.y[1]), answer(u, v) + w, u)


@pytest.mark.parametrize(("system", "noise", "std"), [("AR(1)", "Gaussian", 0.2), ("ARX", "mixture", 0.205)])
def test_what_the_linear_systems_mean_leaves_is_their_noise(system: str, noise: str, std: float) -> None:
    x, y = study.SYSTEMS[system](noise, 20, 400, torch.Generator().manual_seed(3))
    left = y - study.linear_mean(x)
    assert float(left.std()) == pytest.approx(std, rel=0.05) and abs(float(left.mean())) < 0.02
    torch.testing.assert_close(x[:, 1:, 0], y[:, :-1])
    if system == "ARX":
        torch.testing.assert_close(x[:, 1:, 1::2], x[:, :-1, 0::2])  # one step later, each is the one before


def test_true_densities_are_normalised_in_the_units_shown() -> None:
    signals = study.ar("bimodal", 2, 50, torch.Generator().manual_seed(4))
    units = Units.of(signals, heavy=False)
    assert float(units.shown(signals).y.abs().max()) == 1
    density = tabulate(units.true_energy(signals, NOISE["bimodal"]), units.grid(2000), signals.y.numel())
    inside = (signals.x[..., 0].abs() < units.scale).flatten()  # far from the grid's ends
    log_z = density.log_z.view_as(signals.y) + units.scale.log()
    torch.testing.assert_close(log_z.flatten()[inside], torch.zeros(int(inside.sum())), atol=1e-3, rtol=0)


def test_networks_side_by_side_do_not_touch_each_other() -> None:
    networks = Networks(2, 4, 8, torch.Generator().manual_seed(5))
    x, y = torch.randn(2, 3, 4), torch.randn(6, 7, 1)
    before = networks.predict(x), networks.energy(x)(y)
    assert before[0].shape == (2, 3) and before[1].shape == (6, 7)
    with torch.no_grad():
        for parameter in networks.parameters():
            parameter[1] += 0.5
    after = networks.predict(x), networks.energy(x)(y)
    assert torch.equal(before[0][0], after[0][0]) and torch.equal(before[1][:3], after[1][:3])
    assert not torch.isclose(before[0][1], after[0][1]).any() and not torch.isclose(before[1][3:], after[1][3:]).all()


def test_each_network_ends_where_it_did_best_on_held_out_steps() -> None:
    generator = torch.Generator().manual_seed(6)
    networks = Networks(2, 1, 8, generator)
    signals = Signals(torch.randn(2, 64, 1, generator=generator), torch.randn(2, 64, generator=generator))
    seen: list[Tensor] = []

    def error() -> Tensor:
        return (networks.predict(signals.x) - signals.y).square().mean(dim=1)

    def held_out() -> Tensor:
        seen.append(error() * torch.tensor([1.0, -1.0]))  # the second is best where its error is the highest
        return seen[-1]

    study.train(
        networks,
        signals,
        lambda batch: (networks.predict(batch.x) - batch.y).square().mean(dim=1).sum(),
        held_out,
        steps=40,
        rate=1e-2,
        settings=Settings(checks=8),
        generator=generator,
    )
    best = torch.stack(seen).amin(dim=0).detach()
    torch.testing.assert_close((error() * torch.tensor([1.0, -1.0])).detach(), best)
    assert len(seen) == 8


def test_cells_within_ten_per_cent_are_counted_for_each_side() -> None:
    text = study._within([[1.0, 0.5], [1.09, 0.91], [0.8, 1.3]])
    assert "plain in 2 of 3 cells (1 lower by more, 0 higher by more)" in text
    assert "energy-based in 1 of 3 cells (1 lower by more, 1 higher by more)" in text


def test_a_tiny_run_writes_its_page_and_picture(tmp_path: Path) -> None:
    steps = {"plain_steps": 4, "energy_steps": 2, "linear_steps": 2, "floor_steps": 2, "checks": 1}
    lengths = {"linear_length": 40, "test_length": 150, "floor_length": 600, "cells": 64}
    settings = Settings(models=2, published_models=2, width=4, **steps, **lengths)
    arguments = argparse.Namespace(quick=False, out=tmp_path / "out", results=tmp_path, processes=1)
    study.study(arguments, settings)
    page = (tmp_path / "system_identification.md").read_text(encoding="utf-8")
    assert all(f"| {std}, {length} |" in page for std, length in study.PUBLISHED) and "nan" not in page
    assert all(name in page for name in (*study.LINEAR, *study.variants(settings)))
    assert (tmp_path / "system_identification.png").stat().st_size < 300_000
