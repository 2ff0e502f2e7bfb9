"""Boxes to compare, and what shapely says of them."""

from __future__ import annotations

import math

import numpy as np
import shapely
import torch
from torch import Tensor

SPECIAL = torch.tensor(
    [
        [0.0, 0.0, 0.0, 4.0, 2.0, 1.5, 0.0],
        [0.0, 0.0, 0.0, 4.0, 2.0, 1.5, math.pi],  # the same, turned round
        [0.0, 0.0, 0.0, 4.0, 2.0, 1.5, 1e-7],  # nearly the same
        [0.0, 0.0, 0.0, 2.0, 4.0, 1.5, math.pi / 2],  # the same, sides exchanged
        [4.0, 0.0, 0.0, 4.0, 2.0, 1.5, 0.0],  # touching at an edge
        [4.0, 2.0, 0.0, 4.0, 2.0, 1.5, 0.0],  # touching at a corner
        [0.0, 0.0, 1.5, 4.0, 2.0, 1.5, 0.0],  # touching on top
        [0.1, 0.2, 0.1, 1.0, 0.5, 0.5, 0.7],  # inside
        [0.0, 0.0, 0.0, 12.0, 9.0, 5.0, 0.3],  # around
        [0.0, 0.0, 0.0, 8.0, 0.5, 1.5, math.pi / 2],  # crossing
        [0.0, 0.0, 0.0, 8.0, 0.001, 1.5, 0.4],  # very thin
        [0.0, 0.0, 0.0, 0.001, 0.001, 0.001, 0.4],  # very small
        [0.0, 0.0, 0.0, 60.0, 0.001, 1.5, 0.4],  # very thin and long
        [1.0, 1.0, 0.0, 60.0, 0.001, 1.5, 2.0],
        [0.0, 0.0, 0.0, 0.001, 60.0, 1.5, 0.4 - math.pi / 2],  # one of them again, sides exchanged
        [1.0, 1.0, 0.0, 4.0, 2.0, 1.5, math.pi / 4],
        [90.0, -90.0, 0.0, 4.0, 2.0, 1.5, 0.0],  # far from all of them
    ]
)
FAR = torch.tensor([96.0, -96.0, 0.0, 0.0, 0.0, 0.0, 0.0])


def random_boxes(count: int, seed: int, *, spread: float = 4.0, center: float = 0.0) -> Tensor:
    """[count, 7] float32 boxes of car-like to thin shapes around (center, -center)."""
    generator = np.random.default_rng(seed)
    boxes = np.empty((count, 7))
    boxes[:, :2] = generator.uniform(-spread, spread, (count, 2)) + np.array([center, -center])
    boxes[:, 2] = generator.uniform(-1, 1, count)
    boxes[:, 3:6] = np.exp(generator.uniform(np.log(0.3), np.log(6.0), (count, 3)))
    boxes[:, 6] = generator.uniform(-math.pi, math.pi, count)
    return torch.tensor(boxes, dtype=torch.float32)


def shapely_iou(a: Tensor, b: Tensor, *, use_height: bool, aligned: bool = False) -> np.ndarray:
    """IoU [N, M], or [N] row by row, float64."""
    first, second = a.cpu().double().numpy(), b.cpu().double().numpy()
    shape = (len(first),) if aligned else (len(first), len(second))
    if not aligned:
        first, second = np.repeat(first, shape[1], axis=0), np.tile(second, (shape[0], 1))
    middle = (first[:, :2] + second[:, :2]) / 2  # shapely itself loses digits far from the origin
    shared = shapely.area(shapely.intersection(_polygons(first, middle), _polygons(second, middle)))
    content = [box[:, 3] * box[:, 4] for box in (first, second)]
    if use_height:
        low = np.maximum(first[:, 2] - first[:, 5] / 2, second[:, 2] - second[:, 5] / 2)
        high = np.minimum(first[:, 2] + first[:, 5] / 2, second[:, 2] + second[:, 5] / 2)
        shared = shared * np.maximum(high - low, 0.0)
        content = [area * box[:, 5] for area, box in zip(content, (first, second), strict=True)]
    return (shared / (content[0] + content[1] - shared)).reshape(shape)


def _polygons(boxes: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """The outlines [N] of boxes [N, 7] seen from above, relative to origin [N, 2]."""
    along = boxes[:, 3:4] / 2 * np.array([1, -1, -1, 1])  # [N, 4]
    across = boxes[:, 4:5] / 2 * np.array([1, 1, -1, -1])  # [N, 4]
    cos, sin = np.cos(boxes[:, 6:]), np.sin(boxes[:, 6:])  # [N, 1]
    center = boxes[:, None, :2] - origin[:, None]  # [N, 1, 2]
    return shapely.polygons(center + np.stack((cos * along - sin * across, sin * along + cos * across), axis=2))
