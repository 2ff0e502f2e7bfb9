"""Rotated overlaps and suppression against shapely and a literal greedy loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from shapely import affinity
from shapely.geometry import Polygon, box
from torch import Tensor

from cuda_ops.box_overlap import box_iou_3d, box_iou_bev, nms_bev

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


def rectangle(row: np.ndarray) -> Polygon:
    """A box's outline seen from above."""
    length, width = row[3], row[4]
    shape = box(-length / 2, -width / 2, length / 2, width / 2)
    return affinity.translate(affinity.rotate(shape, row[6], origin=(0, 0), use_radians=True), row[0], row[1])


def shapely_iou(a: Tensor, b: Tensor, *, use_height: bool) -> np.ndarray:
    """IoU [N, M] float64."""
    first, second = a.cpu().double().numpy(), b.cpu().double().numpy()
    result = np.zeros((len(first), len(second)))
    for i, p in enumerate(first):
        for j, q in enumerate(second):
            middle = np.zeros(7)
            middle[:2] = (p[:2] + q[:2]) / 2  # shapely itself loses digits far from the origin
            shared = rectangle(p - middle).intersection(rectangle(q - middle)).area
            content = [p[3] * p[4], q[3] * q[4]]
            if use_height:
                low, high = max(p[2] - p[5] / 2, q[2] - q[5] / 2), min(p[2] + p[5] / 2, q[2] + q[5] / 2)
                shared *= max(0.0, high - low)
                content = [content[0] * p[5], content[1] * q[5]]
            result[i, j] = shared / (sum(content) - shared)
    return result


def random_boxes(count: int, seed: int, *, spread: float = 4.0, center: float = 0.0) -> Tensor:
    """[count, 7] float32 boxes of car-like to thin shapes around (center, -center)."""
    generator = np.random.default_rng(seed)
    boxes = np.empty((count, 7))
    boxes[:, :2] = generator.uniform(-spread, spread, (count, 2)) + np.array([center, -center])
    boxes[:, 2] = generator.uniform(-1, 1, count)
    boxes[:, 3:6] = np.exp(generator.uniform(np.log(0.3), np.log(6.0), (count, 3)))
    boxes[:, 6] = generator.uniform(-math.pi, math.pi, count)
    return torch.tensor(boxes, dtype=torch.float32)


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
        [1.0, 1.0, 0.0, 4.0, 2.0, 1.5, math.pi / 4],
        [90.0, -90.0, 0.0, 4.0, 2.0, 1.5, 0.0],  # far from all of them
    ]
)
FAR = torch.tensor([96.0, -96.0, 0.0, 0.0, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("use_height", [False, True])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        (random_boxes(25, 0), random_boxes(30, 1)),
        (random_boxes(25, 2, center=100.0), random_boxes(30, 3, center=100.0)),
        (SPECIAL, SPECIAL),
        (SPECIAL + FAR, SPECIAL + FAR),
    ],
    ids=["random", "far", "special", "special far"],
)
def test_agrees_with_shapely(device: str, use_height: bool, a: Tensor, b: Tensor) -> None:
    function = box_iou_3d if use_height else box_iou_bev
    iou = function(a.to(device), b.to(device))
    assert iou.dtype == torch.float32
    assert iou.min() >= 0.0 and iou.max() <= 1.0
    np.testing.assert_allclose(iou.cpu().numpy(), shapely_iou(a, b, use_height=use_height), atol=1e-5)
    torch.testing.assert_close(function(b.to(device), a.to(device)).T, iou, atol=1e-6, rtol=0)
    count = min(len(a), len(b))
    torch.testing.assert_close(
        function(a[:count].to(device), b[:count].to(device), aligned=True), iou.diagonal()[:count], atol=0, rtol=0
    )


def test_double_precision_inputs_stay_double() -> None:
    a, b = random_boxes(20, 4).double(), random_boxes(20, 5).double()
    np.testing.assert_allclose(box_iou_bev(a, b).numpy(), shapely_iou(a, b, use_height=False), atol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("function", [box_iou_bev, box_iou_3d])
def test_no_boxes(device: str, function: object) -> None:
    assert callable(function)
    none, some = torch.zeros((0, 7), device=device), random_boxes(3, 6).to(device)
    assert function(none, some).shape == (0, 3)
    assert function(some, none).shape == (3, 0)
    assert function(none, none, aligned=True).shape == (0,)


def test_boxes_without_extent_overlap_nothing() -> None:
    flat = SPECIAL[:1].repeat(4, 1)
    flat[1, 3] = 0.0
    flat[2, 4] = -1.0
    flat[3, 5] = 0.0
    assert box_iou_bev(flat, flat)[1:3].abs().sum() == 0.0
    assert box_iou_3d(flat, flat)[1:].abs().sum() == 0.0


@pytest.mark.parametrize("function", [box_iou_bev, box_iou_3d])
def test_wrong_shapes_are_named(function: object) -> None:
    assert callable(function)
    with pytest.raises(ValueError, match=r"b has shape \(3, 6\)"):
        function(torch.zeros(2, 7), torch.zeros(3, 6))
    with pytest.raises(ValueError, match="aligned boxes need equal shapes"):
        function(torch.zeros(2, 7), torch.zeros(3, 7), aligned=True)
    with pytest.raises(ValueError, match=r"scores has shape \(3,\)"):
        nms_bev(torch.zeros(2, 7), torch.zeros(3), 0.5)


def literal_nms(
    boxes: Tensor, scores: Tensor, threshold: float, labels: Tensor, frames: Tensor, max_output: int | None
) -> list[int]:
    """Greedy suppression, word by word."""
    iou = shapely_iou(boxes, boxes, use_height=False)
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda row: (-float(scores[row]), row)):
        rivals = [j for j in kept if frames[j] == frames[i] and labels[j] == labels[i]]
        full = max_output is not None and sum(bool(frames[j] == frames[i]) for j in kept) >= max_output
        if not full and all(iou[i, j] <= threshold for j in rivals):
            kept.append(i)
    return kept


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("threshold", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("max_output", [None, 5])
def test_nms_agrees_with_a_literal_loop(device: str, threshold: float, max_output: int | None) -> None:
    boxes = random_boxes(80, 7)
    generator = torch.Generator().manual_seed(8)
    scores = torch.randint(0, 12, (80,), generator=generator) / 12  # many ties
    labels = torch.randint(0, 2, (80,), generator=generator)
    frames = torch.randint(0, 3, (80,), generator=generator)
    kept = nms_bev(
        boxes.to(device),
        scores.to(device),
        threshold,
        labels=labels.to(device),
        batch_index=frames.to(device),
        max_output=max_output,
    )
    assert kept.dtype == torch.int64
    assert kept.tolist() == literal_nms(boxes, scores, threshold, labels, frames, max_output)


@pytest.mark.parametrize("device", DEVICES)
def test_nms_of_one_group_and_of_nothing(device: str) -> None:
    boxes = SPECIAL[[0, 0, 4, 13]].to(device)  # two identical, one touching, one far away
    scores = torch.tensor([0.5, 0.9, 0.5, 0.1], device=device)
    assert nms_bev(boxes, scores, 0.1).tolist() == [1, 2, 3]
    assert nms_bev(boxes, scores, 0.1, max_output=2).tolist() == [1, 2]
    assert nms_bev(boxes, scores, 1.0).tolist() == [1, 0, 2, 3]
    assert nms_bev(boxes, scores, -1.0).tolist() == [1]
    assert nms_bev(boxes[:0], scores[:0], 0.1).tolist() == []
