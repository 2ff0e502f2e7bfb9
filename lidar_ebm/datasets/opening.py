"""Opening a data set: of whatever kind its folder is."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from lidar_ebm.datasets.data_set import DataSet
from lidar_ebm.datasets.frames import Frames
from lidar_ebm.datasets.samples import SampleContent, Samples
from lidar_ebm.errors import InputError


class SampleSettings(Protocol):
    """The part of a configuration that decides how frames become samples."""

    @property
    def classes(self) -> Any:
        """Classes, each with its name and what it merges."""

    @property
    def voxels(self) -> Any:
        """Voxels, with their `range`."""

    @property
    def points(self) -> Any:
        """Points, with their `channels` and `sweeps`, and `minimum_per_label`."""

    @property
    def velocity(self) -> bool:
        """True for boxes with a velocity."""


@cache
def data_set_kinds() -> tuple[Any, ...]:
    """Modules of `lidar_ebm.datasets` that open a kind of data set: those with `recognise` and `open_folder`.

    There is no list to add one to. KITTI's layout, which is recognised by its folders alone, comes last.
    """
    package = importlib.import_module("lidar_ebm.datasets")
    names = sorted(each.name for each in pkgutil.walk_packages(package.__path__, "lidar_ebm.datasets."))
    modules = [importlib.import_module(name) for name in names if name != __name__]
    kinds = [each for each in modules if hasattr(each, "recognise") and hasattr(each, "open_folder")]
    return tuple(sorted(kinds, key=lambda each: "kitti" in each.__name__))


def open_data_set(root: str | Path, prepared: str | Path | None = None) -> DataSet:
    """The data set in a folder: with a `dataset.yaml`, in KITTI's layout, or of any other kind there is.

    Args:
        root: the folder.
        prepared: where preparation leaves its files, and where they are read from; within ROOT where None.

    Raises:
        InputError: the folder is of no kind, or cannot be used.
    """
    folder = Path(root)
    for kind in data_set_kinds():
        if kind.recognise(folder):
            opened: DataSet = kind.open_folder(folder, prepared)
            return opened
    raise InputError(
        f"{folder}: holds no data set: neither a dataset.yaml nor KITTI's folders. Write a dataset.yaml that says "
        "where points and labels lie (docs/data_sets.md shows one)."
    )


def open_source(
    root: str | Path, split: str, *, with_labels: bool = True, prepared: str | Path | None = None
) -> Frames:
    """A split of the data set in a folder, as a `FrameSource`.

    Raises:
        InputError: as `open_data_set` and `Frames`.
    """
    return Frames(open_data_set(root, prepared), split, with_labels=with_labels)


def open_samples(
    root: str | Path | DataSet,
    split: str,
    settings: SampleSettings,
    *,
    with_labels: bool = True,
    cache: bool = False,
    cropped: bool = True,
) -> Samples:
    """A split as the network takes it.

    Args:
        root: a folder, or a data set that is open already.
        settings: a configuration, whose classes, voxel range, points and velocity are used.
        with_labels: False for data without label files; the samples then have no boxes.
        cache: keep every frame in memory once read.
        cropped: False leaves what is outside the voxel range in the frames, for augmentation to move.

    Raises:
        InputError: as `open_data_set` and `Frames`.
    """
    data_set = open_data_set(root) if isinstance(root, str | Path) else root
    bounds = settings.voxels.range if cropped else None
    points = settings.points
    content = SampleContent(tuple(points.channels), points.sweeps, settings.velocity, points.minimum_per_label)
    frames = Frames(data_set, split, with_labels=with_labels)
    return Samples(frames, settings.classes, bounds, content=content, cache=cache)
