"""Rotated overlaps and suppression against shapely and a literal greedy loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from cuda_ops.box_overlap.reference import box_iou_3d, box_iou_bev, nms_bev
from tests.cuda_ops.box_overlap.scenes import FAR, SPECIAL, random_boxes, shapely_iou
from tests.cuda_ops.devices import DEVICES


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
        function(a[:count].to(device), b[:count].to(device), aligned=True), iou.diagonal()[:count], atol=1e-6, rtol=0
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
    boxes: Tensor, scores: Tensor, threshold: float, class_index: Tensor, frames: Tensor, max_output: int | None
) -> list[int]:
    """Greedy suppression, word by word."""
    iou = shapely_iou(boxes, boxes, use_height=False)
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda row: (-float(scores[row]), row)):
        rivals = [j for j in kept if frames[j] == frames[i] and class_index[j] == class_index[i]]
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
    class_index = torch.randint(0, 2, (80,), generator=generator)
    frames = torch.randint(0, 3, (80,), generator=generator)
    kept = nms_bev(
        boxes.to(device),
        scores.to(device),
        threshold,
        class_index=class_index.to(device),
        batch_index=frames.to(device),
        max_output=max_output,
    )
    assert kept.dtype == torch.int64
    assert kept.tolist() == literal_nms(boxes, scores, threshold, class_index, frames, max_output)


@pytest.mark.parametrize("device", DEVICES)
def test_nms_of_one_group_and_of_nothing(device: str) -> None:
    boxes = SPECIAL[[0, 0, 4, 16]].to(device)  # two identical, one touching, one far away
    scores = torch.tensor([0.5, 0.9, 0.5, 0.1], device=device)
    assert nms_bev(boxes, scores, 0.1).tolist() == [1, 2, 3]
    assert nms_bev(boxes, scores, 0.1, max_output=2).tolist() == [1, 2]
    assert nms_bev(boxes, scores, 1.0).tolist() == [1, 0, 2, 3]
    assert nms_bev(boxes, scores, -1.0).tolist() == [1]
    assert nms_bev(boxes[:0], scores[:0], 0.1).tolist() == []
    assert nms_bev(boxes, scores, 0.1, max_output=0).tolist() == []
    with pytest.raises(ValueError, match="max_output is -1"):
        nms_bev(boxes, scores, 0.1, max_output=-1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("column", range(7))
def test_a_box_that_is_not_finite_overlaps_nothing(bad: float, column: int) -> None:
    good = SPECIAL[[0, 7, 8]]
    boxes = torch.cat((good, good[:1]))
    boxes[3, column] = bad
    for function in (box_iou_bev, box_iou_3d):
        iou = function(boxes, boxes)
        torch.testing.assert_close(iou[:3, :3], function(good, good), atol=1e-6, rtol=0)
        assert iou[3].tolist() == [0.0] * 4 and iou[:, 3].tolist() == [0.0] * 4
        assert function(boxes, boxes, aligned=True)[3] == 0.0
    assert 3 in nms_bev(boxes, torch.tensor([0.9, 0.8, 0.7, 0.6]), 0.01).tolist()


def test_a_score_that_is_not_a_number_comes_last() -> None:
    boxes = SPECIAL[[0, 0, 16, 16]]
    scores = torch.tensor([math.nan, -math.inf, math.nan, 0.3])
    assert nms_bev(boxes, scores, 0.1).tolist() == [3, 0]  # as low as -inf, which the earlier row precedes
    assert nms_bev(boxes, scores, 1.0).tolist() == [3, 0, 1, 2]


def test_half_precision_is_computed_in_more() -> None:
    boxes = random_boxes(30, 9, spread=300.0).half()  # squares of such distances are beyond float16
    boxes[15:] = boxes[:15]
    iou = box_iou_bev(boxes, boxes)
    assert iou.dtype == torch.float16
    torch.testing.assert_close(iou, box_iou_bev(boxes.float(), boxes.float()).half())
    assert iou.diagonal(15).tolist() == [1.0] * 15
