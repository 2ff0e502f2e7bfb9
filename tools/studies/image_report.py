"""The studies on images as programs: their seeds, tables and pictures."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial

import numpy as np
from image_regression import DIRECT, EXAMPLE_STARTS, EXAMPLES, REFINED, STARTS, Problem, Settings, run_seed
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from study import Row, Study, parser, run

from lidar_ebm.ebm.calibration import LEVELS
from lidar_ebm.visualization.palette import AFTER, BEFORE, LABEL, SMALL_SIZE, new_figure

Show = Callable[[Axes, Axes, Row], None]  # draws an example: its image with targets, and its predictive density
COLORS = {"true": LABEL, "direct": BEFORE, "refined": AFTER}
PANEL = 190  # pixels of a panel's side


def main(problem: Problem, description: str | None, show: Show, about: str, caption: str) -> None:
    """The command line of a study; `about` says what its data are, `caption` what its picture shows."""
    options = parser(description, problem.name)
    options.add_argument("--seeds", type=int, default=None, help="default 5, 2 with --quick")
    run(options, partial(report, problem, show, about, caption))


def report(problem: Problem, show: Show, about: str, caption: str, arguments: argparse.Namespace) -> None:
    """Compute what the folder lacks, and write the page."""
    settings = quick(problem.settings) if arguments.quick else problem.settings
    seeds = arguments.seeds or (2 if arguments.quick else 5)
    study = Study(problem.title, arguments.out, settings=asdict(settings), processes=arguments.processes)
    tasks = {f"seed {seed}": partial(run_seed, problem, settings, seed) for seed in range(seeds)}
    rows = list(study.rows(tasks).values())
    study.text(_summary(rows))
    study.text(_one_line(about))
    study.text(_method(settings))
    _error_table(study, rows)
    _gain_table(study, rows)
    _density_table(study, rows, settings.density_samples)
    whole = (
        f"{_one_line(caption)} On the left the first {EXAMPLES} test images of the first seed, on the right those with "
        f"the widest densities among the next {min(EXAMPLE_STARTS, settings.density_images) - EXAMPLES}."
    )
    study.picture(picture(rows[0]["examples"], show), arguments.results / f"{problem.name}.png", whole)
    study.write(arguments.results / f"{problem.name}.md")


def quick(settings: Settings) -> Settings:
    """A look that takes a minute."""
    return replace(
        settings,
        direct_images=12_000,
        energy_images=8_000,
        validation=300,
        test=400,
        density_images=150,
        density_samples=1000,
    )


def picture(examples: Sequence[Row], show: Show) -> Figure:
    """Images above, densities below."""
    figure = new_figure((PANEL * len(examples), 2 * PANEL))
    axes = figure.subplots(2, len(examples), squeeze=False)
    for (above, below), example in zip(axes.T, examples, strict=True):
        above.imshow(np.array(example["image"]), cmap="gray", vmin=-0.1, vmax=1.1)
        above.set_axis_off()
        below.tick_params(labelsize=SMALL_SIZE, length=2)
        below.spines[["top", "right"]].set_visible(False)
        show(above, below, example)
    handles = [Line2D([], [], color=color, linewidth=1.6) for color in COLORS.values()]
    figure.legend(handles, list(COLORS), loc="lower center", ncols=3, frameon=False, fontsize=SMALL_SIZE)
    figure.subplots_adjust(left=0.02, right=0.98, top=0.97, bottom=0.17, wspace=0.1, hspace=0.08)
    return figure


def histogram(axes: Axes, example: Row, dim: int, bins: Sequence[float], unit: float, label: str) -> None:
    """One dimension of an example's density, with the targets as lines; values are divided by `unit`."""
    draws = np.array(example["draws"])[:, dim] / unit
    axes.hist(draws, bins=bins, density=True, color="#BBBBBB")
    axes.set_xlim(bins[0], bins[-1])
    for name, color in COLORS.items():
        axes.axvline(example[name][dim] / unit, color=color, linewidth=1.6, linestyle="-" if name == "true" else "--")
    axes.set_yticks([])
    axes.set_xlabel(label, fontsize=SMALL_SIZE, labelpad=1)


def _summary(rows: Sequence[Row]) -> str:
    median, mean = _metrics(rows)[:2]
    controls = [name for name in rows[0]["errors"] if name.startswith("trained on")]
    strongest = min(controls, key=lambda name: statistics.mean(row["errors"][name][mean] for row in rows))
    return (
        f"Over {len(rows)} seeds, refinement changes the {mean.split(',')[0]} by {_change(rows, mean, DIRECT)} and its "
        f"median over images by {_change(rows, median, DIRECT)} against the direct regression; by "
        f"{_change(rows, mean, strongest)} and {_change(rows, median, strongest)} against the better of the controls "
        f"({strongest})."
    )


def _change(rows: Sequence[Row], metric: str, reference: str) -> str:
    """Of an error by refinement: the mean over the seeds, and in how many of them it is lower."""
    gains = _gains(rows, metric, reference)
    return f"{-statistics.mean(gains):+.1f} % (lower in {sum(gain > 0 for gain in gains)} of {len(gains)})"


def _method(settings: Settings) -> str:
    return (
        f"Each seed has data, networks and noise of its own, and sees no image twice. A small convolutional network "
        f"regresses the target from {settings.direct_images:,} images ({settings.direct_loss}). Its features are then "
        f"frozen, and {settings.energy_images:,} further images train an energy on them, by NCE. As controls copies of "
        f"the direct network's last two layers are trained on with the same images, by L2 and by L1. Refined: "
        f"{settings.steps} steps of gradient ascent on the energy, from the direct estimate. Best of many starts: from "
        f"the highest of it and {settings.starts} draws of the noise around it. The steps' length λ and the density's "
        f"temperature are chosen on {settings.validation:,} validation images, or the first "
        f"{settings.density_images:,} of them; figures are of {settings.test:,} others, those of the densities of the "
        f"first {settings.density_images:,}. Gains are of refinement from the direct estimate; positive is better."
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _metrics(rows: Sequence[Row]) -> list[str]:
    return list(rows[0]["errors"][DIRECT])


def _gains(rows: Sequence[Row], metric: str, reference: str) -> list[float]:
    """Per cent by which refinement lowers an error, for each seed."""
    return [100 * (1 - row["errors"][REFINED][metric] / row["errors"][reference][metric]) for row in rows]


def _error_table(study: Study, rows: Sequence[Row]) -> None:
    metrics = _metrics(rows)
    lines = [
        [name, *(_with_spread([row["errors"][name][metric] for row in rows]) for metric in metrics)]
        for name in rows[0]["errors"]
    ]
    study.table("Errors on the test split (mean ± standard deviation over the seeds)", ["", *metrics], lines)


def _gain_table(study: Study, rows: Sequence[Row]) -> None:
    metrics = _metrics(rows)
    columns = ["seed", "λ / scale²", *(f"{metric}, direct → refined" for metric in metrics[:2]), "gain, %"]
    lines: list[list[object]] = []
    for seed, (row, gain) in enumerate(zip(rows, _gains(rows, metrics[1], DIRECT), strict=True)):
        pairs = [(row["errors"][DIRECT][metric], row["errors"][REFINED][metric]) for metric in metrics[:2]]
        lines.append([str(seed), row["step_length"], *(f"{a:.3g} → {b:.3g}" for a, b in pairs), f"{gain:.1f}"])
    study.table(f"Gain of each seed ({metrics[1]})", columns, lines)
    lines = []
    for metric in metrics:
        gains = [
            _with_spread(_gains(rows, metric, name), 1) for name in rows[0]["errors"] if name not in (REFINED, STARTS)
        ]
        lines.append([metric, *gains])
    references = [name for name in rows[0]["errors"] if name not in (REFINED, STARTS)]
    study.table("Gain of refinement, % of the error of", ["", *references], lines)


def _density_table(study: Study, rows: Sequence[Row], samples: int) -> None:
    densities = [row["density"] for row in rows]
    columns = ["", "NLL, nats", *(f"{100 * level:g} % regions cover, %" for level in LEVELS), "effective samples"]
    lines: list[list[object]] = [
        ["Gaussian around the direct estimate", _with_spread([d["gaussian_nll"] for d in densities]), *[None] * 4]
    ]
    for name, label in (("plain", "energy"), ("tempered", "energy, with temperature")):
        parts = [density[name] for density in densities]
        covers = [_with_spread([100 * part["coverage"][i] for part in parts], 1) for i in range(len(LEVELS))]
        size = statistics.mean(part["effective_sample_size"] for part in parts)
        lines.append([label, _with_spread([part["nll"] for part in parts]), *covers, f"{size:.0f}"])
    study.table("Densities on the test split", columns, lines)
    temperatures = _with_spread([density["temperature"] for density in densities])
    seconds = {name: statistics.mean(row["seconds"][name] for row in rows) for name in rows[0]["seconds"]}
    study.text(
        f"NLL: of the true target, the density normalised by {samples} importance samples for each image; the "
        "Gaussian's widths are fitted on the validation split. Effective samples: how many of these count, the mean; "
        f"where they are few, NLL and regions are rough. Temperature: {temperatures}. Seconds a seed: "
        + ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
        + "."
    )


def _with_spread(values: Sequence[float], digits: int = 3) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {spread:.{digits}f}"
