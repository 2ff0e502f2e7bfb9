"""Learning a dynamic system from its signals: the density of the next output, given past outputs and inputs.

An energy-based NARX model, p(y_t | x_t) ∝ exp f(x_t, y_t), trained by NCE, against the same network without y, trained
by least squares to predict y_t. The systems: AR(1) with four noises, a second-order ARX system, and the nonlinear one
of Chen, Billings and Grant (1990), each several times over with signals of its own, the networks side by side in one.

In Chen's system u is Gaussian, each value held for five steps, and the model sees the measured outputs alone. Its table
is published; the second comparison with it takes the signals that the table's authors drew, and their way of choosing.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator
from study import Row, Study, parser, run
from torch import Tensor, nn

from lidar_ebm.ebm import NCE, Energy, GaussianMixtureNoise, Grid, GridDensity, ascend, grid_search, tabulate
from lidar_ebm.visualization.palette import (
    AFTER,
    BACKGROUND,
    BEFORE,
    LABEL,
    LABEL_SIZE,
    MUTED_TEXT,
    SMALL_SIZE,
    TEXT,
    new_figure,
    style_axes,
)

STDS, SAMPLES = (0.1, 0.2, 0.8), 512  # of the noise of NCE, in units of `scale`
POLE = 0.95
INTERVAL = 0.9  # probability of the intervals
HOLD = 5  # steps for which Chen's system keeps its input
PUBLISHED_SEED = 117  # of numpy, from which the authors of the published table draw both of its signals
LENGTHS, NOISES = (100, 250, 500), (0.1, 0.3, 0.5)
PUBLISHED = {  # mean squared error (plain network, energy-based) by the noise's standard deviation and length
    (0.1, 100): (0.122, 0.099),
    (0.1, 250): (0.069, 0.070),
    (0.1, 500): (0.057, 0.054),
    (0.3, 100): (0.398, 0.390),
    (0.3, 250): (0.353, 0.354),
    (0.3, 500): (0.289, 0.308),
    (0.5, 100): (0.860, 0.869),
    (0.5, 250): (0.809, 0.822),
    (0.5, 500): (0.754, 0.779),
}


@dataclass(frozen=True)
class Settings:
    """Of every row."""

    models: int = 4  # signals, each with networks of its own
    published_models: int = 3  # networks on the published table's signals
    width: int = 32
    batch: int = 16
    plain_steps: int = 6000
    energy_steps: int = 2000  # of Chen's
    linear_steps: int = 1200  # of the linear systems'
    plain_rate: float = 5e-3
    energy_rate: float = 1e-2
    weight_decay: float = 0.1
    checks: int = 40  # times at which the loss on held-out steps is looked at
    linear_length: int = 1000  # of the linear systems' signals
    test_length: int = 500
    floor_length: int = 60_000
    floor_steps: int = 3200
    cells: int = 1024  # of the grid
    seed: int = 0


# ---------------------------------------------------------------------------------------------------- the systems


class Signals(NamedTuple):
    """Data before each step, and the output that came: of G signals of N steps."""

    x: Tensor  # [G, N, F] outputs before (the latest first), then inputs
    y: Tensor  # [G, N]


def normal_log_density(e: Tensor, std: float | Tensor) -> Tensor:
    """Log-density of N(0, std²) at e."""
    return -0.5 * (e / std).square() - torch.as_tensor(std).log() - 0.5 * math.log(2 * math.pi)


def mixture_log_density(e: Tensor, *parts: tuple[float, float, float]) -> Tensor:
    """Log-density at e of a mixture of normal ones: (share, mean, std) each."""
    terms = [math.log(share) + normal_log_density(e - mean, std) for share, mean, std in parts]
    return torch.stack(terms).logsumexp(dim=0)


def dependent_std(last: Tensor) -> Tensor:
    """Of the noise that depends on the last output."""
    return torch.where(last.abs() < 0.5, 0.3, 0.05)


@dataclass(frozen=True)
class Noise:
    """Noise that enters a system at each step, given the last output."""

    draw: Callable[[Tensor, torch.Generator], Tensor]  # last [G] -> e [G]
    log_density: Callable[[Tensor, Tensor], Tensor]  # e, last -> [...]


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator)


def _draw_mixture(share: float, first: tuple[float, float], second: tuple[float, float]) -> Callable[..., Tensor]:
    def draw(last: Tensor, generator: torch.Generator) -> Tensor:
        chosen = torch.rand(last.shape, generator=generator) < share
        normal = _normal(last, generator)
        return torch.where(chosen, first[0] + first[1] * normal, second[0] + second[1] * normal)

    return draw


NOISE = {
    "Gaussian": Noise(lambda last, g: 0.2 * _normal(last, g), lambda e, last: normal_log_density(e, 0.2)),
    "bimodal": Noise(
        _draw_mixture(0.5, (-0.4, 0.1), (0.4, 0.1)),
        lambda e, last: mixture_log_density(e, (0.5, -0.4, 0.1), (0.5, 0.4, 0.1)),
    ),
    "Cauchy": Noise(
        lambda last, g: 0.2 * (math.pi * (torch.rand(last.shape, generator=g) - 0.5)).tan(),
        lambda e, last: -math.log(0.2 * math.pi) - (e / 0.2).square().log1p(),
    ),
    "dependent": Noise(
        lambda last, g: dependent_std(last) * _normal(last, g),
        lambda e, last: normal_log_density(e, dependent_std(last)),
    ),
    "mixture": Noise(
        _draw_mixture(0.6, (0.0, 0.1), (0.0, 0.3)),
        lambda e, last: mixture_log_density(e, (0.6, 0.0, 0.1), (0.4, 0.0, 0.3)),
    ),
}


def linear_mean(x: Tensor) -> Tensor:
    """Expected output of the linear systems [...] for x [..., F]: AR(1) for F = 1, ARX for F = 4."""
    weights = (POLE,) if x.shape[-1] == 1 else (1.5, -0.7, 1.0, 0.5)
    return x @ x.new_tensor(weights)


def ar(noise: str, models: int, length: int, generator: torch.Generator) -> Signals:
    """y_t = 0.95 y_{t-1} + e_t, from 0, the first hundred steps left out."""
    outputs = [torch.zeros(models)]
    for _ in range(100 + length):
        outputs.append(POLE * outputs[-1] + NOISE[noise].draw(outputs[-1], generator))
    y = torch.stack(outputs[100:], dim=1)  # [G, 1 + N]
    return Signals(y[:, :-1, None], y[:, 1:])


def arx(noise: str, models: int, length: int, generator: torch.Generator) -> Signals:
    """y_t = 1.5 y_{t-1} - 0.7 y_{t-2} + u_{t-1} + 0.5 u_{t-2} + e_t, u ~ N(0, 0.1²), from rest."""
    u = 0.1 * torch.randn(models, 2 + length, generator=generator)
    y = torch.zeros(models, 2 + length)
    for t in range(2, 2 + length):
        x = torch.stack([y[:, t - 1], y[:, t - 2], u[:, t - 1], u[:, t - 2]], dim=-1)
        y[:, t] = linear_mean(x) + NOISE[noise].draw(y[:, t - 1], generator)
    return _past(y, u)


def chen(std: float, models: int, length: int, generator: torch.Generator) -> Signals:
    """Chen's system from rest, with noise of this standard deviation in the system and in its measurement."""
    values = torch.randn(models, math.ceil((2 + length) / HOLD), generator=generator)
    u = values.repeat_interleave(HOLD, dim=1)[:, : 2 + length]
    v, w = std * torch.randn(2, models, 2 + length, generator=generator)
    return chen_response(u, v, w)


def published_chen(std: float, models: int, length: int, test_length: int) -> tuple[Signals, Signals]:
    """The training and the test signal of the published table, the same for all models.

    They have `length` outputs, of which the first two, at rest, are only looked back at.
    """
    stream = np.random.RandomState(PUBLISHED_SEED)
    signals = []
    for count in (length, test_length):
        u = stream.randn(count)[::HOLD].repeat(HOLD)[:count]
        noises = np.zeros((count, 2))
        noises[2:] = std * stream.randn(count - 2, 2)
        signal = torch.from_numpy(np.stack([u, *noises.T])).float().unsqueeze(1)  # [3, 1, count]
        x, y = chen_response(*signal)
        signals.append(Signals(x.repeat(models, 1, 1), y.repeat(models, 1)))
    return signals[0], signals[1]


def chen_response(u: Tensor, v: Tensor, w: Tensor) -> Signals:
    """Chen's system from rest for inputs and noises of system and measurement [G, 2 + N] each."""
    y = torch.zeros_like(u)
    for t in range(2, u.shape[1]):
        y[:, t] = chen_mean(y[:, t - 1], y[:, t - 2], u[:, t - 1], u[:, t - 2]) + v[:, t]
    return _past(y + w, u)


def chen_mean(y1: Tensor, y2: Tensor, u1: Tensor, u2: Tensor) -> Tensor:
    """The next output without noise, from the last two outputs and inputs."""
    bump = (-y1.square()).exp()
    return (0.8 - 0.5 * bump) * y1 - (0.3 + 0.9 * bump) * y2 + u1 + 0.2 * u2 + 0.1 * u1 * u2


def _past(y: Tensor, u: Tensor) -> Signals:
    """Signals [G, 2 + N] as what was before each step and what came."""
    return Signals(torch.stack([y[:, 1:-1], y[:, :-2], u[:, 1:-1], u[:, :-2]], dim=-1), y[:, 2:])


SYSTEMS: dict[str, Callable[..., Signals]] = {"AR(1)": ar, "ARX": arx, "Chen": chen}


# --------------------------------------------------------------------------------------------------- the networks


class Networks(nn.Module):
    """G networks of one shape: x through two layers (ReLU), y joins in the third (tanh), two residual ones, an end.

    Without y the same network predicts y itself.
    """

    def __init__(self, models: int, inputs: int, width: int, generator: torch.Generator) -> None:
        """Weights are uniform within 1 / √inputs, those of y within 3, so that f may soon be steep along y."""
        super().__init__()

        def draw(bound: float, *shape: int) -> nn.Parameter:
            return nn.Parameter(bound * (2 * torch.rand((models, *shape), generator=generator) - 1))

        sizes = (inputs, *[width] * 5)
        self.weights = nn.ParameterList(
            draw(a**-0.5, a, b) for a, b in zip(sizes, (*sizes[1:], 1), strict=True)
        )  # [G, in, out] each
        self.biases = nn.ParameterList(draw(a**-0.5, 1, b) for a, b in zip(sizes, (*sizes[1:], 1), strict=True))
        self.y_weight = draw(3.0, 1, 1, width)

    def predict(self, x: Tensor) -> Tensor:
        """y [G, N] for x [G, N, F]."""
        return self._rest(self._of_x(x)).squeeze(-1)

    def energy(self, x: Tensor) -> Energy:
        """f for these inputs [G, N, F]: y [G N, S, 1] -> [G N, S]."""
        from_x = self._of_x(x).unsqueeze(2)  # [G, N, 1, W]

        def f(y: Tensor) -> Tensor:
            merged = y.reshape(*x.shape[:2], -1, 1) * self.y_weight + from_x  # [G, N, S, W]
            return self._rest(merged.flatten(1, 2)).reshape(y.shape[:2])

        return f

    def _of_x(self, x: Tensor) -> Tensor:
        """Contribution of x to the third layer [G, N, W]."""
        return self._layer(2, torch.relu(self._layer(1, torch.relu(self._layer(0, x)))))

    def _rest(self, merged: Tensor) -> Tensor:
        """[G, n, W] -> [G, n, 1]."""
        hidden = torch.tanh(merged)
        for index in (3, 4):
            hidden = hidden + torch.tanh(self._layer(index, hidden))
        return self._layer(5, hidden)

    def _layer(self, index: int, below: Tensor) -> Tensor:
        return torch.baddbmm(self.biases[index], below, self.weights[index])


def train(
    networks: Networks,
    signals: Signals,
    loss: Callable[[Signals], Tensor],
    held_out: Callable[[], Tensor],
    *,
    steps: int,
    rate: float,
    settings: Settings,
    generator: torch.Generator,
) -> None:
    """AdamW with a falling learning rate; each network ends as the running average that did best on held-out steps.

    Args:
        networks: to train in place.
        signals: what to train on.
        loss: summed over the networks, for a batch of `signals`.
        held_out: loss of each network [G] on steps that are not trained on.
        steps, rate: of the optimiser; the rate falls to a twentieth.
        settings: the batch's size, the weight decay, and how often `held_out` is looked at.
        generator: of the batches.
    """
    parameters: list[Tensor] = list(networks.parameters())
    average, best = ([parameter.detach().clone() for parameter in parameters] for _ in range(2))
    lowest = torch.full((len(signals.y),), math.inf)
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=settings.weight_decay)
    rates = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.05 ** (1 / steps))
    order = torch.empty(len(signals.y), 0, dtype=torch.int64)
    for step in range(1, steps + 1):
        while order.shape[1] < settings.batch:  # the rest of an epoch goes to the next
            order = torch.cat([order, torch.rand(signals.y.shape, generator=generator).argsort(dim=1)], dim=1)
        index, order = order[:, : settings.batch], order[:, settings.batch :]
        value = loss(_at(signals, index))
        optimizer.zero_grad(set_to_none=False)
        value.backward()
        optimizer.step()
        rates.step()
        with torch.no_grad():
            torch._foreach_lerp_(average, parameters, max(1 / step, 0.01))
            if step % max(1, steps // settings.checks) == 0 or step == steps:
                current = [parameter.clone() for parameter in parameters]
                torch._foreach_copy_(parameters, average)
                measured = held_out()
                better = measured < lowest
                lowest = torch.where(better, measured, lowest)
                for kept, candidate in zip(best, average, strict=True):
                    kept[better] = candidate[better]
                torch._foreach_copy_(parameters, current)
    with torch.no_grad():
        torch._foreach_copy_(parameters, best)


def _at(signals: Signals, index: Tensor) -> Signals:
    """The steps `index` [G, B] of each signal."""
    rows = torch.arange(len(index)).unsqueeze(1)
    return Signals(signals.x[rows, index], signals.y[rows, index])


# ------------------------------------------------------------------------------------------------------- the rows


@dataclass(frozen=True)
class Units:
    """Units in which networks are shown signals: y in units of the largest |y| of the training signal.

    The Cauchy noise has no largest value worth the name. There y is shown as its change from the last output, in fixed
    units, and the last output itself through asinh, which is linear near 0 and a logarithm farther out.
    """

    heavy: bool
    scale: Tensor  # [G, 1]

    @classmethod
    def of(cls, signals: Signals, heavy: bool) -> Units:
        """For these training signals."""
        largest = signals.y.abs().amax(dim=1, keepdim=True)
        return cls(heavy, torch.full_like(largest, 2.0) if heavy else largest)

    def shown(self, signals: Signals) -> Signals:
        """Signals as the networks see them."""
        x = signals.x / self.scale.unsqueeze(-1)
        y = (signals.y - self.origin(signals.x)) / self.scale
        return Signals(x.asinh() if self.heavy else x, y)

    def origin(self, x: Tensor) -> Tensor:
        """Output that is shown as 0, [G, N]."""
        return x[..., 0] if self.heavy else torch.zeros_like(x[..., 0])

    def grid(self, cells: int) -> Grid:
        """Wide enough for what is seen in a test: 1.6 times the largest label; ±10 for the heavy tails."""
        return Grid(-5.0, 5.0, cells) if self.heavy else Grid(-1.6, 1.6, cells)

    def true_energy(self, signals: Signals, noise: Noise) -> Energy:
        """The system's own log-density as an energy of the y shown."""
        origin, mean, last = (
            values.reshape(-1, 1) for values in (self.origin(signals.x), linear_mean(signals.x), signals.x[..., 0])
        )
        scale = self.scale.expand(signals.y.shape).reshape(-1, 1)
        return lambda y: noise.log_density(y.squeeze(-1) * scale + origin - mean, last)


def compare(settings: Settings, system: str, noise: str | float, length: int, *, as_published: bool = False) -> Row:
    """Both sides on one system: errors, held-out log-likelihoods, and densities to draw.

    Args:
        settings: of all rows.
        system: "AR(1)", "ARX" or "Chen".
        noise: its name, or its standard deviation for Chen's.
        length: of the training signals.
        as_published: all networks learn from the published table's signal (of Chen's system), from all of its steps,
            and the test signal itself tells when to stop, instead of a fifth of the training steps.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    models = settings.published_models if as_published else settings.models
    if as_published:
        signals, test = published_chen(float(noise), models, length, settings.test_length)
    else:
        lengths = length, settings.test_length
        signals, test = (SYSTEMS[system](noise, models, steps, generator) for steps in lengths)
    units = Units.of(signals, heavy=noise == "Cauchy")
    shown_test = units.shown(test)
    if as_published:
        shown, held = units.shown(signals), shown_test
    else:
        order = torch.rand(signals.y.shape, generator=generator).argsort(dim=1)
        parts = order[:, length // 5 :], order[:, : length // 5]
        shown, held = (units.shown(_at(signals, part)) for part in parts)
    inputs = signals.x.shape[-1]
    plain, energy = (Networks(models, inputs, settings.width, generator) for _ in range(2))

    def squared_error(on: Signals) -> Tensor:
        return (plain.predict(on.x) - on.y).square().mean(dim=1)  # [G]

    def log_likelihood(f: Energy, y: Tensor, grid: Grid) -> tuple[Tensor, GridDensity]:
        """Of each y [G, N], within the grid, in y's own units; NaN outside."""
        density = tabulate(f, grid, y.numel())
        values = density.log_prob(f(y.reshape(-1, 1, 1)).squeeze(1)).view_as(y) - units.scale.log()
        return torch.where((y > grid.low[0]) & (y < grid.high[0]), values, torch.nan), density

    nce = NCE(GaussianMixtureNoise([[std] for std in STDS]), SAMPLES)
    grid, coarse = units.grid(settings.cells), units.grid(settings.cells // 2)
    fit = partial(train, signals=shown, settings=settings, generator=generator)
    fit(
        plain,
        loss=lambda batch: squared_error(batch).sum(),
        held_out=lambda: squared_error(held),
        steps=settings.plain_steps,
        rate=settings.plain_rate,
    )
    fit(
        energy,
        loss=lambda batch: nce(
            energy.energy(batch.x), batch.y.reshape(-1, 1), random=generator, count=batch.y.shape[1]
        ),
        held_out=lambda: -log_likelihood(energy.energy(held.x), held.y, coarse)[0].nanmean(dim=1),
        steps=settings.energy_steps if system == "Chen" else settings.linear_steps,
        rate=settings.energy_rate,
    )

    with torch.no_grad():
        f = energy.energy(shown_test.x)
        start = grid_search(f, grid, test.y.numel())
        highest = ascend(f, start.y, steps=10, step_length=grid.cell[0] ** 2).y.view_as(test.y)
        predicted = plain.predict(shown_test.x)
        centre, std = (
            values.reshape(-1, 1)
            for values in (predicted, squared_error(held).sqrt().unsqueeze(1).expand_as(predicted))
        )
        sides: dict[str, Energy] = {
            "energy": f,
            "Gaussian": lambda y: normal_log_density(y.squeeze(-1) - centre, std),
        }
        if system != "Chen":
            sides["true"] = units.true_energy(test, NOISE[str(noise)])
        likelihoods = {name: log_likelihood(side, shown_test.y, grid) for name, side in sides.items()}
        densities = {name: density for name, (_, density) in likelihoods.items()}
        guesses = {"plain": predicted, "energy": highest, "energy, mean": densities["energy"].mean().view_as(test.y)}
        interval = densities["energy"].interval(INTERVAL)
        inside = (interval.low <= shown_test.y.reshape(-1, 1)) & (shown_test.y.reshape(-1, 1) <= interval.high)
        errors = {name: ((shown_test.y - guess) * units.scale).square() for name, guess in guesses.items()}
        return {
            "mse": {name: error.mean(dim=1) for name, error in errors.items()},
            "log_likelihood": {name: values.nanmean(dim=1) for name, (values, _) in likelihoods.items()},
            "outside": likelihoods["energy"][0].isnan().float().mean(),
            "covered": inside.view(models, -1).float().mean(dim=1),
            "drawn": _drawn(system, noise, test, units, densities),
        }


def _drawn(system: str, noise: str | float, test: Signals, units: Units, densities: dict[str, GridDensity]) -> Row:
    """Data of the picture of the first signal: densities after an output, or intervals along a stretch of Chen's."""
    scale = float(units.scale[0])
    if system == "Chen":
        part = slice(100, 140)
        interval = densities["energy"].interval(INTERVAL)
        low, high = (scale * bound[part, 0] for bound in (interval.low, interval.high))
        return {"y": test.y[0, part], "low": low, "high": high}
    last = test.x[0, :, 0]
    slices = {}
    for wanted in (0.2, 0.8) if noise == "dependent" else (0.2,):  # one for each of its standard deviations
        row = int((last - wanted).abs().argmin())
        origin = float(units.origin(test.x)[0, row])
        curves = {name: density.log_density[row].exp() / scale for name, density in densities.items()}
        y = densities["energy"].grid.axes[0] * scale + origin
        near = (y - linear_mean(test.x[0, row])).abs() < 1.2
        slices[f"{float(last[row]):.2f}"] = {"y": y[near], **{name: curve[near] for name, curve in curves.items()}}
    return slices


def floor(settings: Settings, std: float) -> Row:
    """Error that a network reaches on Chen's system after a very long signal: all but the noise's own error."""
    generator = torch.Generator().manual_seed(settings.seed + 1)
    signals, test = (chen(std, 1, settings.floor_length, generator) for _ in range(2))
    units = Units.of(signals, heavy=False)
    shown = units.shown(signals)
    network = Networks(1, 4, settings.width * 2, generator)
    part = settings.floor_length // 10
    held = Signals(shown.x[:, :part], shown.y[:, :part])

    def error(on: Signals) -> Tensor:
        return (network.predict(on.x) - on.y).square()  # [1, N]

    train(
        network,
        Signals(shown.x[:, part:], shown.y[:, part:]),
        lambda batch: error(batch).mean(),
        lambda: error(held).mean(dim=1),
        steps=settings.floor_steps,
        rate=settings.plain_rate,
        settings=replace(settings, batch=512),
        generator=generator,
    )
    published = {str(n): published_chen(std, 1, n, settings.test_length)[1] for n in LENGTHS}
    with torch.no_grad():
        errors = error(units.shown(test))[0] * units.scale[0] ** 2
        blocks = errors[: len(errors) // settings.test_length * settings.test_length].view(-1, settings.test_length)
        return {
            "mse": errors.mean(),
            "spread": blocks.mean(dim=1).std(),
            "published": {n: error(units.shown(on)).mean() * units.scale[0, 0] ** 2 for n, on in published.items()},
        }


# ------------------------------------------------------------------------------------------------------- the page

LINEAR = {
    "AR(1), Gaussian": ("AR(1)", "Gaussian"),
    "AR(1), bimodal": ("AR(1)", "bimodal"),
    "AR(1), Cauchy": ("AR(1)", "Cauchy"),
    "AR(1), y-dependent": ("AR(1)", "dependent"),
    "ARX, mixture": ("ARX", "mixture"),
}
AGAIN = ", published signal"
VARIED = (0.1, 100)  # noise and length at which variants are tried
SIDES, SIDE_NAMES = ("plain", "energy"), ("plain", "energy-based")
STRETCH = (0.3, 500)  # noise and length of the row whose intervals are drawn


def study(arguments: argparse.Namespace, settings: Settings | None = None) -> None:
    """Compute the rows that are missing, then write the page.

    Args:
        arguments: as `run` fills them in.
        settings: in place of those that `arguments` asks for.
    """
    if settings is None:
        settings = Settings()
        if arguments.quick:
            small = {"models": 2, "published_models": 2, "checks": 5, "cells": 256, "linear_length": 300}
            steps = {"plain_steps": 500, "energy_steps": 100, "linear_steps": 100, "floor_steps": 500}
            settings = replace(settings, **small, **steps)
    page = Study("Learning dynamic systems", arguments.out, asdict(settings), arguments.processes)
    tasks: dict[str, Callable[[], Row]] = {f"Chen, floor {std}": partial(floor, settings, std) for std in NOISES}
    for std, length in PUBLISHED:
        tasks[_key(std, length)] = partial(compare, settings, "Chen", std, length)
        tasks[_key(std, length, AGAIN)] = partial(compare, settings, "Chen", std, length, as_published=True)
    for name, varied in variants(settings).items():
        tasks[_key(*VARIED, f"{AGAIN}, {name}")] = partial(compare, varied, "Chen", *VARIED, as_published=True)
    for name, which in LINEAR.items():
        tasks[name] = partial(compare, settings, *which, settings.linear_length)
    rows = page.rows(tasks)
    page.text(
        f"Energy-based: NCE with noise of stds {', '.join(map(str, STDS))} (in units of the largest |y| of the "
        f"training signal) and {SAMPLES} samples; its prediction is the density's highest point, by grid search and "
        "ascent. Plain: the same network without y, least squares. ± is the standard deviation over signals (over "
        "networks, where all learn from one signal). N is the length of the training signal, noise the standard "
        "deviation of either of Chen's two noises."
    )
    _table_of_errors(page, rows, settings)
    _table_as_published(page, rows, settings)
    _table_of_variants(page, rows, settings)
    _table_of_likelihoods(page, rows)
    caption = (
        "Above: true and learnt densities of the next output, of the first signal of each system. Below: Chen's system "
        f"with the learnt {INTERVAL:.0%} intervals, and its mean squared errors on logarithmic scales."
    )
    page.picture(draw(rows), arguments.results / "system_identification.png", caption)
    page.write(arguments.results / "system_identification.md")


def variants(settings: Settings) -> dict[str, Settings]:
    """Other settings, to see what the comparison on the published signals hangs on."""
    return {
        "four times as many networks": replace(settings, published_models=4 * settings.published_models),
        "twice the width": replace(settings, width=2 * settings.width),
    }


def _key(std: float, length: int, variant: str = "") -> str:
    return f"Chen, {std}, {length}{variant}"


def _table_of_errors(page: Study, rows: dict[str, Row], settings: Settings) -> None:
    lines, ratios = [], []
    for (std, length), published in PUBLISHED.items():
        errors, reference = rows[_key(std, length)]["mse"], rows[f"Chen, floor {std}"]
        means = [_mean(errors[side]) for side in SIDES]
        ratios.append([mean / value for mean, value in zip(means, published, strict=True)])
        cells = _beside([_spread(errors[side]) for side in SIDES], published, ratios[-1])
        floors = f"{reference['mse']:.3f} ± {reference['spread']:.3f}"
        lines.append([f"{std}, {length}", *cells, _spread(errors["energy, mean"]), floors])
    columns = ["noise, N", "plain", "published", "ratio", "energy-based", "published", "ratio"]
    page.table(
        f"Chen's system, {settings.models} signals of its own a cell: mean squared error one step ahead",
        [*columns, "energy-based, the density's mean", "floor"],
        lines,
    )
    page.text(
        f"{_within(ratios)} Each network has a training and a test signal of its own; a fifth of the training signal "
        "is not trained on but tells when to stop. The floor is the error of a plain network that learnt from "
        f"{settings.floor_length * 9 // 10} steps: what the noise alone leaves, since the past is measured with noise "
        f"as well. Its ± is the spread between test signals of {settings.test_length} steps: no figure of a single "
        "test signal is more certain than that."
    )


def _table_as_published(page: Study, rows: dict[str, Row], settings: Settings) -> None:
    lines, ratios = [], []
    for (std, length), published in PUBLISHED.items():
        errors, reference = rows[_key(std, length, AGAIN)]["mse"], rows[f"Chen, floor {std}"]["published"]
        ratios.append([min(errors[side]) / value for side, value in zip(SIDES, published, strict=True)])
        cells = _beside([_best(errors[side]) for side in SIDES], published, ratios[-1])
        lines.append([f"{std}, {length}", *cells, f"{reference[str(length)]:.3f}"])
    columns = ["noise, N", "plain: best (all)", "published", "ratio", "energy-based: best (all)", "published", "ratio"]
    page.table(
        "Chen's system, the published signals, chosen as published", [*columns, "floor on this test signal"], lines
    )
    page.text(
        f"{_within(ratios)} The table's authors drew one training and one test signal for each cell, trained up to 500 "
        "networks of each kind (some 100 combinations of layers, widths and batch sizes), and gave the least error on "
        f"that test signal. Here both signals are drawn as in their published program (numpy's seed {PUBLISHED_SEED}), "
        "all steps are trained on, and the test signal tells when to stop (by squared error, the energy-based ones by "
        f"likelihood) and which network is best, but of {settings.published_models} networks of one size. Such figures "
        "are chosen by the test signal: they are no estimates of the error on another one. What differs between this "
        "table and the one above is the signals, the fifth that is held out there, and the choosing. What differs here "
        "from the published figures, if they were made from that seed, is left to the networks: their number, their "
        f"width ({settings.width}; published 50 to 300), and their training (here with weight decay, averaged weights "
        "and the best moment by the test signal; in that program without)."
    )


def _table_of_variants(page: Study, rows: dict[str, Row], settings: Settings) -> None:
    std, length = VARIED
    lines = []
    for name in ("as above", *variants(settings)):
        errors = rows[_key(std, length, AGAIN if name == "as above" else f"{AGAIN}, {name}")]["mse"]
        ratios = [min(errors[side]) / value for side, value in zip(SIDES, PUBLISHED[VARIED], strict=True)]
        lines.append([name, *_beside([_best(errors[side]) for side in SIDES], PUBLISHED[VARIED], ratios)])
    columns = ["networks", "plain: best (all)", "published", "ratio", "energy-based: best (all)", "published", "ratio"]
    page.table(f"What the figures hang on: the published signals, noise {std}, N {length}", columns, lines)
    page.text(
        "Best is the least error of the networks that were trained: the more of them, the lower it is by chance alone."
    )


def _beside(ours: list[str], published: tuple[float, float], ratios: list[float]) -> list[str]:
    """Cells of both sides: our error, the published one, and the ratio."""
    sides = zip(ours, published, ratios, strict=True)
    return [cell for mine, theirs, ratio in sides for cell in (mine, f"{theirs:.3f}", f"{ratio:.3f}")]


def _within(ratios: list[list[float]]) -> str:
    """Number of the cells that came within 10 % of the published errors, below and above that."""
    counts = []
    for name, side in zip(SIDE_NAMES, zip(*ratios, strict=True), strict=True):
        within, below = sum(abs(ratio - 1) <= 0.1 for ratio in side), sum(ratio < 0.9 for ratio in side)
        rest = f"{below} lower by more, {len(side) - within - below} higher by more"
        counts.append(f"{name} in {within} of {len(side)} cells ({rest})")
    return f"Within 10 % of the published error: {'; '.join(counts)}."


def _table_of_likelihoods(page: Study, rows: dict[str, Row]) -> None:
    lines = []
    for name in [*LINEAR, *(_key(*cell) for cell in PUBLISHED)]:
        likelihoods = rows[name]["log_likelihood"]
        true = _mean(likelihoods["true"]) if "true" in likelihoods else None
        lines.append(
            [
                name,
                _spread(likelihoods["energy"]),
                _spread(likelihoods["Gaussian"]),
                None if true is None else f"{true:.3f}",
                None if true is None else f"{true - _mean(likelihoods['energy']):.3f}",
                f"{_mean(rows[name]['covered']):.1%}",
                f"{rows[name]['outside']:.1%}",
            ]
        )
    columns = ["system (Chen: noise, N)", "energy-based", "plain + Gaussian", "true", "true − energy-based"]
    columns += [f"inside of the {INTERVAL:.0%} interval", "outside of the grid"]
    page.table("Log-likelihood of test signals, nat a step", columns, lines)
    page.text(
        "Signals of their own. All densities are normalised on one grid, and steps outside of it are left out. Plain + "
        "Gaussian: around the plain network's prediction, with its error on the fifth that tells when to stop. "
        "Interval: of the energy-based density, as much probability on either side. Cauchy: the grid holds changes of "
        "y within ± 10. Chen's true density has no closed form, the past being known through noise."
    )


def _mean(values: list[float]) -> float:
    return float(torch.tensor(values).mean())


def _spread(values: list[float]) -> str:
    all_values = torch.tensor(values)
    return f"{float(all_values.mean()):.3f} ± {float(all_values.std()):.3f}"


def _best(values: list[float]) -> str:
    return f"{min(values):.3f} ({_spread(values)})"


def draw(rows: dict[str, Row]) -> Figure:
    """Densities of the linear systems, and Chen's system."""
    figure = new_figure((1300, 980))
    places = {"left": 0.05, "right": 0.985}
    above = figure.add_gridspec(2, 3, **places, top=0.965, bottom=0.45, hspace=0.36, wspace=0.16)
    below = figure.add_gridspec(1, 4, **places, top=0.36, bottom=0.11, wspace=0.25, width_ratios=(2.4, 1, 1, 1))
    curves = [(f"{name}, after y = {last}", curve) for name in LINEAR for last, curve in rows[name]["drawn"].items()]
    for index, (title, curve) in enumerate(curves):
        line, column = divmod(index, 3)
        axes = figure.add_subplot(above[line, column])
        axes.fill_between(curve["y"], curve["true"], color=LABEL, alpha=0.25, linewidth=0, label="true")
        axes.plot(curve["y"], curve["Gaussian"], color=BEFORE, linestyle="--", label="plain + Gaussian")
        axes.plot(curve["y"], curve["energy"], color=AFTER, label="energy-based")
        style_axes(axes, x_label="next y" if line else "", y_label="" if column else "density")
        axes.set_title(title, fontsize=LABEL_SIZE, color=TEXT)
        if index == 0:
            axes.legend(fontsize=SMALL_SIZE, frameon=False, loc="upper left")
    _draw_stretch(figure.add_subplot(below[0]), rows[_key(*STRETCH)]["drawn"])
    for column, std in enumerate(NOISES):
        _draw_errors(figure.add_subplot(below[1 + column]), rows, std)
    styles: dict[str, dict[str, Any]] = {
        "plain": {"color": BEFORE, "marker": "s"},
        "energy-based": {"color": AFTER, "marker": "s"},
        "own signals, mean ± std": {"color": MUTED_TEXT, "marker": "o"},
        "published signals, best": {"color": MUTED_TEXT, "marker": "D", "markerfacecolor": BACKGROUND},
        "published": {"color": MUTED_TEXT, "marker": "_", "markersize": 12, "markeredgewidth": 2},
    }
    marks = [Line2D([], [], linestyle="", label=name, **style) for name, style in styles.items()]
    marks.append(Line2D([], [], linestyle=":", color=TEXT, linewidth=0.8, label="floor"))
    figure.legend(
        handles=marks, fontsize=SMALL_SIZE, frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(0.99, 0.0)
    )
    return figure


def _draw_stretch(axes: Axes, drawn: Row) -> None:
    steps = range(len(drawn["y"]))
    label = f"learnt {INTERVAL:.0%} interval"
    axes.fill_between(steps, drawn["low"], drawn["high"], color=AFTER, alpha=0.3, linewidth=0, label=label)
    axes.plot(steps, drawn["y"], ".", color=TEXT, label="measured")
    style_axes(axes, x_label="step of a test signal", y_label="y")
    axes.set_title(f"Chen's system, noise {STRETCH[0]}, N {STRETCH[1]}", fontsize=LABEL_SIZE, color=TEXT)
    axes.legend(fontsize=SMALL_SIZE, frameon=False, ncols=2)


def _draw_errors(axes: Axes, rows: dict[str, Row], std: float) -> None:
    for side, (name, color) in enumerate((("plain", BEFORE), ("energy", AFTER))):
        places = [index + 0.3 * side - 0.15 for index in range(len(LENGTHS))]
        own = torch.tensor([rows[_key(std, length)]["mse"][name] for length in LENGTHS])  # [3, G]
        best = [min(rows[_key(std, length, AGAIN)]["mse"][name]) for length in LENGTHS]
        published = [PUBLISHED[std, length][side] for length in LENGTHS]
        axes.errorbar(places, own.mean(dim=1), yerr=own.std(dim=1), color=color, marker="o", linewidth=1, capsize=3)
        axes.plot([place + 0.09 for place in places], best, "D", color=color, markerfacecolor=BACKGROUND)
        axes.plot(places, published, "_", color=color, markersize=12, markeredgewidth=2)
    axes.axhline(rows[f"Chen, floor {std}"]["mse"], color=TEXT, linewidth=0.8, linestyle=":")
    axes.set_xticks(range(len(LENGTHS)), [str(length) for length in LENGTHS])
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.2, 1.5, 2, 3, 4, 5, 6, 8)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    style_axes(axes, x_label="N", y_label="mean squared error" if std == NOISES[0] else "")
    axes.set_title(f"noise {std}", fontsize=LABEL_SIZE, color=TEXT)


if __name__ == "__main__":
    run(parser(__doc__, "system_identification"), study)
