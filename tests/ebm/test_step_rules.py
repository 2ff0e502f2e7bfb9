"""The rules of an ascent: plain halving to the last bit, momentum and Adam to their formulas, none of them waiting."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from lidar_ebm.ebm import Adam, Halving, Momentum, StepRule, ascend, best_of_starts

RULES: list[StepRule] = [Halving(), Momentum(), Momentum(0.5, decay=0.9), Adam(), Adam(0.8, 0.9, decay=0.95)]


def bumpy(y: Tensor) -> Tensor:
    """Many maxima, plateaus and cliffs; each candidate alone decides its f."""
    return (3 * y).sin().sum(-1) - 0.1 * y.square().sum(-1) + torch.where(y[..., 0] > 0.3, -2.0, 0.0)


def slope(y: Tensor) -> tuple[Tensor, Tensor]:
    """f [N] and its gradient at y [N, D]."""
    leaf = y.clone().requires_grad_()
    f = bumpy(leaf.unsqueeze(1)).squeeze(1)
    return f.detach(), torch.autograd.grad(f.sum(), leaf)[0]


def test_halving_is_the_published_loop_bit_for_bit() -> None:
    """The plain loop, with f and its gradient taken anew at every step."""
    y = y0 = torch.randn(300, 3, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([0.4, 0.1, 0.9]).repeat(300, 1)
    for _ in range(9):
        f, gradient = slope(y)
        candidate = (y + lengths * gradient).clamp(min=-1.5)
        worse = ~(slope(candidate)[0] >= f)
        lengths[worse] /= 2
        y = torch.where(worse.unsqueeze(1), y, candidate)
    result = ascend(bumpy, y0, steps=9, step_length=[0.4, 0.1, 0.9], constrain=lambda y: y.clamp(min=-1.5))
    assert torch.equal(result.y, y)
    assert torch.equal(result.f, slope(y)[0])


def test_momentum_and_adam_follow_torchs_optimisers() -> None:
    """The same places visited as by torch.optim.SGD and Adam on -f, and the best of them returned."""
    y0 = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    cases = (
        (Momentum(0.7), lambda y: torch.optim.SGD([y], lr=0.05, momentum=0.7)),
        (Adam(0.8, 0.95, 1e-8), lambda y: torch.optim.Adam([y], lr=0.05, betas=(0.8, 0.95), eps=1e-8)),
    )
    for rule, make in cases:
        y = y0.clone().requires_grad_()
        optimizer = make(y)
        places, values = [y0], [slope(y0)[0]]
        for _ in range(12):
            optimizer.zero_grad()
            (-bumpy(y.unsqueeze(1))).sum().backward()
            optimizer.step()
            places.append(y.detach().clone())
            values.append(slope(places[-1])[0])
        best = torch.stack(values).argmax(dim=0)
        result = ascend(bumpy, y0, steps=12, step_length=0.05, rule=rule)
        torch.testing.assert_close(result.y, torch.stack(places)[best, torch.arange(40)])
        torch.testing.assert_close(result.f, torch.stack(values).amax(dim=0))


@pytest.mark.parametrize("rule", RULES)
def test_best_places_never_fall(rule: StepRule) -> None:
    y0 = torch.randn(200, 3, generator=torch.Generator().manual_seed(2))
    result = ascend(bumpy, y0, steps=15, step_length=0.3, rule=rule, record=True)
    assert result.trajectory is not None
    values = torch.stack([bumpy(y.unsqueeze(1)).squeeze(1) for y in result.trajectory])  # in the shape of the ascent
    assert (values.diff(dim=0) >= 0).all()
    assert torch.equal(values[0], result.f0)
    assert torch.equal(values[-1], result.f)
    assert torch.equal(result.trajectory[-1], result.y)
    assert (result.f > result.f0).any()


@pytest.mark.parametrize("rule", RULES)
def test_each_target_is_alone_and_so_is_each_start(rule: StepRule) -> None:
    y0 = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    together = ascend(bumpy, y0, steps=8, step_length=0.4, rule=rule)
    alone = ascend(bumpy, y0[7:8], steps=8, step_length=0.4, rule=rule)
    torch.testing.assert_close(alone.y[0], together.y[7])
    starts = ascend(bumpy, y0.view(5, 4, 3), steps=8, step_length=0.4, rule=rule, record=True)
    torch.testing.assert_close(starts.y.view(20, 3), together.y)
    torch.testing.assert_close(starts.f.view(20), together.f)
    assert starts.trajectory is not None
    assert starts.trajectory.shape == (9, 5, 4, 3)


@pytest.mark.parametrize("rule", RULES)
def test_takes_steps_into_nowhere_back(rule: StepRule) -> None:
    """f is not a number beyond 1, and its gradient not finite at 0."""

    def energy(y: Tensor) -> Tensor:
        return (1 - y[..., 0]).log() * 0 + y[..., 0].clamp(min=0).sqrt()

    result = ascend(energy, torch.tensor([[0.9], [0.0], [2.0]]), steps=12, step_length=0.5, rule=rule)
    assert 0.9 < result.y[0] < 1
    assert result.y[1:].flatten().tolist() == [0.0, 2.0]
    assert math.isnan(result.f[2])


@pytest.mark.parametrize("rule", RULES)
def test_evaluates_once_a_step_and_stays_within_the_constraint(rule: StepRule) -> None:
    calls: list[bool] = []

    def energy(y: Tensor) -> Tensor:
        calls.append(torch.is_grad_enabled())
        return -(y - 2).square().sum(-1)

    result = ascend(energy, torch.zeros(4, 3), steps=20, step_length=0.1, rule=rule, constrain=lambda y: y.clamp(max=1))
    assert (len(calls), sum(calls)) == (21, 20)
    torch.testing.assert_close(result.y, torch.ones(4, 3), rtol=0, atol=0.15)
    assert (result.y <= 1).all()


def test_momentum_gets_through_a_ravine_that_plain_steps_do_not() -> None:
    """Curvatures 1 : 400. Plain steps zigzag; Adam minds neither scale, with one step length for each dimension."""
    scale = torch.tensor([1.0, 400.0])

    def ravine(y: Tensor) -> Tensor:
        return -0.5 * (scale * y.square()).sum(-1)

    y0 = torch.tensor([[10.0, 0.2]])
    plain = ascend(ravine, y0, steps=60, step_length=0.004)
    heavy = ascend(ravine, y0, steps=60, step_length=0.004, rule=Momentum(0.9))
    adam = ascend(ravine, y0, steps=60, step_length=[1.0, 0.02], rule=Adam(decay=0.9))
    assert plain.f < -20
    assert heavy.f > -1
    assert adam.f > -1


def test_momentum_rolls_through_small_valleys() -> None:
    """A hill at 4 with ripples on it, the first of which stops plain steps."""

    def energy(y: Tensor) -> Tensor:
        return (-0.5 * (y - 4).square() + 0.5 * (6 * y).sin()).sum(-1)

    y0 = torch.tensor([[0.0]])
    plain = ascend(energy, y0, steps=80, step_length=0.01)
    heavy = ascend(energy, y0, steps=80, step_length=0.01, rule=Momentum(0.9))
    assert plain.y < 3
    assert abs(heavy.y - 4) < 0.5
    assert heavy.f > plain.f + 0.5


@pytest.mark.parametrize("rule", RULES)
def test_nothing_waits_for_the_device(rule: StepRule) -> None:
    """On tensors without values, whatever asked for one would fail: so a whole ascent can be recorded."""
    with FakeTensorMode():
        y0 = torch.zeros(5, 3)
        result = ascend(bumpy, y0, steps=4, step_length=0.1, rule=rule, constrain=lambda y: y.clamp(min=-1))
        assert (result.y.shape, result.f.shape) == ((5, 3), (5,))
        starts = torch.zeros(5, 2, 3)
        assert best_of_starts(bumpy, starts, steps=4, step_length=0.1, rule=rule).y.shape == (5, 3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("rule", RULES)
def test_can_be_recorded_as_a_cuda_graph(rule: StepRule) -> None:
    held = torch.zeros(50, 4, 3, device="cuda")

    def run() -> Tensor:
        return best_of_starts(bumpy, held, steps=6, step_length=0.2, rule=rule).y

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        run()
        run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = run()
    starts = torch.randn(50, 4, 3, device="cuda", generator=torch.Generator("cuda").manual_seed(0))
    held.copy_(starts)
    graph.replay()
    assert torch.equal(out, best_of_starts(bumpy, starts, steps=6, step_length=0.2, rule=rule).y)


def test_impossible_rules_are_refused() -> None:
    for make in (
        lambda: Momentum(1.0),
        lambda: Adam(beta2=-0.1),
        lambda: Adam(epsilon=0.0),
        lambda: Momentum(decay=0.0),
    ):
        with pytest.raises(ValueError, match=r"beta|epsilon|decay"):
            make()
