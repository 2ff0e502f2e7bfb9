"""The label database: the points inside every labelled object of the train split, to be put into other frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from lidar_ebm.datasets.kitti.layout import split_path, stamp_inputs
from lidar_ebm.datasets.preparation.index import fingerprint
from lidar_ebm.datasets.preparation.prepared_frame import PreparedFrame, checksum_of, pack_arrays, unpack_about
from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.files import read_split
from lidar_ebm.formats.kitti.label import KITTI_TYPES
from lidar_ebm.system.files import atomic_write

FILE = "label_database.safetensors"
SPLIT = "train"
_KEYS = ("types", "boxes", "difficulty", "point_counts", "frames")


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
            names = np.array(about["frames"], dtype=np.str_)
            self.types: np.ndarray = np.array(KITTI_TYPES)[arrays["types"]]  # [K] str, in KITTI's spelling
            self.boxes: np.ndarray = arrays["boxes"]  # [K, 7] float32, LiDAR frame
            self.difficulty: np.ndarray = arrays["difficulty"]  # [K] int8: 0 easy, 1 moderate, 2 hard, 3 beyond
            self.point_counts: np.ndarray = arrays["point_counts"]  # [K] int64
            self.frame_ids: np.ndarray = names[arrays["frames"]]  # [K] str
            self._ends = np.cumsum(self.point_counts)
            self._points = self._file.get_slice("points")
            self._checksum = about["checksum"]
        except (AttributeError, OSError, SafetensorError, KeyError, IndexError, TypeError, ValueError) as error:
            raise InputError(
                f"{self.path}: the label database cannot be used ({error}). "
                f"Run `lidar-ebm prepare {self.path.parent.parent}` to make it."
            ) from error

    def __len__(self) -> int:
        return len(self.boxes)

    def points(self, index: int) -> np.ndarray:
        """The points of object `index`, [n, 4] float32 (x, y, z in m, LiDAR frame, where the object was; reflectance).

        The array is a copy of its own.
        """
        end, count = int(self._ends[index]), int(self.point_counts[index])
        return self._points[end - count : end] if count else np.empty((0, 4), np.float32)

    def check_content(self) -> None:
        """Compare all of the file with its checksum.

        Raises:
            InputError: it was changed.
        """
        arrays = [self._file.get_tensor(key) for key in (*_KEYS, "points")]
        if checksum_of(arrays) != self._checksum:
            raise InputError(
                f"{self.path}: the label database is damaged. "
                f"Run `lidar-ebm prepare {self.path.parent.parent}` to make it anew."
            )

    def __reduce__(self) -> tuple[type[LabelDatabase], tuple[Path]]:
        return LabelDatabase, (self.path,)


def load_label_database(folder: str | Path) -> LabelDatabase:
    """Open the label database of a data set.

    Args:
        folder: DATA/prepared.

    Raises:
        InputError: it is missing, damaged, or older than the train split or one of its frames' files.
    """
    folder = Path(folder)
    root = folder.parent
    database = LabelDatabase(folder / FILE)
    database.check_content()
    names = read_split(split_path(root, SPLIT))
    if database.fingerprint != fingerprint(names, stamp_inputs(root, names)):
        raise InputError(
            f"{database.path}: files of the {SPLIT} split were changed after it was made. "
            f"Run `lidar-ebm prepare {root}` to make it anew."
        )
    return database


def write_label_database(
    folder: Path, names: Sequence[str], frames: Sequence[PreparedFrame], made_of: str
) -> LabelDatabase:
    """Write the database of prepared frames.

    Args:
        folder: DATA/prepared.
        names: of the frames.
        frames: all of them; their `points` are not used.
        made_of: the fingerprint of the train split.

    Raises:
        OutputError: the file cannot be written.
    """
    counts = [len(frame.boxes) for frame in frames]
    arrays: dict[str, Any] = {
        "types": _joined([frame.types for frame in frames], np.empty(0, np.uint8)),
        "boxes": _joined([frame.boxes for frame in frames], np.empty((0, 7))).astype(np.float32),
        "difficulty": _joined([frame.difficulty for frame in frames], np.empty(0, np.int8)),
        "point_counts": _joined([frame.object_counts for frame in frames], np.empty(0, np.int64)),
        "frames": np.repeat(np.arange(len(frames)), counts),
        "points": _joined([frame.object_points for frame in frames], np.empty((0, 4), np.float32)),
    }
    about = {
        "fingerprint": made_of,
        "frames": list(names),
        "checksum": checksum_of([arrays[key] for key in (*_KEYS, "points")]),
    }
    with atomic_write(folder / FILE) as file:
        file.write(pack_arrays(arrays, about))
    return LabelDatabase(folder / FILE)


def _joined(parts: Sequence[np.ndarray], empty: np.ndarray) -> np.ndarray:
    """Arrays one after the other; `empty` where there is none."""
    return np.concatenate([empty, *parts]) if parts else empty
