"""Reliability: how often regions of each probability hold the truth, for each dimension and for all together."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

from matplotlib.axes import Axes

from lidar_ebm.ebm.calibration import Reliability
from lidar_ebm.visualization import palette

PANEL = 260  # px, each side
MAXIMUM_COLUMNS = 4
FOOTER = 46  # px, for the legend
CHANCE_ERRORS = 2.0  # half width of the band, in standard errors


def plot_calibration(
    calibrations: Mapping[str, Reliability],
    path: str | os.PathLike[str],
    *,
    title: str = "",
    colors: Sequence[str] | None = None,
) -> Path:
    """Write coverage against the probability claimed to `path` as PNG, a panel for each dimension and one for all.

    On the diagonal regions hold what they claim; below it the densities are too sure of themselves. The band is two
    standard errors of what chance alone makes of as many targets as the first calibration had.

    Args:
        calibrations: by name in the legend, all of the same dimensions; such as before and after a temperature.
        path: of the picture.
        title: above all panels.
        colors: of the lines; by default the palette's for before and after, then its others.

    Raises:
        ValueError: there is no calibration, or they are of different dimensions.
        OutputError: the picture cannot be written.
    """
    names = {calibration.names for calibration in calibrations.values()}
    if len(names) != 1:
        raise ValueError(f"calibrations of the dimensions {sorted(names)}; give one or more, all of the same")
    dims = next(iter(names))
    panels = len(dims) + 1
    rows = math.ceil(panels / MAXIMUM_COLUMNS)
    columns = math.ceil(panels / rows)
    header = 34 if title else 4
    width, height = columns * PANEL, rows * PANEL + FOOTER + header
    figure = palette.new_figure((width, height))
    grid = list(figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat)
    lines = list(zip(calibrations.items(), cycle(colors or _default_colors()), strict=False))
    for index, (axes, name) in enumerate(zip(grid, ("all together", *dims), strict=False)):
        _draw_chance(axes, next(iter(calibrations.values())))
        for (label, calibration), color in lines:
            covered = (
                calibration.joint_coverage if index == 0 else [coverage[index - 1] for coverage in calibration.coverage]
            )
            x, y = [0, *calibration.levels, 1], [0, *covered, 1]
            axes.plot(x, y, color=color, linewidth=1.8, marker="o", markersize=2.5, label=label)
        last_in_column = index + columns >= panels
        palette.style_axes(
            axes,
            x_label="probability claimed" if last_in_column else "",
            y_label="share of targets inside" if index % columns == 0 else "",
        )
        axes.tick_params(labelbottom=last_in_column)
        axes.set_title(name, fontsize=palette.LABEL_SIZE, color=palette.theme().text)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    for axes in grid[panels:]:
        axes.set_axis_off()
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels), frameon=False, fontsize=palette.TICK_SIZE)
    if title:
        figure.suptitle(
            title, fontsize=palette.TITLE_SIZE, color=palette.theme().text, y=1 - 12 / height, va="top"
        ).set_in_layout(False)
    figure.tight_layout(rect=(0, FOOTER / 1.4 / height, 1, 1 - header / height), h_pad=2.0)
    return palette.save_figure(figure, path)


def _default_colors() -> tuple[str, ...]:
    theme = palette.theme()
    return theme.before, theme.after, *(c for c in theme.cycle if c not in (theme.before, theme.after))


def _draw_chance(axes: Axes, calibration: Reliability) -> None:
    """The diagonal, and the band that the coverage of right densities would seldom leave."""
    levels = [0.0, *calibration.levels, 1.0]
    half = [CHANCE_ERRORS * calibration.standard_error(level) for level in levels]
    axes.fill_between(
        levels,
        [level - width for level, width in zip(levels, half, strict=True)],
        [level + width for level, width in zip(levels, half, strict=True)],
        color=palette.theme().grid,
        linewidth=0,
        label="by chance",
    )
    axes.plot([0, 1], [0, 1], color=palette.theme().muted_text, linewidth=0.9, linestyle="dotted")
