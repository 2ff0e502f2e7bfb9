"""One file for each prepared frame: its cropped points, its boxes, and the points in each of them.

The file is written whole or not at all, and says of which inputs it was made and what was found in them: a preparation
that was interrupted goes on from the files that are there, and the index can be made anew from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.preparation.findings import Finding
from lidar_ebm.datasets.preparation.tensor_files import checksum_of, pack_arrays, unpack_about
from lidar_ebm.datasets.stamps import Stamps
from lidar_ebm.errors import InputError
from lidar_ebm.system.files import atomic_write
from lidar_ebm.types import TIME_LAG

# What a data set reads of a frame beside columns of labels that it may have; the label database reads the rest.
_READ = ("points", "boxes", "object_counts")
_OBJECTS = ("object_points",)
# Columns of Boxes that are kept where labels have them: texts as indices into a list of words, and numbers.
_TEXTS = ("names", "difficulty", "attribute", "track")
_LABEL_POINTS = "label_points"  # Boxes.points, where it is another number than that of points in the box
_VELOCITY = "velocity"


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
    clouds: int = 1  # point clouds that it is made of

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
        return cls(name, inputs, read, kept, checksum, objects, boxes, findings, int(values["clouds"]))


@dataclass(frozen=True, eq=False)
class PreparedFrame:
    """A frame as it is prepared, with the boxes of all of its labels that have one in space."""

    points: np.ndarray  # [N, 3 + C] float32: x, y, z (m, LiDAR frame), channels; in the camera's view, if there is one
    channels: tuple[str, ...]
    boxes: Boxes  # [M] LiDAR frame, with `difficulty`, the data set's words
    object_counts: np.ndarray  # [M] int64, points that are cut out of each box
    object_points: np.ndarray  # [sum of object_counts, 3 + C] float32: the points of the first box, of the second, …


@dataclass(frozen=True, eq=False)
class PreparedObjects:
    """Objects of a prepared frame."""

    boxes: Boxes  # [M]
    channels: tuple[str, ...]
    counts: np.ndarray  # [M] int64
    points: np.ndarray  # [sum of counts, 3 + C] float32
    lags: tuple[float, ...]  # s, of all of the frame's sweeps, rising; none where points have no time lag


def prepared_path(folder: Path, name: str) -> Path:
    """The prepared file of frame `name`."""
    return folder / "frames" / f"{name}.safetensors"


def write_prepared(folder: Path, frame: PreparedFrame, record: FrameRecord) -> None:
    """Write a frame's prepared file.

    Raises:
        OutputError: the file cannot be written.
    """
    boxes = frame.boxes
    arrays = {
        "points": frame.points,
        "boxes": boxes.boxes,
        "object_counts": frame.object_counts,
        "object_points": frame.object_points,
    }
    words: dict[str, list[str]] = {}
    for column in _TEXTS:
        texts = getattr(boxes, column)
        if texts is not None:
            unique, index = np.unique(texts, return_inverse=True)
            words[column], arrays[column] = unique.tolist(), index.astype(np.uint16)
    if boxes.velocity is not None:
        arrays[_VELOCITY] = boxes.velocity
    if boxes.points is not None and not np.array_equal(boxes.points, frame.object_counts):
        arrays[_LABEL_POINTS] = boxes.points
    columns = [key for key in arrays if key not in (*_READ, *_OBJECTS)]
    arrays = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
    about = {
        "record": record.to_json(),
        "channels": list(frame.channels),
        "lags": _lags(frame.points, frame.channels),
        "columns": columns,
        "words": words,
        "checksum": checksum_of([arrays[key] for key in (*_READ, *columns)]),
        "objects_checksum": checksum_of([arrays[key] for key in _OBJECTS]),
    }
    with atomic_write(prepared_path(folder, record.name)) as file:
        file.write(pack_arrays(arrays, about))


def read_prepared(folder: Path, name: str) -> tuple[np.ndarray, tuple[str, ...], Boxes, Stamps]:
    """Points [N, 3 + C] and their channels, boxes of a frame, and the stamps of what they were made of.

    Raises:
        InputError: the file is missing, damaged, or of another format.
    """
    arrays, about, record = _read(folder, name)
    try:
        return arrays["points"], tuple(about["channels"]), _boxes(arrays, about["words"]), record.inputs
    except (KeyError, IndexError, TypeError) as error:
        raise _unusable(folder, name, error) from error


def read_prepared_boxes(folder: Path, name: str) -> tuple[Boxes, Stamps]:
    """Boxes of a frame with the points in them and their difficulty, and the stamps of what they were made of.

    The frame's points are not read.

    Raises:
        InputError: as `read_prepared`.
    """
    try:
        with safe_open(prepared_path(folder, name), framework="numpy") as file:
            about = unpack_about(file.metadata())
            arrays = {key: file.get_tensor(key) for key in (*_READ, *about["columns"]) if key != "points"}
            cut_out = file.get_slice("object_points").get_shape()[0]
        if arrays["object_counts"].sum() != cut_out:  # the checksum is of the frame's points, too
            raise ValueError("its content was changed")
        return _boxes(arrays, about["words"]), FrameRecord.from_json(name, about["record"]).inputs
    except (AttributeError, OSError, SafetensorError, KeyError, IndexError, TypeError, ValueError) as error:
        raise _unusable(folder, name, error) from error


def read_objects(folder: Path, name: str) -> PreparedObjects:
    """The objects of a frame; its points are not read.

    Raises:
        InputError: as `read_prepared`.
    """
    try:
        with safe_open(prepared_path(folder, name), framework="numpy") as file:
            about = unpack_about(file.metadata())
            arrays = {key: file.get_tensor(key) for key in (*_READ, *about["columns"]) if key != "points"}
            points = file.get_tensor("object_points")
        if checksum_of([points]) != about["objects_checksum"] or arrays["object_counts"].sum() != len(points):
            raise ValueError("its content was changed")
        boxes, counts = _boxes(arrays, about["words"]), arrays["object_counts"]
        return PreparedObjects(boxes, tuple(about["channels"]), counts, points, tuple(about["lags"]))
    except (AttributeError, OSError, SafetensorError, KeyError, IndexError, TypeError, ValueError) as error:
        raise _unusable(folder, name, error) from error


def read_record(folder: Path, name: str) -> FrameRecord | None:
    """A frame's record from its prepared file, all of which is checked; None if it is missing or damaged."""
    try:
        _read(folder, name, objects=True)
        return _read(folder, name)[2]
    except InputError:
        return None


def _boxes(arrays: Mapping[str, np.ndarray], words: Mapping[str, Sequence[str]]) -> Boxes:
    texts = {
        column: np.array(words[column], np.str_)[index] if len(index) else np.zeros(0, np.str_)
        for column, index in arrays.items()
        if column in _TEXTS
    }
    names, counts = texts.pop("names"), arrays.get(_LABEL_POINTS, arrays["object_counts"])
    return Boxes(arrays["boxes"], names, points=counts, velocity=arrays.get(_VELOCITY), **texts)


def _lags(points: np.ndarray, channels: Sequence[str]) -> list[float]:
    values = points[:, 3 + list(channels).index(TIME_LAG)] if TIME_LAG in channels else np.zeros(0)
    return [float(lag) for lag in np.unique(values)]


def _unusable(folder: Path, name: str, error: Exception) -> InputError:
    return InputError(
        f"{prepared_path(folder, name)}: this prepared frame cannot be used ({error}). Run `lidar-ebm prepare` to make "
        "it anew."
    )


def _read(
    folder: Path, name: str, *, objects: bool = False
) -> tuple[dict[str, np.ndarray], dict[str, Any], FrameRecord]:
    """Arrays of a frame by name, or those of its objects, what the file says of them, and the record."""
    try:
        with safe_open(prepared_path(folder, name), framework="numpy") as file:
            about = unpack_about(file.metadata())
            arrays = {key: file.get_tensor(key) for key in (_OBJECTS if objects else (*_READ, *about["columns"]))}
        if checksum_of(list(arrays.values())) != about["objects_checksum" if objects else "checksum"]:
            raise ValueError("its content was changed")
        return arrays, about, FrameRecord.from_json(name, about["record"])
    except (AttributeError, OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _unusable(folder, name, error) from error
