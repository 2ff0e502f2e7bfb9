"""Opening a data set: of whatever kind its folder is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from lidar_ebm.datasets.data_set import DataSet
from lidar_ebm.datasets.folder.data_set import FolderDataSet
from lidar_ebm.datasets.folder.settings import FILE
from lidar_ebm.datasets.frames import Frames
from lidar_ebm.datasets.kitti.data_set import KittiDataSet
from lidar_ebm.datasets.samples import Samples
from lidar_ebm.errors import InputError


class SampleSettings(Protocol):
    """What of a configuration decides how frames become samples."""

    @property
    def classes(self) -> Any:
        """Classes, each with its name and what it merges."""

    @property
    def voxels(self) -> Any:
        """Voxels, with their `range`."""


def open_data_set(root: str | Path, prepared: str | Path | None = None) -> DataSet:
    """The data set in a folder: with a `dataset.yaml`, or in KITTI's layout.

    Args:
        root: the folder.
        prepared: where preparation leaves its files, and where they are read from; within ROOT where None.

    Raises:
        InputError: the folder is neither, or its `dataset.yaml` cannot be used.
    """
    folder = Path(root)
    if (folder / FILE).is_file():
        return FolderDataSet(folder, prepared)
    if folder.is_dir() and not (folder / "training").is_dir() and not (folder / "ImageSets").is_dir():
        raise InputError(
            f"{folder}: holds no data set: neither a {FILE} nor training/ and ImageSets/. Write a {FILE} that says "
            "where points and labels lie (docs/data_sets.md shows one)."
        )
    return KittiDataSet(folder, prepared)


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
        settings: a configuration, whose classes and voxel range are used.
        with_labels: False for data without label files; the samples then have no boxes.
        cache: keep every frame in memory once read.
        cropped: False leaves what is outside the voxel range in the frames, for augmentation to move.

    Raises:
        InputError: as `open_data_set` and `Frames`.
    """
    data_set = open_data_set(root) if isinstance(root, str | Path) else root
    bounds = settings.voxels.range if cropped else None
    return Samples(Frames(data_set, split, with_labels=with_labels), settings.classes, bounds, cache=cache)
