"""mmdetection3d's info files of nuScenes (nuscenes_infos_*.pkl, version 1.1): labels in the LiDAR frame.

`bbox_3d` is the geometric centre, l, w, h and the yaw in the frame of LIDAR_TOP, whose x axis points to the right and
whose y axis points ahead. `lidar2ego` and `ego2global` say where that frame is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import Context
from lidar_ebm.formats.columns import as_texts, entry, numbers, text
from lidar_ebm.formats.pickle_files import pickle_head, read_pickle
from lidar_ebm.geometry.poses import FROM_RIGHT_AHEAD, boxes_to_parent, velocity_to_parent
from lidar_ebm.geometry.upright import wrap_angle

TITLE = "mmdetection3d's info file of nuScenes (labels, read only)"
COLUMNS = frozenset({"velocity", "points"})


def recognise(path: Path) -> bool:
    """Tell if a pickle begins with the heading of an info file."""
    head = pickle_head(path) if path.is_file() else b""
    return b"metainfo" in head and b"nuscenes" in head


def read(path: Path, context: Context) -> dict[str, Boxes]:
    """Labels of each sample by its token, in the file's order; objects of classes the file does not name are left out.

    Raises:
        InputError: the pickle is refused or damaged, or is of another data set.
    """
    content = read_pickle(path)
    heading = entry(content, "metainfo", str(path))
    if text(entry(heading, "dataset", f"{path}: metainfo"), f"{path}: metainfo: dataset") != "nuscenes":
        raise InputError(f"{path}: is the info file of another data set than nuScenes, whose boxes lie otherwise.")
    numbered = entry(heading, "categories", f"{path}: metainfo")
    if not isinstance(numbered, Mapping):
        raise InputError(f"{path}: metainfo: categories are not named.")
    classes = {index: name for name, index in numbered.items() if type(index) is int}
    samples = entry(content, "data_list", str(path))
    if not isinstance(samples, list):
        raise InputError(f"{path}: 'data_list' is no list of samples.")
    frames: dict[str, Boxes] = {}
    for position, sample in enumerate(samples):
        where = f"{path}: sample {position}"
        token = text(entry(sample, "token", where), f"{where}: token")
        if token in frames:
            raise InputError(f"{path}: sample {token!r} stands there twice. Keep one of the two.")
        frames[token] = _read_sample(sample, classes, f"{path}: sample {token}")
    return frames


def _read_sample(sample: Mapping[str, Any], classes: Mapping[int, str], where: str) -> Boxes:
    instances = entry(sample, "instances", where)
    if not isinstance(instances, list):
        raise InputError(f"{where}: 'instances' is no list of objects.")
    boxes, names, velocities, points = [], [], [], []
    for index, instance in enumerate(instances):
        place = f"{where}, object {index}"
        label = entry(instance, "bbox_label_3d", place)
        if type(label) is int and label == -1:
            continue
        if type(label) is not int or label not in classes:
            raise InputError(f"{place}: bbox_label_3d {str(label)[:40]} is none of the file's categories.")
        boxes.append(numbers(entry(instance, "bbox_3d", place), (7,), f"{place}: bbox_3d"))
        names.append(text(classes[label], f"{where}: categories"))
        unknown = [np.nan, np.nan]
        velocities.append(numbers(instance.get("velocity", unknown), (2,), f"{place}: velocity", may_be_nan=True))
        points.append(numbers(instance.get("num_lidar_pts", -1), (), f"{place}: num_lidar_pts"))
    rows = np.array(boxes).reshape(-1, 7)
    rows[:, 6] = wrap_angle(rows[:, 6])
    return Boxes(
        boxes_to_parent(rows, FROM_RIGHT_AHEAD),
        as_texts(names),
        velocity=velocity_to_parent(np.array(velocities).reshape(-1, 2), FROM_RIGHT_AHEAD),
        points=np.array(points, np.float64).astype(np.int64),
    )
