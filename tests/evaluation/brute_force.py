"""KITTI's rules word by word, slowly: nothing shared with the package but the `Label` type; overlaps by shapely."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

from shapely import affinity
from shapely.geometry import Polygon, box

from lidar_ebm.types import Label

LIMITS = {"easy": (0, 0.15, 40), "moderate": (1, 0.30, 25), "hard": (2, 0.50, 25)}
NEIGHBOUR = {"Car": "van", "Pedestrian": "person_sitting", "Cyclist": None}

Frames = Sequence[Sequence[Label]]


def average_precision(
    labels: Frames, results: Frames, class_name: str, metric: str, iou: float, difficulty: str
) -> dict[str, float] | None:
    """AP in percent by kind of recall; None where the class is not scored."""
    if not scored(results, class_name, metric):
        return None
    valid_count, scores = 0, []
    for frame_labels, frame_results in zip(labels, results, strict=True):
        valid_count += sum(label_kind(item, class_name, difficulty) == "valid" for item in frame_labels)
        scores += one_frame(frame_labels, frame_results, class_name, metric, iou, difficulty, None)["scores"]
    curve = [0.0] * 41
    for index, threshold in enumerate(recall_thresholds(scores, valid_count)):
        found = false = 0
        similarity = 0.0
        for frame_labels, frame_results in zip(labels, results, strict=True):
            counts = one_frame(frame_labels, frame_results, class_name, metric, iou, difficulty, threshold)
            found += len(counts["scores"])
            false += counts["false"]
            similarity += counts["similarity"]
        if found + false > 0:
            curve[index] = (similarity if metric == "aos" else found) / (found + false)
    curve = [max(curve[index:]) for index in range(41)]
    return {
        "R11": 100 * sum(curve[index] for index in range(0, 41, 4)) / 11,
        "R40": 100 * sum(curve[1:]) / 40,
        "mean41": 100 * sum(curve) / 41,
    }


def scored(results: Frames, class_name: str, metric: str) -> bool:
    """Whether a detection of the class has a usable box, and for AOS every detection an angle."""
    everything = [item for frame in results for item in frame]
    if metric == "aos" and any(item.alpha == -10 for item in everything):
        return False
    for item in everything:
        if item.type.lower() == class_name.lower():
            if metric in ("2d", "aos") and item.bbox[0] >= 0:
                return True
            if metric == "bev" and item.location[0] != -1000:
                return True
            if metric == "3d" and item.location[1] != -1000:
                return True
    return False


def label_kind(item: Label, class_name: str, difficulty: str) -> str:
    occluded, truncated, height = LIMITS[difficulty]
    if item.type.lower() == NEIGHBOUR[class_name]:
        return "ignored"
    if item.type.lower() != class_name.lower():
        return "none"
    if item.occluded > occluded or item.truncated > truncated or item.bbox[3] - item.bbox[1] < height:
        return "ignored"
    return "valid"


def result_kind(item: Label, class_name: str, difficulty: str) -> str:
    if int(abs(item.bbox[1] - item.bbox[3])) < LIMITS[difficulty][2]:
        return "ignored"
    return "counted" if item.type.lower() == class_name.lower() else "none"


def one_frame(
    labels: Sequence[Label],
    results: Sequence[Label],
    class_name: str,
    metric: str,
    iou: float,
    difficulty: str,
    threshold: float | None,
) -> dict:
    """Scores of the true positives, number of false positives and similarity; no threshold: the first pass."""
    kinds = [result_kind(item, class_name, difficulty) for item in results]
    usable = [
        kind != "none" and (threshold is None or item.score >= threshold)
        for kind, item in zip(kinds, results, strict=True)
    ]
    assigned = [False] * len(results)
    scores, similarity = [], 0.0
    for label in labels:
        kind = label_kind(label, class_name, difficulty)
        if kind == "none":
            continue
        taken = None
        for index, item in enumerate(results):
            if not usable[index] or assigned[index] or intersection_over_union(label, item, metric) <= iou:
                continue
            if taken is None:
                taken = index
            elif threshold is None:
                if item.score > results[taken].score:
                    taken = index
            elif kinds[index] == "counted":
                new, old = (intersection_over_union(label, results[k], metric) for k in (index, taken))
                if kinds[taken] == "ignored" or new > old:
                    taken = index
        if taken is None:
            continue
        assigned[taken] = True
        if kind == "valid" and kinds[taken] == "counted":
            scores.append(results[taken].score)
            similarity += (1 + math.cos(label.alpha - results[taken].alpha)) / 2
    false = 0
    for index, item in enumerate(results):
        if kinds[index] == "counted" and usable[index] and not assigned[index]:
            regions = [label for label in labels if label.type.lower() == "dontcare"]
            false += not any(share_of_detection(region, item, metric) > iou for region in regions)
    return {"scores": scores, "false": false, "similarity": similarity}


def recall_thresholds(scores: list[float], valid_count: int) -> list[float]:
    scores = sorted(scores, reverse=True)
    thresholds, recall = [], 0.0
    for index, value in enumerate(scores):
        last = index == len(scores) - 1
        low = (index + 1) / valid_count
        high = low if last else (index + 2) / valid_count
        if not last and high - recall < recall - low:
            continue
        thresholds.append(value)
        recall += 1 / 40
    return thresholds


@cache
def intersection_over_union(a: Label, b: Label, metric: str) -> float:
    shared = intersection(a, b, metric)
    return shared / (content(a, metric) + content(b, metric) - shared) if shared > 0 else 0.0


def share_of_detection(region: Label, item: Label, metric: str) -> float:
    if metric in ("bev", "3d"):
        return 0.0  # DontCare's 3-D boxes are placeholders
    shared = intersection(region, item, metric)
    return shared / content(item, metric) if shared > 0 else 0.0


def intersection(a: Label, b: Label, metric: str) -> float:
    if metric in ("2d", "aos"):
        width = min(a.bbox[2], b.bbox[2]) - max(a.bbox[0], b.bbox[0])
        height = min(a.bbox[3], b.bbox[3]) - max(a.bbox[1], b.bbox[1])
        return max(width, 0.0) * max(height, 0.0)
    shared = ground(a).intersection(ground(b)).area
    if metric == "3d":
        bottom, top = min(a.location[1], b.location[1]), max(item.location[1] - item.dimensions[0] for item in (a, b))
        shared *= max(0.0, bottom - top)
    return shared


def content(a: Label, metric: str) -> float:
    if metric in ("2d", "aos"):
        return (a.bbox[2] - a.bbox[0]) * (a.bbox[3] - a.bbox[1])
    height, width, length = a.dimensions
    return width * length * (height if metric == "3d" else 1.0)


@cache
def ground(a: Label) -> Polygon:
    """The box's outline in (x, z); rotation_y turns from x towards -z."""
    _, width, length = a.dimensions
    outline = affinity.rotate(
        box(-length / 2, -width / 2, length / 2, width / 2), -a.rotation_y, origin=(0, 0), use_radians=True
    )
    return affinity.translate(outline, a.location[0], a.location[2])
