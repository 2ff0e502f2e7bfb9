"""Random labels and results in which every rule of the evaluation has something to decide."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from lidar_ebm.types import Label

SIZES = {"Car": (1.5, 1.6, 3.9), "Pedestrian": (1.75, 0.6, 0.8), "Cyclist": (1.75, 0.6, 1.8)}
LABEL_TYPES = ("Car", "Pedestrian", "Cyclist", "Van", "Person_sitting", "Truck", "Misc", "Tram")
LABEL_SHARES = (0.4, 0.18, 0.15, 0.1, 0.07, 0.04, 0.03, 0.03)
HEIGHTS = (
    24.5,
    24.99,
    25.0,
    30.0,
    39.5,
    39.99,
    40.0,
    40.0,
    50.0,
    60.0,
    70.0,
    90.0,
)  # of 2-D boxes, at and around the limits
REGION = Label("DontCare", -1, -1, -10.0, (0, 0, 0, 0), (-1, -1, -1), (-1000, -1000, -1000), -10.0)


def random_frames(count: int, seed: int, *, empty_share: float = 0.1) -> tuple[list[list[Label]], list[list[Label]]]:
    """Labels and results of `count` frames; some frames have none of the one, of the other, or of both."""
    generator = np.random.default_rng(seed)
    labels, results = [], []
    for _ in range(count):
        objects = [random_label(generator) for _ in range(generator.integers(2, 10))]
        if generator.random() < empty_share:
            objects = []
        found = [copy for item in objects for copy in detections_of(item, generator)]
        alarms = [random_detection(generator) for _ in range(generator.integers(0, 4))]
        regions = [region_over(item, generator) for item in alarms if generator.random() < 0.4]
        both = objects + regions
        generator.shuffle(both)
        everything = found + alarms
        generator.shuffle(everything)
        labels.append(both)
        results.append(everything if generator.random() >= empty_share else [])
    return labels, results


def random_label(generator: np.random.Generator) -> Label:
    name = str(generator.choice(LABEL_TYPES, p=LABEL_SHARES))
    shape = np.array(SIZES.get(name, SIZES["Car"])) * generator.uniform(0.9, 1.1, 3)
    left, top = generator.uniform(0, 1100), generator.uniform(100, 250)
    height = float(generator.choice(HEIGHTS))
    return Label(
        type=name if generator.random() < 0.9 else name.upper(),
        truncated=float(generator.choice((0.0, 0.0, 0.0, 0.0, 0.0, 0.15, 0.16, 0.3, 0.31, 0.5, 0.51))),
        occluded=int(generator.choice((0, 0, 0, 0, 0, 1, 2, 3))),
        alpha=generator.uniform(-math.pi, math.pi),
        bbox=(left, top, left + height * generator.uniform(0.8, 2.0), top + height),
        dimensions=tuple(shape.tolist()),
        location=(generator.uniform(-20, 20), generator.uniform(1.4, 1.9), generator.uniform(5, 60)),
        rotation_y=generator.uniform(-math.pi, math.pi),
    )


def detections_of(item: Label, generator: np.random.Generator) -> list[Label]:
    """None to three detections near a label: exact, close, loose, repeated, of another class, too low, flat."""
    found = []
    for _ in range(generator.choice((0, 1, 1, 1, 2, 3))):
        noise = generator.choice((0.0, 0.01, 0.05))
        size = item.bbox[3] - item.bbox[1]
        kind = item.type
        if generator.random() < 0.15 or item.type.lower() not in map(str.lower, SIZES):
            kind = str(generator.choice(tuple(SIZES)))
        detection = replace(
            item,
            type=kind,
            truncated=-1.0,
            occluded=-1,
            alpha=item.alpha + generator.normal(0, 0.3),
            bbox=tuple((np.array(item.bbox) + generator.normal(0, noise, 4) * size).tolist()),
            dimensions=tuple((np.array(item.dimensions) * np.exp(generator.normal(0, noise, 3))).tolist()),
            location=tuple((np.array(item.location) + generator.normal(0, noise, 3)).tolist()),
            rotation_y=item.rotation_y + generator.normal(0, noise),
            score=random_score(generator),
        )
        found.append(detection)
        if generator.random() < 0.15:  # the same box once more: equal overlaps
            found.append(replace(detection, score=generator.choice((detection.score, random_score(generator)))))
        if generator.random() < 0.1:  # the same place, too low for any difficulty
            x1, y1, x2, _ = detection.bbox
            found.append(replace(detection, bbox=(x1, y1, x2, y1 + 24.99), score=random_score(generator)))
        if generator.random() < 0.05:  # nothing to overlap with
            found.append(replace(detection, bbox=(detection.bbox[0],) * 4, dimensions=(0.0, 0.0, 0.0)))
        if generator.random() < 0.05:  # known in the image only
            found.append(replace(detection, dimensions=(-1, -1, -1), location=(-1000, -1000, -1000)))
        if generator.random() < 0.05:  # known in 3-D only
            found.append(replace(detection, bbox=(-1, -1, -1, -1)))
    return found


def random_detection(generator: np.random.Generator) -> Label:
    item = random_label(generator)
    name = str(generator.choice(tuple(SIZES)))
    return replace(item, type=name, truncated=-1.0, occluded=-1, score=random_score(generator))


def random_score(generator: np.random.Generator) -> float:
    """Half of the scores are among a few values, so that many are equal."""
    if generator.random() < 0.5:
        return float(generator.integers(0, 8)) / 8
    return float(generator.normal(0.5, 0.3))


def region_over(item: Label, generator: np.random.Generator) -> Label:
    """A DontCare region that covers all or a part of a detection."""
    x1, y1, x2, y2 = item.bbox
    cover = generator.uniform(0.3, 1.2)
    return replace(REGION, bbox=(x1 - 1.0, y1 - 1.0, x1 + cover * (x2 - x1), y2 + 1.0))
