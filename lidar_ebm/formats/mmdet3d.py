"""mmdetection3d's predictions: the inferencer's outputs/preds/NAME.json.

Boxes are those of LiDARInstance3DBoxes: z at the *bottom*, l, w, h, yaw counter-clockwise from +x and not wrapped,
columns eight and nine a velocity. Classes are numbers from 0 in the order of the model, which only the model knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import Context
from lidar_ebm.formats.columns import as_texts, check_scores, index_column, numbers
from lidar_ebm.formats.fields import glimpse, has_keys, read_json, write_json
from lidar_ebm.formats.frame_files import all_recognised, files_of_frames, files_to_write
from lidar_ebm.formats.pickle_files import pickle_head
from lidar_ebm.formats.rows import check_boxes
from lidar_ebm.geometry.upright import wrap_angle

TITLE = "mmdetection3d's predictions (outputs/preds/NAME.json, or a folder of them)"
COLUMNS = frozenset({"scores", "velocity"})

_PREDICTIONS = "preds"  # subfolder of the inferencer's output folder


def recognise(path: Path) -> bool:
    """Tell if a JSON file, or the files of a folder or its preds/, have mmdetection3d's keys."""
    if path.suffix in (".pkl", ".pickle"):
        return b"pred_instances_3d" in pickle_head(path) or b"mmdet3d.structures" in pickle_head(path)
    return all_recognised(_folder(path), ".json", lambda file: has_keys(glimpse(file), "labels_3d", "bboxes_3d"))


def read(path: Path, context: Context) -> dict[str, Boxes]:
    """Boxes of each JSON file by its stem, which is that of the point file.

    Raises:
        InputError: `context.classes` is not given, a file is damaged, or its boxes are not in the LiDAR frame.
    """
    if path.suffix in (".pkl", ".pickle"):
        raise InputError(
            f"{path}: mmdetection3d's pickles hold objects of its own, which are not read. Give the JSON files that "
            "its LiDAR inferencer writes to outputs/preds; KittiMetric's pred_instances_3d.pkl has the format "
            "mmdet3d_kitti."
        )
    files = files_of_frames(_folder(path), ".json")
    if context.classes is None:
        raise InputError(
            f"{path}: holds numbers of classes, not names. Give the names in the model's order as `classes`, as in its "
            "configuration's `class_names`; of the KITTI models: Pedestrian, Cyclist, Car."
        )
    return {name: _read_file(file, context.classes) for name, file in files.items()}


def write(path: Path, frames: Mapping[str, Boxes], context: Context) -> list[Path]:
    """Write a JSON file a frame; boxes without scores have score 1 there, velocities that are not known are 0.

    Raises:
        InputError: `context.classes` is not given or lacks a class.
        OutputError: a file cannot be written.
    """
    check_boxes(frames, path)
    check_scores(frames, path)
    if context.classes is None:
        raise InputError(f"{path}: this format numbers the classes; give their names in order as `classes`.")
    numbered = {name: index for index, name in enumerate(context.classes)}
    contents = {}
    for name, boxes in frames.items():
        missing = sorted(set(boxes.names.tolist()) - numbered.keys())
        if missing:
            raise InputError(
                f"{path}: class {missing[0]!r} of frame {name} is not in `classes` ({', '.join(numbered)})."
            )
        contents[name] = _content(boxes, numbered)
    written = []
    for file, name, _ in files_to_write(path, frames, ".json"):
        write_json(file, contents[name])
        written.append(file)
    return written


def _folder(path: Path) -> Path:
    return path / _PREDICTIONS if (path / _PREDICTIONS).is_dir() else path


def _read_file(path: Path, classes: tuple[str, ...]) -> Boxes:
    content = read_json(path)
    kind = content["box_type_3d"].text()
    if kind != "LiDAR":
        raise InputError(
            f"{path}: its boxes are of type {kind[:40]!r}, in a camera's or room's own frame. Only those of type "
            "'LiDAR' are read: run mmdetection3d's LiDAR inferencer, or convert them with convert_to(Box3DMode.LIDAR)."
        )
    rows = content["bboxes_3d"].elements()
    width = len(rows[0].elements()) if rows else 7
    if width not in (7, 9):
        raise InputError(f"{path}: bboxes_3d has {width} columns; mmdetection3d writes 7, or 9 with a velocity.")
    table = numbers(content["bboxes_3d"].value, (None, width), f"{path}: bboxes_3d", may_be_nan=True)
    boxes = numbers(table[:, :7], (len(rows), 7), f"{path}: bboxes_3d") if rows else np.zeros((0, 7))
    boxes[:, 2] += boxes[:, 5] / 2
    boxes[:, 6] = wrap_angle(boxes[:, 6])
    labels = index_column(content["labels_3d"].value, len(rows), f"{path}: labels_3d")
    if ((labels < 0) | (labels >= len(classes))).any():
        wrong = labels[(labels < 0) | (labels >= len(classes))][0]
        raise InputError(
            f"{path}: labels_3d holds {wrong}, but `classes` names {len(classes)} ({', '.join(classes)}). Give all "
            "classes of the model, in its order."
        )
    return Boxes(
        boxes,
        as_texts([classes[label] for label in labels]),
        numbers(content["scores_3d"].value, (len(rows),), f"{path}: scores_3d"),
        velocity=table[:, 7:] if width == 9 else None,
    )


def _content(boxes: Boxes, numbered: Mapping[str, int]) -> dict[str, Any]:
    rows = boxes.boxes.copy()
    rows[:, 2] -= rows[:, 5] / 2
    if boxes.velocity is not None:
        # JSON has no NaN; a velocity of 0 is what mmdetection3d itself assumes of one that is not known.
        rows = np.column_stack((rows, np.nan_to_num(boxes.velocity)))
    scores = np.ones(len(boxes)) if boxes.scores is None else boxes.scores
    return {
        "labels_3d": [numbered[str(name)] for name in boxes.names],
        "scores_3d": scores.tolist(),
        "bboxes_3d": rows.tolist(),
        "box_type_3d": "LiDAR",
    }
