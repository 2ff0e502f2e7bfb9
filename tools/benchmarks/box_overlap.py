"""Rotated overlaps against shapely, and rotated suppression against the reference and a greedy loop in numba.

shapely's polygons are made before its time starts, ours starts from the boxes; the loop in numba runs on one thread. On
a GPU the reference on that GPU is the other side. `python tools/benchmarks/box_overlap.py --help`
"""

from __future__ import annotations

import math
from functools import partial

import numba
import numpy as np
import shapely
import torch
from harness import Comparison, Settings, compare, run
from torch import Tensor

from cuda_ops.box_overlap import op, reference

PAIRED, CROWDED = 1_000, 300
PROPOSALS, OBJECTS = 4_096, 400
THRESHOLD = 0.1
SPREAD = torch.tensor([[0.0, 70.4], [-40.0, 40.0]])  # m, KITTI's range
CROWD = torch.tensor([[0.0, 3.0], [0.0, 3.0]])  # nearly all overlap


def cars(count: int, seed: int, region: Tensor) -> Tensor:
    """Boxes [count, 7] of cars' sizes, evenly over a region (x, y) x (low, high)."""
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand(count, 3, generator=generator)
    position = region[:, 0] + share[:, :2] * (region[:, 1] - region[:, 0])
    size = torch.tensor([3.9, 1.6, 1.56]) * (1 + 0.1 * torch.randn(count, 3, generator=generator))
    yaw = 2 * math.pi * share[:, 2:] - math.pi
    return torch.cat((position, torch.full((count, 1), -1.0), size, yaw), dim=1)


def proposals(seed: int) -> tuple[Tensor, Tensor]:
    """Boxes [4096, 7] as a detector proposes them, several around each of 400 objects, and scores [4096]."""
    generator = torch.Generator().manual_seed(seed)
    of_object = torch.randint(OBJECTS, (PROPOSALS,), generator=generator)
    noise = torch.randn(PROPOSALS, 7, generator=generator) * torch.tensor([0.3, 0.3, 0.1, 0.15, 0.05, 0.05, 0.1])
    return cars(OBJECTS, seed, SPREAD)[of_object] + noise, torch.rand(PROPOSALS, generator=generator)


def corners(boxes: Tensor) -> np.ndarray:
    """Corners [n, 4, 2] float64 seen from above, counter-clockwise."""
    x, y, _, length, width, _, yaw = boxes.cpu().double().numpy()[:, :, None].transpose(1, 0, 2)  # each [n, 1]
    along, across = length / 2 * np.array([1, -1, -1, 1]), width / 2 * np.array([1, 1, -1, -1])  # [n, 4]
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.stack((x + cos * along - sin * across, y + sin * along + cos * across), axis=2)


def shapely_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU [N, M] of polygons, every pair intersected."""
    shared = shapely.area(shapely.intersection(a[:, None], b[None, :]))
    return shared / (shapely.area(a)[:, None] + shapely.area(b)[None, :] - shared)


def shapely_tree_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The same, only the pairs intersected whose axis-parallel bounds meet."""
    first, second = shapely.STRtree(b).query(a)
    shared = np.zeros((len(a), len(b)))
    shared[first, second] = shapely.area(shapely.intersection(a[first], b[second]))
    return shared / (shapely.area(a)[:, None] + shapely.area(b)[None, :] - shared)


@numba.njit
def _clipped_area(subject: np.ndarray, clip: np.ndarray) -> float:
    """Area shared by two convex quadrilaterals [4, 2], counter-clockwise: one clipped by each side of the other."""
    polygon, count = np.empty((16, 2)), 4
    polygon[:4] = subject
    clipped = np.empty((16, 2))
    for side in range(4):
        start, end = clip[side], clip[(side + 1) % 4]
        kept = 0
        for k in range(count):
            p, q = polygon[k], polygon[(k + 1) % count]
            at_p = (end[0] - start[0]) * (p[1] - start[1]) - (end[1] - start[1]) * (p[0] - start[0])
            at_q = (end[0] - start[0]) * (q[1] - start[1]) - (end[1] - start[1]) * (q[0] - start[0])
            if at_p >= 0.0:
                clipped[kept] = p
                kept += 1
            if at_p * at_q < 0.0:
                clipped[kept] = p + at_p / (at_p - at_q) * (q - p)
                kept += 1
        polygon, clipped, count = clipped, polygon, kept
    area = 0.0
    for k in range(count):
        p, q = polygon[k], polygon[(k + 1) % count]
        area += 0.5 * (p[0] * q[1] - p[1] * q[0])
    return area


@numba.njit
def _greedy(boxes: np.ndarray, outlines: np.ndarray, order: np.ndarray, threshold: float) -> np.ndarray:
    """Rows that stay, by falling score: each kept box is compared with all that are left and whose circles it meets."""
    radius = 0.5 * np.sqrt(boxes[:, 3] ** 2 + boxes[:, 4] ** 2)
    area = boxes[:, 3] * boxes[:, 4]
    gone = np.zeros(len(boxes), dtype=np.bool_)
    kept = []
    for at in range(len(order)):
        i = order[at]
        if gone[i]:
            continue
        kept.append(i)
        for j in order[at + 1 :]:
            if gone[j]:
                continue
            dx, dy, reach = boxes[i, 0] - boxes[j, 0], boxes[i, 1] - boxes[j, 1], radius[i] + radius[j]
            if dx * dx + dy * dy > reach * reach:
                continue
            shared = _clipped_area(outlines[i], outlines[j])
            gone[j] = shared > threshold * (area[i] + area[j] - shared)
    return np.array(kept)


def numba_nms(boxes: Tensor, scores: Tensor) -> Tensor:
    """Suppression with polygons clipped in numba, float64, one thread."""
    order = np.argsort(-scores.numpy(), kind="stable")
    return torch.from_numpy(_greedy(boxes.double().numpy(), corners(boxes), order, THRESHOLD))


def _overlaps(settings: Settings, count: int, region: Tensor, scene: str, aim: float | None) -> list[Comparison]:
    a, b = cars(count, 0, region).to(settings.device), cars(count, 1, region).to(settings.device)
    work = f"rotated BEV IoU, {count:,} × {count:,}, {scene}"

    def ours() -> Tensor:
        return op.box_iou_bev(a, b)

    if settings.device.type != "cpu":
        torch.testing.assert_close(ours(), reference.box_iou_bev(a, b), atol=1e-6, rtol=0)
        return [compare(settings, work, ours, lambda: reference.box_iou_bev(a, b), against="reference", aim=aim)]
    first, second = shapely.polygons(corners(a)), shapely.polygons(corners(b))
    rows = []
    for side, against, wanted in (
        (shapely_iou, "shapely, all pairs", aim),
        (shapely_tree_iou, "shapely, pairs from an STRtree", None),
    ):
        np.testing.assert_allclose(ours().numpy(), side(first, second), atol=1e-5)
        rows.append(compare(settings, work, ours, partial(side, first, second), against=against, aim=wanted))
    return rows


def measure(settings: Settings) -> list[Comparison]:
    """The table of these operations."""
    rows = _overlaps(settings, PAIRED, SPREAD, "over KITTI's range", 100)
    rows += _overlaps(settings, CROWDED, CROWD, "nearly all overlapping", None)
    boxes, scores = (tensor.to(settings.device) for tensor in proposals(2))
    work = f"rotated NMS, {PROPOSALS:,} boxes"

    def ours() -> Tensor:
        return op.nms_bev(boxes, scores, THRESHOLD)

    def plain() -> Tensor:
        return reference.nms_bev(boxes, scores, THRESHOLD)

    def loop() -> Tensor:
        return numba_nms(boxes, scores)

    assert torch.equal(ours(), plain())
    rows.append(compare(settings, work, ours, plain, against="reference", aim=10))
    if settings.device.type == "cpu":
        assert torch.equal(ours(), loop())
        rows.append(compare(settings, work, ours, loop, against="greedy loop in numba, 1 thread"))
    return rows


if __name__ == "__main__":
    run(measure, __doc__ or "")
