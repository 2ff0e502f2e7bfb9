"""Writing a data set of simulated drives, in any layout of scenes that `lidar_ebm.datasets` writes.

Scene i of a seed is the same, byte for byte, whatever the number of workers and whatever other scenes are made.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from lidar_ebm.datasets.scenes import RecordedScene, SceneSweep
from lidar_ebm.datasets.writing import find_scene_writer
from lidar_ebm.errors import InputError
from lidar_ebm.simulation.drive import CHANNELS, VERSION, Drive, DriveSettings, make_drive
from lidar_ebm.system.worker_pool import in_processes
from lidar_ebm.workflows.simulate import Progress, SimulationSummary, claim_folder, split_frames

_EPOCH: Final = 1_577_836_800_000_000  # microseconds, at which scene 0 begins
_SCENE_TIME: Final = 1_000_000_000  # microseconds between the beginnings of scenes


@dataclass(frozen=True)
class _Request:
    """Everything that decides the bytes of every scene."""

    settings: DriveSettings
    layout: str
    val_fraction: float

    def to_note(self) -> dict[str, Any]:
        """The request as a data set's note has it."""
        settings = self.settings
        return {
            "layout": self.layout,
            "version": VERSION,
            "seed": settings.seed,
            "samples_per_scene": settings.samples,
            "sweep_rate": settings.sweep_rate,
            "azimuth_steps": settings.azimuth_steps,
            "rolling_shutter": settings.rolling_shutter,
            "val_fraction": self.val_fraction,
        }

    @property
    def source(self) -> str:
        """Origin of the scenes, in words."""
        note = ", ".join(f"{key} {value}" for key, value in self.to_note().items() if key != "layout")
        return f"simulated: {note}"


def simulate_scenes(
    out_dir: str | os.PathLike[str],
    settings: DriveSettings,
    *,
    scenes: int,
    layout: str = "nuscenes",
    workers: int | None = None,
    val_fraction: float = 1 / 3,
    progress: Progress | None = None,
) -> SimulationSummary:
    """Write a data set of scenes.

    Scenes of the same settings that are there already are kept, so an interrupted call can be repeated and a data set
    can be grown by asking for more scenes. Every file is written whole or not at all.

    Args:
        out_dir: the data set's folder; made if it is missing.
        settings: of the drives.
        scenes: how many there are in all.
        layout: "nuscenes".
        workers: processes that work at a time; all processors by default. As processes are started afresh ("spawn"), a
            script that calls this with more than one worker needs the usual `if __name__ == "__main__":`.
        val_fraction: share of the scenes in the split val, evenly spread over the scenes; the others are in train.
        progress: called now and then with (key frames that are there, key frames asked for).

    Returns:
        Names of the scenes by split, and how many key frames were made and kept.

    Raises:
        InputError: an argument makes no sense, or `out_dir` holds another data set.
        OutputError: a file cannot be written.
    """
    if scenes < 1:
        raise InputError(f"scenes is {scenes}; give a number of at least 1.")
    if not 0.0 <= val_fraction <= 1.0:
        raise InputError(f"val_fraction is {val_fraction}; give a share between 0 and 1.")
    workers = (os.cpu_count() or 1) if workers is None else workers
    if workers < 1:
        raise InputError(f"workers is {workers}; give a number of at least 1.")
    writer = find_scene_writer(layout)
    request = _Request(settings, layout, val_fraction)
    train, val = split_frames(scenes, val_fraction)
    train_names, val_names = writer.scene_names(len(train), len(val))
    names = dict(zip([*train, *val], [*train_names, *val_names], strict=True))
    root = Path(out_dir)
    claim_folder(root, request.to_note())

    missing = [index for index in range(scenes) if not writer.scene_path(root, names[index]).exists()]
    kept, samples = scenes - len(missing), settings.samples
    if progress is not None:
        progress(kept * samples, scenes * samples)
    tasks = [(index, names[index]) for index in missing]
    for done, _ in enumerate(_write_scenes(root, request, tasks, workers), start=kept + 1):
        if progress is not None:
            progress(done * samples, scenes * samples)
    writer.write_tables(root, {"train": train_names, "val": val_names})
    made = len(missing) * samples
    return SimulationSummary(root, tuple(train_names), tuple(val_names), made, scenes * samples - made)


def _write_scenes(root: Path, request: _Request, tasks: Sequence[tuple[int, str]], workers: int) -> Iterator[None]:
    """Write the scenes, yielding after each."""
    write = partial(_write_scene, root, request)
    if workers == 1 or len(tasks) < 2:
        for task in tasks:
            write(task)
            yield
        return
    for _ in in_processes(write, tasks, workers, root=root):
        yield


def _write_scene(root: Path, request: _Request, task: tuple[int, str]) -> None:
    """Make one scene and write its files."""
    index, name = task
    drive = make_drive(request.settings, index)
    scene = RecordedScene(name, request.source, drive.sensor_pose, _sweeps(drive))
    find_scene_writer(request.layout).write_scene(root, scene)


def _sweeps(drive: Drive) -> Iterator[SceneSweep]:
    begin = _EPOCH + drive.index * _SCENE_TIME
    for sweep in drive.sweeps():
        yield SceneSweep(begin + sweep.stamp, sweep.points, CHANNELS, sweep.car_pose, sweep.boxes)
