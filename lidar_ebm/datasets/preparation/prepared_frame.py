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

from lidar_ebm.datasets.kitti.layout import Stamps, prepared_folder
from lidar_ebm.datasets.preparation.findings import Finding
from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.label import KITTI_TYPES
from lidar_ebm.system.files import atomic_write

FORMAT = 1  # to be raised whenever what a prepared file holds changes
_READ = ("points", "boxes", "types")  # what a data set reads of a frame; the label database reads the rest
_OBJECTS = ("difficulty", "object_counts", "object_points")


@dataclass(frozen=True)
class FrameRecord:
    """What is known of a frame without its arrays."""

    name: str
    inputs: Stamps  # of the files that it was made of
    points_read: int  # points in its file, those that are not finite among them
    points_kept: int  # finite ones in the camera's view
    points_checksum: int  # of the point cloud's bytes
    objects: Mapping[str, int]  # labels by type
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> bool:
        """Whether the frame cannot be used as it is, so that nothing was prepared of it."""
        return any(finding.is_error for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """As what JSON knows; the name is left out."""
        values = asdict(self)
        del values["name"]
        return values

    @classmethod
    def from_json(cls, name: str, values: Mapping[str, Any]) -> FrameRecord:
        """The inverse of `to_json`. KeyError, TypeError or ValueError where it is no such record."""
        inputs = tuple(None if item is None else (int(item[0]), int(item[1])) for item in values["inputs"])
        findings = tuple(Finding(**item) for item in values["findings"])
        objects = {str(key): int(count) for key, count in values["objects"].items()}
        read, kept, checksum = (int(values[key]) for key in ("points_read", "points_kept", "points_checksum"))
        return cls(name, inputs, read, kept, checksum, objects, findings)


@dataclass(frozen=True, eq=False)
class PreparedFrame:
    """A frame as it is prepared, with the boxes of all of its labels that have one in space."""

    points: np.ndarray  # [N, 4] float32: x, y, z (m, LiDAR frame), reflectance; in the camera's view
    boxes: np.ndarray  # [M, 7] float64, LiDAR frame
    types: np.ndarray  # [M] uint8, index into KITTI_TYPES
    difficulty: np.ndarray  # [M] int8: 0 easy, 1 moderate, 2 hard, 3 beyond
    object_counts: np.ndarray  # [M] int64, points in each box
    object_points: np.ndarray  # [sum of object_counts, 4] float32: the points of the first box, of the second, …

    def type_names(self) -> list[str]:
        """The M types by name."""
        return [KITTI_TYPES[index] for index in self.types]


def prepared_path(root: Path, name: str) -> Path:
    """The prepared file of frame `name`."""
    return prepared_folder(root) / "frames" / f"{name}.safetensors"


def write_prepared(root: Path, frame: PreparedFrame, record: FrameRecord) -> None:
    """Write a frame's prepared file.

    Raises:
        OutputError: the file cannot be written.
    """
    arrays = {key: np.ascontiguousarray(getattr(frame, key)) for key in (*_READ, *_OBJECTS)}
    about = {
        "record": record.to_json(),
        "checksum": checksum_of([arrays[key] for key in _READ]),
        "objects_checksum": checksum_of([arrays[key] for key in _OBJECTS]),
    }
    with atomic_write(prepared_path(root, record.name)) as file:
        file.write(pack_arrays(arrays, about))


def read_prepared(root: Path, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, Stamps]:
    """Points, boxes and types of a frame (as in `PreparedFrame`), and the stamps of what they were made of.

    Raises:
        InputError: the file is missing, damaged, or of another format.
    """
    (points, boxes, types), record = _read(root, name, _READ, "checksum")
    return points, boxes, types, record.inputs


def read_objects(root: Path, name: str) -> PreparedFrame:
    """All arrays of a frame.

    Raises:
        InputError: as `read_prepared`.
    """
    seen, _ = _read(root, name, _READ, "checksum")
    objects, _ = _read(root, name, _OBJECTS, "objects_checksum")
    return PreparedFrame(*seen, *objects)


def read_record(root: Path, name: str) -> FrameRecord | None:
    """What is known of a frame from its prepared file, all of which is checked; None if it is missing or damaged."""
    try:
        _read(root, name, _OBJECTS, "objects_checksum")
        return _read(root, name, _READ, "checksum")[1]
    except InputError:
        return None


def _read(root: Path, name: str, keys: Sequence[str], checksum: str) -> tuple[list[np.ndarray], FrameRecord]:
    path = prepared_path(root, name)
    try:
        with safe_open(path, framework="numpy") as file:
            about = unpack_about(file.metadata())
            arrays = [file.get_tensor(key) for key in keys]
        if checksum_of(arrays) != about[checksum]:
            raise ValueError("its content was changed")
        return arrays, FrameRecord.from_json(name, about["record"])
    except (AttributeError, OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: this prepared frame cannot be used ({error}). Run `lidar-ebm prepare {root}` to make it anew."
        ) from error


def pack_arrays(arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> bytes:
    """A safetensors file of arrays and of what is to be said of them; the same input gives the same bytes."""
    # One key alone, as the library writes several in any order.
    return bytes(save(dict(arrays), metadata={"about": json.dumps({"format": FORMAT, **about})}))


def unpack_about(metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """What `pack_arrays` was told of its arrays. ValueError, TypeError or AttributeError where it is something else."""
    about = json.loads((metadata or {}).get("about", "{}"))
    if about.get("format") != FORMAT:
        raise ValueError("it is of another version")
    return dict(about)


def checksum_of(arrays: Sequence[np.ndarray]) -> int:
    """The CRC-32 of arrays' bytes, one after the other."""
    value = 0
    for array in arrays:
        value = zlib.crc32(array.reshape(-1).view(np.uint8).data, value)
    return value
