"""nuScenes' detection results: one JSON file with the boxes of all samples in the global frame.

A box has `translation` (geometric centre), `size` (width, length, height), `rotation` (quaternion w, x, y, z) and
`velocity` (vx, vy). Where `context.sensor_pose_of` gives the pose of a sample's LiDAR, boxes are carried to the LiDAR
frame and back; without it they stay in the global frame as they stand, upright, with the same numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import Context
from lidar_ebm.formats.columns import as_texts, check_scores, entry, rows_of_numbers, text
from lidar_ebm.formats.fields import glimpse, has_keys, read_json
from lidar_ebm.formats.rows import check_boxes
from lidar_ebm.geometry.poses import (
    boxes_to_child,
    boxes_to_parent,
    quaternions_of_yaw,
    rotation_matrix,
    velocity_to_child,
    velocity_to_parent,
    yaw_of,
)
from lidar_ebm.system.files import atomic_write

TITLE = "nuScenes detection results (JSON, global frame)"
COLUMNS = frozenset({"scores", "velocity", "attribute"})

_META = {"use_camera": False, "use_lidar": True, "use_radar": False, "use_map": False, "use_external": False}


def recognise(path: Path) -> bool:
    """Tell if a JSON file begins with results by sample."""
    head = glimpse(path)
    return has_keys(head, "results") and ('"meta"' in head or '"detection_name"' in head)


def read(path: Path, context: Context) -> dict[str, Boxes]:
    """Boxes of each sample by its token, in the file's order.

    Raises:
        InputError: the file is damaged, or a box cannot be used; the message names sample and box.
    """
    results = read_json(path)["results"].value
    if not isinstance(results, dict):
        raise InputError(f"{path}: 'results' is no set of samples by token; write {{token: [box, …]}}.")
    frames: dict[str, Boxes] = {}
    for token, rows in results.items():
        where = f"{path}: sample {text(token, f'{path}: results')}"
        if not isinstance(rows, list):
            raise InputError(f"{where}: holds no list of boxes.")
        for index, row in enumerate(rows):
            if isinstance(row, dict) and row.get("sample_token", token) != token:
                raise InputError(f"{where}, box {index}: sample_token names another sample; move the box there.")
        frames[token] = _read_sample(rows, where)
        if context.sensor_pose_of is not None:
            frames[token] = to_sensor(frames[token], context.sensor_pose_of(token))
    return frames


def write(path: Path, frames: Mapping[str, Boxes], context: Context) -> list[Path]:
    """Write a result file as nuScenes' evaluation takes it, frames being named by sample tokens.

    Velocities that are not known are 0, attributes "". Boxes without scores are written without.

    Raises:
        InputError: a box holds NaN or infinity.
        OutputError: the file cannot be written.
    """
    check_boxes(frames, path)
    check_scores(frames, path)
    # Not indented, and sample by sample: the results of a split are hundreds of megabytes as it is.
    with atomic_write(path, "w") as file:
        file.write(f'{{"meta": {json.dumps(_META)}, "results": {{')
        for index, (token, boxes) in enumerate(frames.items()):
            placed = boxes if context.sensor_pose_of is None else to_global(boxes, context.sensor_pose_of(token))
            content = json.dumps(_sample_content(token, placed), allow_nan=False)
            file.write(f"{', ' if index else ''}{json.dumps(token)}: {content}")
        file.write("}}")
    return [path]


def _read_sample(rows: Sequence[Any], where: str) -> Boxes:
    def column(key: str, length: int | None) -> np.ndarray:
        values = [_field(row, key, where, index) for index, row in enumerate(rows)]
        return rows_of_numbers(values, length, lambda index: f"{where}, box {index}: {key}")

    def names(values: Sequence[Any], key: str) -> np.ndarray:
        return as_texts([text(value, f"{where}, box {index}: {key}") for index, value in enumerate(values)])

    centers, sizes, quaternions = column("translation", 3), column("size", 3), column("rotation", 4)
    for index in np.flatnonzero(~quaternions.any(axis=1)):
        raise InputError(f"{where}, box {index}: rotation is all zeros; give a quaternion w, x, y, z.")
    classes = [_field(row, "detection_name", where, index) for index, row in enumerate(rows)]
    columns: dict[str, Any] = {}
    if any("detection_score" in row for row in rows):
        columns["scores"] = column("detection_score", None)
    if any("velocity" in row for row in rows):
        velocities = [row.get("velocity", (np.nan, np.nan)) for row in rows]
        columns["velocity"] = rows_of_numbers(
            velocities, 2, lambda index: f"{where}, box {index}: velocity", may_be_nan=True
        )
    if any("attribute_name" in row for row in rows):
        columns["attribute"] = names([row.get("attribute_name", "") for row in rows], "attribute_name")
    yaw = yaw_of(rotation_matrix(quaternions))
    boxes = np.column_stack((centers, sizes[:, [1, 0, 2]], yaw))
    return Boxes(boxes, names(classes, "detection_name"), **columns)


def _field(row: Any, key: str, where: str, index: int) -> Any:
    """The value of a box's field; a message is only put together where it is missing."""
    if isinstance(row, dict) and key in row:
        return row[key]
    return entry(row, key, f"{where}, box {index}")


def to_sensor(boxes: Boxes, pose: np.ndarray) -> Boxes:
    """Boxes of the global frame, with their velocities, in a sensor's, upright there; pose [4, 4]: sensor → global."""
    velocity = None if boxes.velocity is None else velocity_to_child(boxes.velocity, pose)
    return boxes.with_columns(boxes=boxes_to_child(boxes.boxes, pose), velocity=velocity)


def to_global(boxes: Boxes, pose: np.ndarray) -> Boxes:
    """The inverse of `to_sensor`."""
    velocity = None if boxes.velocity is None else velocity_to_parent(boxes.velocity, pose)
    return boxes.with_columns(boxes=boxes_to_parent(boxes.boxes, pose), velocity=velocity)


def _sample_content(token: str, boxes: Boxes) -> list[dict[str, Any]]:
    count = len(boxes)
    # NaN is no JSON, and the benchmark's program takes no null.
    velocities = np.zeros((count, 2)) if boxes.velocity is None else np.nan_to_num(boxes.velocity)
    attributes = [""] * count if boxes.attribute is None else boxes.attribute.tolist()
    content: list[dict[str, Any]] = [
        {
            "sample_token": token,
            "translation": center,
            "size": size,
            "rotation": rotation,
            "velocity": velocity,
            "detection_name": name,
            "attribute_name": attribute,
        }
        for center, size, rotation, velocity, name, attribute in zip(
            boxes.boxes[:, :3].tolist(),
            boxes.boxes[:, [4, 3, 5]].tolist(),
            quaternions_of_yaw(boxes.boxes[:, 6]).tolist(),
            velocities.tolist(),
            boxes.names.tolist(),
            attributes,
            strict=True,
        )
    ]
    if boxes.scores is not None:
        for row, score in zip(content, boxes.scores.tolist(), strict=True):
            row["detection_score"] = score
    return content
