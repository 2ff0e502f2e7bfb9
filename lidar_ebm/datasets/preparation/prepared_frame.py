"""One file for each prepared frame: its cropped points, its boxes, and the points in each of them.

The file is written whole or not at all, and says of which inputs it was made and what was found in them: a preparation
that was interrupted goes on from the files that are there, and the index can be made anew from them.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.preparation.findings import Finding
from lidar_ebm.datasets.stamps import Stamps
from lidar_ebm.errors import InputError
from lidar_ebm.system.files import atomic_write

FORMAT = 2  # to be raised whenever what a prepared file holds changes
# What a data set reads of a frame; the label database reads the rest.
_READ = ("points", "boxes", "names", "difficulty", "object_counts")
_OBJECTS = ("object_points",)


@dataclass(frozen=True)
class FrameRecord:
    """Facts of a frame without its arrays."""

    name: str
    inputs: Stamps  # of the files that it was made of
    points_read: int  # points in its file, those that are not finite among them
    points_kept: int  # finite ones, in the camera's view if there is one
    points_checksum: int  # of the point cloud's bytes
    objects: Mapping[str, int]  # labels by class name
    boxes: int  # labels that have a box in space
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> bool:
        """Tell if the frame cannot be used as it is, so that nothing was prepared of it."""
        return any(finding.is_error for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Values that JSON can hold; the name is left out."""
        values = asdict(self)
        del values["name"]
        return values

    @classmethod
    def from_json(cls, name: str, values: Mapping[str, Any]) -> FrameRecord:
        """The inverse of `to_json`. KeyError, TypeError or ValueError where it is no such record."""
        inputs = tuple(
            None if item is None else (int(item[0]), int(item[1]), int(item[2])) for item in values["inputs"]
        )
        findings = tuple(Finding(**item) for item in values["findings"])
        objects = {str(key): int(count) for key, count in values["objects"].items()}
        read, kept, checksum, boxes = (
            int(values[key]) for key in ("points_read", "points_kept", "points_checksum", "boxes")
        )
        return cls(name, inputs, read, kept, checksum, objects, boxes, findings)


@dataclass(frozen=True, eq=False)
class PreparedFrame:
    """A frame as it is prepared, with the boxes of all of its labels that have one in space."""

    points: np.ndarray  # [N, 3 + C] float32: x, y, z (m, LiDAR frame), channels; in the camera's view, if there is one
    channels: tuple[str, ...]
    boxes: np.ndarray  # [M, 7] float64, LiDAR frame
    names: np.ndarray  # [M] str, classes
    difficulty: np.ndarray  # [M] str, the data set's words
    object_counts: np.ndarray  # [M] int64, points in each box
    object_points: np.ndarray  # [sum of object_counts, 3 + C] float32: the points of the first box, of the second, …


def prepared_path(folder: Path, name: str) -> Path:
    """The prepared file of frame `name`."""
    return folder / "frames" / f"{name}.safetensors"


def write_prepared(folder: Path, frame: PreparedFrame, record: FrameRecord) -> None:
    """Write a frame's prepared file.

    Raises:
        OutputError: the file cannot be written.
    """
    names, name_index = np.unique(frame.names, return_inverse=True)
    words, word_index = np.unique(frame.difficulty, return_inverse=True)
    arrays = {
        "points": frame.points,
        "boxes": frame.boxes,
        "names": name_index.astype(np.uint16),
        "difficulty": word_index.astype(np.uint8),
        "object_counts": frame.object_counts,
        "object_points": frame.object_points,
    }
    arrays = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
    about = {
        "record": record.to_json(),
        "channels": list(frame.channels),
        "names": names.tolist(),
        "difficulties": words.tolist(),
        "checksum": checksum_of([arrays[key] for key in _READ]),
        "objects_checksum": checksum_of([arrays[key] for key in _OBJECTS]),
    }
    with atomic_write(prepared_path(folder, record.name)) as file:
        file.write(pack_arrays(arrays, about))


def read_prepared(folder: Path, name: str) -> tuple[np.ndarray, tuple[str, ...], Boxes, Stamps]:
    """Points [N, 3 + C] and their channels, boxes of a frame, and the stamps of what they were made of.

    Raises:
        InputError: the file is missing, damaged, or of another format.
    """
    (points, rows, name_index, word_index, counts), about, record = _read(folder, name, _READ, "checksum")
    try:
        words = _words(about["difficulties"], word_index)
        boxes = Boxes(rows, _words(about["names"], name_index), points=counts, difficulty=words)
        return points, tuple(about["channels"]), boxes, record.inputs
    except (KeyError, IndexError, TypeError) as error:
        raise _unusable(folder, name, error) from error


def read_prepared_boxes(folder: Path, name: str) -> Boxes:
    """Boxes of a frame, without reading its points.

    Raises:
        InputError: as `read_prepared`.
    """
    try:
        with safe_open(prepared_path(folder, name), framework="numpy") as file:
            about = unpack_about(file.metadata())
            return Boxes(file.get_tensor("boxes"), _words(about["names"], file.get_tensor("names")))
    except (AttributeError, OSError, SafetensorError, KeyError, IndexError, TypeError, ValueError) as error:
        raise _unusable(folder, name, error) from error


def read_objects(folder: Path, name: str) -> PreparedFrame:
    """All arrays of a frame.

    Raises:
        InputError: as `read_prepared`.
    """
    points, channels, boxes, _ = read_prepared(folder, name)
    (object_points,), _, _ = _read(folder, name, _OBJECTS, "objects_checksum")
    counts, words = np.asarray(boxes.points), np.asarray(boxes.difficulty)
    return PreparedFrame(points, channels, boxes.boxes, boxes.names, words, counts, object_points)


def read_record(folder: Path, name: str) -> FrameRecord | None:
    """A frame's record from its prepared file, all of which is checked; None if it is missing or damaged."""
    try:
        _read(folder, name, _OBJECTS, "objects_checksum")
        return _read(folder, name, _READ, "checksum")[2]
    except InputError:
        return None


def _words(words: Sequence[str], index: np.ndarray) -> np.ndarray:
    return np.array(words, dtype=np.str_)[index] if len(index) else np.zeros(0, np.str_)


def _unusable(folder: Path, name: str, error: Exception) -> InputError:
    return InputError(
        f"{prepared_path(folder, name)}: this prepared frame cannot be used ({error}). Run `lidar-ebm prepare` to make "
        "it anew."
    )


def _read(
    folder: Path, name: str, keys: Sequence[str], checksum: str
) -> tuple[list[np.ndarray], dict[str, Any], FrameRecord]:
    try:
        with safe_open(prepared_path(folder, name), framework="numpy") as file:
            about = unpack_about(file.metadata())
            arrays = [file.get_tensor(key) for key in keys]
        if checksum_of(arrays) != about[checksum]:
            raise ValueError("its content was changed")
        return arrays, about, FrameRecord.from_json(name, about["record"])
    except (AttributeError, OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _unusable(folder, name, error) from error


def pack_arrays(arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> bytes:
    """A safetensors file of arrays and of what is to be said of them; the same input gives the same bytes."""
    text = json.dumps({"format": FORMAT, **about})
    # One key alone, as the library writes several in any order.
    return bytes(save(dict(arrays), metadata={"about": f"{zlib.crc32(text.encode()):08x} {text}"}))


def unpack_about(metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """Facts that `pack_arrays` was told. ValueError, TypeError or AttributeError where it is something else."""
    checksum, _, text = (metadata or {}).get("about", "").partition(" ")
    if len(checksum) != 8 or int(checksum, 16) != zlib.crc32(text.encode()):
        raise ValueError("it is of another version, or was changed")
    about = json.loads(text)
    if about.get("format") != FORMAT:
        raise ValueError("it is of another version")
    return dict(about)


def checksum_of(arrays: Sequence[np.ndarray]) -> int:
    """The CRC-32 of arrays' bytes, one after the other."""
    value = 0
    for array in arrays:
        value = zlib.crc32(array.reshape(-1).view(np.uint8).data, value)
    return value
