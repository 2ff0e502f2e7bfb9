"""Random labels and results in which every rule of the evaluation has something to decide."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lidar_ebm.formats.kitti.label import Label

SIZES = {"Car": (1.5, 1.6, 3.9), "Pedestrian": (1.75, 0.6, 0.8), "Cyclist": (1.75, 0.6, 1.8)}
NEIGHBOURS = {"van": "Car", "person_sitting": "Pedestrian"}
LABEL_TYPES = ("Car", "Pedestrian", "Cyclist", "Van", "Person_sitting", "Truck", "Misc", "Tram")
# Of 2-D boxes, at and around the limits.
HEIGHTS = (24.5, 24.99, 25.0, 30.0, 39.5, 39.99, 40.0, 40.0, 50.0, 60.0, 70.0, 90.0)
NO_BOX = {"dimensions": (-1, -1, -1), "location": (-1000, -1000, -1000)}  # KITTI's placeholder
REGION = Label("DontCare", -1, -1, -10.0, (0, 0, 0, 0), rotation_y=-10.0, **NO_BOX)

Frames = list[list[Label]]


def mixed_score(generator: np.random.Generator) -> float:
    """Half of the scores are among a few values, so that many are equal."""
    if generator.random() < 0.5:
        return float(generator.integers(0, 8)) / 8
    return float(generator.normal(0.5, 0.3))


def wild_score(generator: np.random.Generator) -> float:
    """Negative, huge, tiny and denormal, and some that are equal."""
    size = 10.0 ** float(generator.choice((-310, -30, -3, 0, 0, 0, 3, 6)))
    return float(generator.choice((-1.0, 1.0))) * size * float(generator.choice((1.0, generator.random())))


@dataclass(frozen=True)
class Kind:
    """Kind of frames: their ingredients; what is not said is as in an ordinary set. Chances are 0..1."""

    labels: tuple[int, int] = (2, 9)  # minimum and maximum in a frame
    label_shares: tuple[float, ...] = (0.4, 0.18, 0.15, 0.1, 0.07, 0.04, 0.03, 0.03)  # of LABEL_TYPES
    copies: tuple[int, ...] = (0, 1, 1, 1, 2, 3)  # detections of a label: one of these numbers
    alarms: tuple[int, int] = (0, 3)  # minimum and maximum number of detections of nothing in a frame
    noise: tuple[float, ...] = (0.0, 0.01, 0.05)  # of a detection's place and size: one of these
    crowding: float = 1.0  # objects stand on 1 / crowding of the ground and the image's width and height
    empty: float = 0.1  # chance that a frame has no labels, and that it has no results
    twice: float = 0.0  # chance that a label stands there twice, or once more as its neighbour class
    other_class: float = 0.15  # chances of a detection: another class than the label's,
    again: float = 0.15  # the same box once more: equal overlaps,
    low: float = 0.1  # in the same place one too low for any difficulty, often of another class,
    flat: float = 0.05  # one without extent in some direction, or upside down,
    image_only: float = 0.05  # one whose 3-D box is KITTI's placeholder,
    ground_only: float = 0.05  # one without a 2-D box
    flat_label: float = 0.0  # the same of a label
    image_only_label: float = 0.0
    regions: float = 0.4  # chance that a DontCare region covers all or a part of an alarm, and half of it of a find
    solid_regions: float = 0.0  # chance that a region has a 3-D box
    exact: bool = False  # detections (in 2-D and 3-D) and regions cover exactly a half, 0.7 or all of what is there
    score: Callable[[np.random.Generator], float] = mixed_score


ORDINARY = Kind()


def random_frames(
    count: int, seed: int | list[int], *, kind: Kind = ORDINARY, empty_share: float | None = None
) -> tuple[Frames, Frames]:
    """Labels and results of `count` frames; some frames have none of the one, of the other, or of both."""
    generator = np.random.default_rng(seed)
    empty = kind.empty if empty_share is None else empty_share
    labels, results = [], []
    for _ in range(count):
        objects = [random_label(generator, kind) for _ in range(generator.integers(*kind.labels, endpoint=True))]
        if generator.random() < empty:
            objects = []
        found = [copy for item in objects for copy in detections_of(item, generator, kind)]
        alarms = [random_detection(generator, kind) for _ in range(generator.integers(*kind.alarms, endpoint=True))]
        regions = [
            region_over(item, generator, kind)
            for items, chance in ((alarms, kind.regions), (found, kind.regions / 2), (alarms, kind.regions / 2))
            for item in items
            if generator.random() < chance
        ]
        both = [copy for item in objects for copy in label_copies(item, generator, kind)] + regions
        generator.shuffle(both)
        everything = found + alarms
        generator.shuffle(everything)
        labels.append(both)
        results.append(everything if generator.random() >= empty else [])
    return labels, results


def random_label(generator: np.random.Generator, kind: Kind = ORDINARY) -> Label:
    name = str(generator.choice(LABEL_TYPES, p=kind.label_shares))
    shape = np.array(SIZES.get(name, SIZES["Car"])) * generator.uniform(0.9, 1.1, 3)
    left, top = generator.uniform(0, 1100) / kind.crowding, 100 + generator.uniform(0, 150) / kind.crowding
    height = float(generator.choice(HEIGHTS))
    width = height * generator.uniform(0.8, 2.0)
    label = Label(
        type=name if generator.random() < 0.9 else name.upper(),
        truncated=float(generator.choice((0.0, 0.0, 0.0, 0.0, 0.0, 0.15, 0.16, 0.3, 0.31, 0.5, 0.51))),
        occluded=int(generator.choice((0, 0, 0, 0, 0, 1, 2, 3))),
        alpha=generator.uniform(-math.pi, math.pi),
        # Two decimals as in KITTI's files: rounding decides which heights of 25.00 are less than 25.
        bbox=tuple(round(value, 2) for value in (left, top, left + width, top + height)),
        dimensions=tuple(shape.tolist()),
        location=(
            generator.uniform(-20, 20) / kind.crowding,
            generator.uniform(1.4, 1.9),
            20 + generator.uniform(-15, 40) / kind.crowding,
        ),
        rotation_y=generator.uniform(-math.pi, math.pi),
    )
    return on_grid(label) if kind.exact else label


def on_grid(item: Label) -> Label:
    """About the same box in numbers whose products and differences are exact, across the camera's view."""
    left, top, right, bottom = (round(value) for value in item.bbox)
    width = max(round((right - left) / 10), 1) * 10
    x, y, z = (round(value * 4) / 4 for value in item.location)
    return replace(
        item,
        bbox=(float(left), float(top), float(left + width), float(bottom)),
        dimensions=(1.5, 2.0, 5.0),
        location=(x, y, z),
        rotation_y=0.0,
    )


def covered(item: Label, generator: np.random.Generator) -> Label:
    """The left half, or the like, of a box on the grid."""
    tenths = int(generator.choice((5, 7, 10)))
    x1, y1, x2, y2 = item.bbox
    height, width, _ = item.dimensions
    return replace(item, bbox=(x1, y1, x1 + (x2 - x1) // 10 * tenths, y2), dimensions=(height, width, tenths / 2))


def label_copies(item: Label, generator: np.random.Generator, kind: Kind) -> list[Label]:
    """A label as it stands in the file: sometimes without an angle or extent, twice, or known in the image only."""
    copies = [item if generator.random() < 0.98 else replace(item, alpha=-10.0)]
    if generator.random() < kind.twice:
        neighbour = next((low for low, name in NEIGHBOURS.items() if name.lower() == item.type.lower()), item.type)
        copies.append(replace(item, type=str(generator.choice((item.type, neighbour)))))
    if generator.random() < kind.flat_label:
        copies[0] = flattened(copies[0], generator)
    if generator.random() < kind.image_only_label:
        copies[0] = replace(copies[0], **NO_BOX)
    return copies


def detections_of(item: Label, generator: np.random.Generator, kind: Kind = ORDINARY) -> list[Label]:
    """Detections near a label: exact, close, loose, repeated, of another class, too low, flat, or with half a box."""
    found = []
    for _ in range(generator.choice(kind.copies)):
        noise = generator.choice(kind.noise)
        size = item.bbox[3] - item.bbox[1]
        detection = replace(
            item,
            type=detected_type(item, generator, kind),
            truncated=-1.0,
            occluded=-1,
            alpha=item.alpha + generator.normal(0, 0.3),
            bbox=tuple((np.array(item.bbox) + generator.normal(0, noise, 4) * size).tolist()),
            dimensions=tuple((np.array(item.dimensions) * np.exp(generator.normal(0, noise, 3))).tolist()),
            location=tuple((np.array(item.location) + generator.normal(0, noise, 3)).tolist()),
            rotation_y=item.rotation_y + generator.normal(0, noise),
            score=kind.score(generator),
        )
        detection = covered(detection, generator) if kind.exact else detection
        found.append(detection)
        chances = generator.random(5)
        if chances[0] < kind.again:
            found.append(replace(detection, score=float(generator.choice((detection.score, kind.score(generator))))))
        if chances[1] < kind.low:
            x1, y1, x2, _ = detection.bbox
            name = str(generator.choice((detection.type, *SIZES, "Van", "Misc")))
            found.append(replace(detection, type=name, bbox=(x1, y1, x2, y1 + 24.99), score=kind.score(generator)))
        if chances[2] < kind.flat:
            found.append(replace(flattened(detection, generator), score=kind.score(generator)))
        if chances[3] < kind.image_only:
            found.append(replace(detection, **NO_BOX))
        if chances[4] < kind.ground_only:
            found.append(replace(detection, bbox=(float(generator.choice((-1, 0))),) * 4))
    return found


def detected_type(item: Label, generator: np.random.Generator, kind: Kind) -> str:
    """Mostly the label's class, or the one whose neighbour it is."""
    chance = generator.random()
    if chance < kind.other_class:
        return str(generator.choice(tuple(SIZES)))
    if chance < 1 - 0.2 * kind.other_class:
        return NEIGHBOURS.get(item.type.lower(), item.type)
    return item.type


def flattened(item: Label, generator: np.random.Generator) -> Label:
    """Without extent in one direction or in all, or with two sides of the 2-D box exchanged."""
    x1, y1, x2, y2 = item.bbox
    bbox = ((x1, y1, x1, y2), (x1, y1, x2, y1), (x1, y1, x1, y1), (x1, y2, x2, y1), (x2, y1, x1, y2), item.bbox)
    keep = generator.choice(((0, 1, 1), (1, 0, 1), (1, 1, 0), (0, 0, 0), (1, 1, 1)))
    size = tuple(float(value) for value in keep * np.array(item.dimensions))
    return replace(item, bbox=bbox[generator.integers(len(bbox))], dimensions=size)


def random_detection(generator: np.random.Generator, kind: Kind = ORDINARY) -> Label:
    item = random_label(generator, kind)
    name = str(generator.choice(tuple(SIZES)))
    item = replace(item, type=name, truncated=-1.0, occluded=-1, alpha=0.5, score=kind.score(generator))
    return replace(item, **NO_BOX) if generator.random() < kind.image_only else item


def region_over(item: Label, generator: np.random.Generator, kind: Kind = ORDINARY) -> Label:
    """A DontCare region that covers all or a part of a detection, and now and then much beside it."""
    x1, y1, x2, y2 = item.bbox
    cover = generator.uniform(0.3, 1.2)
    margin = float(generator.choice((1.0, 50.0)))
    if kind.exact:
        half = covered(item, generator)
        return replace(half, type="DontCare", truncated=-1.0, occluded=-1, alpha=-10.0, score=None)
    region = replace(
        REGION,
        type="DontCare" if generator.random() < 0.9 else "dontcare",
        bbox=(x1 - margin, y1 - margin, x1 + cover * (x2 - x1), y2 + margin),
    )
    if generator.random() < kind.solid_regions:
        x, y, z = item.location
        size = (3.0, float(generator.uniform(1, 4)), float(generator.uniform(3, 9)))
        region = replace(region, dimensions=size, location=(x + generator.uniform(-1, 1), y + 0.5, z), rotation_y=0.3)
    return region
