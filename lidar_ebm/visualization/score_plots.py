"""Pictures of an evaluation: precision and orientation against recall, AP by distance, and what a comparison finds."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lidar_ebm.evaluation.paired_result import PairedComparison, PairedDifference
from lidar_ebm.evaluation.paired_table import interval_text, select_differences
from lidar_ebm.evaluation.result import Curve, Evaluation
from lidar_ebm.evaluation.table import (
    FEW_LABELS,
    FEW_MARK,
    band_name,
    figure_text,
    has_few_labels,
    metric_name,
    overlap_text,
    shown_difficulty,
)
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.curve_plots import PrecisionRecallCurve, add_legend, draw_precision_recall

PANEL_SIZE = (440, 400)  # pixels of one panel: the legend finds a place beside the lines, wherever they fall
HEADING_HEIGHT = 40  # pixels above the panels
BAND_WIDTH = 95  # pixels that a distance band's name needs
ROW_HEIGHT = 24  # pixels of a comparison's row

Panel = Sequence[Curve]  # curves of one class, metric and overlap: a line for each difficulty


def plot_scores(evaluation: Evaluation, folder: str | os.PathLike[str]) -> list[Path]:
    """Write an evaluation's curves to a folder as PNG.

    For each class CLASS_precision_recall.png (a panel for each metric, a row of them for each overlap, with the point
    of best F1); where AOS was scored CLASS_orientation.png; where bands were scored CLASS_distance.png.

    Returns:
        The pictures; none where nothing was scored.

    Raises:
        OutputError: a picture cannot be written.
    """
    folder = Path(folder)
    written = []
    for class_name in dict.fromkeys(curve.class_name for curve in evaluation.curves):
        start = re.sub(r"[^\w-]+", "_", class_name.lower())
        curves = [curve for curve in evaluation.curves if curve.class_name == class_name]
        bands = [curve for curve in evaluation.bands if curve.class_name == class_name]
        matched = [curve for curve in curves if curve.metric != "aos"]
        oriented = [curve for curve in curves if curve.metric == "aos"]
        title = f"{class_name}, {evaluation.frame_count:,} frames"
        if matched:
            path = folder / f"{start}_precision_recall.png"
            written.append(_plot_panels(matched, _draw_curves, path, title))
        if oriented:
            path = folder / f"{start}_orientation.png"
            written.append(_plot_panels(oriented, _draw_curves, path, title))
        if bands:
            path = folder / f"{start}_distance.png"
            written.append(_plot_panels(bands, _draw_bands, path, title))
    return written


def plot_paired(comparison: PairedComparison, path: str | os.PathLike[str], recall: str = "R40") -> Path:
    """Write the differences of a comparison with their intervals as PNG, a row for each.

    Raises:
        InputError: nothing was compared at this kind of recall.
        OutputError: the picture cannot be written.
    """
    differences = select_differences(comparison, recall)
    figure = palette.new_figure((1000, 190 + ROW_HEIGHT * len(differences)))
    axes = figure.add_subplot()
    for row, item in enumerate(differences):
        _draw_difference(axes, row, item)
        before = differences[row - 1] if row else item
        if item.class_name != before.class_name:
            axes.axhline(row - 0.5, color=palette.theme().muted_text, linewidth=0.9)
        elif item.metric != before.metric:
            axes.axhline(row - 0.5, color=palette.theme().grid, linewidth=0.9)
    axes.axvline(0.0, color=palette.theme().text, linewidth=1.0, zorder=1)
    level = f"{100.0 * comparison.confidence:g} %"
    palette.style_axes(axes, x_label=f"difference of AP {recall}, B − A, in points; lines: {level} interval")
    axes.grid(visible=False, axis="y")
    axes.set_yticks(range(len(differences)), [_row_name(item) for item in differences])
    axes.set_ylim(len(differences) - 0.4, -0.6)
    a, b = (_shorten(name) for name in comparison.names)
    figure.suptitle(
        f"A: {a}\nB: {b}\n{comparison.frame_count:,} frames, {comparison.resamples:,} resamples; "
        f"in colour where the {level} interval excludes 0",
        x=0.015,
        ha="left",
        fontsize=palette.LABEL_SIZE,
        color=palette.theme().text,
        parse_math=False,  # a folder's name may hold dollar signs
    )
    figure.tight_layout()
    return palette.save_figure(figure, path)


def plot_before_after_curves(
    before: Evaluation, after: Evaluation, class_name: str, path: str | os.PathLike[str]
) -> Path:
    """Write precision against recall of two evaluations of the same frames as PNG: a row for each metric, in it a
    panel for each overlap, at the difficulty that tables show.

    Raises:
        OutputError: the picture cannot be written.
    """
    curves = [curve for curve in after.curves if curve.class_name.lower() == class_name.lower()]
    shown = [curve for curve in curves if curve.difficulty == shown_difficulty(curves)] if curves else []
    metrics, overlaps = (list(dict.fromkeys(getattr(curve, name) for curve in shown)) for name in ("metric", "iou"))
    rows, columns = max(len(metrics), 1), max(len(overlaps), 1)
    figure = palette.new_figure((max(330 * columns, 660), 330 * rows))
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for curve in shown:
        axes = grid[metrics.index(curve.metric)][overlaps.index(curve.iou)]
        first = before.curve(curve.class_name, curve.metric, curve.difficulty, curve.iou)
        theme = palette.theme()
        lines = [] if first is None else [_line_of(first, "before", theme.before)]
        lines.append(_line_of(curve, "after", theme.after))
        title = f"{_panel_title([curve])}, {curve.difficulty}"
        draw_precision_recall(axes, lines, title=title)
        axes.set_title(title, fontsize=palette.LABEL_SIZE, color=theme.text)
    figure.tight_layout()
    return palette.save_figure(figure, path)


def _plot_panels(curves: Sequence[Curve], draw: Callable[[Axes, Panel], None], path: Path, title: str) -> Path:
    """A column of panels for each metric, in it one panel for each overlap."""
    panels: dict[str, dict[float, list[Curve]]] = {}
    for curve in curves:
        panels.setdefault(curve.metric, {}).setdefault(curve.iou, []).append(curve)
    rows = max(len(overlaps) for overlaps in panels.values())
    band_count = len({curve.distance for curve in curves})
    width = max(PANEL_SIZE[0], BAND_WIDTH * band_count) * len(panels)
    figure = palette.new_figure((width, PANEL_SIZE[1] * rows + HEADING_HEIGHT))
    grid = figure.subplots(rows, len(panels), squeeze=False)
    for column, overlaps in zip(grid.T, panels.values(), strict=True):
        for axes, panel in zip(column, overlaps.values(), strict=False):
            draw(axes, panel)
        for axes in column[len(overlaps) :]:
            axes.set_axis_off()
    figure.suptitle(title, fontsize=palette.TITLE_SIZE, color=palette.theme().text, parse_math=False)
    figure.tight_layout()
    return palette.save_figure(figure, path)


def _draw_curves(axes: Axes, panel: Panel) -> None:
    """A line for each difficulty over the recall that was reached, with its AP in the legend.

    AP takes the i-th threshold for recall i/40. The picture shows what share of the labels is found there: the two are
    nearly the same but where labels are few, for which the legend has a mark.
    """
    lines = [_line_of(curve, curve.difficulty) for curve in panel]
    y_label = "orientation similarity" if panel[0].metric == "aos" else "precision"
    legend_title = f"{'AOS' if panel[0].metric == 'aos' else 'AP'} R40 (%)"
    if any(map(has_few_labels, panel)):
        legend_title += f"\n{FEW_MARK} < {FEW_LABELS} labels: cannot reach 100"
    draw_precision_recall(axes, lines, title=_panel_title(panel), y_label=y_label, legend_title=legend_title)


def _line_of(curve: Curve, name: str, color: str | None = None) -> PrecisionRecallCurve:
    """A curve over the recall that was reached, with its AP in its name."""
    count = len(curve.thresholds)
    recall = curve.true_positives / np.maximum(curve.true_positives + curve.false_negatives, 1)  # as of the best point
    best = curve.best if curve.metric != "aos" else None  # which tells of precision, not of orientation
    few = FEW_MARK if has_few_labels(curve) else ""
    # Behind the last recall that is reached precision is 0, which a step down says.
    end = recall[-1:][recall[-1:] < 1.0]
    return PrecisionRecallCurve(
        f"{name} {curve.ap():.2f}{few}",
        np.concatenate(([0.0], recall, end)),
        np.concatenate((curve.precision[:1], curve.precision[:count], np.zeros(len(end)))),
        color=color,
        best=(best.recall, best.precision) if best is not None and best.true_positives else None,
    )


def _draw_bands(axes: Axes, panel: Panel) -> None:
    """AP of each band, a line for each difficulty; below each band its number of labels at one difficulty."""
    bands = sorted({curve.distance for curve in panel if curve.distance is not None})
    named = shown_difficulty(panel)
    counts = dict.fromkeys(bands, 0)
    for index, difficulty in enumerate(dict.fromkeys(curve.difficulty for curve in panel)):
        shown = dict.fromkeys(bands, float("nan"))
        few = []
        for curve in panel:
            if curve.difficulty == difficulty and curve.distance is not None and curve.label_count:
                shown[curve.distance] = curve.ap()
                few += [curve.distance] if has_few_labels(curve) else []
                if difficulty == named:
                    counts[curve.distance] = curve.label_count
        color = palette.theme().line_color(index)
        axes.plot(range(len(bands)), list(shown.values()), color=color, marker="o", linewidth=1.8, label=difficulty)
        places = [(bands.index(band), shown[band]) for band in few]
        axes.plot(
            *np.reshape(places, (-1, 2)).T,
            color=color,
            marker="o",
            linestyle="none",
            markerfacecolor=palette.theme().background,
        )
    if any(curve.label_count and has_few_labels(curve) for curve in panel):
        hollow: dict[str, Any] = {"color": palette.theme().muted_text, "markerfacecolor": palette.theme().background}
        name = f"< {FEW_LABELS} labels: cannot reach 100"
        axes.plot([], [], marker="o", linestyle="none", label=name, **hollow)
    label = f"distance (number of labels, {named})"
    palette.style_axes(axes, x_label=label, y_label="AP R40 (%)", title=_panel_title(panel))
    axes.set_xticks(range(len(bands)), [f"{band_name(band)}\n({counts[band]:,})" for band in bands])
    axes.set_xlim(-0.3, len(bands) - 0.7)
    axes.set_ylim(0.0, 103.0)
    add_legend(axes, size=palette.TICK_SIZE)


def _draw_difference(axes: Axes, row: int, item: PairedDifference) -> None:
    theme = palette.theme()
    color = theme.muted_text  # neither better nor worse
    if item.significant:
        color = theme.after if item.difference > 0 else theme.region
    axes.plot([item.low, item.high], [row, row], color=color, linewidth=2.2, solid_capstyle="butt")
    axes.plot(item.difference, row, color=color, marker="o", markersize=6)
    text = f"{figure_text(item.difference, '+.2f')}  ({interval_text(item)})"
    axes.text(
        1.01, row, text, transform=axes.get_yaxis_transform(), va="center", color=color, fontsize=palette.TICK_SIZE
    )


def _panel_title(panel: Panel) -> str:
    return f"{metric_name(panel[0].metric)}, {_limit_text(panel[0])}"


def _limit_text(curve: Curve) -> str:
    return f"{'≤' if curve.metric == 'center' else 'IoU >'} {overlap_text(curve.iou, curve.metric)}"


def _row_name(item: PairedDifference) -> str:
    return f"{item.class_name}, {metric_name(item.metric)} {overlap_text(item.iou, item.metric)}, {item.difficulty}"


def _shorten(name: str, length: int = 100) -> str:
    """A name that fits the picture's width: of a long path its end, which tells more."""
    return name if len(name) <= length else f"…{name[1 - length :]}"
