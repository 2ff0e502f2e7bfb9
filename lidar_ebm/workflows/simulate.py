"""Writing a data set of simulated frames, in any layout of frames that `lidar_ebm.datasets` writes.

Scenes of many sweeps are written by `lidar_ebm.workflows.simulate_scenes`.

Frame i of a seed is the same, byte for byte, whatever the number of workers and whatever other frames are made.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from lidar_ebm.datasets.frame import Frame
from lidar_ebm.datasets.kitti.writer import CLASS_NAMES
from lidar_ebm.datasets.writing import DataSetWriter, SceneWriter, data_set_writers, find_writer, scene_writers
from lidar_ebm.errors import InputError, OutputError
from lidar_ebm.simulation.bodies import SIMULATED_CLASSES
from lidar_ebm.simulation.shutter import RollingShutter
from lidar_ebm.simulation.simulator import VERSION, SimulationSettings, simulate_frame
from lidar_ebm.system.files import atomic_write
from lidar_ebm.system.worker_pool import in_processes

SETTINGS_FILE: Final = "simulation.json"
# Data sets call their classes as the presets do, whose names are those of KITTI's files, in every layout.
WRITTEN_CLASSES: Final = {name: CLASS_NAMES.get(name, name) for name in SIMULATED_CLASSES}
_DEFAULT_LAYOUT = "kitti"
_MAX_FRAMES = 1_000_000  # six digits name a frame

Progress = Callable[[int, int], None]
"""Called with the number of frames that are there and the number asked for."""


@dataclass(frozen=True)
class SimulationSummary:
    """Outcome of `simulate`."""

    root: Path
    train: tuple[str, ...]  # names of the frames in the split train
    val: tuple[str, ...]
    made: int  # frames made by this call
    kept: int  # frames that were there


@dataclass(frozen=True)
class _Request:
    """Everything that decides the bytes of every frame."""

    seed: int
    full: bool  # points of a whole turn, in a layout with a camera
    layout: str
    names: tuple[tuple[str, str], ...]  # classes that are called otherwise: (as data sets have it, written)
    rolling_shutter: RollingShutter

    def __post_init__(self) -> None:
        find_writer(self.layout)
        known = WRITTEN_CLASSES.values()
        for old, _ in self.names:
            if old not in known:
                raise InputError(f"names: {old!r} is not simulated; there are {', '.join(known)}.")

    @property
    def settings(self) -> SimulationSettings:
        """Settings of the frames themselves."""
        return SimulationSettings(self.seed, find_writer(self.layout).CAMERA, self.full, self.rolling_shutter)

    def class_name(self, simulated: str) -> str:
        """The name under which a simulated class is written."""
        written = WRITTEN_CLASSES[simulated]
        return dict(self.names).get(written, written)

    def to_note(self) -> dict[str, Any]:
        """The request as a data set's note has it; a layout or names of the default are left out, as ever."""
        note: dict[str, Any] = {"seed": self.seed, "full": self.full, "version": VERSION}
        if self.layout != _DEFAULT_LAYOUT:
            note["layout"] = self.layout
        if self.names:
            note["names"] = [list(pair) for pair in self.names]
        if self.rolling_shutter != "none":
            note["rolling_shutter"] = self.rolling_shutter
        return note


def simulate(
    out_dir: str | os.PathLike[str],
    *,
    frames: int,
    seed: int = 0,
    workers: int | None = None,
    full: bool = False,
    layout: str = _DEFAULT_LAYOUT,
    names: Mapping[str, str] | None = None,
    rolling_shutter: RollingShutter = "none",
    val_fraction: float = 1 / 3,
    progress: Progress | None = None,
) -> SimulationSummary:
    """Write a data set, in KITTI's layout (no images) or as a folder of one's own with its dataset.yaml.

    Frames of the same seed and settings that are there already are kept, so an interrupted call can be repeated and a
    data set can be grown by asking for more frames. Every file is written whole or not at all.

    Args:
        out_dir: the data set's folder; made if it is missing.
        frames: how many frames the splits list; they are named 000000, 000001, …
        seed: a number of at least 0.
        workers: processes that work at a time; all processors by default. As processes are started afresh ("spawn"), a
            script that calls this with more than one worker needs the usual `if __name__ == "__main__":`.
        full: points all around instead of those that the camera sees.
        layout: "kitti", or "folder" for points and labels all around in the LiDAR frame, without a camera.
        names: other names for classes, {"Car": "forklift"} for one.
        rolling_shutter: "none" for a sweep at one instant; "raw" for points taken while the sensor turns, its car
            drives and things move; "compensated" for the same with the car's own motion removed.
        val_fraction: share of the frames in the split val, evenly spread over the frames; the others are in train.
        progress: called now and then with (frames that are there, frames asked for).

    Raises:
        InputError: an argument makes no sense, or `out_dir` holds another data set.
        OutputError: a file cannot be written.
    """
    if not 1 <= frames <= _MAX_FRAMES:
        raise InputError(f"frames is {frames}; give a number from 1 to {_MAX_FRAMES}.")
    if not 0.0 <= val_fraction <= 1.0:
        raise InputError(f"val_fraction is {val_fraction}; give a share between 0 and 1.")
    workers = (os.cpu_count() or 1) if workers is None else workers
    if workers < 1:
        raise InputError(f"workers is {workers}; give a number of at least 1.")
    request = _Request(seed, full, layout, tuple((names or {}).items()), rolling_shutter)
    _ = request.settings  # refuses what makes no sense before anything is written
    root = Path(out_dir)
    claim_folder(root, request.to_note())

    writer = find_writer(layout)
    missing = [i for i in range(frames) if not all(path.exists() for path in writer.frame_paths(root, _name(i)))]
    kept = frames - len(missing)
    if progress is not None:
        progress(kept, frames)
    for done, _ in enumerate(_write_frames(root, request, missing, workers), start=kept + 1):
        if progress is not None:
            progress(done, frames)

    train, val = (tuple(map(_name, indices)) for indices in split_frames(frames, val_fraction))
    writer.write_splits(root, {"train": train, "val": val})
    return SimulationSummary(root, train, val, len(missing), kept)


def split_frames(frames: int, val_fraction: float) -> tuple[list[int], list[int]]:
    """Indices for training and validation; those of a longer data set continue those of a shorter one."""
    val = [i for i in range(frames) if math.floor((i + 1) * val_fraction + 1e-9) > math.floor(i * val_fraction + 1e-9)]
    return sorted(set(range(frames)) - set(val)), val


def _write_frame(root: Path, request: _Request, index: int) -> None:
    """Make one frame and write its files."""
    made = simulate_frame(request.settings, index)
    boxes = made.boxes.with_columns(names=[request.class_name(str(each)) for each in made.boxes.names])
    frame = Frame(_name(index), made.points, boxes=boxes, camera=made.camera)
    find_writer(request.layout).write_frame(root, frame)


def _write_frames(root: Path, request: _Request, indices: Sequence[int], workers: int) -> Iterator[None]:
    """Write the frames, yielding after each."""
    if not indices:
        return
    # The first frame is made here: it compiles and caches the kernels once for all workers, and meets a full disk.
    _write_frame(root, request, indices[0])
    yield
    rest = indices[1:]
    if workers == 1 or len(rest) < workers:
        for index in rest:
            _write_frame(root, request, index)
            yield
        return
    for _ in in_processes(partial(_write_frame, root, request), rest, workers, root=root):
        yield


def claim_folder(root: Path, wanted: Mapping[str, Any]) -> None:
    """Make sure that the folder is empty or holds frames of the same settings, and leave a note of them there.

    Raises:
        InputError: it holds something else.
        OutputError: it cannot be read or written.
    """
    note = root / SETTINGS_FILE
    advice = "Choose another folder, or remove this one first."
    try:
        if note.exists():
            found = json.loads(note.read_text(encoding="utf-8"))
            if found != wanted:
                raise InputError(f"{root}: holds simulated frames of other settings ({found}, not {wanted}). {advice}")
            return
        if any((root / name).exists() for each in _all_writers() for name in each.OWN_FILES):
            raise InputError(f"{root}: holds a data set that was not made by this simulator. {advice}")
    except json.JSONDecodeError as error:
        raise InputError(f"{note}: is not the settings of a simulation ({error}). {advice}") from error
    except OSError as error:
        raise OutputError(f"{note}: cannot be read ({error.strerror}). {advice}") from error
    with atomic_write(note, "w") as file:
        file.write(json.dumps(wanted) + "\n")


def _all_writers() -> Iterator[DataSetWriter | SceneWriter]:
    yield from data_set_writers().values()
    yield from scene_writers().values()


def _name(index: int) -> str:
    return f"{index:06d}"
