"""KITTI's choices as data: difficulties, neighbour classes and required overlaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.matching import ABSENT, IGNORED, VALID
from lidar_ebm.evaluation.objects import Objects

METRICS = ("2d", "aos", "bev", "3d")


@dataclass(frozen=True)
class Difficulty:
    """Limits within which a label counts; beyond any of them it is ignored."""

    name: str
    max_occluded: int
    max_truncated: float
    min_height: float  # of the 2-D box, pixels; detections have to reach it too


EASY = Difficulty("easy", 0, 0.15, 40.0)
MODERATE = Difficulty("moderate", 1, 0.30, 25.0)
HARD = Difficulty("hard", 2, 0.50, 25.0)
DIFFICULTIES = (EASY, MODERATE, HARD)

NEIGHBOURS = {"car": "van", "pedestrian": "person_sitting"}

OverlapChoice: TypeAlias = float | Sequence[float]
Overlaps: TypeAlias = OverlapChoice | Mapping[str, OverlapChoice | Mapping[str, OverlapChoice]]

OFFICIAL_OVERLAPS: Mapping[str, float] = {"Car": 0.7, "Pedestrian": 0.5, "Cyclist": 0.5}
LOOSE_OVERLAPS: Overlaps = {  # an older table that also circulates
    "Car": {"2d": 0.7, "aos": 0.7, "bev": 0.5, "3d": 0.5},
    "Pedestrian": {"2d": 0.5, "aos": 0.5, "bev": 0.25, "3d": 0.25},
    "Cyclist": {"2d": 0.5, "aos": 0.5, "bev": 0.25, "3d": 0.25},
}


def required_overlaps(iou: Overlaps | None, class_name: str, metric: str) -> tuple[float, ...]:
    """The overlaps at which a class is to be scored in a metric, from any of the forms that `evaluate` takes.

    Raises:
        InputError: nothing given for this class or metric, or an overlap outside (0, 1).
    """
    by_metric = _of_key(OFFICIAL_OVERLAPS if iou is None else iou, class_name, f"class {class_name}")
    choice = _of_key(by_metric, metric, f"class {class_name}, metric {metric}")
    if isinstance(choice, Mapping):
        raise InputError(f"overlaps for class {class_name}, metric {metric}: {choice} is neither a number nor several")
    try:
        values = tuple(float(value) for value in np.atleast_1d(np.asarray(choice, dtype=np.float64)))
    except (TypeError, ValueError) as error:
        raise InputError(f"overlaps {choice!r} for class {class_name}: give numbers between 0 and 1") from error
    if not values or not all(0.0 < value < 1.0 for value in values):
        raise InputError(f"overlaps {values} for class {class_name}: give one or more, each between 0 and 1")
    return tuple(dict.fromkeys(values))


def _of_key(choice: Overlaps, key: str, wanted: str) -> Overlaps:
    """The part of a choice that is for one class or metric: all of it where it is not split further."""
    if not isinstance(choice, Mapping):
        return choice
    for name, value in choice.items():
        if name.lower() == key.lower():
            return value
    raise InputError(f"no overlap for {wanted}: given are {', '.join(choice) or 'none'}; name it in iou")


def label_states(labels: Objects, class_name: str, difficulty: Difficulty) -> np.ndarray:
    """State of each label for a class and difficulty, [L] int8."""
    height = labels.bbox[:, 3] - labels.bbox[:, 1]
    outside = (
        (labels.occluded > difficulty.max_occluded)
        | (labels.truncated > difficulty.max_truncated)
        | (height < difficulty.min_height)
    )
    state = np.full(len(outside), ABSENT, dtype=np.int8)
    of_class = labels.is_type(class_name)
    state[of_class] = np.where(outside[of_class], IGNORED, VALID)
    neighbour = NEIGHBOURS.get(class_name.lower())
    if neighbour is not None:
        state[labels.is_type(neighbour)] = IGNORED
    return state


def detection_states(detections: Objects, class_name: str, difficulty: Difficulty) -> np.ndarray:
    """State of each detection for a class and difficulty, [D] int8; a low one of any class is ignored."""
    state = np.full(len(detections.scores), ABSENT, dtype=np.int8)
    state[detections.is_type(class_name)] = VALID
    height = np.trunc(np.abs(detections.bbox[:, 1] - detections.bbox[:, 3]))  # KITTI keeps the integer part
    state[height < difficulty.min_height] = IGNORED
    return state


def is_scored(detections: Objects, class_name: str, metric: str) -> bool:
    """Whether a class is scored in a metric at all: one of its detections has a usable box, and for AOS every
    detection of every class has an angle."""
    of_class = detections.is_type(class_name)
    if metric == "bev":
        return bool((of_class & (detections.boxes[:, 0] != -1000.0)).any())
    if metric == "3d":
        return bool((of_class & (detections.boxes[:, 1] != -1000.0)).any())
    if metric == "aos" and bool((detections.alpha == -10.0).any()):
        return False
    return bool((of_class & (detections.bbox[:, 0] >= 0.0)).any())
