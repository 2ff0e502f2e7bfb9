"""The quick network against the plain one: values, slopes, and the gradients of both."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lidar_ebm.ebm.losses import DSM, SM

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools" / "studies"))

from grouped_network import GroupedNetwork
from small_network import tanh

MODELS, INPUTS = 3, 4


@pytest.fixture
def network() -> GroupedNetwork:
    network = GroupedNetwork(MODELS, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 1.5  # farther into the curved parts of tanh
    return network


@pytest.fixture(params=[1, 16, 37])
def inputs(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor, Tensor]:
    """x [G, B], y [G B, S, 1], and a direction of gradients [G B, S]."""
    generator = torch.Generator().manual_seed(2)
    x = 6 * torch.rand((MODELS, INPUTS), generator=generator) - 3
    shape = (MODELS * INPUTS, request.param)
    return x, 2 * torch.randn((*shape, 1), generator=generator), torch.randn(shape, generator=generator)


def double(network: GroupedNetwork) -> GroupedNetwork:
    copy = GroupedNetwork(network.models)
    copy.load_state_dict(network.state_dict())
    return copy.double()


def gradients(network: GroupedNetwork) -> dict[str, Tensor]:
    found = {}
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        found[name], parameter.grad = parameter.grad.double(), None
    return found


def assert_close(ours: object, theirs: object) -> None:
    torch.testing.assert_close(ours, theirs, rtol=2e-5, atol=2e-5)


def test_tanh_is_right_to_float32() -> None:
    x = np.linspace(-20, 20, 100_001).astype(np.float32)
    ours = np.array([tanh(value) for value in x])
    assert np.abs(ours - np.tanh(x.astype(np.float64))).max() < 5e-7


def test_values_and_gradients(network: GroupedNetwork, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    x, y, direction = inputs
    f = network.energy(x)(y)
    (f * direction).sum().backward()
    ours = gradients(network)
    exact = double(network)
    expected = exact.energy(x.double(), plain=True)(y.double())
    (expected * direction).sum().backward()
    assert_close(f.double(), expected)
    assert_close(ours, gradients(exact))


def test_slopes_and_their_gradients(network: GroupedNetwork, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    x, y, direction = inputs
    exact = double(network)
    sides = []
    for net, start, plain in ((network, y, False), (exact, y.double(), True)):
        leaf = start.clone().requires_grad_()
        f = net.energy(x.to(leaf), plain=plain)(leaf)
        slope = torch.autograd.grad((f * direction).sum(), leaf, create_graph=True)[0]
        (slope.squeeze(-1) * direction.flip(0)).sum().backward()
        assert leaf.grad is not None
        none = {name for name, parameter in net.named_parameters() if parameter.grad is None}
        assert none <= {"bias4"}  # which no slope depends on
        net.bias4.grad = torch.zeros_like(net.bias4)
        sides.append((f.double(), slope.double(), leaf.grad.double(), gradients(net)))
    assert_close(*sides)


def test_both_gradients_at_once(network: GroupedNetwork, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    x, y, direction = inputs
    exact = double(network)
    sides = []
    for net, start, plain in ((network, y, False), (exact, y.double(), True)):
        leaf = start.clone().requires_grad_()
        (net.energy(x.to(leaf), plain=plain)(leaf) * direction).sum().backward()
        assert leaf.grad is not None
        sides.append((leaf.grad.double(), gradients(net)))
    assert_close(*sides)


def test_slopes_alone_leave_parameters_alone(network: GroupedNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Langevin step asks for the slope only; the other way back would cost twice as much again."""

    def fail(*_: object) -> None:
        raise AssertionError("the gradients to parameters were computed")

    monkeypatch.setattr("grouped_network.value_gradients", fail)
    leaf = torch.zeros(MODELS * INPUTS, 5, 1, requires_grad=True)
    torch.autograd.grad(network.energy(torch.zeros(MODELS, INPUTS))(leaf).sum(), leaf)


def test_score_matching_losses(network: GroupedNetwork, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    x, y, _ = inputs
    y = y[:, 0]
    losses = [
        DSM([0.2], samples=8)(network.energy(x, plain=plain), y, random=torch.Generator().manual_seed(3))
        for plain in (False, True)
    ]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=1e-4)
    SM()(network.energy(x, plain=True), y).backward()  # third derivatives are the plain way's


def test_models_are_independent(network: GroupedNetwork) -> None:
    x, y = torch.zeros(MODELS, INPUTS), torch.zeros(MODELS * INPUTS, 1, 1)
    f = network.energy(x)(y).view(MODELS, INPUTS)
    assert len(f[:, 0].unique()) == MODELS  # different weights
    f[1].sum().backward()
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert not parameter.grad[[0, 2]].any()


def test_other_types_are_refused(network: GroupedNetwork) -> None:
    with pytest.raises(ValueError, match=r"plain=True"):
        double(network).energy(torch.zeros(MODELS, INPUTS).double())(torch.zeros(MODELS * INPUTS, 1, 1).double())
