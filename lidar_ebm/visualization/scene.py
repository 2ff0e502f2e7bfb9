"""Frames as they are drawn: points with channels, a camera or none, and sets of boxes. Plain data."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from lidar_ebm.geometry.camera import Camera
from lidar_ebm.types import REFLECTANCE
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.box_arrays import has_arrows

LABEL, BEFORE, AFTER = "label", "before refinement", "after refinement"  # names of sets of boxes
NAMED_CLASSES = 3  # in a legend's row; the others are counted


@dataclass(frozen=True, eq=False)
class BoxSet:
    """Boxes that are drawn alike."""

    name: str  # in the legend
    boxes: np.ndarray  # [M, 7] float32, LiDAR frame; [M, 9] with vx, vy, m/s, NaN where unknown
    types: tuple[str, ...]  # M class names
    color: str
    scores: np.ndarray | None = None  # [M]
    f: np.ndarray | None = None  # [M]
    path: np.ndarray | None = None  # [1 + T, M, 7 or 9] where refinement had each box after 0..T steps
    path_f: np.ndarray | None = None  # [1 + T, M] f there

    def select(self, rows: np.ndarray) -> BoxSet:
        """The boxes of these indices [m]."""
        return replace(
            self,
            boxes=self.boxes[rows],
            types=tuple(self.types[k] for k in rows.tolist()),
            scores=None if self.scores is None else self.scores[rows],
            f=None if self.f is None else self.f[rows],
            path=None if self.path is None else self.path[:, rows],
            path_f=None if self.path_f is None else self.path_f[:, rows],
        )

    def at_step(self, step: int) -> BoxSet:
        """The same boxes after so many refinement steps, at most all; as they are where no path is given."""
        if self.path is None or self.path_f is None:
            return self
        step = min(step, len(self.path) - 1)
        return replace(self, name=f"{self.name}, step {step}", boxes=self.path[step], f=self.path_f[step])

    def without_velocity(self) -> BoxSet:
        """The same boxes without velocities, and so without arrows."""
        return replace(self, boxes=self.boxes[:, :7], path=None if self.path is None else self.path[:, :, :7])

    def legend(self) -> str:
        """The name with the number of boxes, and how many are of each class where these are several."""
        counts = Counter(self.types)
        if len(counts) < 2:
            kind = f" {next(iter(counts))}" if counts and not self.name.endswith(f": {next(iter(counts))}") else ""
            return f"{self.name} ({len(self.boxes)}{kind})"
        frequent = counts.most_common(NAMED_CLASSES)
        parts = [f"{count} {name}" for name, count in frequent]
        rest = len(self.boxes) - sum(count for _, count in frequent)
        return f"{self.name} ({', '.join([*parts, *([f'{rest} other'] if rest else [])])})"


@dataclass(frozen=True)
class BoxFilter:
    """Boxes that are shown."""

    types: tuple[str, ...] | None = None  # class names, in any case of letters; None for all
    min_score: float = -math.inf  # of boxes that have one; other programs' scores can be negative
    max_distance: float = math.inf  # from the sensor, horizontal, m

    def apply(self, boxes: BoxSet) -> BoxSet:
        """The boxes of a set that pass."""
        keep = np.hypot(boxes.boxes[:, 0], boxes.boxes[:, 1]) <= self.max_distance
        if self.types is not None:
            wanted = {name.lower() for name in self.types}
            keep &= np.array([name.lower() in wanted for name in boxes.types], dtype=bool)
        if boxes.scores is not None:
            keep &= np.asarray(boxes.scores) >= self.min_score
        return boxes.select(np.flatnonzero(keep))


@dataclass(frozen=True, eq=False)
class SceneFrame:
    """One frame."""

    name: str
    points: np.ndarray  # [N, 3 + C] float32: x, y, z (m, LiDAR frame), then a column for each channel
    sets: tuple[BoxSet, ...] = ()  # later ones are drawn over earlier ones
    channels: tuple[str, ...] = (REFLECTANCE,)
    camera: Camera | None = None  # None where the frame has none
    image: np.ndarray | None = field(default=None, repr=False)  # [H, W, 3] uint8 of the camera
    class_names: tuple[str, ...] = ()  # all that its source declares, so that each has a colour of its own

    @property
    def steps(self) -> int:
        """Refinement steps that can be shown; 0 where no path is given."""
        return max((len(each.path) - 1 for each in self.sets if each.path is not None), default=0)

    def boxes(self) -> np.ndarray:
        """Boxes [M, 7] of all sets."""
        return np.concatenate([np.zeros((0, 7), np.float32), *(each.boxes[:, :7] for each in self.sets)])

    def has_arrows(self) -> bool:
        """Tell if a velocity of any box is shown."""
        return any(has_arrows(each.boxes) for each in self.sets)

    def at_step(self, step: int) -> SceneFrame:
        """The frame with every path's boxes after so many steps."""
        return replace(self, sets=tuple(each.at_step(step) for each in self.sets))

    def filtered(self, chosen: BoxFilter) -> SceneFrame:
        """The frame with the boxes that pass."""
        return replace(self, sets=tuple(chosen.apply(each) for each in self.sets))

    def without_velocity(self) -> SceneFrame:
        """The frame without velocities."""
        return replace(self, sets=tuple(each.without_velocity() for each in self.sets))

    def by_class(self, theme: palette.Theme) -> SceneFrame:
        """The frame with a set for each class of each set, in the class's own colour, the same in every frame."""
        kinds = sorted({name for each in self.sets for name in each.types})
        sets, colors = [], theme.class_colors(self.class_names, kinds)
        for each in self.sets:
            for name in sorted(set(each.types)):
                rows = np.flatnonzero([kind == name for kind in each.types])
                title = f"{each.name}: {name}"
                sets.append(replace(each.select(rows), name=title, color=colors[name.lower()]))
        return replace(self, sets=tuple(sets))
