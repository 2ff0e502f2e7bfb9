"""KITTI's rules word by word, slowly: nothing shared with the package but the `Label` type; overlaps by shapely.

Every overlap of a frame is measured once and a frame is walked again only where a threshold lets more detections in;
else these are plain loops over frames, labels and detections.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from shapely.geometry import Polygon

from lidar_ebm.formats.kitti.label import Label

LIMITS = {"easy": (0, 0.15, 40), "moderate": (1, 0.30, 25), "hard": (2, 0.50, 25)}
NEIGHBOUR = {"Car": "van", "Pedestrian": "person_sitting", "Cyclist": None}
COMPARED = {"2d": "image", "aos": "image", "bev": "ground", "3d": "volume"}

Frames = Sequence[Sequence[Label]]


@dataclass(frozen=True)
class Expected:
    """Figures of one class, metric, overlap and difficulty."""

    label_count: int  # valid labels
    thresholds: list[float]
    found: list[int]  # true positives at each threshold
    false: list[int]  # false positives
    false_negatives: list[int]
    curve: list[float]  # 41 values

    def ap(self) -> dict[str, float]:
        """Average precision in percent by kind of recall."""
        return {
            "R11": 100 * sum(self.curve[index] for index in range(0, 41, 4)) / 11,
            "R40": 100 * sum(self.curve[1:]) / 40,
            "mean41": 100 * sum(self.curve) / 41,
        }


@dataclass
class Counts:
    """Counts of one frame at a threshold, or in the first pass."""

    scores: list[float]  # of the true positives
    false: int
    false_negatives: int
    similarity: float


class Frame:
    """Labels and results of one frame."""

    def __init__(self, labels: Sequence[Label], results: Sequence[Label]) -> None:
        self.labels = labels
        self.results = results
        self.scores = [math.nan if item.score is None else item.score for item in results]
        self.regions = [label for label in labels if label.type.lower() == "dontcare"]
        self._overlaps: dict[str, list[list[float]]] = {}
        self._shares: dict[str, list[float]] = {}

    def overlaps(self, metric: str) -> list[list[float]]:
        """Intersection over union of each label with each result; 0 for labels that no class ever looks at."""
        kind = COMPARED[metric]
        if kind not in self._overlaps:
            relevant = {*(name.lower() for name in NEIGHBOUR), *NEIGHBOUR.values()}
            self._overlaps[kind] = [
                [intersection_over_union(label, item, metric) for item in self.results]
                if label.type.lower() in relevant
                else [0.0] * len(self.results)
                for label in self.labels
            ]
        return self._overlaps[kind]

    def shares(self, metric: str) -> list[float]:
        """The largest share of each result that one DontCare region covers."""
        kind = COMPARED[metric]
        if kind not in self._shares:
            self._shares[kind] = [
                max((share_of_detection(region, item, metric) for region in self.regions), default=0.0)
                for item in self.results
            ]
        return self._shares[kind]


def pair_frames(labels: Frames, results: Frames) -> list[Frame]:
    return [Frame(*both) for both in zip(labels, results, strict=True)]


def expected_curve(
    frames: Sequence[Frame], class_name: str, metric: str, iou: float, difficulty: str
) -> Expected | None:
    """Counts and precision at each threshold; None where the class is not scored."""
    if not scored(frames, class_name, metric):
        return None
    states = [
        (
            [label_kind(item, class_name, difficulty) for item in frame.labels],
            [result_kind(item, class_name, difficulty) for item in frame.results],
        )
        for frame in frames
    ]
    label_count = sum(kinds.count("valid") for kinds, _ in states)
    scores: list[float] = []
    for frame, kinds in zip(frames, states, strict=True):
        scores += one_frame(frame, *kinds, metric, iou, None).scores

    thresholds = recall_thresholds(scores, label_count)
    found, false, false_negatives = ([0] * len(thresholds) for _ in range(3))
    similarity = [0.0] * len(thresholds)
    for frame, kinds in zip(frames, states, strict=True):
        entered, counts = -1, Counts([], 0, 0, 0.0)
        for index, threshold in enumerate(thresholds):
            # The same detections as at the threshold before give the same counts.
            at_or_above = sum(score >= threshold for score in frame.scores)
            if at_or_above != entered:
                entered, counts = at_or_above, one_frame(frame, *kinds, metric, iou, threshold)
            found[index] += len(counts.scores)
            false[index] += counts.false
            false_negatives[index] += counts.false_negatives
            similarity[index] += counts.similarity

    curve = [0.0] * 41
    for index in range(len(thresholds)):
        if found[index] + false[index] > 0:
            gained = similarity[index] if metric == "aos" else found[index]
            curve[index] = gained / (found[index] + false[index])
    curve = [max(curve[index:]) for index in range(41)]
    return Expected(label_count, thresholds, found, false, false_negatives, curve)


def scored(frames: Sequence[Frame], class_name: str, metric: str) -> bool:
    """Tell if a detection of the class has a usable box, and for AOS every detection an angle."""
    everything = [item for frame in frames for item in frame.results]
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
    frame: Frame,
    label_kinds: list[str],
    result_kinds: list[str],
    metric: str,
    iou: float,
    threshold: float | None,
) -> Counts:
    """Counts of one frame, without a threshold in the first pass, with one in the second."""
    overlaps = frame.overlaps(metric)
    scores = frame.scores
    relevant = [
        index
        for index, score in enumerate(scores)
        if result_kinds[index] != "none" and (threshold is None or score >= threshold)
    ]
    assigned = [False] * len(scores)
    counts = Counts([], 0, 0, 0.0)
    for row, label in enumerate(frame.labels):
        if label_kinds[row] == "none":
            continue
        taken = None
        for index in relevant:
            if assigned[index] or not overlaps[row][index] > iou:
                continue
            if threshold is None:
                if taken is None or scores[index] > scores[taken]:
                    taken = index
            elif result_kinds[index] == "counted":
                if taken is None or result_kinds[taken] == "ignored" or overlaps[row][index] > overlaps[row][taken]:
                    taken = index
            elif taken is None:
                taken = index
        if taken is None:
            counts.false_negatives += label_kinds[row] == "valid"
            continue
        assigned[taken] = True
        if label_kinds[row] == "valid" and result_kinds[taken] == "counted":
            counts.scores.append(scores[taken])
            counts.similarity += (1 + math.cos(label.alpha - frame.results[taken].alpha)) / 2
    for index in relevant:
        if result_kinds[index] == "counted" and not assigned[index]:
            counts.false += not frame.shares(metric)[index] > iou
    return counts


def recall_thresholds(scores: Sequence[float], valid_count: int) -> list[float]:
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


def intersection_over_union(a: Label, b: Label, metric: str) -> float:
    shared = intersection(a, b, metric)
    return shared / (content(a, metric) + content(b, metric) - shared) if shared > 0 else 0.0


def share_of_detection(region: Label, item: Label, metric: str) -> float:
    """A region's 3-D box is a placeholder in KITTI's own files, but it is measured like any other."""
    shared = intersection(region, item, metric)
    return shared / content(item, metric) if shared > 0 else 0.0


def intersection(a: Label, b: Label, metric: str) -> float:
    """Area or volume that two boxes share; a box without extent shares none."""
    if COMPARED[metric] == "image":
        width = min(a.bbox[2], b.bbox[2]) - max(a.bbox[0], b.bbox[0])
        height = min(a.bbox[3], b.bbox[3]) - max(a.bbox[1], b.bbox[1])
        return max(width, 0.0) * max(height, 0.0)
    height = 1.0
    if COMPARED[metric] == "volume":
        bottom = min(a.location[1], b.location[1])
        top = max(a.location[1] - a.dimensions[0], b.location[1] - b.dimensions[0])
        height = max(bottom - top, 0.0)
    if height == 0 or content(a, "bev") == 0 or content(b, "bev") == 0 or apart(a, b):
        return 0.0
    return height * ground(a).intersection(ground(b)).area


def content(a: Label, metric: str) -> float:
    if COMPARED[metric] == "image":
        return (a.bbox[2] - a.bbox[0]) * (a.bbox[3] - a.bbox[1])
    height, width, length = a.dimensions
    return abs(width * length) * (height if COMPARED[metric] == "volume" else 1.0)


def apart(a: Label, b: Label) -> bool:
    """Tell if two boxes are too far from each other to touch on the ground."""
    distance = math.dist((a.location[0], a.location[2]), (b.location[0], b.location[2]))
    return distance > (math.hypot(*a.dimensions[1:]) + math.hypot(*b.dimensions[1:])) / 2 + 1e-6


@cache
def ground(a: Label) -> Polygon:
    """The box's outline in (x, z), whatever the sign of its sizes; rotation_y turns from x towards -z."""
    _, width, length = a.dimensions
    corners = []
    for along, across in ((length, width), (length, -width), (-length, -width), (-length, width)):
        x = math.cos(a.rotation_y) * along / 2 + math.sin(a.rotation_y) * across / 2
        z = -math.sin(a.rotation_y) * along / 2 + math.cos(a.rotation_y) * across / 2
        corners.append((a.location[0] + x, a.location[2] + z))
    return Polygon(corners)
