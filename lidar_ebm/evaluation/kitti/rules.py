"""KITTI's choices as data: difficulties, neighbour classes and required overlaps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.kitti.matching import ABSENT, IGNORED, VALID
from lidar_ebm.evaluation.kitti.objects import Objects
from lidar_ebm.evaluation.limits import Difficulty, Overlaps
from lidar_ebm.formats.kitti.difficulty import DIFFICULTY_NAMES, IMAGE_LIMITS, LIDAR_LIMITS

if TYPE_CHECKING:
    from lidar_ebm.evaluation.loaded import Loaded

METRICS = ("2d", "aos", "bev", "3d")


DIFFICULTIES = tuple(
    Difficulty(name, *limits) for name, limits in zip(DIFFICULTY_NAMES[:-1], IMAGE_LIMITS, strict=True)
)
# For data without images, where occlusion, truncation and 2-D boxes are unknown.
LIDAR_DIFFICULTIES = tuple(
    Difficulty(name, max_distance=distance, min_points=points)
    for name, (distance, points) in zip(DIFFICULTY_NAMES[:-1], LIDAR_LIMITS, strict=True)
)

UNKNOWN_ANGLE, UNKNOWN_LOCATION = -10.0, -1000.0  # how label and result files say so

NEIGHBOURS = {"car": "van", "pedestrian": "person_sitting"}

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


def departs_from_official(iou: Overlaps | None, wanted: Iterable[tuple[str, str]]) -> bool:
    """Tell if any (class, metric) is scored at another overlap than KITTI's own."""
    official = {name.lower(): (value,) for name, value in OFFICIAL_OVERLAPS.items()}
    return iou is not None and any(
        required_overlaps(iou, name, metric) != official.get(name.lower()) for name, metric in wanted
    )


def _of_key(choice: Overlaps, key: str, wanted: str) -> Overlaps:
    """The part of a choice that is for one class or metric: all of it where it is not split further."""
    if not isinstance(choice, Mapping):
        return choice
    for name, value in choice.items():
        if name.lower() == key.lower():
            return value
    raise InputError(f"no overlap for {wanted}: given are {', '.join(choice) or 'none'}; name it in iou")


def list_rule_notes(loaded: Loaded) -> tuple[str, ...]:
    """Notes on what departs from KITTI's rules, what they do not score, and what looks like a mistake."""
    labels, detections, metrics, iou = loaded.labels, loaded.detections, loaded.metrics, loaded.options.iou
    notes = []
    if departs_from_official(iou, [(name, metric) for name in loaded.classes for metric in metrics]):
        notes.append("iou: overlaps other than KITTI's own, as the column says")
    if loaded.difficulties != DIFFICULTIES:
        notes.append(f"difficulties: {'; '.join(map(str, loaded.difficulties))}")
    if not np.isnan(labels.scores).all():
        notes.append("some label lines end with a score: are the labels in their place, and not results?")
    for name in loaded.classes:
        missing = [metric for metric in metrics if not is_scored(detections, name, metric)]
        if missing and not detections.is_type(name).any():
            notes.append(f"{name} is not scored: there are no results of this class")
        elif missing:
            reason = "a result lacks its angle (alpha -10)" if missing == ["aos"] else "the results have no box for it"
            notes.append(f"{name} is not scored in {', '.join(missing)}: {reason}")
        notes += _ignored_notes(name, labels, detections, loaded.difficulties)
    return tuple(notes)


def lacks_rectangle(objects: Objects) -> np.ndarray:
    """Mask [N] of the objects whose 2-D box has no extent."""
    return np.asarray((objects.bbox[:, 2:] <= objects.bbox[:, :2]).any(axis=1))


def _ignored_notes(
    name: str, labels: Objects, detections: Objects, difficulties: Sequence[Difficulty]
) -> Iterator[str]:
    """Reasons why labels or results of a class count for nothing."""
    by_height = any(each.min_height > 0 for each in difficulties)
    explained = False
    for objects, side in ((labels, "labels"), (detections, "results")):
        of_class = objects.is_type(name)
        flat = of_class & lacks_rectangle(objects)
        if flat.any() and by_height:
            explained = explained or (side == "labels" and flat.sum() == of_class.sum())
            yield (
                f"{flat.sum()} of {of_class.sum()} {name} {side} have no 2-D box, which KITTI asks to be 25 pixels "
                "high, so they are ignored: see project and lidar_only"
            )
    count = int(labels.is_type(name).sum())
    if count and not explained:
        fits = [each.name for each in difficulties if (label_states(labels, name, each) == VALID).any()]
        if not fits:
            yield (f"no {name} label (of {count}) is within the limits of any difficulty, so all figures of it are 0")


def label_states(labels: Objects, class_name: str, difficulty: Difficulty) -> np.ndarray:
    """State of each label for a class and difficulty, [L] int8.

    Raises:
        InputError: the difficulty asks for a number of points, and they were not counted.
    """
    height = labels.bbox[:, 3] - labels.bbox[:, 1]
    outside = (
        (labels.occluded > difficulty.max_occluded)
        | (labels.truncated > difficulty.max_truncated)
        | (height < difficulty.min_height)
        | is_beyond(labels, difficulty)
    )
    if difficulty.min_points > 0:
        if labels.points is None:
            raise InputError(
                f"difficulty {difficulty}: the points in the labelled boxes were not counted; give the folder of point "
                "clouds, or limits without points."
            )
        outside |= labels.points < difficulty.min_points
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


def is_beyond(objects: Objects, difficulty: Difficulty) -> np.ndarray:
    """Mask of the objects nearer or farther than the difficulty looks, [N] bool; one of unknown place is among them."""
    low, high = difficulty.min_distance, difficulty.max_distance
    if difficulty.band is not None:
        low, high = max(low, difficulty.band[0]), min(high, difficulty.band[1])
    if low <= 0 and high == math.inf:
        return np.zeros(len(objects.scores), dtype=np.bool_)
    distance = np.hypot(objects.boxes[:, 0], objects.boxes[:, 2])
    unknown = (objects.boxes[:, 0] == UNKNOWN_LOCATION) & (objects.boxes[:, 2] == UNKNOWN_LOCATION)
    return unknown | (distance < low) | (distance >= high)


def is_scored(detections: Objects, class_name: str, metric: str) -> bool:
    """Tell if a class is scored in a metric at all: one of its detections has a usable box, and for AOS every detection
    of every class has an angle."""
    of_class = detections.is_type(class_name)
    if metric == "bev":
        return bool((of_class & (detections.boxes[:, 0] != UNKNOWN_LOCATION)).any())
    if metric == "3d":
        return bool((of_class & (detections.boxes[:, 1] != UNKNOWN_LOCATION)).any())
    if metric == "aos" and bool((detections.alpha == UNKNOWN_ANGLE).any()):
        return False
    return bool((of_class & (detections.bbox[:, 0] >= 0.0)).any())
