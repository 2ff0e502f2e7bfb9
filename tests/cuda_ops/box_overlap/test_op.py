"""The native overlaps and suppression against shapely and the reference."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from cuda_ops import _native
from cuda_ops.box_overlap import op, reference
from tests.cuda_ops.box_overlap.scenes import FAR, SPECIAL, random_boxes, shapely_iou
from tests.cuda_ops.devices import DEVICES

Overlap = Callable[..., Tensor]
FUNCTIONS = [(op.box_iou_bev, reference.box_iou_bev), (op.box_iou_3d, reference.box_iou_3d)]


def pairs(count: int, seed: int, shape: str) -> tuple[Tensor, Tensor]:
    """Boxes a, b [count, 7] of which most rows overlap."""
    generator = np.random.default_rng(seed)
    a = random_boxes(count, seed, spread=100.0 if shape == "far" else 5.0)
    if shape == "thin":
        a[:, 3], a[:, 4] = 60.0, 1e-3
        swapped = torch.from_numpy(generator.random(count) < 0.5)
        a[swapped] = a[swapped][:, [0, 1, 2, 4, 3, 5, 6]]
    b = a[torch.from_numpy(generator.permutation(count))]
    b[:, :3] = a[:, :3] + torch.from_numpy(generator.normal(0.0, 0.7, (count, 3))).float()
    same_yaw = torch.from_numpy(generator.random(count) < 0.3)
    b[same_yaw, 6] = a[same_yaw, 6]
    identical = torch.from_numpy(generator.random(count) < 0.1)
    b[identical] = a[identical]
    return a, b


def proposals(count: int, seed: int, *, objects: int = 40) -> Tensor:
    """[count, 7] boxes around some objects in 70 m x 80 m."""
    generator = np.random.default_rng(seed)
    center = np.stack((generator.uniform(0, 70, objects), generator.uniform(-40, 40, objects)), axis=1)
    boxes = random_boxes(count, seed)
    boxes[:, :2] = 0.2 * boxes[:, :2] + torch.from_numpy(center[generator.integers(0, objects, count)]).float()
    boxes[:, 3:5] = boxes[:, 3:5].clamp(1.0, 4.5)
    return boxes


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("use_height", [False, True])
@pytest.mark.parametrize("shape", ["near", "far", "thin"])
def test_pairs_agree_with_shapely(device: str, use_height: bool, shape: str) -> None:
    a, b = pairs(4000, {"near": 1, "far": 2, "thin": 3}[shape], shape)
    function = op.box_iou_3d if use_height else op.box_iou_bev
    iou = function(a.to(device), b.to(device), aligned=True)
    expected = shapely_iou(a, b, use_height=use_height, aligned=True)
    assert (expected > 0.0).mean() > 0.5
    np.testing.assert_allclose(iou.cpu().numpy(), expected, atol=1e-5, rtol=0)
    assert iou.min() >= 0.0 and iou.max() <= 1.0
    torch.testing.assert_close(function(b.to(device), a.to(device), aligned=True), iou, atol=1e-6, rtol=0)
    if device == "cpu" and not use_height:
        double = function(a.double(), b.double(), aligned=True).numpy()
        np.testing.assert_allclose(double, expected, atol=1e-8 if shape == "thin" else 1e-11, rtol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("use_height", [False, True])
@pytest.mark.parametrize("offset", [torch.zeros(7), FAR], ids=["origin", "far"])
def test_special_boxes_agree_with_shapely(device: str, use_height: bool, offset: Tensor) -> None:
    boxes = (SPECIAL + offset).to(device)
    function = op.box_iou_3d if use_height else op.box_iou_bev
    iou = function(boxes, boxes)
    np.testing.assert_allclose(iou.cpu(), shapely_iou(boxes, boxes, use_height=use_height), atol=1e-5, rtol=0)
    assert iou.min() >= 0.0 and iou.max() <= 1.0
    torch.testing.assert_close(iou, iou.T, atol=1e-6, rtol=0)
    assert iou.diagonal().cpu().tolist() == [1.0] * len(SPECIAL)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("function", "plain"), FUNCTIONS)
@pytest.mark.parametrize(("n", "m"), [(1, 1), (40, 2600), (2600, 3), (1, 1025), (300, 17)])
def test_all_pairs_agree_with_the_reference(device: str, function: Overlap, plain: Overlap, n: int, m: int) -> None:
    a, b = random_boxes(n, n, spread=20.0).to(device), random_boxes(m, m + 1, spread=20.0).to(device)
    a[:: max(2, n // 5), 2] = math.nan
    b[:: max(2, m // 7), 5] = -1.0
    torch.testing.assert_close(function(a, b), plain(a, b), atol=1e-7, rtol=0)
    torch.testing.assert_close(function(a.double(), b.double()), plain(a.double(), b.double()), atol=1e-12, rtol=0)
    count = min(n, m)
    aligned = function(a[:count], b[:count], aligned=True)
    torch.testing.assert_close(aligned, function(a, b).diagonal()[:count], atol=0, rtol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("function", "plain"), FUNCTIONS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e6, -1e6, 3e38])
def test_odd_numbers_touch_no_other_box(device: str, function: Overlap, plain: Overlap, bad: float) -> None:
    good = random_boxes(12, 11, spread=1.0).to(device)
    boxes = torch.cat((good, good[:7]))
    boxes[12 + torch.arange(7), torch.arange(7)] = bad
    iou = function(boxes, boxes)
    torch.testing.assert_close(iou[:12, :12], function(good, good), atol=0, rtol=0)
    assert iou.min() >= 0.0 and iou.max() <= 1.0
    if bad != 3e38:  # of its angles rounding leaves nothing to compare
        torch.testing.assert_close(iou, plain(boxes, boxes), atol=1e-6, rtol=0)
    if not math.isfinite(bad):
        assert iou[12:].abs().sum() == 0.0 and iou[:, 12:].abs().sum() == 0.0
        assert function(boxes, boxes, aligned=True)[12:].abs().sum() == 0.0


@pytest.mark.parametrize("device", DEVICES)
def test_boxes_apart_share_exactly_nothing(device: str) -> None:
    # Thin boxes whose circles meet: what rounding leaves of an area that cancels may not count as an overlap.
    boxes = SPECIAL[12:13].repeat(400, 1)  # parallel, 0.01 m apart
    along, across = random_boxes(400, 12, spread=20.0)[:, 0], 0.01 * torch.arange(400)
    boxes[:, 0] = math.cos(0.4) * along - math.sin(0.4) * across
    boxes[:, 1] = math.sin(0.4) * along + math.cos(0.4) * across
    fan = SPECIAL[12:13].repeat(40, 1)  # on spokes of a wheel, 32 m from its hub
    fan[:, 6] = 2 * math.pi / 40 * torch.arange(40)
    fan[:, 0], fan[:, 1] = 32.0 * fan[:, 6].cos(), 32.0 * fan[:, 6].sin()
    for apart in (boxes.to(device), fan.to(device)):
        assert op.box_iou_bev(apart, apart).fill_diagonal_(0.0).count_nonzero() == 0
        assert len(op.nms_bev(apart, apart[:, 0], 0.0)) == len(apart)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("function", "plain"), FUNCTIONS)
def test_any_layout_and_any_floating_type(device: str, function: Overlap, plain: Overlap) -> None:
    a, b = random_boxes(20, 13).to(device), random_boxes(30, 14).to(device)
    expected = function(a, b)
    torch.testing.assert_close(function(a.T.contiguous().T, b.repeat(1, 2)[:, :7]), expected, atol=0, rtol=0)
    assert function(a, b.double()).dtype == torch.float64
    torch.testing.assert_close(function(a, b.double()), function(a.double(), b.double()), atol=0, rtol=0)
    for dtype in (torch.float16, torch.bfloat16):
        low = function(a.to(dtype), b.to(dtype))
        assert low.dtype == dtype
        torch.testing.assert_close(low, plain(a.to(dtype), b.to(dtype)), atol=1e-2, rtol=0)
    assert function(a.to(torch.float16), b).dtype == torch.float32
    assert not function(a.requires_grad_(), b).requires_grad


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("function", "plain"), FUNCTIONS)
def test_no_boxes(device: str, function: Overlap, plain: Overlap) -> None:
    none, some = torch.zeros((0, 7), device=device), random_boxes(3, 6).to(device)
    for a, b, aligned in ((none, some, False), (some, none, False), (none, none, False), (none, none, True)):
        assert function(a, b, aligned=aligned).shape == plain(a, b, aligned=aligned).shape


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("threshold", [-0.5, 0.0, 0.1, 0.7, 1.0])
@pytest.mark.parametrize("max_output", [None, 0, 7])
@pytest.mark.parametrize("grouped", [False, True])
def test_nms_agrees_with_the_reference(device: str, threshold: float, max_output: int | None, grouped: bool) -> None:
    boxes = proposals(700, 15).to(device)
    generator = torch.Generator().manual_seed(16)
    scores = (torch.randint(0, 300, (700,), generator=generator) / 300).to(device)  # some ties
    boxes[::50] = boxes[::50].clone().fill_(math.nan)
    scores[::60] = math.nan
    class_index = batch_index = None
    if grouped:
        class_index = torch.randint(-1, 3, (700,), generator=generator, dtype=torch.int32).to(device)
        batch_index = (10**12 * torch.randint(-2, 2, (700,), generator=generator)).to(device)
    given = {"class_index": class_index, "batch_index": batch_index, "max_output": max_output}
    kept = op.nms_bev(boxes, scores, threshold, **given)  # type: ignore[arg-type]
    assert kept.dtype == torch.int64
    assert kept.tolist() == reference.nms_bev(boxes, scores, threshold, **given).tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_nms_of_many_boxes_that_stay(device: str, dtype: torch.dtype) -> None:
    boxes = random_boxes(3000, 17, spread=70.0).to(device, dtype)
    scores = torch.rand(3000, generator=torch.Generator().manual_seed(18)).to(device, dtype)
    kept = op.nms_bev(boxes, scores, 0.3)
    assert len(kept) > 1100
    assert kept.tolist() == reference.nms_bev(boxes, scores, 0.3).tolist()
    wide = torch.cat((boxes, boxes), dim=1)
    assert torch.equal(op.nms_bev(wide[:, :7], scores.repeat_interleave(2)[::2], 0.3), kept)


@pytest.mark.parametrize("device", DEVICES)
def test_nms_holding_few_rows_of_bits(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes, scores = proposals(1000, 19).to(device), torch.rand(1000, generator=torch.Generator().manual_seed(20))
    frames = (torch.arange(1000) % 3).to(device)
    expected = reference.nms_bev(boxes, scores.to(device), 0.2, batch_index=frames, max_output=20)
    monkeypatch.setattr(op, "_MAX_MASK_WORDS", 5000)
    assert torch.equal(op.nms_bev(boxes, scores.to(device), 0.2, batch_index=frames, max_output=20), expected)


@pytest.mark.parametrize("device", DEVICES)
def test_nms_of_nothing_and_of_odd_scores(device: str) -> None:
    none = torch.zeros((0, 7), device=device)
    index = torch.zeros(0, dtype=torch.int64, device=device)
    assert op.nms_bev(none, none[:, 0], 0.1).tolist() == []
    assert op.nms_bev(none, none[:, 0], 0.1, class_index=index, batch_index=index, max_output=3).tolist() == []
    boxes = SPECIAL[[0, 0, 16, 16]].to(device)
    scores = torch.tensor([math.nan, -math.inf, math.nan, 0.3], device=device)
    assert op.nms_bev(boxes, scores, 0.1).tolist() == [3, 0]
    assert op.nms_bev(boxes, scores, math.nan).tolist() == [3, 0, 1, 2]  # nothing is greater than NaN


def test_threads_change_nothing() -> None:
    boxes, scores = proposals(2000, 21), torch.rand(2000, generator=torch.Generator().manual_seed(22))
    frames = torch.arange(2000) % 5
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            iou = op.box_iou_3d(boxes[:700], boxes), op.box_iou_bev(boxes, boxes.flip(0), aligned=True)
            results.append((*iou, op.nms_bev(boxes, scores, 0.3, batch_index=frames, max_output=50)))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert all(torch.equal(now, first) for now, first in zip(result, results[0], strict=True))


@pytest.mark.parametrize("device", DEVICES)
def test_registration(device: str) -> None:
    if not _native.serves(torch.device(device)):
        pytest.skip("no native library")
    a, b = random_boxes(5, 23).to(device), random_boxes(4, 24).to(device)
    for arguments in ((a, b, False, False), (a, a.clone(), True, True), (a[:0], b, False, True)):
        torch.library.opcheck(op._box_iou_op, arguments)
    class_index = torch.tensor([0, 1, 0, 1, 0], device=device)
    torch.library.opcheck(op._nms_bev_op, (a, a[:, 0], None, None, 0.1, None))
    torch.library.opcheck(op._nms_bev_op, (a, a[:, 0], class_index, class_index, 0.1, 2))
    torch.library.opcheck(op._nms_bev_op, (a[:0], a[:0, 0], None, None, 0.1, None))


def test_errors_say_what_was_given() -> None:
    boxes, scores = torch.zeros(2, 7), torch.zeros(2)
    with pytest.raises(ValueError, match=r"b has shape \(3, 6\)"):
        op.box_iou_bev(boxes, torch.zeros(3, 6))
    with pytest.raises(ValueError, match="aligned boxes need equal shapes"):
        op.box_iou_3d(boxes, torch.zeros(3, 7), aligned=True)
    with pytest.raises(TypeError, match=r"a is of torch\.int64"):
        op.box_iou_bev(boxes.long(), boxes)
    with pytest.raises(ValueError, match="different devices: a on cpu, b on meta"):
        op.box_iou_bev(boxes, boxes.to("meta"))
    with pytest.raises(ValueError, match=r"boxes has shape \(2, 6\)"):
        op.nms_bev(boxes[:, :6], scores, 0.5)
    with pytest.raises(ValueError, match=r"scores has shape \(3,\)"):
        op.nms_bev(boxes, torch.zeros(3), 0.5)
    with pytest.raises(TypeError, match=r"scores is of torch\.int64"):
        op.nms_bev(boxes, scores.long(), 0.5)
    with pytest.raises(ValueError, match=r"class_index has shape \(3,\)"):
        op.nms_bev(boxes, scores, 0.5, class_index=torch.zeros(3, dtype=torch.int64))
    with pytest.raises(TypeError, match=r"batch_index is of torch\.float32"):
        op.nms_bev(boxes, scores, 0.5, batch_index=scores)
    with pytest.raises(ValueError, match="max_output is -1"):
        op.nms_bev(boxes, scores, 0.5, max_output=-1)
    with pytest.raises(ValueError, match="different devices"):
        op.nms_bev(boxes, scores.to("meta"), 0.5)
