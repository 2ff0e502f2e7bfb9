"""The one palette and the one scale of font sizes of every picture, and how a picture is begun and saved.

The colours are Okabe and Ito's, which readers with any of the common colour-vision deficiencies can tell apart
(https://jfly.uni-koeln.de/color/). What a colour means is the same in every picture.
"""

from __future__ import annotations

import os
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from lidar_ebm.files import atomic_write

LABEL = "#009E73"  # green: what a person or the simulator says is there
BEFORE = "#E69F00"  # orange: as detected, before refinement
AFTER = "#0072B2"  # blue: after refinement
DRAWN = "#56B4E9"  # light blue: boxes drawn from p(y | x)
REGION = "#D55E00"  # vermilion: a region of given probability
CYCLE = (AFTER, "#D55E00", LABEL, "#CC79A7", BEFORE, "#56B4E9")  # lines that are none of these three
BACKGROUND = "#FFFFFF"
TEXT = "#222222"
MUTED_TEXT = "#666666"
GRID = "#E4E4E4"
HEIGHT_COLORS = LinearSegmentedColormap.from_list("height", ("#CFCAC4", "#9A93A0", "#5A4E78"))  # low to high

TITLE_SIZE = 13.0  # points
LABEL_SIZE = 10.5
TICK_SIZE = 9.0
SMALL_SIZE = 8.0

DOTS_PER_INCH = 100


def new_figure(size: tuple[int, int]) -> Figure:
    """An empty figure of `size` (width, height) pixels, apart from pyplot's global state and from any display."""
    width, height = size
    if width <= 0 or height <= 0:
        raise ValueError(f"a picture's size is a positive number of pixels (width, height), not {size}")
    figure = Figure(figsize=(width / DOTS_PER_INCH, height / DOTS_PER_INCH), dpi=DOTS_PER_INCH, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write `figure` to `path` as PNG, whole or not at all, and return the path.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_write(path) as file:
        # A point cloud hardly compresses: the strongest setting takes several times as long for a few per cent.
        figure.savefig(file, format="png", dpi=DOTS_PER_INCH, pil_kwargs={"compress_level": 3})
    return Path(path)


def style_axes(axes: Axes, *, x_label: str = "", y_label: str = "", title: str = "", grid: bool = True) -> None:
    """Give `axes` the fonts, spines and grid that all pictures share."""
    axes.set_facecolor(BACKGROUND)
    axes.set_title(title, fontsize=TITLE_SIZE, color=TEXT)
    axes.set_xlabel(x_label, fontsize=LABEL_SIZE, color=TEXT)
    axes.set_ylabel(y_label, fontsize=LABEL_SIZE, color=TEXT)
    axes.tick_params(labelsize=TICK_SIZE, labelcolor=TEXT, color=MUTED_TEXT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED_TEXT)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(color=GRID, linewidth=0.8)
