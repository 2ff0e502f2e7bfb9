"""The papers' 1-D problems: how near does each training method come to the true density, and with how many samples?

Twenty models of each row, each with its own data, initial weights and order of batches, are trained side by side in one
grouped network. The measure is KL(true ‖ learnt) over y on a grid of [-3, 3], averaged over a grid of x.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from grouped_network import GroupedNetwork
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap
from matplotlib.figure import Figure
from study import Row, Study, parser, run
from torch import Tensor

from lidar_ebm.ebm import GaussianMixtureNoise
from lidar_ebm.ebm.energy import Loss
from lidar_ebm.ebm.losses import DSM, KLDIS, MLIS, MLMCMC, NCE, SM
from lidar_ebm.visualization.palette import (
    AFTER,
    BACKGROUND,
    CYCLE,
    LABEL_SIZE,
    TEXT,
    TICK_SIZE,
    new_figure,
    style_axes,
)

SETS = (1, 2)
LOW, HIGH = -3.0, 3.0  # of x and y
BEST = 5
PUBLISHED = {  # mean D_KL of the best 5, both sets together, read off a plot; by M
    "ML-IS": {1: 3.14, 4: 1.45, 16: 0.14, 64: 0.08, 1024: 0.06},
    "KLD-IS": {1: 2.51, 4: 0.97, 16: 0.41, 64: 0.22, 1024: 0.09},
    "NCE": {1: 0.48, 4: 0.22, 16: 0.12, 64: 0.08, 1024: 0.06},
    "NCE+": {1: 0.41, 4: 0.20, 16: 0.10, 64: 0.08, 1024: 0.06},
}
COLORS = dict(zip(PUBLISHED, CYCLE, strict=False))
SEEDS = ("seed 1", "seed 2", "seed 3")  # beside 0: other data, weights, batches and noise
LONGER, DECAY = "twice the epochs", "the learning rate falls to 0 along a cosine"
LEVELS = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
COLORMAP = LinearSegmentedColormap.from_list("density", (BACKGROUND, "#56B4E9", AFTER, "#00263D"))
LEVEL_NORM = BoundaryNorm(LEVELS, COLORMAP.N, extend="max")


@dataclass(frozen=True)
class Settings:
    """Of every row; the published ones by default."""

    models: int = 20
    pairs: int = 2000
    batch: int = 32
    epochs: int = 75
    learning_rate: float = 1e-3
    grid: int = 2048
    seed: int = 0


def loss_of(method: str, dataset: int, samples: int) -> Loss:
    """The training method with its published settings."""
    contrastive, wide = GaussianMixtureNoise([[0.1], [0.8]]), GaussianMixtureNoise([[0.2], [1.6]])
    made: dict[str, Callable[[], Loss]] = {
        "NCE": lambda: NCE(contrastive, samples),
        "NCE+": lambda: NCE(contrastive, samples, label_noise=0.025),
        "ML-IS": lambda: MLIS(wide, samples),
        "KLD-IS": lambda: KLDIS(wide, samples, [0.025]),
        "ML-MCMC-16": lambda: MLMCMC(samples, steps=16, step_length=(0.05, 0.0125)[dataset - 1]),
        "DSM": lambda: DSM([(0.2, 0.075)[dataset - 1]], samples),
        "SM": SM,
    }
    return made[method]()


def draw_targets(dataset: int, x: Tensor, generator: torch.Generator) -> Tensor:
    """y ~ p(y | x), of the shape of x."""
    normal = torch.randn(x.shape, generator=generator)
    if dataset == 2:
        return x.sin() + _spread(x) * normal
    sign = 1 - 2 * (torch.rand(x.shape, generator=generator) < 0.2).float()
    return torch.where(x < 0, sign * x.sin() + 0.075 * normal, (0.25 * normal).exp() - 1)


def log_density(dataset: int, x: Tensor, y: Tensor) -> Tensor:
    """log p(y | x), of shapes that broadcast; -inf where nothing can be."""
    if dataset == 2:
        return _log_normal(y, x.sin(), _spread(x))
    near, far = math.log(0.8) + _log_normal(y, x.sin(), 0.075), math.log(0.2) + _log_normal(y, -x.sin(), 0.075)
    logarithm = (y + 1).clamp(min=1e-30).log()
    right = torch.where(y > -1, _log_normal(logarithm, torch.zeros_like(x), 0.25) - logarithm, -math.inf)
    return torch.where(x < 0, torch.logaddexp(near, far), right)


def _spread(x: Tensor) -> Tensor:
    return 0.15 * x.sigmoid()


def _log_normal(y: Tensor, mean: Tensor, std: Tensor | float) -> Tensor:
    log_std = std.log() if isinstance(std, Tensor) else math.log(std)
    return -0.5 * ((y - mean) / std).square() - log_std - 0.5 * math.log(2 * math.pi)


def train(
    settings: Settings, dataset: int, method: str, samples: int, *, same_data: bool = False, decay: bool = False
) -> Row:
    """Train all models of a row and measure them.

    Args:
        settings: of all rows.
        dataset: 1 or 2.
        method: its name.
        samples: M.
        same_data: one draw of the pairs for all models, instead of each its own.
        decay: the learning rate falls to zero along a cosine, instead of staying what it is.

    Returns:
        D_KL of each model, the processor's time for a step, and the weights of the model in the middle of that order.
    """
    generator = torch.Generator().manual_seed(settings.seed)  # the same data and initial weights for all methods
    x = LOW + (HIGH - LOW) * torch.rand((1 if same_data else settings.models, settings.pairs), generator=generator)
    y = draw_targets(dataset, x, generator)
    x, y = x.expand(settings.models, -1), y.expand(settings.models, -1)
    network = GroupedNetwork(settings.models, generator=generator)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    loss_function, plain = loss_of(method, dataset, samples), method == "SM"
    total = settings.epochs * math.ceil(settings.pairs / settings.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total) if decay else None
    steps, began = 0, time.process_time()
    for _ in range(settings.epochs):
        order = torch.rand(x.shape, generator=generator).argsort(dim=1)
        batches = zip(
            x.gather(1, order).split(settings.batch, 1), y.gather(1, order).split(settings.batch, 1), strict=True
        )
        for batch_x, batch_y in batches:
            energy = network.energy(batch_x, plain=plain)
            # The sum over models of each one's mean: every model gets its own gradient.
            loss = loss_function(energy, batch_y.reshape(-1, 1), random=generator, count=batch_x.shape[1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
            steps += 1
    step_ms = 1e3 * (time.process_time() - began) / steps
    divergences = divergence(network, dataset, settings.grid)
    middle = int(divergences.argsort()[len(divergences) // 2])
    weights = {name: weight[middle : middle + 1].clone() for name, weight in network.state_dict().items()}
    return {"divergence": divergences, "step_ms": step_ms, "weights": weights}


@torch.no_grad()
def divergence(network: GroupedNetwork, dataset: int, grid: int) -> Tensor:
    """KL(true ‖ learnt) of each model [G], in nats, the mean over x; both densities sum to one on the grid of y."""
    points = torch.linspace(LOW, HIGH, grid)
    total = torch.zeros(network.models, dtype=torch.float64)
    for x in points.split(16):
        log_p = log_density(dataset, x.double()[:, None], points.double()).log_softmax(dim=-1)  # [B, Y]
        p = log_p.exp()
        f = _on_grid(network, x, points)  # [G, B, Y]
        cross = (f - f.logsumexp(dim=-1, keepdim=True)) * p.float()
        total += torch.special.entr(p).neg().sum() - cross.double().sum(dim=(1, 2))
    return total / grid


@torch.no_grad()
def _on_grid(network: GroupedNetwork, x: Tensor, y: Tensor) -> Tensor:
    """f [G, B, Y] at every pair of x [B] and y [Y]."""
    energy = network.energy(x.expand(network.models, -1))
    candidates = y.view(1, -1, 1).expand(network.models * len(x), -1, -1)
    return energy(candidates).view(network.models, len(x), len(y))


def variants(settings: Settings) -> dict[str, Callable[..., Row]]:
    """Other ways to train a row, to see what its figure hangs on: seeds, one draw of the data, longer, with decay."""
    made: dict[str, Callable[..., Row]] = {
        name: partial(train, replace(settings, seed=settings.seed + 1 + index)) for index, name in enumerate(SEEDS)
    }
    made["the same data for all models"] = partial(train, settings, same_data=True)
    made[LONGER] = partial(train, replace(settings, epochs=2 * settings.epochs))
    made[DECAY] = partial(train, settings, decay=True)
    return made


def study(arguments: argparse.Namespace) -> None:
    """Train what is missing, then write the page."""
    quick = arguments.quick
    settings = Settings(models=6, epochs=6, grid=256) if quick else Settings()
    counts = (1, 4, 16) if quick else (1, 4, 16, 64, 1024)
    largest, second_largest = counts[-1], counts[-2]
    once = {"ML-MCMC-16": 16 if quick else 128, "DSM": 16 if quick else 128, "SM": 1}  # methods with one M
    # What the tables need first: an interrupted study has it first.
    tasks = [(method, largest, "") for method in ("NCE", "ML-IS", "NCE+", "KLD-IS")]
    tasks += [(method, count, "") for count in counts[:-1] for method in PUBLISHED]
    tasks += [(method, count, "") for method, count in once.items()]
    others = variants(settings)
    tasks += [("NCE", second_largest, variant) for variant in others]
    tasks += [(method, largest, variant) for variant in (DECAY, LONGER) for method in ("NCE", "NCE+")]
    page = Study("The papers' 1-D problems", arguments.out, vars(settings), arguments.processes)
    rows = page.rows(
        {
            _key(n, method, count, variant): partial(others.get(variant, partial(train, settings)), n, method, count)
            for method, count, variant in tasks
            for n in SETS
        }
    )
    page.text(
        f"D_KL in nats: KL(true ‖ learnt) on {settings.grid} × {settings.grid} points of [-3, 3]², the mean over x. "
        f"Both sets: the mean of the two. Best {BEST}: the mean of the {BEST} models of {settings.models} with the "
        "least D_KL, as published; that choice needs the true density. σ, β, α as published. Published figures were "
        "read off a plot; where there are none, none are known. ML-MCMC-16 and DSM have fewer samples than the "
        f"published {largest}: they take gradients of gradients, or 16 of them."
    )
    _table_of_methods(page, rows, [(method, largest) for method in PUBLISHED] + list(once.items()))
    _table_of_counts(page, rows, counts)
    _table_of_variants(page, rows, ["", *others], [("NCE", second_largest), ("NCE", largest), ("NCE+", largest)])
    figure = draw(rows, settings, counts)
    caption = "Above: the true densities and those of the median model (by D_KL). Below: D_KL by the number of samples."
    page.picture(figure, arguments.results / "regression_1d.png", caption)
    page.write(arguments.results / "regression_1d.md")


def _table_of_methods(page: Study, rows: dict[str, Row], chosen: list[tuple[str, int]]) -> None:
    lines = []
    for method, count in chosen:
        results = [rows[_key(n, method, count)] for n in SETS]
        figures = [f"{best:.3f} ({every:.3f} ± {std:.3f})" for best, every, std in map(_summary, results)]
        ours, published = _both(rows, method, count), PUBLISHED.get(method, {}).get(count)
        theirs = [None, None] if published is None else [f"{published:.2f}", f"{ours - published:+.3f}"]
        every = _both(rows, method, count, every=True)
        step = sum(row["step_ms"] for row in results) / len(results)
        lines.append([method, count, *figures, f"{ours:.3f}", *theirs, f"{every:.3f}", f"{step:.0f}"])
    columns = ["method", "M", "set 1: best 5 (all ± std)", "set 2: best 5 (all ± std)"]
    columns += ["both: best 5", "published", "difference", "both: all", "CPU ms / step of all models"]
    page.table("All methods", columns, lines)


def _table_of_counts(page: Study, rows: dict[str, Row], counts: tuple[int, ...]) -> None:
    lines = []
    for method in PUBLISHED:
        for every in (False, True):
            values = [f"{_both(rows, method, count, every=every):.3f}" for count in counts]
            lines.append([method, "all" if every else f"best {BEST}", *values])
        lines.append([method, "published", *(f"{PUBLISHED[method][count]:.2f}" for count in counts)])
    page.table("D_KL by M, both sets", ["method", "models", *(f"M = {count}" for count in counts)], lines)
    lines = []
    for count in counts[:2]:
        ours = [_both(rows, "ML-IS", count) / _both(rows, method, count) for method in ("NCE", "NCE+")]
        theirs = [PUBLISHED["ML-IS"][count] / PUBLISHED[method][count] for method in ("NCE", "NCE+")]
        lines.append([str(count), *(f"{ratio:.1f}×" for ratio in (*ours, *theirs))])
    columns = ["M", "ML-IS / NCE", "ML-IS / NCE+", "published: ML-IS / NCE", "published: ML-IS / NCE+"]
    page.table(f"How many times farther ML-IS is with few samples, both sets, best {BEST}", columns, lines)


def _table_of_variants(page: Study, rows: dict[str, Row], names: list[str], chosen: list[tuple[str, int]]) -> None:
    lines = []
    for name in names:
        lines.append(
            [name or "seed 0, as above", *(_variant_cell(rows, method, count, [name]) for method, count in chosen)]
        )
        if name == SEEDS[-1]:
            seeds = ["", *SEEDS]
            means = (
                _variant_cell(rows, method, count, seeds) if _key(SETS[0], method, count, name) in rows else None
                for method, count in chosen
            )
            lines.append([f"mean of the {len(seeds)} seeds ± std", *means])
    columns = ["training", *(f"{method}, M = {count}" for method, count in chosen)]
    page.table(f"What the figures hang on: both sets, best {BEST} of each seed (all)", columns, lines)


def _variant_cell(rows: dict[str, Row], method: str, count: int, names: list[str]) -> str | None:
    """Mean over these variants, and its spread where they are several; None if there is none."""
    if _key(SETS[0], method, count, names[0]) not in rows:
        return None
    best, every = (
        torch.tensor([_both(rows, method, count, name, every=every) for name in names]) for every in (False, True)
    )
    spread = f" ± {best.std():.3f}" if len(names) > 1 else ""
    return f"{best.mean():.3f}{spread} ({every.mean():.3f})"


def _key(dataset: int, method: str, count: int, variant: str = "") -> str:
    return f"set {dataset}, {method}, M {count}" + (f", {variant}" if variant else "")


def _summary(row: Row) -> tuple[float, float, float]:
    """D_KL: mean of the best, mean of all, standard deviation of all."""
    values = torch.tensor(row["divergence"], dtype=torch.float64).sort().values
    return float(values[:BEST].mean()), float(values.mean()), float(values.std())


def _both(rows: dict[str, Row], method: str, count: int, variant: str = "", *, every: bool = False) -> float:
    """D_KL of both sets together."""
    return sum(_summary(rows[_key(n, method, count, variant)])[int(every)] for n in SETS) / len(SETS)


def draw(rows: dict[str, Row], settings: Settings, counts: tuple[int, ...]) -> Figure:
    """Densities of both sets, and D_KL by M."""
    figure = new_figure((1100, 900))
    places = {"left": 0.06, "right": 0.91, "top": 0.95, "bottom": 0.065, "hspace": 0.5, "wspace": 0.28}
    grid = figure.add_gridspec(3, 4, height_ratios=(1, 1, 1.15), **places)
    shown = [("NCE", counts[-1]), ("NCE", counts[1]), ("ML-IS", counts[1])]
    points = torch.linspace(LOW, HIGH, 241)
    for line, dataset in enumerate(SETS):
        true = log_density(dataset, points[:, None], points).exp()
        learnt = [(f"{name}, M = {count}", _density(rows[_key(dataset, name, count)], points)) for name, count in shown]
        for column, (title, values) in enumerate([("true", true), *learnt]):
            axes = figure.add_subplot(grid[line, column])
            # Few flat colours: a picture of a tenth of the size.
            image = axes.contourf(points, points, values.T, LEVELS, cmap=COLORMAP, norm=LEVEL_NORM, extend="max")
            axes.set_ylim(-2, 2)
            style_axes(axes, x_label="x", y_label="" if column else "y", title=f"Set {dataset}: {title}", grid=False)
    bar = figure.colorbar(image, cax=figure.add_axes((0.93, 0.45, 0.015, 0.5)), ticks=LEVELS)
    bar.ax.set_yticklabels([f"{level:g}" for level in LEVELS], fontsize=TICK_SIZE)
    bar.set_label("density p(y | x)", fontsize=LABEL_SIZE, color=TEXT)
    for columns, every in ((slice(0, 2), False), (slice(2, 4), True)):
        axes = figure.add_subplot(grid[2, columns])
        _draw_curves(axes, rows, counts, settings, every)
    return figure


def _density(row: Row, points: Tensor) -> Tensor:
    """The learnt density at every pair of points [X, Y]."""
    network = GroupedNetwork(1)
    network.load_state_dict({name: torch.tensor(weight) for name, weight in row["weights"].items()})
    return _on_grid(network, points, points)[0].softmax(dim=-1) / (points[1] - points[0])


def _draw_curves(axes: Axes, rows: dict[str, Row], counts: tuple[int, ...], settings: Settings, every: bool) -> None:
    title = f"All {settings.models} models" if every else f"Best {BEST} of {settings.models} models (dashed: published)"
    for method, color in COLORS.items():
        values = [_both(rows, method, count, every=every) for count in counts]
        axes.plot(counts, values, color=color, marker="o", label=method)
        if not every:
            axes.plot(counts, [PUBLISHED[method][count] for count in counts], color=color, linestyle="--", alpha=0.6)
    axes.set_xscale("log", base=4)
    axes.set_yscale("log")
    axes.minorticks_off()
    axes.set_xticks(counts, [str(count) for count in counts])
    ticks = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_ylim(0.03, 30)
    y_label = "" if every else "D_KL, mean of both sets / nat"
    style_axes(axes, x_label="M, samples for each label", y_label=y_label, title=title)
    axes.legend(fontsize=LABEL_SIZE, frameon=False, loc="upper right")


if __name__ == "__main__":
    run(parser(__doc__, "regression_1d"), study)
