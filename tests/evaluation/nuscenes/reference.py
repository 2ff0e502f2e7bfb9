"""nuScenes' rules in plain Python, slow and straight from their description: what the fast program is held to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

CLASSES = (
    *("car", "truck", "bus", "trailer", "construction_vehicle", "pedestrian", "motorcycle", "bicycle"),
    *("traffic_cone", "barrier"),
)
GRID = [i * 0.01 for i in range(100)] + [1.0]
ERRORS = ("trans_err", "scale_err", "orient_err", "vel_err", "attr_err")
UNDEFINED = {"traffic_cone": {"orient_err", "vel_err", "attr_err"}, "barrier": {"vel_err", "attr_err"}}
NAN = math.nan


@dataclass
class Thing:
    """A label or a detection that is scored."""

    sample: int
    name: str
    x: float
    y: float
    size: tuple[float, float, float]
    yaw: float
    velocity: tuple[float, float]
    attribute: str
    score: float = NAN


def line(x: float, xs: Sequence[float], ys: Sequence[float], right: float) -> float:
    """L(x; X, Y) of the rules."""
    if x < xs[0]:
        return ys[0]
    if x > xs[-1]:
        return right
    at = max(j for j in range(len(xs)) if xs[j] <= x)
    if xs[at] == x or at == len(xs) - 1:
        return ys[at]
    return ys[at] + (x - xs[at]) * (ys[at + 1] - ys[at]) / (xs[at + 1] - xs[at])


def walk(labels: Sequence[Thing], detections: Sequence[Thing], limit: float) -> list[tuple[Thing, Thing | None]]:
    """Detections by falling score, the later of equals first, each with the label that it takes."""
    order = sorted(range(len(detections)), key=lambda i: (-detections[i].score, -i))
    taken: set[int] = set()
    pairs = []
    for i in order:
        best, nearest = None, math.inf
        for j, label in enumerate(labels):
            if j in taken or label.sample != detections[i].sample:
                continue
            distance = math.sqrt((label.x - detections[i].x) ** 2 + (label.y - detections[i].y) ** 2)
            if distance < nearest:
                best, nearest = j, distance
        if best is not None and nearest < limit:
            taken.add(best)
            pairs.append((detections[i], labels[best]))
        else:
            pairs.append((detections[i], None))
    return pairs


def errors_of(detection: Thing, label: Thing) -> dict[str, float]:
    """The five errors of a match."""
    volumes = [math.prod(thing.size) for thing in (detection, label)]
    common = math.prod(min(a, b) for a, b in zip(detection.size, label.size, strict=True))
    period = math.pi if label.name == "barrier" else 2 * math.pi
    velocities = (*detection.velocity, *label.velocity)
    return {
        "trans_err": math.sqrt((label.x - detection.x) ** 2 + (label.y - detection.y) ** 2),
        "scale_err": 1 - common / (sum(volumes) - common),
        "orient_err": abs((label.yaw - detection.yaw + period / 2) % period - period / 2),
        "vel_err": NAN if any(map(math.isnan, velocities)) else math.dist(detection.velocity, label.velocity),
        "attr_err": NAN if label.attribute == "" else float(label.attribute != detection.attribute),
    }


def curve(labels: Sequence[Thing], detections: Sequence[Thing], limit: float) -> dict[str, list[float]]:
    """Precision, scores and errors at the grid."""
    pairs = walk(labels, detections, limit)
    matched = [(detection, label) for detection, label in pairs if label is not None]
    if not labels or not matched:
        return {"precision": [0.0] * 101, "confidence": [0.0] * 101} | {name: [1.0] * 101 for name in ERRORS}
    recalls, precisions, true = [], [], 0
    for j, (_, label) in enumerate(pairs, 1):
        true += label is not None
        recalls.append(true / len(labels))
        precisions.append(true / j)
    scores = [detection.score for detection, _ in pairs]
    result = {
        "precision": [line(g, recalls, precisions, 0.0) for g in GRID],
        "confidence": [line(g, recalls, scores, 0.0) for g in GRID],
    }
    for name in ERRORS:
        values = [errors_of(detection, label)[name] for detection, label in matched]
        known = [not math.isnan(value) for value in values]
        if not any(known):
            result[name] = [1.0] * 101
            continue
        means = []
        for m in range(1, len(values) + 1):
            some = [value for value in values[:m] if not math.isnan(value)]
            means.append(sum(some) / len(some) if some else 0.0)
        xs, ys = [detection.score for detection, _ in matched][::-1], means[::-1]
        result[name] = [line(c, xs, ys, ys[-1]) for c in result["confidence"]]
    return result


def figures(labels: Sequence[Thing], detections: Sequence[Thing]) -> dict[str, Any]:
    """Every figure with the official names."""
    aps: dict[str, dict[float, float]] = {}
    errors: dict[str, dict[str, float]] = {}
    for name in CLASSES:
        own = [label for label in labels if label.name == name]
        found = [detection for detection in detections if detection.name == name]
        aps[name] = {}
        for limit in (0.5, 1.0, 2.0, 4.0):
            result = curve(own, found, limit)
            aps[name][limit] = sum(max(p - 0.1, 0.0) for p in result["precision"][11:]) / 90 / 0.9
            if limit == 2.0:
                last = max((i for i, c in enumerate(result["confidence"]) if c != 0), default=0)
                errors[name] = {
                    error: NAN
                    if error in UNDEFINED.get(name, ())
                    else 1.0
                    if last < 11
                    else sum(result[error][11 : last + 1]) / (last - 10)
                    for error in ERRORS
                }
    means = {}
    for error in ERRORS:
        values = [each[error] for each in errors.values() if not math.isnan(each[error])]
        means[error] = sum(values) / len(values)
    mean_ap = sum(sum(each.values()) / 4 for each in aps.values()) / 10
    score = (5 * mean_ap + sum(max(0.0, 1 - value) for value in means.values())) / 10
    return {
        "label_aps": aps,
        "label_tp_errors": errors,
        "tp_errors": means,
        "mean_ap": mean_ap,
        "nd_score": score,
    }
