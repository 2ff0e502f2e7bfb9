"""State of the window and the deeds of its keys, apart from any window."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.visualization.palette import LIGHT, Theme
from lidar_ebm.visualization.scene import BoxFilter, BoxSet, SceneFrame
from lidar_ebm.visualization.scene_geometry import colorings

SCORE_STEP = 0.05  # that keys raise and lower the minimum score by, from any score to 1
TEXT_HEIGHT = 0.7  # m from one text to the next above it
DISTANCES = (math.inf, 60.0, 40.0, 20.0)  # m, that one key goes through


@dataclass
class ViewerState:
    """One window's state; the methods are what keys and widgets call."""

    frames: Sequence[SceneFrame]
    index: int = 0
    color: str = "height"
    chosen: BoxFilter = field(default_factory=BoxFilter)
    hidden: set[str] = field(default_factory=set)  # names of box sets; "points" too
    step: int | None = None  # refinement step that is shown; None: the last
    texts: bool = True  # scores and f beside boxes
    velocity: bool = True  # arrows of boxes that have one
    panel: bool = True
    playing: bool = False
    theme: Theme = LIGHT  # of the classes' colours
    class_colors: bool = False  # boxes in the colours of their classes rather than of their sets
    problem: str | None = None  # what is wrong with the frame's files, or with what a key should have done

    def __post_init__(self) -> None:
        """Read the first frame.

        Raises:
            InputError: it cannot be read.
        """
        self.frame = self._read()  # as it is in its files; without anything where they cannot be read

    def _read(self) -> SceneFrame:
        frame = self.frames[self.index]
        return frame.by_class(self.theme) if self.class_colors else frame

    @property
    def layers(self) -> list[str]:
        """Names of what can be shown and hidden: the points, then the frame's sets of boxes."""
        return ["points", *(each.name for each in self.frame.sets)]

    @property
    def types(self) -> list[str]:
        """Class names of the frame's boxes, in the order of the alphabet."""
        return sorted({name for each in self.frame.sets for name in each.types})

    def shown(self) -> SceneFrame:
        """The frame with the boxes that pass the filters, at the refinement step that was chosen."""
        frame = self.frame if self.step is None else self.frame.at_step(self.step)
        frame = frame if self.velocity else frame.without_velocity()
        return frame.filtered(self.chosen)

    def visible(self) -> list[BoxSet]:
        """The sets of boxes that are not hidden, as `shown` has them."""
        return [each for name, each in zip(self.layers[1:], self.shown().sets, strict=True) if name not in self.hidden]

    def box_texts(self) -> list[tuple[tuple[float, float, float], str, str]]:
        """Place above a box, text and colour, of the boxes that have a score and are visible."""
        texts = []
        scored = [each for each in self.visible() if each.scores is not None] if self.texts else []
        for order, each in enumerate(scored):  # of boxes in one place: texts one above the other
            assert each.scores is not None
            for row, box in enumerate(each.boxes.tolist()):
                text = f"{each.scores[row]:.2f}"
                if each.f is not None:
                    text += f"  f {each.f[row]:.1f}"
                texts.append(((box[0], box[1], box[2] + 0.5 * box[5] + TEXT_HEIGHT * (0.5 + order)), text, each.color))
        return texts

    def go(self, places: int) -> None:
        """To another frame, so many places on; after the last comes the first. One that cannot be read is a `problem`
        and empty, so that the ones after it can be looked at."""
        self.index = (self.index + places) % len(self.frames)
        self.playing = False
        try:
            self.frame, self.problem = self._read(), None
            if self.color not in colorings(self.frame.channels):
                self.color = "height"
        except InputError as error:
            self.frame = SceneFrame("that cannot be read", np.zeros((0, 4), np.float32))
            self.problem = str(error)
        if self.step is not None:
            self.step = None if self.frame.steps == 0 else min(self.step, self.frame.steps)

    def take_step(self, steps: int) -> None:
        """So many refinement steps on, as far as they go."""
        last = self.frame.steps
        at = last if self.step is None else self.step
        self.step = min(max(at + steps, 0), last) if last else None

    def play(self) -> None:
        """Show the refinement from its beginning, or stop that."""
        self.playing = not self.playing and self.frame.steps > 0
        if self.playing:
            self.step = 0

    def advance(self) -> bool:
        """One step on while playing; whether anything changed."""
        if not self.playing:
            return False
        self.take_step(1)
        self.playing = self.step is not None and self.step < self.frame.steps
        return True

    def next_color(self) -> None:
        """Colour points by the next of height, their channels, distance, boxes."""
        kinds = colorings(self.frame.channels)
        at = kinds.index(self.color) if self.color in kinds else -1
        self.color = kinds[(at + 1) % len(kinds)]

    def next_type(self) -> None:
        """Boxes of the next class alone; after the last class all of them."""
        kinds: list[tuple[str, ...] | None] = [None, *((name,) for name in self.types)]
        at = kinds.index(self.chosen.types) if self.chosen.types in kinds else 0
        self.chosen = BoxFilter(kinds[(at + 1) % len(kinds)], self.chosen.min_score, self.chosen.max_distance)

    def next_distance(self) -> None:
        """Boxes within the next limit of `DISTANCES`."""
        at = DISTANCES.index(self.chosen.max_distance) if self.chosen.max_distance in DISTANCES else 0
        self.set_filter(max_distance=DISTANCES[(at + 1) % len(DISTANCES)])

    def change_score(self, by: float) -> None:
        """Raise or lower the minimum score."""
        score = round(max(self.chosen.min_score, 0.0) + by, 6)
        self.set_filter(min_score=min(score, 1.0) if score > 0 else -math.inf)

    def set_filter(self, *, min_score: float | None = None, max_distance: float | None = None) -> None:
        """Choose other limits."""
        kept = self.chosen
        self.chosen = BoxFilter(
            kept.types,
            kept.min_score if min_score is None else min_score,
            kept.max_distance if max_distance is None else max_distance,
        )

    def toggle(self, number: int) -> None:
        """Show or hide a layer: 0 for the points, 1 for the first set of boxes; others than there are do nothing."""
        if number < len(self.layers):
            self.hidden ^= {self.layers[number]}

    def toggle_texts(self) -> None:
        """Show or hide scores and f."""
        self.texts = not self.texts

    def toggle_velocity(self) -> None:
        """Show or hide the arrows of velocities."""
        self.velocity = not self.velocity

    def toggle_panel(self) -> None:
        """Show or hide legend, filters and keys."""
        self.panel = not self.panel

    def describe(self) -> list[str]:
        """Lines that say what is shown."""
        frame, kinds, limit, score = self.frame, self.chosen.types, self.chosen.max_distance, self.chosen.min_score
        lines = [
            f"Frame {frame.name}  ({self.index + 1} of {len(self.frames)})",
            f"{len(frame.points):,} points by {self.color}",
            f"class: {'all' if kinds is None else ', '.join(kinds)}",
            f"score from {'any' if math.isinf(score) else f'{score:.2f}'}",
            f"distance to {'any' if math.isinf(limit) else f'{limit:g} m'}",
        ]
        if frame.steps:
            at = frame.steps if self.step is None else self.step
            lines.append(f"refinement step {at} of {frame.steps}")
        return lines


# Keys by what they are called on screen: what they do, in words, and in deeds.
KEYS: dict[str, tuple[str, Callable[[ViewerState], None]]] = {
    "n": ("next frame, also right", lambda state: state.go(1)),
    "p": ("previous frame, also left", lambda state: state.go(-1)),
    "c": ("colour of points", ViewerState.next_color),
    "k": ("class", ViewerState.next_type),
    "d": ("distance", ViewerState.next_distance),
    "+": ("minimum score up", lambda state: state.change_score(SCORE_STEP)),
    "-": ("minimum score down", lambda state: state.change_score(-SCORE_STEP)),
    ".": ("refinement step on", lambda state: state.take_step(1)),
    ",": ("refinement step back", lambda state: state.take_step(-1)),
    "space": ("play the refinement", ViewerState.play),
    "t": ("scores and f", ViewerState.toggle_texts),
    "v": ("velocities", ViewerState.toggle_velocity),
    "h": ("this panel", ViewerState.toggle_panel),
}
