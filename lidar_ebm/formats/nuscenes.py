"""nuScenes' detection results: one JSON file with the boxes of all samples in the global frame.

A box has `translation` (geometric centre), `size` (width, length, height), `rotation` (quaternion w, x, y, z) and
`velocity` (vx, vy). Where `context.sensor_pose_of` gives the pose of a sample's LiDAR, boxes are carried to the LiDAR
frame and back; without it they stay in the global frame as they stand, upright, with the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import Context
from lidar_ebm.formats.columns import as_texts, check_scores, entry, rows_of_numbers, text
from lidar_ebm.formats.fields import glimpse, has_keys, read_json, write_json
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
        frames[token] = _read_sample(rows, where)
        if context.sensor_pose_of is not None:
            frames[token] = _to_sensor(frames[token], context.sensor_pose_of(token))
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
    results = {}
    for token, boxes in frames.items():
        placed = boxes if context.sensor_pose_of is None else _to_global(boxes, context.sensor_pose_of(token))
        results[token] = _sample_content(token, placed)
    write_json(path, {"meta": _META, "results": results})
    return [path]


def _read_sample(rows: Sequence[Any], where: str) -> Boxes:
    places = [f"{where}, box {index}" for index in range(len(rows))]
    fields = list(zip(rows, places, strict=True))

    def column(key: str, length: int | None, *, missing: Any = None) -> np.ndarray:
        values = [entry(row, key, place) if missing is None else row.get(key, missing) for row, place in fields]
        return rows_of_numbers(values, length, [f"{place}: {key}" for place in places], may_be_nan=missing is not None)

    names = [text(entry(row, "detection_name", place), f"{place}: detection_name") for row, place in fields]
    centers, sizes, quaternions = column("translation", 3), column("size", 3), column("rotation", 4)
    for index in np.flatnonzero(~quaternions.any(axis=1)):
        raise InputError(f"{places[index]}: rotation is all zeros; give a quaternion w, x, y, z.")
    columns: dict[str, Any] = {}
    if any("detection_score" in row for row in rows):
        columns["scores"] = column("detection_score", None)
    if any("velocity" in row for row in rows):
        columns["velocity"] = column("velocity", 2, missing=[np.nan, np.nan])
    if any("attribute_name" in row for row in rows):
        columns["attribute"] = [
            text(row.get("attribute_name", ""), f"{place}: attribute_name") for row, place in fields
        ]
    yaw = yaw_of(rotation_matrix(quaternions))
    return Boxes(np.column_stack((centers, sizes[:, [1, 0, 2]], yaw)), as_texts(names), **columns)


def _to_sensor(boxes: Boxes, pose: np.ndarray) -> Boxes:
    velocity = None if boxes.velocity is None else velocity_to_child(boxes.velocity, pose)
    return boxes.with_columns(boxes=boxes_to_child(boxes.boxes, pose), velocity=velocity)


def _to_global(boxes: Boxes, pose: np.ndarray) -> Boxes:
    velocity = None if boxes.velocity is None else velocity_to_parent(boxes.velocity, pose)
    return boxes.with_columns(boxes=boxes_to_parent(boxes.boxes, pose), velocity=velocity)


def _sample_content(token: str, boxes: Boxes) -> list[dict[str, Any]]:
    rotations = quaternions_of_yaw(boxes.boxes[:, 6])
    content = []
    for index, (x, y, z, length, width, height, _) in enumerate(boxes.boxes.tolist()):
        row: dict[str, Any] = {
            "sample_token": token,
            "translation": [x, y, z],
            "size": [width, length, height],
            "rotation": rotations[index].tolist(),
            # NaN is no JSON, and the benchmark's program takes no null.
            "velocity": [0.0, 0.0] if boxes.velocity is None else np.nan_to_num(boxes.velocity[index]).tolist(),
            "detection_name": str(boxes.names[index]),
            "attribute_name": "" if boxes.attribute is None else str(boxes.attribute[index]),
        }
        if boxes.scores is not None:
            row["detection_score"] = float(boxes.scores[index])
        content.append(row)
    return content
