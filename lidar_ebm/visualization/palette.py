"""The one palette and the one scale of font sizes of every picture, and how a picture is begun and saved.

The colours are Okabe and Ito's, which readers with any of the common colour-vision deficiencies can tell apart
(https://jfly.uni-koeln.de/color/); on a dark background they are a little lighter. What a colour means is the same in
every picture. Pictures follow the theme that is in use while they are drawn and saved:

    with use_theme(DARK):
        plot_bev(points, "dark.png")
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.patches import Patch

from lidar_ebm.errors import InputError
from lidar_ebm.system.files import atomic_write

CLASS_SEED = 124102751  # with which the names of common road users have colours far apart
DISTINCT_CLASSES = 10  # colours of a theme that are as far apart as ten can be, also without one kind of cone


@dataclass(frozen=True)
class Theme:
    """Colours of all pictures, for one background."""

    name: str
    background: str
    text: str
    muted_text: str
    grid: str
    label: str  # what a person or the simulator says is there
    before: str  # as detected, before refinement
    after: str  # after refinement
    drawn: str  # boxes drawn from p(y | x)
    region: str  # a region of given probability
    other: str  # lines that are none of these
    heights: LinearSegmentedColormap  # low to high; low points recede into the background
    lags: LinearSegmentedColormap  # new to old; old points recede into the background
    classes: tuple[str, ...]  # the first `DISTINCT_CLASSES` far apart, then as many that are nearer to others

    @property
    def cycle(self) -> tuple[str, ...]:
        """Colours of lines that are none of label, before and after."""
        return (self.after, self.region, self.label, self.other, self.before, self.drawn)

    def line_color(self, index: int) -> str:
        """The colour of the `index`-th line, from 0, of those that are none of label, before and after."""
        return self.cycle[index % len(self.cycle)]

    def class_color(self, name: str) -> str:
        """The colour of a class, by its name alone (in any case of letters): the same in every picture and frame."""
        return self.classes[self._place(name)]

    def class_colors(self, names: Iterable[str], others: Iterable[str] = ()) -> dict[str, str]:
        """Colours of classes by lower-case name, each another: `class_color`, where that is free and far from others.

        The others take, in the order of `names`, the free colours that are far apart, then those that are nearer to
        others. Of more classes than there are colours the last ones share theirs.

        Args:
            names: that are declared; their colours do not depend on `others`.
            others: that are there beside them.
        """
        wanted = list(dict.fromkeys(name.lower() for name in names))
        beside = [name for name in dict.fromkeys(name.lower() for name in others) if name not in wanted]
        chosen: dict[str, int] = {}
        for name in wanted:
            place = self._place(name)
            if place < DISTINCT_CLASSES and place not in chosen.values():
                chosen[name] = place
        free = [place for place in range(len(self.classes)) if place not in chosen.values()]
        for name in wanted:
            if name not in chosen:
                chosen[name] = free.pop(0) if free else self._place(name)
        for name in beside:
            place = self._place(name)
            chosen[name] = place if place in free or not free else free[0]
            free = [each for each in free if each != chosen[name]]
        return {name: self.classes[chosen[name]] for name in (*wanted, *beside)}

    def _place(self, name: str) -> int:
        return zlib.crc32(f"{CLASS_SEED} {name.lower()}".encode()) % len(self.classes)


def _hexadecimal(*lines: str) -> tuple[str, ...]:
    return tuple(f"#{color}" for line in lines for color in line.split())


LIGHT = Theme(
    name="light",
    background="#FFFFFF",
    text="#222222",
    muted_text="#666666",
    grid="#E4E4E4",
    label="#009E73",  # green
    before="#E69F00",  # orange
    after="#0072B2",  # blue
    drawn="#56B4E9",  # light blue
    region="#D55E00",  # vermilion
    other="#CC79A7",  # purple
    heights=LinearSegmentedColormap.from_list("height", ("#CFCAC4", "#9A93A0", "#5A4E78")),
    lags=LinearSegmentedColormap.from_list("lag", ("#4B0F6B", "#A8518A", "#E3A6A0", "#E9DFD8")),
    classes=_hexadecimal(
        "0077DD BBAAFF EE4488 DDAA77 0000EE 33CCBB 990000 663355 778800 116644",
        "443388 997755 BBBB22 DD77CC 55AA44 8866AA AA4488 118877 3355BB AA2244",
    ),
)
DARK = Theme(
    name="dark",
    background="#15171C",
    text="#ECECEC",
    muted_text="#A3A7AE",
    grid="#2E323A",
    label="#1FC493",
    before="#F2AE24",
    after="#4AA6E8",
    drawn="#A9DBF8",
    region="#F27B35",
    other="#DD92BB",
    heights=LinearSegmentedColormap.from_list("height_dark", ("#3D424B", "#7C7690", "#CEC4E6")),
    lags=LinearSegmentedColormap.from_list("lag_dark", ("#FFF1C2", "#D59A6A", "#84576B", "#34303F")),
    classes=_hexadecimal(
        "6699FF DDCCFF FF77AA FFCCAA 7744FF 00FF00 CC3300 886688 99AA55 337755",
        "88CCCC BB22AA 009988 BB6677 667733 EEEE88 CC9988 998855 BB77CC FF6600",
    ),
)
THEMES = {each.name: each for each in (LIGHT, DARK)}

# The light theme's colours, for what is drawn in this theme alone.
LABEL = LIGHT.label
BEFORE = LIGHT.before
AFTER = LIGHT.after
DRAWN = LIGHT.drawn
REGION = LIGHT.region
CYCLE = LIGHT.cycle
BACKGROUND = LIGHT.background
TEXT = LIGHT.text
MUTED_TEXT = LIGHT.muted_text
GRID = LIGHT.grid
HEIGHT_COLORS = LIGHT.heights

# f, low to high, in both themes: every colour of both can be seen on its bright end, where the boxes lie, with or
# without an edge, and its lightness rises evenly, so that it reads without colour too.
ENERGY_COLORS = LinearSegmentedColormap.from_list(
    "energy", ("#1A1530", "#37285C", "#5E4585", "#8C6BA3", "#BB99B9", "#E2CBD0", "#FBF6EE")
)

TITLE_SIZE = 13.0  # points
LABEL_SIZE = 10.5
TICK_SIZE = 9.0
SMALL_SIZE = 8.0

DOTS_PER_INCH = 100

_theme: ContextVar[Theme] = ContextVar("theme", default=LIGHT)


def theme() -> Theme:
    """The theme in use; `LIGHT` where none was chosen."""
    return _theme.get()


@contextmanager
def use_theme(chosen: Theme) -> Iterator[Theme]:
    """Draw in this theme within the block, in this thread (or task) alone."""
    token = _theme.set(chosen)
    try:
        yield chosen
    finally:
        _theme.reset(token)


def find_theme(name: str) -> Theme:
    """The theme of this name.

    Raises:
        InputError: there is none.
    """
    if name not in THEMES:
        raise InputError(f"theme {name!r}: choose one of {', '.join(THEMES)}.")
    return THEMES[name]


def new_figure(size: tuple[int, int]) -> Figure:
    """An empty figure of `size` (width, height) pixels, apart from pyplot's global state and from any display."""
    width, height = size
    if width <= 0 or height <= 0:
        raise ValueError(f"a picture's size is a positive number of pixels (width, height), not {size}")
    inches, background = (width / DOTS_PER_INCH, height / DOTS_PER_INCH), theme().background
    figure = Figure(figsize=inches, dpi=DOTS_PER_INCH, facecolor=background)
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write `figure` to `path` as PNG, whole or not at all, and return the path.

    Raises:
        OutputError: the file cannot be written.
    """
    _style_legends(figure)
    with atomic_write(path) as file:
        # A point cloud hardly compresses: the strongest setting takes several times as long for a few per cent.
        figure.savefig(file, format="png", dpi=DOTS_PER_INCH, pil_kwargs={"compress_level": 3})
    return Path(path)


def style_axes(axes: Axes, *, x_label: str = "", y_label: str = "", title: str = "", grid: bool = True) -> None:
    """Give `axes` the fonts, spines and grid that all pictures share."""
    current = theme()
    axes.set_facecolor(current.background)
    axes.set_title(as_written(title), fontsize=TITLE_SIZE, color=current.text)
    axes.set_xlabel(x_label, fontsize=LABEL_SIZE, color=current.text)
    axes.set_ylabel(y_label, fontsize=LABEL_SIZE, color=current.text)
    axes.tick_params(labelsize=TICK_SIZE, labelcolor=current.text, color=current.muted_text)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(current.muted_text)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(color=current.grid, linewidth=0.8)


def as_written(name: str) -> str:
    """A name from elsewhere, as of a file, so that matplotlib shows it: `$` begins no formula, and a legend does not
    leave out what begins with `_`."""
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")


def _style_legends(figure: Figure) -> None:
    """Give legends, whose colours matplotlib chooses, those of the theme."""
    current = theme()
    for legend in figure.findobj(Legend):
        assert isinstance(legend, Legend)
        frame = legend.get_frame()
        assert isinstance(frame, Patch)
        frame.set_facecolor(current.background)
        frame.set_edgecolor(current.grid)
        for text in (*legend.get_texts(), legend.get_title()):
            text.set_color(current.text)
