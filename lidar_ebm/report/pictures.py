"""Pictures within the page: each drawn in both themes, small, and with words for what it shows."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from lidar_ebm.report.box_errors import BoxErrors
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.curve_plots import add_legend

QUALITY = 86  # of WebP: text stays clean, and a landscape takes a tenth of its PNG

DISTANCES = (0, 10, 20, 30, 40, 50, 60, np.inf)  # m
POINTS = (0, 6, 21, 51, 101, 301, np.inf)
OCCLUSIONS = ("fully\nvisible", "partly\noccluded", "largely\noccluded", "unknown")


@dataclass(frozen=True)
class Picture:
    """One picture as data URIs."""

    caption: str
    width: int  # px
    height: int
    sources: dict[str, str]  # by theme


def draw(plot: Callable[[Path], object], caption: str) -> Picture:
    """Let `plot` write a picture to the path that it is given, once in each theme.

    Raises:
        OutputError: the picture cannot be written.
    """
    sources, size = {}, (0, 0)
    for name, theme in palette.THEMES.items():
        with tempfile.TemporaryDirectory() as folder, palette.use_theme(theme):
            path = Path(folder) / "picture.png"
            plot(path)
            with Image.open(path) as image:
                size = image.size
                kept = io.BytesIO()
                image.convert("RGB").save(kept, "WEBP", quality=QUALITY, method=4)
        sources[name] = f"data:image/webp;base64,{base64.b64encode(kept.getvalue()).decode()}"
    return Picture(caption, *size, sources)


def plot_errors(errors: BoxErrors, path: Path) -> Path:
    """Write the share of labels detected and their mean IoU before and after, as PNG.

    They are given by distance, by points in the box, and by occlusion, or by class where labels do not say it.

    Raises:
        OutputError: the picture cannot be written.
    """
    figure = palette.new_figure((1320, 640))
    panels = figure.subplots(2, 3, sharey="row")
    groups = (
        ("distance (m)", *_binned(errors.distance, DISTANCES)),
        ("points in the box", *_binned(errors.points, POINTS)),
        _by_occlusion(errors) if np.isfinite(errors.occlusion).any() else _by_class(errors),
    )
    for column, (what, names, group) in zip(panels.T, groups, strict=True):
        counts = np.bincount(group, minlength=len(names))
        shown = [k for k, count in enumerate(counts) if count]
        ticks = [f"{names[k]}\n({counts[k]:,})" for k in shown]
        members = [group == k for k in shown]
        shares = [[100 * (iou > errors.needed)[m].mean() for m in members] for iou in (errors.before, errors.after)]
        overlaps = [[iou[m].mean() for m in members] for iou in (errors.before, errors.after)]
        _draw_bars(column[0], shares, ticks, y_label="labels detected (%)", x_label="")
        _draw_bars(column[1], overlaps, ticks, y_label="mean 3-D IoU", x_label=f"{what}; labels in brackets")
        column[0].set_ylim(0, 105)
        column[1].set_ylim(0, 1)
    for axes in panels[:, 1:].flat:
        axes.set_ylabel("")
    add_legend(panels[0, 0])
    figure.tight_layout()
    return palette.save_figure(figure, path)


def _by_occlusion(errors: BoxErrors) -> tuple[str, list[str], np.ndarray]:
    unknown = len(OCCLUSIONS) - 1
    return "occlusion", list(OCCLUSIONS), np.nan_to_num(errors.occlusion, nan=unknown).astype(int).clip(0, unknown)


def _by_class(errors: BoxErrors) -> tuple[str, list[str], np.ndarray]:
    names, group = np.unique(errors.name, return_inverse=True)
    return "class", [palette.as_written(name) for name in names.tolist()], group


def _binned(values: np.ndarray, edges: Sequence[float]) -> tuple[list[str], np.ndarray]:
    """Names of the bins from each edge up to the next, and each value's bin [L]."""
    whole = all(float(edge).is_integer() for edge in edges[:-1])
    names = [
        f"≥ {low:g}" if np.isinf(high) else f"{low:g}–{high - (1 if whole and edges is POINTS else 0):g}"
        for low, high in pairwise(edges)
    ]
    return names, np.searchsorted(np.asarray(edges[1:]), values, side="right").clip(0, len(names) - 1)


def _draw_bars(
    axes: Axes, values: Sequence[Sequence[float]], ticks: Sequence[str], *, x_label: str, y_label: str
) -> None:
    theme, places = palette.theme(), np.arange(len(ticks))
    for shift, heights, color, name in (
        (-0.2, values[0], theme.before, "before refinement"),
        (0.2, values[1], theme.after, "after refinement"),
    ):
        axes.bar(places + shift, heights, width=0.38, color=color, label=name)
    palette.style_axes(axes, x_label=x_label, y_label=y_label)
    axes.grid(visible=False, axis="x")
    axes.set_xticks(places, list(ticks))
