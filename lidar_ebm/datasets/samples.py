"""Frames as the network takes them: the configured classes by index, within the voxel range."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from torch.utils.data import Dataset

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.frame import Frame, newest_sweeps, take_channels
from lidar_ebm.datasets.frames import Frames
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.datasets.source import FrameSource
from lidar_ebm.errors import InputError
from lidar_ebm.types import REFLECTANCE


class ClassSettings(Protocol):
    """The part of a class that says which labels count for it."""

    @property
    def name(self) -> str:
        """Its own name."""

    @property
    def merge(self) -> Sequence[str]:
        """Further names of labels that count as it."""


@dataclass(frozen=True)
class SampleContent:
    """Content of samples: what of frames the network is shown."""

    channels: tuple[str, ...] = (REFLECTANCE,)  # of points
    sweeps: int = 1  # the newest so many, of points with a time lag
    velocity: bool = False  # boxes have nine numbers
    minimum_points: int = 0  # labels with fewer are among the others

    def is_seen(self, boxes: Boxes) -> np.ndarray:
        """Mask [N] of the labels with enough points, or of which nobody counted them."""
        if boxes.points is None:
            return np.ones(len(boxes), bool)
        return (boxes.points < 0) | (boxes.points >= self.minimum_points)


class Samples(Dataset[Sample]):
    """A split as a map-style torch data set.

    A label counts for a class if its name is the class's or one of those that the class merges, whatever the case.
    Boxes whose centre lies outside the voxel range are left out.

    Args:
        frames: of any kind; those of `Frames` are read without their cameras.
        classes: of the configuration, in the order of their indices.
        bounds: voxel range (low x y z, high x y z; m); None leaves what is outside in the frames, for augmentation to
            move: `crop_to_range` then comes after it.
        content: channels, sweeps and velocity.
        cache: keep every frame in memory once read; each data-loader worker has its own.
    """

    def __init__(
        self,
        frames: FrameSource,
        classes: Sequence[ClassSettings],
        bounds: Sequence[float] | None = None,
        *,
        content: SampleContent | None = None,
        cache: bool = False,
    ) -> None:
        self.frames = frames
        self.content = SampleContent() if content is None else content
        self.class_index = index_by_name(classes)
        self._bounds = bounds
        self._cache: dict[int, Sample] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Sample:
        if self._cache is None:
            return self._read(index)
        if index not in self._cache:
            self._cache[index] = self._read(index)
        return self._cache[index]

    @property
    def split_path(self) -> Path:
        """The file to be named where something is wrong with the split."""
        return Path(getattr(self.frames, "split_path", self.frames.root))

    def name(self, index: int) -> str:
        """A frame's name, without reading it."""
        return self.frames.name(index)

    def digest(self) -> str:
        """SHA-256 of the frames' names and, of data sets on disk, the sizes of their point clouds: that which stays the
        same when a data set is moved or its labels are mended, and is another of another one."""
        sizes = self.frames.cloud_sizes() if isinstance(self.frames, Frames) else [0] * len(self)
        lines = (f"{self.name(index)} {size}\n" for index, size in enumerate(sizes))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def labelled_boxes(self, index: int) -> Boxes:
        """Boxes in space of a frame's labels, of any class; the points are passed over where they are prepared."""
        if isinstance(self.frames, Frames):
            return self.frames.boxes(index)
        return self.frames[index].boxes or Boxes.empty()

    def _read(self, index: int) -> Sample:
        if isinstance(self.frames, Frames):
            points, channels, boxes = self.frames.points_and_boxes(index)
        else:
            frame = self.frames[index]
            points, channels = frame.points, frame.channels
            boxes = Boxes.empty() if frame.boxes is None else frame.boxes
        sample = to_sample(self.name(index), points, channels, boxes, self.class_index, self.content)
        return sample if self._bounds is None else crop_to_range(sample, self._bounds)


def index_by_name(classes: Sequence[ClassSettings]) -> dict[str, int]:
    """Index of the class for each label name, in lower case; a class's own name goes before another's merged one."""
    mapping = {merged.lower(): index for index, item in enumerate(classes) for merged in item.merge}
    return mapping | {item.name.lower(): index for index, item in enumerate(classes)}


def to_sample(
    name: str,
    points: np.ndarray,
    channels: Sequence[str],
    boxes: Boxes,
    class_index: Mapping[str, int],
    content: SampleContent | None = None,
) -> Sample:
    """Points [N, 3 + C] and labels as a sample: the newest sweeps' points with the wanted channels, boxes by class.

    Raises:
        InputError: the points lack a channel; the message names the frame.
    """
    content = SampleContent() if content is None else content
    try:
        points = take_channels(newest_sweeps(points, channels, content.sweeps), channels, content.channels)
    except InputError as error:
        raise InputError(f"frame {name}: {error}") from error
    index = np.array([class_index.get(str(each).lower(), -1) for each in boxes.names], dtype=np.int64)
    rows, trained = boxes.boxes.astype(np.float32), (index >= 0) & content.is_seen(boxes)
    labels = with_velocity(rows, boxes.velocity)[trained] if content.velocity else rows[trained]
    return Sample(name, points, labels, index[trained], rows[~trained])


def with_velocity(rows: np.ndarray, velocity: np.ndarray | None) -> np.ndarray:
    """Boxes [M, 9] float32 of boxes [M, 7] and their velocities [M, 2], NaN where there are none."""
    unknown = np.full((len(rows), 2), np.nan, np.float32)
    return np.concatenate([rows, unknown if velocity is None else velocity.astype(np.float32)], axis=1)


def sample_of(frame: Frame, classes: Sequence[ClassSettings], bounds: Sequence[float]) -> Sample:
    """A frame in memory as a sample within the voxel range."""
    boxes = Boxes.empty() if frame.boxes is None else frame.boxes
    return crop_to_range(to_sample(frame.name, frame.points, frame.channels, boxes, index_by_name(classes)), bounds)


def crop_to_range(frame: Sample, bounds: Sequence[float]) -> Sample:
    """The frame without the points, and the boxes by their centres, outside `bounds` (low x y z, high x y z; m)."""
    low, high = np.asarray(bounds[:3], np.float32), np.asarray(bounds[3:], np.float32)
    points = _inside(frame.points[:, :3], low, high)
    boxes = _inside(frame.boxes[:, :3], low, high)
    others = _inside(frame.others[:, :3], low, high)
    return Sample(
        frame.frame_id, frame.points[points], frame.boxes[boxes], frame.class_index[boxes], frame.others[others]
    )


def _inside(positions: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.all((positions >= low) & (positions < high), axis=1)
