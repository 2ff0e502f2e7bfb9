"""The label database: the points inside every labelled object of the train split, to be put into other frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from lidar_ebm.datasets.data_set import DataSet
from lidar_ebm.datasets.frame import take_channels
from lidar_ebm.datasets.preparation.index import fingerprint
from lidar_ebm.datasets.preparation.prepared_frame import PreparedFrame, checksum_of, pack_arrays, unpack_about
from lidar_ebm.datasets.stamps import stamps
from lidar_ebm.errors import InputError
from lidar_ebm.system.files import atomic_write
from lidar_ebm.types import REFLECTANCE

FILE = "label_database.safetensors"
SPLIT = "train"
_KEYS = ("names", "boxes", "difficulty", "point_counts", "frames")


class LabelDatabase:
    """Labelled objects with their points, K of them in the order of frames and labels.

    The file stays open, mapped into memory: objects that are never asked for are never read. Sent to another process,
    it is opened there anew.

    Args:
        path: the database's file.

    Raises:
        InputError: the file is missing, damaged, or of another format.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._file = safe_open(self.path, framework="numpy")
            about = unpack_about(self._file.metadata())
            self.fingerprint: str = about["fingerprint"]
            arrays = {key: self._file.get_tensor(key) for key in _KEYS}
            frames = np.array(about["frames"], dtype=np.str_)
            self.types: np.ndarray = _words(about["names"], arrays["names"])  # [K] str, class names
            self.channels: tuple[str, ...] = tuple(about["channels"])
            self.boxes: np.ndarray = arrays["boxes"]  # [K, 7] float32, LiDAR frame
            # [K] str, the data set's words, and these in rising order, the last one beyond all
            self.difficulty: np.ndarray = _words(about["difficulties"], arrays["difficulty"])
            self.difficulties: tuple[str, ...] = tuple(about["difficulties"])
            self.point_counts: np.ndarray = arrays["point_counts"]  # [K] int64
            self.frame_ids: np.ndarray = frames[arrays["frames"]]  # [K] str
            self._ends = np.cumsum(self.point_counts)
            self._points = self._file.get_slice("points")
            self._checksum = about["checksum"]
        except (AttributeError, OSError, SafetensorError, KeyError, IndexError, TypeError, ValueError) as error:
            raise InputError(
                f"{self.path}: the label database cannot be used ({error}). Run `lidar-ebm prepare` to make it."
            ) from error

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def velocity(self) -> np.ndarray | None:
        """Velocities [K, 2] of the objects; None, as no object here has any."""
        return None

    def points(self, index: int, channels: Sequence[str] = (REFLECTANCE,)) -> np.ndarray:
        """The points of object `index`, [n, 3 + C] float32 (x, y, z in m, LiDAR frame, where the object was; channels).

        The array is a copy of its own.

        Raises:
            InputError: the points have no such channel.
        """
        end, count = int(self._ends[index]), int(self.point_counts[index])
        if not count:
            return np.empty((0, 3 + len(channels)), np.float32)
        return take_channels(self._points[end - count : end], self.channels, channels)

    def check_content(self) -> None:
        """Compare all of the file with its checksum.

        Raises:
            InputError: it was changed.
        """
        arrays = [self._file.get_tensor(key) for key in (*_KEYS, "points")]
        if checksum_of(arrays) != self._checksum:
            raise InputError(f"{self.path}: the label database is damaged. Run `lidar-ebm prepare` to make it anew.")

    def __reduce__(self) -> tuple[type[LabelDatabase], tuple[Path]]:
        return LabelDatabase, (self.path,)


def load_label_database(data_set: DataSet) -> LabelDatabase:
    """Open the label database of a data set.

    Raises:
        InputError: it is missing, damaged, or older than the train split or one of its frames' files.
    """
    database = LabelDatabase(data_set.prepared / FILE)
    database.check_content()
    names = data_set.frame_names(SPLIT)
    if database.fingerprint != fingerprint(names, [stamps(data_set.input_paths(name)) for name in names]):
        raise InputError(
            f"{database.path}: files of the {SPLIT} split were changed after it was made. "
            f"Run `lidar-ebm prepare {data_set.root}` to make it anew."
        )
    return database


def write_label_database(
    folder: Path,
    names: Sequence[str],
    frames: Sequence[PreparedFrame],
    made_of: str,
    difficulties: Sequence[str],
) -> LabelDatabase:
    """Write the database of prepared frames.

    Args:
        folder: of the prepared frames.
        names: of the frames.
        frames: all of them; their `points` are not used.
        made_of: the fingerprint of the train split.
        difficulties: the data set's words, in rising order.

    Raises:
        InputError: the frames' points have different channels.
        OutputError: the file cannot be written.
    """
    channels = {frame.channels for frame in frames} or {("reflectance",)}
    if len(channels) > 1:
        shown = "; ".join(", ".join(each) for each in sorted(channels))
        raise InputError(f"{folder}: points of the {SPLIT} split's frames have different channels: {shown}.")
    (columns,) = channels
    classes, name_index = np.unique(_joined([f.names for f in frames], np.zeros(0, np.str_)), return_inverse=True)
    words = _joined([frame.difficulty for frame in frames], np.zeros(0, np.str_))
    counts = [len(frame.boxes) for frame in frames]
    arrays: dict[str, Any] = {
        "names": name_index.astype(np.uint16),
        "boxes": _joined([frame.boxes for frame in frames], np.empty((0, 7))).astype(np.float32),
        "difficulty": np.array([list(difficulties).index(word) for word in words.tolist()], dtype=np.uint8),
        "point_counts": _joined([frame.object_counts for frame in frames], np.empty(0, np.int64)),
        "frames": np.repeat(np.arange(len(frames)), counts),
        "points": _joined([f.object_points for f in frames], np.empty((0, 3 + len(columns)), np.float32)),
    }
    about = {
        "fingerprint": made_of,
        "frames": list(names),
        "names": classes.tolist(),
        "channels": list(columns),
        "difficulties": list(difficulties),
        "checksum": checksum_of([arrays[key] for key in (*_KEYS, "points")]),
    }
    with atomic_write(folder / FILE) as file:
        file.write(pack_arrays(arrays, about))
    return LabelDatabase(folder / FILE)


def _joined(parts: Sequence[np.ndarray], empty: np.ndarray) -> np.ndarray:
    """Arrays one after the other; `empty` where there is none."""
    return np.concatenate([empty, *parts]) if parts else empty


def _words(words: Sequence[str], index: np.ndarray) -> np.ndarray:
    return np.array(words, dtype=np.str_)[index] if len(index) else np.zeros(0, np.str_)
