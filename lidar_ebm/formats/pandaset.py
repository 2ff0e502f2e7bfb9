"""PandaSet: cuboids and sweeps of a sequence, gzipped pandas pickles in the world's frame, and the sensor's poses.

A sequence is a folder with `annotations/cuboids/NN.pkl.gz`, `lidar/NN.pkl.gz` and `lidar/poses.json`. Cuboids have
their length along the box's own y axis. In the frame that a pose gives x is to the right and y ahead; here it becomes x
forward, y left. An object that both sensors see is labelled once for each of them; the one of the forward sensor
(PandarGT) is left out where the frame has its sibling, so that an object is there once.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import Context
from lidar_ebm.formats.columns import as_texts, numbers, texts
from lidar_ebm.formats.fields import read_json
from lidar_ebm.formats.pandas_frames import read_data_frame
from lidar_ebm.formats.pickle_files import pickle_head
from lidar_ebm.geometry.poses import FROM_RIGHT_AHEAD, boxes_to_child, inverse_pose, make_pose, move_points
from lidar_ebm.geometry.upright import wrap_angle

TITLE = "PandaSet cuboids (a sequence's folder, read only)"
COLUMNS = frozenset({"track", "attribute"})
CHANNELS = ("intensity", "time", "sensor")  # 0..255; s within the sweep; 0 Pandar64 around, 1 PandarGT ahead

_SUFFIX = ".pkl.gz"
_CUBOIDS = Path("annotations", "cuboids")
_FORWARD_SENSOR = 1
_ATTRIBUTES = ("attributes.object_motion", "attributes.rider_status", "attributes.pedestrian_behavior")


def recognise(path: Path) -> bool:
    """Tell if a folder is a sequence with cuboids, or a file holds some."""
    if path.is_dir():
        return (path / _CUBOIDS).is_dir() or (path.match(str(_CUBOIDS)) and bool(_frame_files(path)))
    head = pickle_head(path, 1 << 14) if path.name.endswith(_SUFFIX) else b""
    return b"pandas" in head and b"dimensions.x" in head


def read(path: Path, context: Context) -> dict[str, Boxes]:
    """Labels of each frame by its number, as its file is called, in the LiDAR frame.

    The sensor's poses come from `context.sensor_pose_of`, or from `lidar/poses.json` of the sequence.

    Raises:
        InputError: a file is refused or damaged, or there is no pose of a frame.
    """
    if path.is_dir():
        folder = path / _CUBOIDS if (path / _CUBOIDS).is_dir() else path
        files = _frame_files(folder)
        if not files:
            raise InputError(f"{path}: there are no cuboids (NN{_SUFFIX}) in it. Give a sequence's folder.")
    else:
        files = [path]
    frames: dict[str, Boxes] = {}
    poses = read_poses(_sequence(files[0], "cuboids")) if context.sensor_pose_of is None else None
    for file in files:
        name = _frame_name(file)
        pose = _pose(poses, name, file) if poses is not None else context.sensor_pose_of(name)  # type: ignore[misc]
        frames[name] = _read_cuboids(file, pose)
    return frames


def read_poses(sequence: Path) -> np.ndarray:
    """Poses [F, 4, 4] of all sweeps of a sequence: our LiDAR frame (x forward, y left) → world.

    Raises:
        InputError: lidar/poses.json is not there or damaged.
    """
    path = sequence / "lidar" / "poses.json"
    poses = []
    for node in read_json(path).elements():
        position = node["position"].named_numbers("x", "y", "z")
        heading = node["heading"].named_numbers("w", "x", "y", "z")
        if not any(heading):
            node["heading"].fail("is all zeros; give a quaternion")
        poses.append(make_pose(np.array(position), np.array(heading)) @ inverse_pose(FROM_RIGHT_AHEAD))
    return np.array(poses).reshape(-1, 4, 4)


def read_points(path: Path, pose: np.ndarray | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Points of one sweep, lidar/NN.pkl.gz.

    Args:
        path: the file.
        pose: [4, 4] our LiDAR frame → world; that of the sequence's poses.json where not given.

    Returns:
        Points [N, 6] float32 in the LiDAR frame (x forward, y left), and the names of the channels after x, y, z:
        `CHANNELS`.

    Raises:
        InputError: a file is refused or damaged, or there is no pose of the sweep.
    """
    columns = read_data_frame(path)
    missing = [name for name in ("x", "y", "z", "i", "t", "d") if name not in columns]
    if missing:
        raise InputError(f"{path}: has no column {missing[0]!r}; give a sweep of PandaSet's lidar/ folder.")
    if pose is None:
        pose = _pose(read_poses(_sequence(path, "points")), _frame_name(path), path)
    count = len(columns["x"])
    world = np.column_stack([numbers(columns[axis], (count,), f"{path}: {axis}") for axis in "xyz"])
    intensity, time, sensor = (numbers(columns[name], (count,), f"{path}: {name}") for name in "itd")
    lag = time - time.min(initial=np.inf) if count else time
    local = move_points(world, inverse_pose(pose))
    return np.column_stack((local, intensity, lag, sensor)).astype(np.float32), CHANNELS


def _read_cuboids(path: Path, pose: np.ndarray) -> Boxes:
    columns = read_data_frame(path)
    keys = ("position.x", "position.y", "position.z", "dimensions.y", "dimensions.x", "dimensions.z", "yaw")
    for key in ("uuid", "label", *keys):
        if key not in columns:
            raise InputError(f"{path}: has no column {key!r}; give cuboids of PandaSet's annotations/ folder.")
    count = len(columns["label"])
    world = np.column_stack([numbers(columns[key], (count,), f"{path}: {key}") for key in keys])
    world[:, 6] = wrap_angle(world[:, 6] + np.pi / 2)
    boxes = Boxes(
        boxes_to_child(world, pose),
        texts(columns["label"], count, f"{path}: label"),
        track=texts(columns["uuid"], count, f"{path}: uuid"),
        attribute=_attributes(columns, count),
    )
    return boxes.select(~_seen_twice(columns, boxes, path))


def _attributes(columns: dict[str, np.ndarray], count: int) -> np.ndarray:
    """The state of each object: its motion, or else its rider's or what a pedestrian does; NaN stands for none."""
    column = [""] * count
    for key in _ATTRIBUTES:
        for index, value in enumerate(columns[key].tolist() if key in columns else []):
            if not column[index] and isinstance(value, str):
                column[index] = value
    return as_texts(column)


def _seen_twice(columns: dict[str, np.ndarray], boxes: Boxes, path: Path) -> np.ndarray:
    """Mask [N] of the forward sensor's cuboids whose siblings, labelled for the other sensor, are in the frame."""
    if "cuboids.sensor_id" not in columns or "cuboids.sibling_id" not in columns or boxes.track is None:
        return np.zeros(len(boxes), bool)
    siblings = np.array(
        [name if isinstance(name, str) else "" for name in columns["cuboids.sibling_id"].tolist()], np.str_
    )
    forward = numbers(columns["cuboids.sensor_id"], (len(boxes),), f"{path}: cuboids.sensor_id") == _FORWARD_SENSOR
    # Some of the published names lack their end, so either of the two may be the one that names the other.
    twice = np.isin(siblings, boxes.track[~forward]) | np.isin(boxes.track, siblings[~forward])
    return forward & twice


def _frame_files(folder: Path) -> list[Path]:
    try:
        return sorted(file for file in folder.iterdir() if file.name.endswith(_SUFFIX) and file.name[:1] != ".")
    except OSError:
        return []


def _frame_name(path: Path) -> str:
    return path.name.removesuffix(_SUFFIX)


def _sequence(file: Path, what: str) -> Path:
    """The sequence's folder of a file of cuboids (two folders up) or of points."""
    return file.absolute().parents[2 if what == "cuboids" else 1]


def _pose(poses: np.ndarray, name: str, path: Path) -> np.ndarray:
    if not name.isdecimal() or int(name) >= len(poses):
        raise InputError(
            f"{path}: lidar/poses.json of its sequence has {len(poses)} poses, none of frame {name!r}. Give a frame's "
            f"file as PandaSet calls it, such as 00{_SUFFIX}."
        )
    return poses[int(name)]
