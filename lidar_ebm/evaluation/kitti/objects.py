"""Labels or results of many frames as flat arrays, the form that matching works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.label import Label


@dataclass(frozen=True, eq=False)
class Objects:
    """All objects of a run of frames, in file order; camera frame, float64."""

    offsets: np.ndarray  # [F + 1] int64: frame i owns rows offsets[i] to offsets[i + 1]
    type_index: np.ndarray  # [N] int64, index into type_names
    type_names: tuple[str, ...]  # in lower case: KITTI compares names without case
    truncated: np.ndarray  # [N]
    occluded: np.ndarray  # [N]
    alpha: np.ndarray  # [N] rad
    bbox: np.ndarray  # [N, 4] x1, y1, x2, y2, pixels
    boxes: np.ndarray  # [N, 7] x, y, z (bottom centre, m), h, w, l (m), rotation_y (rad)
    scores: np.ndarray  # [N]; NaN for labels
    points: np.ndarray | None = None  # [N] int64, LiDAR points in the box; None: not counted

    @property
    def frame_count(self) -> int:
        """Number of frames, empty ones included."""
        return len(self.offsets) - 1

    def is_type(self, name: str) -> np.ndarray:
        """Mask [N] of the objects whose type is `name`, whatever its case."""
        name = name.lower()
        if name not in self.type_names:
            return np.zeros(len(self.type_index), dtype=np.bool_)
        return self.type_index == self.type_names.index(name)


def pack_objects(
    frames: Sequence[Sequence[Label]], *, need_scores: bool, names: Sequence[str] | None = None
) -> Objects:
    """Flatten the objects of each frame.

    Args:
        frames: one sequence of objects a frame, in file order; any may be empty.
        need_scores: these are results, each of which must have a finite score.
        names: what to call each frame in a message (a file's path, say); by default "frame 0", "frame 1", ...

    Raises:
        InputError: a number that is NaN or infinite, or a result without a score; the message names frame and object.
    """
    counts = [len(objects) for objects in frames]
    flat = [item for objects in frames for item in objects]
    numbers = np.array(
        [
            (
                item.truncated,
                item.occluded,
                item.alpha,
                *item.bbox,
                *item.location,
                *item.dimensions,
                item.rotation_y,
                np.nan if item.score is None else item.score,
            )
            for item in flat
        ],
        dtype=np.float64,
    ).reshape(len(flat), 15)
    objects = objects_from_numbers(counts, [item.type for item in flat], numbers)
    check_objects(objects, need_scores=need_scores, names=names)
    return objects


def objects_from_numbers(
    counts: Sequence[int], types: Sequence[str], numbers: np.ndarray, points: np.ndarray | None = None
) -> Objects:
    """Objects from rows of numbers.

    Args:
        counts: objects of each frame, F.
        types: N class names, in any case.
        numbers: [N, 15] float64: truncated, occluded, alpha, the 2-D box (4), the 3-D box (7) and the score, as in
            `Objects`.
        points: [N] int64, or None.
    """
    lower = [name.lower() for name in types]
    type_names = tuple(dict.fromkeys(lower))
    position = {name: index for index, name in enumerate(type_names)}
    return Objects(
        offsets=np.cumsum([0, *counts], dtype=np.int64),
        type_index=np.array([position[name] for name in lower], dtype=np.int64),
        type_names=type_names,
        truncated=numbers[:, 0].copy(),
        occluded=numbers[:, 1].copy(),
        alpha=numbers[:, 2].copy(),
        bbox=numbers[:, 3:7].copy(),
        boxes=numbers[:, 7:14].copy(),
        scores=numbers[:, 14].copy(),
        points=points,
    )


def check_objects(objects: Objects, *, need_scores: bool, names: Sequence[str] | None = None) -> None:
    """Refuse objects that cannot be scored; the arguments are those of `pack_objects`.

    Raises:
        InputError: a number that is NaN or infinite, or a result without a score; the message names frame and object.
    """
    numbers = np.column_stack((objects.truncated, objects.occluded, objects.alpha, objects.bbox, objects.boxes))
    _check_finite(objects, numbers, "a number that is NaN or infinite; correct or remove it", names)
    if need_scores:
        remedy = "no score or one that is NaN or infinite; a result line ends with a finite score, higher is better"
        _check_finite(objects, objects.scores[:, None], remedy, names)


def _check_finite(objects: Objects, numbers: np.ndarray, complaint: str, names: Sequence[str] | None) -> None:
    bad = ~np.isfinite(numbers).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        frame = int(np.searchsorted(objects.offsets, row, side="right")) - 1
        name = f"frame {frame}" if names is None else names[frame]
        raise InputError(f"{name}: object {row - objects.offsets[frame] + 1} has {complaint}")
