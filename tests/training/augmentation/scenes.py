"""Frames and a label database in memory for the augmentation's tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from shapely import Polygon

from lidar_ebm.config.detector import ClassConfig
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.geometry.boxes import corners_bev

CLASSES = (ClassConfig(merge=("Van",)), ClassConfig(name="Pedestrian"), ClassConfig(name="Cyclist"))
SIZES = {"Car": (3.9, 1.6, 1.56), "Van": (5.0, 1.9, 2.2), "Pedestrian": (0.8, 0.6, 1.73), "Cyclist": (1.76, 0.6, 1.73)}
GROUND = -1.7  # m
DIFFICULTIES = ("easy", "moderate", "hard", "beyond")


@dataclass(frozen=True)
class Objects:
    """Stand-in for a label database, as the augmentation sees it."""

    types: np.ndarray
    boxes: np.ndarray
    difficulty: np.ndarray
    point_counts: np.ndarray
    clouds: tuple[np.ndarray, ...]
    difficulties: tuple[str, ...] = DIFFICULTIES
    velocity: np.ndarray | None = None

    def points(self, index: int, channels: Sequence[str] = ("reflectance",)) -> np.ndarray:
        assert self.clouds[index].shape[1] == 3 + len(channels)
        return self.clouds[index]


def make_moving_frame(seed: int, *, cars: int = 5, sweeps: int = 4) -> Sample:
    """A frame of several sweeps 0.1 s apart: points of each object's box as it came, and points of nothing.

    Points are [N, 5] with the time lag last; the fourth column tells points of object i by the value i, of none by -1.
    """
    rng = np.random.default_rng(seed)
    still = boxes_on_ground(rng, ["Car"] * cars)
    velocity = rng.uniform(-8, 8, (cars, 2)).astype(np.float32)
    clouds = []
    for sweep in range(sweeps):
        lag = np.float32(0.1 * sweep)
        for row, box in enumerate(still):
            offset = rng.uniform(-0.45, 0.45, (30, 3)) * box[3:6]
            cos, sin = math.cos(box[6]), math.sin(box[6])
            x = box[0] + offset[:, 0] * cos - offset[:, 1] * sin - velocity[row, 0] * lag
            y = box[1] + offset[:, 0] * sin + offset[:, 1] * cos - velocity[row, 1] * lag
            clouds.append(np.column_stack((x, y, box[2] + offset[:, 2], np.full(30, row), np.full(30, lag))))
        x, y = rng.uniform((0, -30), (70, 30), (200, 2)).T
        clouds.append(np.column_stack((x, y, np.full(200, 4.0), np.full(200, -1), np.full(200, lag))))
    boxes = np.concatenate([still, velocity], axis=1)
    return Sample("moving", np.concatenate(clouds).astype(np.float32), boxes, np.zeros(cars, np.int64))


def places_in_boxes(frame: Sample) -> np.ndarray:
    """Offsets [N, 3] of the objects' points, in their order, in the frame of their box as it was when they were
    measured, by `make_moving_frame`'s numbers."""
    points = frame.points[frame.points[:, 3] >= 0].astype(np.float64)
    boxes = frame.boxes[points[:, 3].astype(int)].astype(np.float64)
    x, y, z = (points[:, :3] - boxes[:, :3]).T
    x, y = x + boxes[:, 7] * points[:, 4], y + boxes[:, 8] * points[:, 4]
    cos, sin = np.cos(boxes[:, 6]), np.sin(boxes[:, 6])
    return np.stack((x * cos + y * sin, y * cos - x * sin, z), axis=1)


def slope(x: np.ndarray | float, y: np.ndarray | float) -> np.ndarray:
    """Height of the ground of `make_frame` when it is not level, m."""
    return GROUND + 0.03 * np.asarray(x) - 0.02 * np.asarray(y)


def boxes_on_ground(rng: np.random.Generator, types: Sequence[str], *, apart: bool = True) -> np.ndarray:
    """Boxes [M, 7] float32 standing on z = GROUND; with `apart` no two overlap seen from above."""
    boxes: list[np.ndarray] = []
    shapes: list[Polygon] = []
    while len(boxes) < len(types):
        length, width, height = np.array(SIZES[types[len(boxes)]]) * rng.uniform(0.9, 1.1, 3)
        x, y, yaw = rng.uniform((5, -25, -math.pi), (60, 25, math.pi))
        box = np.array([x, y, GROUND + height / 2, length, width, height, yaw], np.float32)
        shape = footprint(box)
        if not apart or not any(shape.intersects(other) for other in shapes):
            boxes.append(box)
            shapes.append(shape)
    return np.array(boxes, np.float32).reshape(-1, 7)


def footprint(box: np.ndarray, margin: float = 0.0) -> Polygon:
    """A box [7] seen from above, grown by `margin` on every side."""
    grown = box.astype(np.float64)
    grown[3:5] += 2 * margin
    return Polygon(corners_bev(grown[None])[0])


def points_within(rng: np.random.Generator, box: np.ndarray, count: int) -> np.ndarray:
    """Points [count, 4] float32 inside a box, clear of its faces, and with a reflectance."""
    offset = rng.uniform(-0.49, 0.49, (count, 3)) * box[3:6]
    cos, sin = math.cos(box[6]), math.sin(box[6])
    x, y = cos * offset[:, 0] - sin * offset[:, 1], sin * offset[:, 0] + cos * offset[:, 1]
    position = np.stack((x, y, offset[:, 2]), axis=1) + box[:3]
    return np.column_stack((position, rng.uniform(0, 1, count))).astype(np.float32)


def box_coordinates(points: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Points [n, >= 3] in a box's own frame, [n, 3] float64: x along its heading, y to its left, z up."""
    offset = points[:, :3].astype(np.float64) - box[:3].astype(np.float64)
    cos, sin = math.cos(float(box[6])), math.sin(float(box[6]))
    return np.stack((cos * offset[:, 0] + sin * offset[:, 1], cos * offset[:, 1] - sin * offset[:, 0], offset[:, 2]), 1)


def make_frame(
    seed: int = 0, *, types: Sequence[str] = ("Car",) * 4, points: int = 4000, sloped: bool = False
) -> Sample:
    """Ground and clutter over the street, and boxes, apart from each other, with 30 points inside each."""
    rng = np.random.default_rng([seed, 1])
    ground = rng.uniform((0, -30, 0, 0), (65, 30, 0, 1), (points * 3 // 4, 4))
    ground[:, 2] = slope(ground[:, 0], ground[:, 1]) if sloped else GROUND
    clutter = rng.uniform((0, -30, GROUND, 0), (65, 30, 1, 1), (points - len(ground), 4))
    boxes = boxes_on_ground(rng, types)
    if sloped:
        boxes[:, 2] += (slope(boxes[:, 0], boxes[:, 1]) - GROUND).astype(np.float32)
    inside = [points_within(rng, box, 30) for box in boxes]
    cloud = np.concatenate([ground.astype(np.float32), clutter.astype(np.float32), *inside])
    classes = [next(i for i, item in enumerate(CLASSES) if name in (item.name, *item.merge)) for name in types]
    return Sample("000000", cloud, boxes, np.array(classes, dtype=np.int64))


def make_objects(seed: int = 0, *, count: int = 120) -> Objects:
    """Objects of all types, 1 to 40 points each, of every difficulty."""
    rng = np.random.default_rng([seed, 2])
    types = rng.choice(list(SIZES), count)
    boxes = boxes_on_ground(rng, types.tolist(), apart=False)
    counts = rng.integers(1, 40, count)
    clouds = tuple(points_within(rng, box, int(n)) for box, n in zip(boxes, counts, strict=True))
    return Objects(types, boxes, rng.choice(DIFFICULTIES, count), counts, clouds)


def overlapping_pairs(boxes: np.ndarray, margin: float = -1e-3) -> set[tuple[int, int]]:
    """Pairs of boxes that overlap seen from above by more than rounding."""
    shapes = [footprint(box, margin) for box in boxes]
    return {(i, j) for i in range(len(shapes)) for j in range(i) if shapes[i].intersects(shapes[j])}
