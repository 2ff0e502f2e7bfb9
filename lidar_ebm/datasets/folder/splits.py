"""Splits of a folder of one's own: by files of frame names, or by fractions that are taken evenly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from lidar_ebm.errors import InputError
from lidar_ebm.formats.text_lists import read_names


def read_folder_splits(
    root: Path, settings_path: Path, splits: Mapping[str, str | float], names: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Frames of every split.

    A fraction takes so many of the frames, evenly over the sorted names, from those that no file names. Frames that
    are left over are the split `train` where none is given.

    Raises:
        InputError: a split's file is missing or malformed, or a fraction leaves a split without a frame.
    """
    frames_of = {name: tuple(read_names(root / value)) for name, value in splits.items() if isinstance(value, str)}
    taken = {frame for frames in frames_of.values() for frame in frames}
    rest = [name for name in names if name not in taken]
    free, count = list(rest), len(rest)
    for name, share in splits.items():
        if isinstance(share, str):
            continue
        wanted = round(share * count)
        if not wanted:
            raise InputError(f"{settings_path}: splits: {name} would have none of {count} frames ({share:g} of them).")
        step = len(free) / wanted
        chosen = {free[min(math.floor((k + 0.5) * step), len(free) - 1)] for k in range(wanted)} if free else set()
        frames_of[name] = tuple(frame for frame in free if frame in chosen)
        free = [frame for frame in free if frame not in chosen]
    if "train" not in frames_of and free:
        frames_of["train"] = tuple(free)
    return frames_of
