"""Curves of a run: losses over training, average precision against refinement steps, precision against recall."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from lidar_ebm.evaluation.curves import Comparison
from lidar_ebm.evaluation.table import metric_name
from lidar_ebm.visualization import palette

FloatArray = NDArray[np.floating[Any]]

TOTAL_COLUMN = "loss"  # drawn broad and dark, below the terms: it still shows where one term is all there is
SCHEDULE_COLUMNS = {  # names at the axes, by what rows of metrics call them
    "learning_rate": "learning rate",
    "gradient_norm": "gradient norm (logarithmic)",
    "seconds_per_step": "seconds of a step",
}
BEST_MARK: dict[str, Any] = {"marker": "o", "markersize": 8, "linestyle": "none", "zorder": 4}
LOG_SCALE_FROM = 20.0  # ratio of the highest to the lowest smoothed value from which a logarithmic axis reads better


@dataclass(frozen=True)
class LossCurve:
    """One loss term over one stage of training, in the order of the file."""

    stage: str
    term: str
    steps: FloatArray  # [R]
    values: FloatArray  # [R], finite


@dataclass(frozen=True)
class PrecisionRecallCurve:
    """One class, difficulty and overlap."""

    name: str  # in the legend
    recall: ArrayLike  # [R] 0..1, rising
    precision: ArrayLike  # [R] 0..1
    color: str | None = None
    linestyle: str = "solid"
    best: tuple[float, float] | None = None  # recall and precision at the best F1, to be marked


def smooth(values: ArrayLike, window: int) -> FloatArray:
    """Centred moving mean [R] of `values` [R] over `window` of them, over fewer at both ends."""
    values = np.asarray(values, dtype=np.float64)
    window = max(1, min(window, len(values)))
    weights = np.ones(window)
    # "same" centres a full convolution; dividing by the number of values that took part makes a mean at the ends too.
    return np.convolve(values, weights, "same") / np.convolve(np.ones_like(values), weights, "same")


def plot_losses(
    curves: Sequence[LossCurve], path: str | os.PathLike[str], *, size: tuple[int, int] | None = None
) -> Path:
    """Write loss curves to `path` as PNG, one panel a stage.

    Each term is drawn as logged (faint) and smoothed over a fiftieth of its rows; the axis is logarithmic where that
    reads better.

    Raises:
        OutputError: the picture cannot be written.
    """
    stages = list(dict.fromkeys(curve.stage for curve in curves))
    figure = palette.new_figure(size or (650 * len(stages), 480))
    panels = figure.subplots(1, len(stages), squeeze=False)[0]
    for panel, stage in zip(panels, stages, strict=True):
        _draw_losses(panel, [curve for curve in curves if curve.stage == stage], stage)
    figure.tight_layout()
    return palette.save_figure(figure, path)


def plot_schedule(rows: Sequence[tuple[str, float, Mapping[str, float]]], path: str | os.PathLike[str]) -> Path:
    """Write the learning rate, the gradient norm and the seconds of a step to `path` as PNG.

    Args:
        rows: stage, step, and values of `SCHEDULE_COLUMNS`, as far as they are there.
        path: of the picture.

    Raises:
        OutputError: the picture cannot be written.
    """
    columns = SCHEDULE_COLUMNS
    figure = palette.new_figure((1300, 400))
    panels = figure.subplots(1, len(columns), squeeze=False)[0]
    for panel, (column, name) in zip(panels, columns.items(), strict=True):
        for index, stage in enumerate(dict.fromkeys(stage for stage, _, _ in rows)):
            logged = [(step, values[column]) for at, step, values in rows if at == stage and column in values]
            steps, values = np.array(logged, dtype=np.float64).reshape(-1, 2).T
            color = palette.theme().line_color(index)
            panel.plot(steps, values, color=color, linewidth=1.4, label=stage.replace("_", " "))
        palette.style_axes(panel, x_label="step", y_label=name)
        if "logarithmic" in name:
            panel.set_yscale("log")
        else:
            panel.set_ylim(bottom=0.0)
    add_legend(panels[0])
    figure.tight_layout()
    return palette.save_figure(figure, path)


def plot_ap_against_steps(
    steps: Sequence[int],
    average_precision: Mapping[str, Sequence[float]],
    path: str | os.PathLike[str],
    *,
    title: str = "",
    recall: str = "R40",
    size: tuple[int, int] = (800, 520),
) -> Path:
    """Write average precision against the number of refinement steps T to `path` as PNG.

    Args:
        recall: the kind of average precision.
        steps: T of each measurement, rising; 0 is the detector alone.
        average_precision: for each line its name and its values in per cent, one for each of `steps`.

    Raises:
        OutputError: the file cannot be written.
    """
    figure = palette.new_figure(size)
    axes = figure.add_subplot()
    for index, (name, values) in enumerate(average_precision.items()):
        if len(values) != len(steps):
            raise ValueError(f"{name}: {len(values)} values for {len(steps)} numbers of steps; one for each is needed")
        color = palette.theme().line_color(index)
        axes.plot(steps, values, color=color, marker="o", markersize=4, linewidth=1.8, label=name)
        if len(values) and values[0] == values[0]:
            # The level without refinement, to read the gain against.
            axes.axhline(values[0], color=color, linewidth=0.9, linestyle="dotted")
    palette.style_axes(axes, x_label="refinement steps T", y_label=f"AP {recall} (%)", title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(y=0.08)
    add_legend(axes, outside=True)
    figure.tight_layout()
    return palette.save_figure(figure, path)


def plot_ap_before_after(
    ious: Sequence[float],
    before: Sequence[float],
    after: Sequence[float],
    path: str | os.PathLike[str],
    *,
    title: str = "",
    recall: str = "R40",
    size: tuple[int, int] = (800, 520),
) -> Path:
    """Write average precision (per cent) before and after refinement at several overlaps to `path` as PNG, as bars.

    Raises:
        OutputError: the file cannot be written.
    """
    if not len(ious) == len(before) == len(after):
        raise ValueError(
            f"{len(ious)} overlaps, {len(before)} values before and {len(after)} after: not as many of each"
        )
    figure = palette.new_figure(size)
    axes = figure.add_subplot()
    places = np.arange(len(ious))
    axes.bar(places - 0.19, before, width=0.36, color=palette.theme().before, label="before refinement")
    axes.bar(places + 0.19, after, width=0.36, color=palette.theme().after, label="after refinement")
    for place, low, high in zip(places, before, after, strict=True):
        axes.annotate(
            f"{low:.1f} → {high:.1f}\n({high - low:+.1f})" if math.isfinite(high - low) else "none",
            (place, np.nanmax([low, high, 0.0])),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=palette.TICK_SIZE,
            color=palette.theme().text,
        )
    palette.style_axes(axes, x_label="minimum IoU of a match", y_label=f"AP {recall} (%)", title=title)
    axes.grid(visible=False, axis="x")
    axes.set_xticks(places, [f"{iou:.2f}" for iou in ious])
    axes.margins(y=0.16)
    axes.set_ylim(bottom=0.0)
    add_legend(axes)
    figure.tight_layout()
    return palette.save_figure(figure, path)


def plot_comparison(comparison: Comparison, path: str | os.PathLike[str]) -> Path:
    """Write one class's AP in space before and after refinement, at the difficulty that stands for all, as PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    metrics = list(dict.fromkeys(change.metric for change in comparison.changes))
    metric = "3d" if "3d" in metrics else metrics[0]
    changes = comparison.select(metric, headline_difficulty(comparison))
    return plot_ap_before_after(
        [each.iou for each in changes],
        [each.before for each in changes],
        [each.after for each in changes],
        path,
        title=", ".join(
            [comparison.class_name, metric_name(metric), *dict.fromkeys(each.difficulty for each in changes)]
        ),
        recall=comparison.recall,
    )


def headline_difficulty(comparison: Comparison) -> str | None:
    """The difficulty that stands for all where there is room for one: the middle one, in the protocol's order."""
    names = list(dict.fromkeys(change.difficulty for change in comparison.changes))
    return names[len(names) // 2] if names else None


def plot_precision_recall(
    curves: Sequence[PrecisionRecallCurve],
    path: str | os.PathLike[str],
    *,
    title: str = "",
    size: tuple[int, int] = (760, 560),
) -> Path:
    """Write precision against recall to `path` as PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    figure = palette.new_figure(size)
    axes = figure.add_subplot()
    draw_precision_recall(axes, curves, title=title)
    figure.tight_layout()
    return palette.save_figure(figure, path)


def draw_precision_recall(
    axes: Axes,
    curves: Sequence[PrecisionRecallCurve],
    *,
    title: str = "",
    y_label: str = "precision",
    legend_title: str = "",
) -> None:
    """Draw curves against recall, with a legend; points of best F1 are marked and named once."""
    for index, curve in enumerate(curves):
        recall, precision = np.asarray(curve.recall), np.asarray(curve.precision)
        if recall.shape != precision.shape or recall.ndim != 1:
            raise ValueError(
                f"{curve.name}: recall {recall.shape} and precision {precision.shape} are not one line [R]"
            )
        color = curve.color or palette.theme().line_color(index)
        axes.plot(recall, precision, color=color, linestyle=curve.linestyle, linewidth=1.8, label=curve.name)
        if curve.best is not None:
            axes.plot(*curve.best, color=color, markeredgecolor=palette.theme().background, **BEST_MARK)
    if any(curve.best is not None for curve in curves):
        theme = palette.theme()
        axes.plot([], [], color=theme.muted_text, markeredgecolor=theme.background, label="best F1", **BEST_MARK)
    palette.style_axes(axes, x_label="recall", y_label=y_label, title=title)
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(0.0, 1.03)
    add_legend(axes, title=legend_title, size=palette.TICK_SIZE)


def _draw_losses(panel: Axes, curves: Sequence[LossCurve], stage: str) -> None:
    lows, highs = [], []
    colors = cycle(palette.theme().cycle)
    for curve in curves:
        total = curve.term == TOTAL_COLUMN
        color = palette.theme().text if total else next(colors)
        smoothed = smooth(curve.values, len(curve.values) // 50)
        lows.append(smoothed.min())
        highs.append(smoothed.max())
        panel.plot(curve.steps, curve.values, color=color, alpha=0.22, linewidth=0.8)
        panel.plot(
            curve.steps,
            smoothed,
            color=color,
            linewidth=3.2 if total else 1.5,
            zorder=2 if total else 3,
            marker="o" if len(smoothed) < 20 else "",
            markersize=3.5,
            label=curve.term.replace("_", " "),
        )
    palette.style_axes(panel, x_label="step", y_label="loss", title=stage.replace("_", " "))
    if min(lows) > 0 and max(highs) / min(lows) >= LOG_SCALE_FROM:
        panel.set_yscale("log")
        panel.set_ylabel("loss (logarithmic)")
    add_legend(panel)


def add_legend(axes: Axes, *, outside: bool = False, title: str = "", size: float = palette.LABEL_SIZE) -> None:
    """Add a legend in the fonts that all pictures share, where there is something to name."""
    if not axes.get_legend_handles_labels()[0]:
        return
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)} if outside else {"loc": "best"}
    axes.legend(
        fontsize=size, title=title, title_fontsize=size, frameon=not outside, framealpha=0.9, handlelength=1.6, **place
    )
