"""Objects that there are to learn from: counted before a training begins."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lidar_ebm.config.detector import ClassConfig
from lidar_ebm.datasets.samples import index_by_name
from lidar_ebm.errors import InputError

AXES = "xyz"


@dataclass(frozen=True)
class Census:
    """Labelled objects of a split."""

    classes: tuple[ClassConfig, ...]
    bounds: tuple[float, ...]  # voxels.range: low x y z, high x y z, m
    centers: tuple[np.ndarray, ...]  # of each class [n, 3] float64, m
    others: Counter[str]  # labels of no class by their names

    def inside(self, index: int) -> np.ndarray:
        """Mask of the objects of a class whose centre is in the range, [n] bool."""
        centers = self.centers[index]
        return np.all((centers >= self.bounds[:3]) & (centers < self.bounds[3:]), axis=1)

    def lines(self) -> list[str]:
        """A line for each class: how many objects of it are in the range, how many are left out, and why."""
        lines = []
        for index, item in enumerate(self.classes):
            inside = self.inside(index)
            count, left = int(inside.sum()), int((~inside).sum())
            line = f"{count} object{'' if count == 1 else 's'} of {item.name} in the range"
            lines.append(f"{line}, {left} left out ({self._why(index, ~inside)})" if left else line)
        return lines

    def outside(self) -> tuple[str, ...]:
        """A note for each class that has labels outside the range: how many of how many, and along which axis."""
        notes = []
        for index, item in enumerate(self.classes):
            outside = ~self.inside(index)
            if outside.any():
                notes.append(
                    f"{int(outside.sum())} of {len(outside)} labels of {item.name} lie outside voxels.range "
                    f"({self._why(index, outside)}): nothing is found there"
                )
        return tuple(notes)

    def check(self, place: object) -> None:
        """Refuse a split without an object to learn from.

        Args:
            place: what a message calls the split.

        Raises:
            InputError: no object of any class lies in the range; it names what is there instead.
        """
        if any(self.inside(index).any() for index in range(len(self.classes))):
            return
        outside = [
            f"all {len(centers)} objects of {item.name} lie outside voxels.range "
            f"({self._why(index, np.ones(len(centers), bool))})"
            for index, (item, centers) in enumerate(zip(self.classes, self.centers, strict=True))
            if len(centers)
        ]
        if outside:
            raise InputError(
                f"{place}: there is nothing to learn from: {'; '.join(outside)}. Set voxels.range to where the objects "
                "are, or check the labels' axes (x forward, y left, z up, m)."
            )
        names = [name for item in self.classes for name in (item.name, *item.merge)]
        if not self.others:
            raise InputError(f"{place}: there is nothing to learn from: no frame has a labelled object.")
        present = ", ".join(f"{name} ({count})" for name, count in self.others.most_common(12))
        close = [near for name in names for near in difflib.get_close_matches(name, list(self.others), n=1, cutoff=0.7)]
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise InputError(
            f"{place}: there is nothing to learn from: no label is one of {', '.join(names)}. There are: {present}. "
            f"{hint}Name a class that is there in classes, or use other data."
        )

    def _why(self, index: int, rows: np.ndarray) -> str:
        """Way in which objects of a class lie outside, in words: along the axis that most of them do."""
        centers = self.centers[index][rows]
        low, high = np.array(self.bounds[:3]), np.array(self.bounds[3:])
        outside = (centers < low) | (centers >= high)  # [n, 3]
        axis = int(outside.sum(0).argmax())
        values = centers[outside[:, axis], axis]
        return (
            f"{AXES[axis]} from {values.min():.1f} to {values.max():.1f} m, the range goes from {low[axis]:g} to "
            f"{high[axis]:g} m"
        )


def take_census(
    frames: Iterable[tuple[np.ndarray, Sequence[str]]], classes: Sequence[ClassConfig], bounds: Sequence[float]
) -> Census:
    """Count the labelled objects of frames.

    Args:
        frames: boxes [N, 7] in the LiDAR frame and the N names of each.
        classes: what is trained; a label counts for a class by the class's name or one that it merges, in any case.
        bounds: low x y z, high x y z of the range, m.
    """
    mapping = index_by_name(classes)
    centers: list[list[np.ndarray]] = [[] for _ in classes]
    others: Counter[str] = Counter()
    for boxes, names in frames:
        for box, name in zip(boxes, names, strict=True):
            index = mapping.get(name.lower())
            if index is None:
                others[name] += 1
            else:
                centers[index].append(np.asarray(box[:3], dtype=np.float64))
    return Census(
        tuple(classes),
        tuple(float(value) for value in bounds),
        tuple(np.array(each).reshape(-1, 3) for each in centers),
        others,
    )


def check_points(clouds: Iterable[np.ndarray], bounds: Sequence[float], place: object) -> None:
    """Refuse frames of which none has a point in the range.

    Args:
        clouds: points [N, >= 3] of a few frames, LiDAR frame, m.
        bounds: low x y z, high x y z, m.
        place: what a message calls the frames.

    Raises:
        InputError: every point lies outside, or there is none.
    """
    low, high = np.array(bounds[:3]), np.array(bounds[3:])
    lowest, highest = np.full(3, np.inf), np.full(3, -np.inf)
    for cloud in clouds:
        points = cloud[np.isfinite(cloud[:, :3]).all(axis=1), :3]
        if np.all((points >= low) & (points < high), axis=1).any():
            return
        if len(points):
            lowest, highest = np.minimum(lowest, points.min(0)), np.maximum(highest, points.max(0))
    for axis in range(3):
        if lowest[axis] <= highest[axis] and (highest[axis] < low[axis] or lowest[axis] >= high[axis]):
            raise InputError(
                f"{place}: all points lie at {AXES[axis]} from {lowest[axis]:.1f} to {highest[axis]:.1f} m, and "
                f"voxels.range goes from {low[axis]:g} to {high[axis]:g} m there. Set it to where the points are, or "
                "check their axes (x forward, y left, z up) and unit (m)."
            )
    raise InputError(
        f"{place}: no point lies in voxels.range ({', '.join(f'{value:g}' for value in bounds)}), in frames that were "
        "looked at. Set it to where the points are, or check their axes (x forward, y left, z up) and unit (m)."
    )
