"""Writing a data set: one module `writer` in the package of each layout, with the functions of `DataSetWriter` where
its unit is a frame, or of `SceneWriter` where it is a scene of many sweeps."""

from __future__ import annotations

import importlib.util
import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Protocol, cast

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.frame import Frame
from lidar_ebm.datasets.scenes import RecordedScene
from lidar_ebm.errors import InputError
from lidar_ebm.geometry.camera import Camera

_PACKAGE = "lidar_ebm.datasets"


class DataSetWriter(Protocol):
    """A layout of files in which data sets are written."""

    CAMERA: Camera | None  # whose view made-up frames get; None: the layout knows no camera
    OWN_FILES: tuple[str, ...]  # in a data set's folder, by which it is seen to hold one

    def frame_paths(self, root: Path, name: str) -> Sequence[Path]:
        """Files of a frame in the order in which they are written: with the last one the frame is complete."""

    def write_frame(self, root: Path, frame: Frame) -> None:
        """Write a frame's files, each whole or not at all.

        Raises:
            InputError: the layout cannot hold the frame.
            OutputError: a file cannot be written.
        """

    def write_splits(self, root: Path, splits: Mapping[str, Sequence[str]]) -> None:
        """Write the lists of frames, and what else the data set has once.

        Args:
            root: the data set's folder.
            splits: names of the frames of each split.

        Raises:
            OutputError: a file cannot be written.
        """


class SceneWriter(Protocol):
    """A layout of files in which scenes are written: sweeps of a moving sensor, and tables of all scenes."""

    OWN_FILES: tuple[str, ...]  # in a data set's folder, by which it is seen to hold one

    def scene_names(self, train: int, val: int) -> tuple[Sequence[str], Sequence[str]]:
        """Names for so many scenes of the splits train and val; those of more scenes begin with those of fewer.

        Raises:
            InputError: the layout has no names for so many.
        """

    def scene_path(self, root: Path, name: str) -> Path:
        """The file of a scene that is written last: with it the scene is complete."""

    def write_scene(self, root: Path, scene: RecordedScene) -> None:
        """Write a scene's files, each whole or not at all.

        Raises:
            InputError: the layout cannot hold the scene.
            OutputError: a file cannot be written.
        """

    def write_tables(self, root: Path, splits: Mapping[str, Sequence[str]]) -> None:
        """Write what the data set has once, for all scenes that the splits name; each is complete.

        Raises:
            InputError: a scene's file is damaged.
            OutputError: a file cannot be written.
        """


@cache
def data_set_writers() -> Mapping[str, DataSetWriter]:
    """Writers of frames by the name of their layout: that of the package in `lidar_ebm.datasets` whose module `writer`
    it is.

    There is no list to add one to.
    """
    writers = _writer_modules().items()
    return {layout: cast(DataSetWriter, module) for layout, module in writers if hasattr(module, "write_frame")}


@cache
def scene_writers() -> Mapping[str, SceneWriter]:
    """Writers of scenes by the name of their layout, as `data_set_writers` has those of frames."""
    writers = _writer_modules().items()
    return {layout: cast(SceneWriter, module) for layout, module in writers if hasattr(module, "write_scene")}


@cache
def _writer_modules() -> Mapping[str, ModuleType]:
    package = importlib.import_module(_PACKAGE)
    layouts = sorted(each.name for each in pkgutil.iter_modules(package.__path__) if each.ispkg)
    names = {layout: f"{_PACKAGE}.{layout}.writer" for layout in layouts}
    present = {layout: name for layout, name in names.items() if importlib.util.find_spec(name) is not None}
    return {layout: importlib.import_module(name) for layout, name in present.items()}


def labels_of(frame: Frame) -> Boxes:
    """A frame's labels, which every layout writes.

    Raises:
        InputError: nobody labelled it.
    """
    if frame.boxes is None:
        raise InputError(f"frame {frame.name}: has no labels; give boxes, empty ones where there is no object.")
    return frame.boxes


def find_writer(layout: str) -> DataSetWriter:
    """The writer of a layout of frames.

    Raises:
        InputError: there is none of this name.
    """
    writers = data_set_writers()
    if layout not in writers:
        raise InputError(f"layout {layout!r}: choose one of {', '.join(writers)}.")
    return writers[layout]


def find_scene_writer(layout: str) -> SceneWriter:
    """The writer of a layout of scenes.

    Raises:
        InputError: there is none of this name.
    """
    writers = scene_writers()
    if layout not in writers:
        raise InputError(f"layout {layout!r}: has no scenes; choose one of {', '.join(writers)}.")
    return writers[layout]
