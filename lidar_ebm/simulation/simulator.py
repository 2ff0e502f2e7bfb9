"""Simulated LiDAR frames of streets in KITTI's layout: the door to the `simulation` rooms.

`simulate` writes a data set, `simulate_frame` makes one frame in memory. Frame i of a seed is the same, byte for byte,
whatever the number of workers and whatever other frames are made.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError, OutputError
from lidar_ebm.formats.kitti.calibration import SIMULATED, SIMULATED_IMAGE_SIZE
from lidar_ebm.formats.kitti.files import write_calibration, write_labels, write_points, write_split
from lidar_ebm.formats.kitti.label import Label
from lidar_ebm.geometry.camera import Camera
from lidar_ebm.geometry.projection import crop_to_camera_view
from lidar_ebm.simulation.bodies import SIMULATED_CLASSES
from lidar_ebm.simulation.folder_layout import folder_paths, write_folder_frame, write_folder_settings
from lidar_ebm.simulation.labels import label_all_around, make_labels
from lidar_ebm.simulation.scene import Scene, make_scene
from lidar_ebm.simulation.sensor import camera_grid, cast, full_grid, receive
from lidar_ebm.system.files import atomic_write
from lidar_ebm.system.worker_pool import in_processes

SETTINGS_FILE: Final = "simulation.json"
LAYOUTS: Final = ("kitti", "folder")
VERSION: Final = 1  # to be raised whenever a seed's frames change
_FRAME_FILES: Final = (("calib", ".txt"), ("velodyne", ".bin"), ("label_2", ".txt"))  # labels last: they mark the end
_MAX_FRAMES = 1_000_000  # six digits name a frame

Progress = Callable[[int, int], None]
"""Called with the number of frames that are there and the number asked for."""


@dataclass(frozen=True)
class SimulationSettings:
    """Settings that decide the content of every frame."""

    seed: int
    full: bool = False  # 360 degrees instead of what the camera sees
    version: int = VERSION
    layout: str = "kitti"  # files: as KITTI's, or a folder of one's own (labels all around, no camera)
    names: tuple[tuple[str, str], ...] = ()  # classes that are called otherwise: (simulated, written)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; give a number of at least 0.")
        if self.layout not in LAYOUTS:
            raise InputError(f"layout {self.layout!r}: choose one of {', '.join(LAYOUTS)}.")
        for old, _ in self.names:
            if old not in SIMULATED_CLASSES:
                raise InputError(f"names: {old!r} is not simulated; there are {', '.join(SIMULATED_CLASSES)}.")

    @property
    def all_around(self) -> bool:
        """Tell if frames have the points of a whole turn."""
        return self.full or self.layout == "folder"

    def to_note(self) -> dict[str, Any]:
        """Settings as a data set's note has them; one of its default is left out, as in older notes."""
        values = asdict(self)
        defaults = asdict(SimulationSettings(self.seed))
        kept = ("seed", "full", "version")
        values["names"] = [list(pair) for pair in self.names]
        return {key: value for key, value in values.items() if key in kept or value not in (defaults[key], [])}


@dataclass(frozen=True)
class SimulatedFrame:
    """One frame, as it is written."""

    points: np.ndarray  # [N, 4] float32: x, y, z (m), reflectance 0..1
    labels: list[Label]
    camera: Camera
    scene: Scene
    boxes: Boxes  # all around, of what has a point, in the LiDAR frame


@dataclass(frozen=True)
class SimulationSummary:
    """Outcome of `simulate`."""

    root: Path
    train: tuple[str, ...]  # names of the frames in ImageSets/train.txt
    val: tuple[str, ...]
    made: int  # frames made by this call
    kept: int  # frames that were there


def simulate_frame(settings: SimulationSettings, index: int) -> SimulatedFrame:
    """Make frame `index` in memory.

    Points are those that project into the camera's image, or all around with `settings.full`; labels are of what stands
    in the image in both cases, as in KITTI.
    """
    rng = np.random.default_rng([settings.seed, index])
    camera = SIMULATED.camera(SIMULATED_IMAGE_SIZE)
    scene = make_scene(rng)
    grid = full_grid() if settings.all_around else camera_grid()
    solid, owners = scene.solid()
    echoes = cast(solid, owners, scene.ground, grid, seed=int(rng.integers(2**63)))
    returns = receive(echoes, grid, rng)
    in_image = np.asarray(crop_to_camera_view(returns.points, camera))
    counts = np.bincount(returns.actor[in_image & (returns.actor >= 0)], minlength=len(scene.actors))
    labels = make_labels(scene, echoes, counts, camera)
    points = returns.points if settings.all_around else returns.points[in_image]
    return SimulatedFrame(points, labels, camera, scene, label_all_around(scene, returns.actor))


def simulate(
    out_dir: str | os.PathLike[str],
    *,
    frames: int,
    seed: int = 0,
    workers: int | None = None,
    full: bool = False,
    layout: str = "kitti",
    names: Mapping[str, str] | None = None,
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
        names: other names for simulated classes, {"Car": "forklift"} for one.
        val_fraction: share of the frames in val.txt, evenly spread over the frames; the others are in train.txt.
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
    settings = SimulationSettings(seed, full, layout=layout, names=tuple((names or {}).items()))
    root = Path(out_dir)
    _claim_folder(root, settings)

    missing = [index for index in range(frames) if not _is_complete(root, settings, index)]
    kept = frames - len(missing)
    if progress is not None:
        progress(kept, frames)
    for done, _ in enumerate(_write_frames(root, settings, missing, workers), start=kept + 1):
        if progress is not None:
            progress(done, frames)

    train, val = split_frames(frames, val_fraction)
    if layout == "folder":
        write_folder_settings(root, {"train": train, "val": val}, _name)
    else:
        for split, indices in {"train": train, "val": val, "trainval": range(frames)}.items():
            write_split(root / "ImageSets" / f"{split}.txt", [_name(index) for index in indices])
    return SimulationSummary(
        root, tuple(_name(index) for index in train), tuple(_name(index) for index in val), len(missing), kept
    )


def split_frames(frames: int, val_fraction: float) -> tuple[list[int], list[int]]:
    """Indices for training and validation; those of a longer data set continue those of a shorter one."""
    val = [i for i in range(frames) if math.floor((i + 1) * val_fraction + 1e-9) > math.floor(i * val_fraction + 1e-9)]
    return sorted(set(range(frames)) - set(val)), val


def write_frame(root: Path, settings: SimulationSettings, index: int) -> None:
    """Make one frame and write its files.

    Raises:
        OutputError: a file cannot be written.
    """
    frame = simulate_frame(settings, index)
    called = dict(settings.names)
    if settings.layout == "folder":
        write_folder_frame(root, _name(index), frame.points, frame.boxes, called)
        return
    calib, velodyne, label = _paths(root, index)
    write_calibration(calib, SIMULATED)
    write_points(velodyne, frame.points)
    write_labels(label, [replace(each, type=called.get(each.type, each.type)) for each in frame.labels])


def _write_frames(root: Path, settings: SimulationSettings, indices: Sequence[int], workers: int) -> Iterator[None]:
    """Write the frames, yielding after each."""
    if not indices:
        return
    # The first frame is made here: it compiles and caches the kernels once for all workers, and meets a full disk.
    write_frame(root, settings, indices[0])
    yield
    rest = indices[1:]
    if workers == 1 or len(rest) < workers:
        for index in rest:
            write_frame(root, settings, index)
            yield
        return
    for _ in in_processes(partial(write_frame, root, settings), rest, workers, root=root):
        yield


def _claim_folder(root: Path, settings: SimulationSettings) -> None:
    """Make sure that the folder is empty or holds frames of the same settings, and leave a note of them there."""
    note = root / SETTINGS_FILE
    wanted = settings.to_note()
    advice = "Choose another folder, or remove this one first."
    try:
        if note.exists():
            written = json.loads(note.read_text(encoding="utf-8"))
            if written != wanted:
                raise InputError(
                    f"{root}: holds simulated frames of other settings ({written}, not {wanted}). {advice}"
                )
            return
        if any((root / name).exists() for name in ("training", "ImageSets", "dataset.yaml")):
            raise InputError(f"{root}: holds a data set that was not made by this simulator. {advice}")
    except json.JSONDecodeError as error:
        raise InputError(f"{note}: is not the settings of a simulation ({error}). {advice}") from error
    except OSError as error:
        raise OutputError(f"{note}: cannot be read ({error.strerror}). {advice}") from error
    with atomic_write(note, "w") as file:
        file.write(json.dumps(wanted) + "\n")


def _name(index: int) -> str:
    return f"{index:06d}"


def _paths(root: Path, index: int) -> tuple[Path, Path, Path]:
    calib, velodyne, label = (root / "training" / folder / f"{_name(index)}{suffix}" for folder, suffix in _FRAME_FILES)
    return calib, velodyne, label


def _is_complete(root: Path, settings: SimulationSettings, index: int) -> bool:
    paths = folder_paths(root, _name(index)) if settings.layout == "folder" else _paths(root, index)
    return all(path.exists() for path in paths)
