"""`FrameSource`: a sequence of frames with its class names and split, which data sets of all kinds are."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from lidar_ebm.datasets.frame import Frame


@runtime_checkable
class FrameSource(Protocol):
    """Frames of one split, in its order.

    Reading is lazy: a frame's files are opened when it is asked for. A source can be sent to another process.
    """

    root: Path  # the data set's folder
    split: str

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of classes that the data set has, as its labels spell them; empty where nobody knows."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Frame:
        """A frame; InputError where one of its files cannot be used."""

    def name(self, index: int) -> str:
        """A frame's name, without reading it."""
