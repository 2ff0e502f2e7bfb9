"""The label database: the points inside every labelled object of the train split, to be put into other frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from lidar_ebm.datasets.data_set import DataSet
from lidar_ebm.datasets.frame import take_channels
from lidar_ebm.datasets.preparation.index import fingerprint
from lidar_ebm.datasets.preparation.prepared_frame import read_objects
from lidar_ebm.datasets.preparation.tensor_files import checksum_of, unpack_about, write_arrays
from lidar_ebm.datasets.stamps import stamps
from lidar_ebm.errors import InputError
from lidar_ebm.system.files import atomic_write
from lidar_ebm.types import REFLECTANCE, TIME_LAG

FILE = "label_database.safetensors"
SPLIT = "train"
_KEYS = ("names", "boxes", "velocity", "difficulty", "point_counts", "frames", "lags")
_ROWS = 1 << 20  # points that are read at a time to be checked


class LabelDatabase:
    """Labelled objects with their points, K of them in the order of frames and labels.

    The file stays open, mapped into memory: objects that are never asked for are never read. Sent to another process,
    it is opened there anew.

    Args:
        path: the database's file.
        sweeps: how many of the newest sweeps of a frame count, of points with a time lag; all where None.

    Raises:
        InputError: the file is missing, damaged, or of another format.
    """

    def __init__(self, path: str | Path, sweeps: int | None = None) -> None:
        self.path, self.sweeps = Path(path), sweeps
        try:
            self._file = safe_open(self.path, framework="numpy")
            about = unpack_about(self._file.metadata())
            self.fingerprint: str = about["fingerprint"]
            arrays = {key: self._file.get_tensor(key) for key in _KEYS}
            frames = np.array(about["frames"], dtype=np.str_)
            self.types: np.ndarray = _words(about["names"], arrays["names"])  # [K] str, class names
            self.channels: tuple[str, ...] = tuple(about["channels"])
            self.boxes: np.ndarray = arrays["boxes"]  # [K, 7] float32, LiDAR frame
            # [K, 2] float32 vx, vy, m/s, NaN where unknown; None where no object has any
            self.velocity: np.ndarray | None = None if np.isnan(arrays["velocity"]).all() else arrays["velocity"]
            # [K] str, the data set's words, and these in rising order, the last one beyond all
            self.difficulty: np.ndarray = _words(about["difficulties"], arrays["difficulty"])
            self.difficulties: tuple[str, ...] = tuple(about["difficulties"])
            self.point_counts: np.ndarray = arrays["point_counts"]  # [K] int64, of all sweeps
            self.frame_ids: np.ndarray = frames[arrays["frames"]]  # [K] str
            self._frames, self._lags = arrays["frames"], arrays["lags"]
            self._ends = np.cumsum(self.point_counts)
            self._points = self._file.get_slice("points")
            self._checksums = about["checksum"], about["points_checksum"]
        except (AttributeError, OSError, SafetensorError, KeyError, IndexError, TypeError, ValueError) as error:
            raise InputError(
                f"{self.path}: the label database cannot be used ({error}). Run `lidar-ebm prepare` to make it."
            ) from error

    def __len__(self) -> int:
        return len(self.boxes)

    def points(self, index: int, channels: Sequence[str] = (REFLECTANCE,)) -> np.ndarray:
        """The points of object `index`, [n, 3 + C] float32 (x, y, z in m, LiDAR frame, where the object was; channels),
        of the newest `sweeps` alone.

        The array is a copy of its own.

        Raises:
            InputError: the points have no such channel.
        """
        end, count = int(self._ends[index]), int(self.point_counts[index])
        if not count:
            return np.empty((0, 3 + len(channels)), np.float32)
        points = self._points[end - count : end]
        if self.sweeps is not None and self.sweeps < self._lags.shape[1]:
            oldest = self._lags[self._frames[index], self.sweeps - 1]
            points = points[points[:, 3 + self.channels.index(TIME_LAG)] <= oldest]
        return take_channels(points, self.channels, channels)

    def check_content(self) -> None:
        """Compare all of the file with its checksum.

        Raises:
            InputError: it was changed.
        """
        of_arrays = checksum_of([self._file.get_tensor(key) for key in _KEYS])
        of_points = 0
        count = self._points.get_shape()[0]
        for start in range(0, count, _ROWS):
            of_points = checksum_of([self._points[start : min(start + _ROWS, count)]], of_points)
        if (of_arrays, of_points) != self._checksums:
            raise InputError(f"{self.path}: the label database is damaged. Run `lidar-ebm prepare` to make it anew.")

    def __reduce__(self) -> tuple[type[LabelDatabase], tuple[Path, int | None]]:
        return LabelDatabase, (self.path, self.sweeps)


def load_label_database(data_set: DataSet, sweeps: int | None = None) -> LabelDatabase:
    """Open the label database of a data set.

    Args:
        sweeps: as `LabelDatabase` has it.

    Raises:
        InputError: it is missing, damaged, or older than the train split or one of its frames' files.
    """
    database = LabelDatabase(data_set.prepared / FILE, sweeps)
    database.check_content()
    names = data_set.frame_names(SPLIT)
    if database.fingerprint != fingerprint(names, [stamps(data_set.input_paths(name)) for name in names]):
        raise InputError(
            f"{database.path}: files of the {SPLIT} split were changed after it was made. "
            f"Run `lidar-ebm prepare {data_set.root}` to make it anew."
        )
    return database


def write_label_database(
    folder: Path, names: Sequence[str], made_of: str, difficulties: Sequence[str]
) -> LabelDatabase:
    """Write the database of prepared frames, which are read one by one: never are all of their points in memory.

    Args:
        folder: of the prepared frames.
        names: of the frames.
        made_of: the fingerprint of the train split.
        difficulties: the data set's words, in rising order.

    Raises:
        InputError: a prepared frame cannot be used, or the frames' points have different channels.
        OutputError: the file cannot be written.
    """
    types, words, lags = [], [], []
    boxes, velocities, counts = [], [], []
    channels: set[tuple[str, ...]] = set()
    of_points = 0
    for name in names:
        objects = read_objects(folder, name)
        types.append(objects.boxes.names)
        words.append(np.zeros(0, np.str_) if objects.boxes.difficulty is None else objects.boxes.difficulty)
        boxes.append(objects.boxes.boxes.astype(np.float32))
        unknown = np.full((len(objects.boxes), 2), np.nan)
        velocities.append(unknown if objects.boxes.velocity is None else objects.boxes.velocity)
        counts.append(objects.counts)
        lags.append(objects.lags)
        channels.add(objects.channels)
        of_points = checksum_of([objects.points], of_points)
    if len(channels) > 1:
        shown = "; ".join(", ".join(each) for each in sorted(channels))
        raise InputError(f"{folder}: points of the {SPLIT} split's frames have different channels: {shown}.")
    (columns,) = channels or {(REFLECTANCE,)}
    classes, name_index = np.unique(_joined(types, np.zeros(0, np.str_)), return_inverse=True)
    lag_table = np.full((len(names), max(map(len, lags), default=0)), np.inf, np.float32)
    for row, values in zip(lag_table, lags, strict=True):
        row[: len(values)] = values
    level_of = {word: level for level, word in enumerate(difficulties)}
    arrays: dict[str, np.ndarray] = {
        "point_counts": _joined(counts, np.empty(0, np.int64)),
        "frames": np.repeat(np.arange(len(names)), [len(each) for each in types]).astype(np.int64),
        "boxes": _joined(boxes, np.empty((0, 7), np.float32)),
        "velocity": _joined(velocities, np.empty((0, 2))).astype(np.float32),
        "lags": lag_table,
        "names": name_index.astype(np.uint16),
        "difficulty": np.array([level_of[word] for each in words for word in each.tolist()], dtype=np.uint8),
    }
    about = {
        "fingerprint": made_of,
        "frames": list(names),
        "names": classes.tolist(),
        "channels": list(columns),
        "difficulties": list(difficulties),
        "checksum": checksum_of([arrays[key] for key in _KEYS]),
        "points_checksum": of_points,
    }
    shape = (int(arrays["point_counts"].sum()), 3 + len(columns))
    with atomic_write(folder / FILE) as file:
        write_arrays(file, "points", shape, (read_objects(folder, name).points for name in names), arrays, about)
    return LabelDatabase(folder / FILE)


def _joined(parts: Sequence[np.ndarray], empty: np.ndarray) -> np.ndarray:
    """Arrays one after the other; `empty` where there is none."""
    return np.concatenate([empty, *parts]) if parts else empty


def _words(words: Sequence[str], index: np.ndarray) -> np.ndarray:
    return np.array(words, dtype=np.str_)[index] if len(index) else np.zeros(0, np.str_)
