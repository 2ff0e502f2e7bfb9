"""Pictures of evaluations that are told in named figures: their curves, and differences with intervals."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from lidar_ebm.evaluation.figure_tables import interval_text, select_summaries, value_text
from lidar_ebm.evaluation.figures import FigureComparison, FigureDifference, FigureEvaluation, Line, Panel
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.curve_plots import add_legend

PANEL_SIZE = (400, 330)  # pixels
COLUMNS = 4  # panels side by side, at most
HEADING_HEIGHT = 40  # pixels above the panels
ROW_HEIGHT = 24  # pixels of a difference's row


def plot_figures(evaluation: FigureEvaluation, folder: str | os.PathLike[str]) -> list[Path]:
    """Write an evaluation's curves to a folder as PNG, a picture for each kind.

    Raises:
        OutputError: a picture cannot be written.
    """
    headline = ", ".join(
        f"{each.name} {value_text(each.value, each.unit)} {each.unit}" for each in evaluation.figures if each.headline
    )
    return [
        plot_panels(panels, Path(folder) / f"{re.sub(r'[^a-z0-9]+', '_', name.lower())}.png", headline)
        for name, panels in evaluation.pictures().items()
    ]


def plot_panels(panels: Sequence[Panel], path: str | os.PathLike[str], title: str) -> Path:
    """Write panels of lines as one PNG.

    Raises:
        OutputError: the picture cannot be written.
    """
    columns = max(1, min(COLUMNS, len(panels)))
    rows = max(1, math.ceil(len(panels) / columns))
    figure = palette.new_figure((PANEL_SIZE[0] * columns, PANEL_SIZE[1] * rows + HEADING_HEIGHT))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, panel in zip(grid, panels, strict=False):
        _draw_panel(axes, panel)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    figure.suptitle(title, fontsize=palette.LABEL_SIZE, color=palette.theme().text, parse_math=False)
    figure.tight_layout()
    return palette.save_figure(figure, path)


def pair_panels(before: Sequence[Panel], after: Sequence[Panel]) -> tuple[Panel, ...]:
    """Panels with the lines of both evaluations, which have the same panels."""
    return tuple(
        Panel(
            last.title,
            last.x,
            last.y,
            tuple(
                Line(f"{line.name}, {when}", line.x, line.y)
                for when, panel in (("before", first), ("after", last))
                for line in panel.lines
            ),
        )
        for first, last in zip(before, after, strict=True)
    )


def plot_figures_against_steps(
    steps: Sequence[int], lines: Mapping[str, Sequence[float]], path: str | os.PathLike[str]
) -> Path:
    """Write figures in percent against the number of refinement steps T as PNG.

    Raises:
        OutputError: the picture cannot be written.
    """
    figure = palette.new_figure((800, 520))
    axes = figure.add_subplot()
    for index, (name, values) in enumerate(lines.items()):
        color = palette.theme().line_color(index)
        axes.plot(steps, values, color=color, marker="o", markersize=4, linewidth=1.8, label=name)
        axes.axhline(values[0], color=color, linewidth=0.9, linestyle="dotted")
    palette.style_axes(axes, x_label="refinement steps T", y_label="%", title=" and ".join(lines))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    add_legend(axes, outside=True)
    figure.tight_layout()
    return palette.save_figure(figure, path)


def plot_differences(comparison: FigureComparison, path: str | os.PathLike[str]) -> Path:
    """Write the differences of the summaries and of each class with their intervals as PNG, a panel for each unit.

    Raises:
        OutputError: the picture cannot be written.
    """
    shown = select_summaries(comparison)
    units: dict[bool, list[FigureDifference]] = {}
    for item in shown:
        units.setdefault(item.figure.unit == "%", []).append(item)
    rows = max((len(items) for items in units.values()), default=1)
    figure = palette.new_figure((1300, 190 + ROW_HEIGHT * rows))
    grid = figure.subplots(1, max(len(units), 1), squeeze=False)[0]
    for axes, (percent, items) in zip(grid, sorted(units.items(), reverse=True), strict=False):
        for row, item in enumerate(items):
            _draw_difference(axes, row, item)
        axes.axvline(0.0, color=palette.theme().text, linewidth=1.0, zorder=1)
        label = "B − A in points, higher is better" if percent else "B − A in the error's unit, lower is better"
        palette.style_axes(axes, x_label=label)
        axes.grid(visible=False, axis="y")
        axes.set_yticks(range(len(items)), [_row_name(item) for item in items])
        axes.set_ylim(len(items) - 0.4, -0.6)
    level = f"{100.0 * comparison.confidence:g} %"
    figure.suptitle(
        f"A: {comparison.names[0]}\nB: {comparison.names[1]}\n{comparison.frame_count:,} frames, "
        f"{comparison.resamples:,} draws of {comparison.drawn}; in colour where the {level} interval excludes 0",
        x=0.015,
        ha="left",
        fontsize=palette.LABEL_SIZE,
        color=palette.theme().text,
        parse_math=False,  # a folder's name may hold dollar signs
    )
    figure.tight_layout()
    return palette.save_figure(figure, path)


def _draw_panel(axes: Axes, panel: Panel) -> None:
    theme = palette.theme()
    for index, line in enumerate(panel.lines):
        axes.plot(line.x, line.y, color=theme.line_color(index), linewidth=1.6, label=line.name)
    palette.style_axes(axes, x_label=panel.x, y_label=panel.y, title=panel.title)
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(bottom=0.0)
    if panel.lines:
        add_legend(axes, size=palette.TICK_SIZE)


def _draw_difference(axes: Axes, row: int, item: FigureDifference) -> None:
    theme = palette.theme()
    color = theme.muted_text  # neither better nor worse
    if item.significant:
        color = theme.after if item.is_gain else theme.region
    axes.plot([item.low, item.high], [row, row], color=color, linewidth=2.2, solid_capstyle="butt")
    axes.plot(item.difference, row, color=color, marker="o", markersize=6)
    text = f"{value_text(item.difference, item.figure.unit, '+')}  ({interval_text(item)})"
    axes.text(
        1.01, row, text, transform=axes.get_yaxis_transform(), va="center", color=color, fontsize=palette.TICK_SIZE
    )


def _row_name(item: FigureDifference) -> str:
    unit = "" if item.figure.unit == "%" else f" ({item.figure.unit})"
    return f"{item.figure.class_name}, {item.figure.name}{unit}"
