"""Attributes of detections that nobody gave any: by the class, and by how fast the object is."""

from __future__ import annotations

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.formats.columns import as_texts

MOVING = 0.2  # m/s; an object that is faster moves

# Of each class: the attribute of a moving object, and of one that stands still or of which no speed is known. The
# second is the more frequent state of such objects in the data set's labels.
_BY_SPEED = {
    "car": ("vehicle.moving", "vehicle.parked"),
    "truck": ("vehicle.moving", "vehicle.parked"),
    "trailer": ("vehicle.moving", "vehicle.parked"),
    "construction_vehicle": ("vehicle.moving", "vehicle.parked"),
    "bus": ("vehicle.moving", "vehicle.stopped"),
    "pedestrian": ("pedestrian.moving", "pedestrian.standing"),
    "motorcycle": ("cycle.with_rider", "cycle.without_rider"),
    "bicycle": ("cycle.with_rider", "cycle.without_rider"),
}


def with_attributes(boxes: Boxes) -> Boxes:
    """The boxes with an attribute each, where their class has any: those that they have, else chosen by speed."""
    speed = np.zeros(len(boxes)) if boxes.velocity is None else np.linalg.norm(np.nan_to_num(boxes.velocity), axis=1)
    given = [""] * len(boxes) if boxes.attribute is None else boxes.attribute.tolist()
    chosen = [
        attribute or _BY_SPEED.get(name, ("", ""))[0 if fast else 1]
        for attribute, name, fast in zip(given, boxes.names.tolist(), (speed > MOVING).tolist(), strict=True)
    ]
    return boxes.with_columns(attribute=as_texts(chosen))
