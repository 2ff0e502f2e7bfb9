"""Parts that the studies on images share: a direct regression, an energy on its frozen features, and their comparison.

Every seed has data, networks and noise of its own. The direct network is trained first; then an energy head on its
frozen features, by NCE with noise around the labels; a prediction ascends from the direct estimate. As controls direct
heads are trained further, on the same features and images as the energy head. The length of the ascent's steps and the
density's temperature are chosen, for each seed, on a validation split; what is reported is of a test split.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from image_networks import DirectNetwork, EnergyHead, Features, LocalPoints, TargetCoding
from numpy.typing import NDArray
from study import Row
from torch import Tensor, nn

from lidar_ebm.ebm import (
    NCE,
    GaussianMixtureNoise,
    TargetSpace,
    WeightedSamples,
    ascend,
    best_of_starts,
    importance_samples,
)
from lidar_ebm.ebm.adaptive_sampling import adaptive_importance_samples
from lidar_ebm.ebm.calibration import LEVELS, HeldOut, Reliability, fit_temperature
from lidar_ebm.ebm.energy import value

FloatArray = NDArray[np.float32]
Draw = Callable[[int, np.random.Generator], tuple[FloatArray, FloatArray]]
Errors = Callable[[Tensor, Tensor], dict[str, Tensor]]

CHUNK = 4000  # images that are drawn at a time
ROWS = 500  # images that are evaluated at a time
LOSSES = {"L2": F.mse_loss, "L1": F.l1_loss}
EXAMPLES, EXAMPLE_DRAWS = 3, 300  # shown of either kind, and samples of each one's density
EXAMPLE_STARTS = 100  # images among which the widest densities are looked for

DIRECT, REFINED, STARTS = "direct regression", "refined", "refined, best of many starts"


@dataclass(frozen=True)
class Settings:
    """Numbers of draws, trainings and trials."""

    stds: tuple[tuple[float, ...], ...]  # [K, D] of the noise, the target's units
    unit: tuple[float, ...]  # [D] of the offsets that the energy is shown
    direct_images: int = 80_000
    energy_images: int = 40_000
    validation: int = 1000
    test: int = 2000
    channels: tuple[int, ...] = (16, 32, 64)
    hidden: int = 128
    direct_loss: Literal["L1", "L2"] = "L2"
    batch: int = 64
    direct_rate: float = 3e-3
    energy_rate: float = 2e-3
    weight_decay: float = 1e-4
    samples: int = 32  # M
    steps: int = 30  # T
    step_lengths: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0, 3.0)  # λ / scale², of which the validation split chooses
    starts: int = 128  # draws of the noise, the highest of which the last ascent starts from
    density_images: int = 500  # of the test split; as many of the validation split for the temperature
    density_samples: int = 3000
    density_rounds: int = 0  # that the importance samples are adapted in; 0 for none


@dataclass(frozen=True)
class Problem:
    """Data, target space, what an error is, and settings."""

    name: str  # of its files
    title: str
    size: int  # pixels of an image's side
    space: TargetSpace
    draw: Draw  # count, generator -> images [N, 1, size, size] and targets [N, D]
    errors: Errors  # predictions and targets [N, D] -> named errors [N]; less is better, the first is chosen by
    settings: Settings
    local: LocalPoints | None = None  # where the energy reads the finer map, if it does
    points: int = 0  # P of these
    fine: int = 2  # stages of the network before that map


@dataclass(frozen=True)
class Split:
    """Inputs and targets."""

    images: Tensor  # [N, 1, H, W]
    y: Tensor  # [N, D]


@dataclass
class Trained:
    """All that a seed's training gives."""

    network: DirectNetwork
    head: EnergyHead
    longer: dict[str, DirectNetwork]  # the controls, by their loss
    seconds: dict[str, float] = field(default_factory=dict)


def run_seed(problem: Problem, settings: Settings, seed: int) -> Row:
    """Train and measure: mean errors of every predictor, likelihoods and coverage, and some examples."""
    trained = train(problem, settings, seed)
    rng = np.random.default_rng([seed, 1])
    validation, test = _draw(problem, settings.validation, rng), _draw(problem, settings.test, rng)
    seen, features = features_of(trained.network, validation.images), features_of(trained.network, test.images)

    def chosen_by(step_length: float) -> float:
        refined = refine(trained.head, seen, seen.estimate, settings.steps, step_length)
        return next(iter(problem.errors(refined, validation.y).values())).mean().item()

    step_length = min(settings.step_lengths, key=chosen_by)
    began = time.perf_counter()
    refined = refine(trained.head, features, features.estimate, settings.steps, step_length)
    trained.seconds["refining"] = time.perf_counter() - began
    best = highest_draws(problem, settings, trained.head, features, seed)
    predictions = {
        DIRECT: features.estimate,
        **{f"trained on, {name}": features_of(it, test.images).estimate for name, it in trained.longer.items()},
        REFINED: refined,
        STARTS: refine(trained.head, features, best, settings.steps, step_length),
    }
    count = settings.density_images
    densities = density(problem, settings, trained.head, features[:count], seed)
    measured = _measure_density(problem, settings, trained, (validation, seen), (test, features), densities)
    return {
        "step_length": step_length,
        "seconds": trained.seconds,
        "errors": {name: _summary(problem.errors(y, test.y)) for name, y in predictions.items()},
        "density": measured,
        "examples": _examples(
            problem, test, features, refined, densities.at_temperature(measured["temperature"]), seed
        ),
    }


def train(problem: Problem, settings: Settings, seed: int) -> Trained:
    """Train the direct network, then, on its frozen features, the energy head and the controls.

    No image is seen twice, so that the features say as much of new images as of those they were trained with.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 0])
    coding = TargetCoding(problem.space, _draw(problem, CHUNK, rng).y)
    network = DirectNetwork(problem.size, settings.channels, settings.hidden, coding, problem.fine)
    began = time.perf_counter()
    descent = _Descent(network, settings.direct_images, settings.direct_rate, settings)
    measure = LOSSES[settings.direct_loss]
    for data in _stream(problem, settings.direct_images, rng):
        codes = coding(data.y)
        for rows in torch.randperm(len(codes)).split(settings.batch):
            descent.step(measure(network(data.images[rows]), codes[rows]))
    seconds = {"direct": time.perf_counter() - began}

    network.eval().requires_grad_(False)
    longer = {name: copy.deepcopy(network) for name in LOSSES}
    for control in longer.values():
        control.head.requires_grad_(True)
    head = EnergyHead(network, settings.unit, settings.hidden, problem.local, problem.points)
    loss = NCE(GaussianMixtureNoise(settings.stds, problem.space), settings.samples)
    began = time.perf_counter()
    descents = {
        name: _Descent(module, settings.energy_images, settings.energy_rate, settings)
        for name, module in {"energy": head, **longer}.items()
    }
    for data in _stream(problem, settings.energy_images, rng):
        features, codes = features_of(network, data.images), coding(data.y)
        for rows in torch.randperm(len(codes)).split(settings.batch):
            descents["energy"].step(loss(head.energy(features[rows]), data.y[rows]))
            for name, control in longer.items():
                descents[name].step(LOSSES[name](control.head(features.flat[rows]), codes[rows]))
    seconds["energy and controls"] = time.perf_counter() - began
    return Trained(network, head.eval().requires_grad_(False), longer, seconds)


def features_of(network: DirectNetwork, images: Tensor) -> Features:
    """Of all images, in batches, without gradients."""
    with torch.no_grad():
        parts = [network.features(part) for part in images.split(ROWS)]
    return Features(*(torch.cat([getattr(part, name) for part in parts]) for name in ("flat", "map", "estimate")))


def refine(head: EnergyHead, features: Features, start: Tensor, steps: int, step_length: float) -> Tensor:
    """Targets [N, D] after gradient ascent from `start`; λ is `step_length` times the squares of the space's scales."""
    lengths = [step_length * scale**2 for scale in head.space.scales]
    return torch.cat(
        [
            ascend(
                head.energy(features[rows]),
                start[rows],
                steps=steps,
                step_length=lengths,
                constrain=head.space.constrain,
            ).y
            for rows in _slices(len(start))
        ]
    )


def highest_draws(problem: Problem, settings: Settings, head: EnergyHead, features: Features, seed: int) -> Tensor:
    """The highest of the direct estimate and of draws of the noise around it: [N, D]."""
    noise = GaussianMixtureNoise(settings.stds, problem.space)
    generator = torch.Generator().manual_seed(seed)
    best = []
    for rows in _slices(len(features)):
        estimate = features.estimate[rows]
        starts = torch.cat([estimate.unsqueeze(1), noise.sample(estimate, settings.starts, generator)], dim=1)
        best.append(best_of_starts(head.energy(features[rows]), starts, steps=0, step_length=0.0).y)
    return torch.cat(best)


def density(problem: Problem, settings: Settings, head: EnergyHead, features: Features, seed: int) -> WeightedSamples:
    """Weighted samples of p(y | x) for each image."""
    energy, noise = head.energy(features), GaussianMixtureNoise(settings.stds, problem.space)
    random, count, space = torch.Generator().manual_seed(seed), settings.density_samples, problem.space
    if not settings.density_rounds:
        return importance_samples(energy, noise, features.estimate, count, random=random, space=space)
    rounds = settings.density_rounds
    each = count // (1 + rounds)
    return adaptive_importance_samples(
        energy, noise, features.estimate, each, rounds=rounds, random=random, space=space
    )


def _measure_density(
    problem: Problem,
    settings: Settings,
    trained: Trained,
    seen: tuple[Split, Features],
    held_out: tuple[Split, Features],
    densities: WeightedSamples,
) -> Row:
    """Likelihood and coverage on the test split; the temperature and a Gaussian's widths are the validation split's."""
    count, names = settings.density_images, problem.space.names
    (validation, validation_features), (test, features) = seen, held_out
    residual = problem.space.difference(validation.y, validation_features.estimate)
    width = residual.square().mean(dim=0).sqrt()
    gaussian = GaussianMixtureNoise(width.unsqueeze(0), problem.space)
    log_prob = gaussian.log_prob(test.y[:count].unsqueeze(1), features.estimate[:count])

    few = slice(0, count)
    fitted = fit_temperature(
        density(problem, settings, trained.head, validation_features[few], 1),
        _energy_at(trained.head, validation_features[few], validation.y[few]),
    )
    f_at_y = _energy_at(trained.head, features[few], test.y[few])
    result: Row = {"gaussian_nll": -log_prob.mean().item(), "temperature": fitted}
    for name, temperature in (("plain", 1.0), ("tempered", fitted)):
        held = HeldOut.of(densities.at_temperature(temperature), test.y[few], f_at_y)
        calibration = Reliability.of(held, names, temperature=temperature)
        coverage = dict(zip(calibration.levels, calibration.joint_coverage, strict=True))
        result[name] = {
            "nll": calibration.nll,
            "nll_error": calibration.nll_error,
            "effective_sample_size": calibration.effective_sample_size,
            "coverage": [coverage[level] for level in LEVELS],
        }
    return result


def _energy_at(head: EnergyHead, features: Features, y: Tensor) -> Tensor:
    return value(head.energy(features), y.unsqueeze(1)).squeeze(1)


def _examples(
    problem: Problem, test: Split, features: Features, refined: Tensor, densities: WeightedSamples, seed: int
) -> list[Row]:
    """The first test images, then those of the next whose densities are widest."""
    few = min(EXAMPLE_STARTS, len(densities.f))
    spread = (densities.std() / densities.std().new_tensor(problem.space.scales)).norm(dim=-1)  # [N]
    widest = spread[EXAMPLES:few].argsort(descending=True)[:EXAMPLES] + EXAMPLES
    draws = densities.resample(EXAMPLE_DRAWS, torch.Generator().manual_seed(seed))
    return [
        {
            "image": _rounded(test.images[n, 0], 2),
            "true": _rounded(test.y[n], 4),
            "direct": _rounded(features.estimate[n], 4),
            "refined": _rounded(refined[n], 4),
            "draws": _rounded(draws[n], 3),
        }
        for n in [*range(min(EXAMPLES, few)), *widest.tolist()]
    ]


def _rounded(values: Tensor, digits: int) -> list[float]:
    return np.round(values.double().numpy(), digits).tolist()


def _summary(errors: dict[str, Tensor]) -> dict[str, float]:
    """Means, and the first one's median."""
    first = next(iter(errors))
    return {f"median {first}": errors[first].median().item(), **{k: e.mean().item() for k, e in errors.items()}}


def _slices(count: int) -> Sequence[slice]:
    return [slice(start, min(start + ROWS, count)) for start in range(0, count, ROWS)]


def _draw(problem: Problem, count: int, rng: np.random.Generator) -> Split:
    images, y = problem.draw(count, rng)
    return Split(torch.from_numpy(images), torch.from_numpy(y))


def _stream(problem: Problem, images: int, rng: np.random.Generator) -> Iterator[Split]:
    """Fresh data, a chunk at a time."""
    for start in range(0, images, CHUNK):
        yield _draw(problem, min(CHUNK, images - start), rng)


class _Descent:
    """Adam with a one-cycle learning rate over one pass of `images` images."""

    def __init__(self, module: nn.Module, images: int, rate: float, settings: Settings) -> None:
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        steps = sum(math.ceil(min(CHUNK, images - start) / settings.batch) for start in range(0, images, CHUNK))
        self.optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=settings.weight_decay)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, rate, total_steps=max(steps, 2))

    def step(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
