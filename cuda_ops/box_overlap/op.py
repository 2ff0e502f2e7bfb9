"""Rotated-box overlap and non-maximum suppression in native code; `reference.py` says what each operation means."""

from __future__ import annotations

import torch
from torch import Tensor

from cuda_ops import _native
from cuda_ops._checks import check_boxes, check_column, check_one_device
from cuda_ops.box_overlap import reference

_TABLE_ROWS = 11  # of 8 bytes a box, as kernel.h lays them out
_MAX_MASK_WORDS = 1 << 24  # bits of suppressed boxes held at a time on a GPU: 128 MiB


def box_iou_bev(a: Tensor, b: Tensor, *, aligned: bool = False) -> Tensor:
    """Intersection over union of boxes seen from above.

    Args:
        a: `[N, 7]` boxes of a floating type, m and rad; computed in float64 whatever it is.
        b: `[M, 7]` boxes; with `aligned`, M = N.
        aligned: compare row with row instead of all with all.

    Returns:
        `[N, M]`, or `[N]` with `aligned`, in [0, 1] and the inputs' dtype (the wider one of two). A box without area,
        or with NaN or an infinite number anywhere, overlaps nothing. Not differentiable.

    Raises:
        ValueError: a shape other than the above, or boxes on two devices.
        TypeError: boxes that are not of a floating type.
    """
    return _box_iou(a, b, aligned=aligned, use_height=False)


def box_iou_3d(a: Tensor, b: Tensor, *, aligned: bool = False) -> Tensor:
    """Intersection over union of the boxes' volumes; arguments, result and errors as in `box_iou_bev`."""
    return _box_iou(a, b, aligned=aligned, use_height=True)


def nms_bev(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    *,
    class_index: Tensor | None = None,
    batch_index: Tensor | None = None,
    max_output: int | None = None,
) -> Tensor:
    """Greedy non-maximum suppression: by falling score, a kept box removes those that overlap it from above.

    On a GPU this waits for the device once, for the number of kept boxes; its memory is N²/8 bytes, at most 128 MiB
    beyond 32,000 boxes.

    Args:
        boxes: `[N, 7]` boxes of a floating type, m and rad.
        scores: `[N]` of a floating type; of equal scores the earlier row goes first. NaN counts as the lowest.
        iou_threshold: a box goes where its bird's-eye-view IoU with a kept one is greater than this. Below 0 that
            holds for boxes apart from each other too: one is kept of each class in each frame.
        class_index: `[N]` integers; boxes of different classes leave each other alone. None: one class.
        batch_index: `[N]` integers; boxes of different frames leave each other alone. None: one frame.
        max_output: keep at most so many boxes of each frame, the highest-scored ones. None: all.

    Returns:
        `[K]` int64 indices of the kept boxes, by falling score over all frames. Not differentiable.

    Raises:
        ValueError: a shape other than the above, tensors on two devices, or a negative `max_output`.
        TypeError: boxes or scores that are not of a floating type; classes or frames that are not integers.
    """
    check_boxes(boxes)
    count = boxes.shape[0]
    if scores.shape != (count,):
        raise ValueError(f"scores has shape {tuple(scores.shape)}, expected ({count},): one value a box")
    if not scores.is_floating_point():
        raise TypeError(f"scores is of {scores.dtype}, expected a floating type")
    for name, column in (("class_index", class_index), ("batch_index", batch_index)):
        if column is not None:
            check_column(column, count, name)
    if max_output is not None and max_output < 0:
        raise ValueError(f"max_output is {max_output}, expected at least 0")
    device = check_one_device(boxes=boxes, scores=scores, class_index=class_index, batch_index=batch_index)
    if not _native.serves(device):
        return reference.nms_bev(
            boxes, scores, iou_threshold, class_index=class_index, batch_index=batch_index, max_output=max_output
        )
    boxes = boxes.detach().to(torch.promote_types(boxes.dtype, torch.float32))
    return _nms_bev_op(boxes, scores.detach(), class_index, batch_index, float(iou_threshold), max_output)


def _box_iou(a: Tensor, b: Tensor, *, aligned: bool, use_height: bool) -> Tensor:
    check_boxes(a, "a")
    check_boxes(b, "b")
    if aligned and a.shape != b.shape:
        raise ValueError(f"aligned boxes need equal shapes, got {tuple(a.shape)} and {tuple(b.shape)}")
    if not _native.serves(check_one_device(a=a, b=b)):
        plain = reference.box_iou_3d if use_height else reference.box_iou_bev
        return plain(a, b, aligned=aligned)
    dtype = torch.promote_types(a.dtype, b.dtype)
    computed = torch.promote_types(dtype, torch.float32)
    iou = _box_iou_op(a.detach().to(computed), b.detach().to(computed), aligned, use_height)
    return iou.to(dtype)


# Schemas are written out because torch 2.4 cannot read annotations that are strings.
@torch.library.custom_op(
    "lidar_ebm::box_iou",
    mutates_args=(),
    schema="(Tensor a, Tensor b, bool aligned, bool use_height) -> Tensor",
)
def _box_iou_op(a: Tensor, b: Tensor, aligned: bool, use_height: bool) -> Tensor:
    a, b = a.contiguous(), b.contiguous()
    n, m = a.shape[0], b.shape[0]
    iou = a.new_empty((n,) if aligned else (n, m))
    if iou.numel():
        scratch = a.new_empty(_TABLE_ROWS * (n + m), dtype=torch.float64)
        _native.call("box_iou", a.device, a, b, _native.dtype_code(a.dtype), n, m, aligned, use_height, iou, scratch)
    return iou


@_box_iou_op.register_fake
def _(a: Tensor, b: Tensor, aligned: bool, use_height: bool) -> Tensor:
    return a.new_empty((a.shape[0],) if aligned else (a.shape[0], b.shape[0]))


@torch.library.custom_op(
    "lidar_ebm::nms_bev",
    mutates_args=(),
    schema="(Tensor boxes, Tensor scores, Tensor? class_index, Tensor? batch_index, float iou_threshold, "
    "int? max_output) -> Tensor",
)
def _nms_bev_op(
    boxes: Tensor,
    scores: Tensor,
    class_index: Tensor | None,
    batch_index: Tensor | None,
    iou_threshold: float,
    max_output: int | None,
) -> Tensor:
    order = reference.order_by_score(scores)  # [N]
    n = boxes.shape[0]
    if n == 0:
        return order
    frames = None if batch_index is None else batch_index.long().contiguous()
    words = blocks = 0
    if boxes.is_cuda:
        if frames is not None:  # numbers below N, as the kernel needs them to count, without asking the device
            frames = torch.searchsorted(frames.sort().values, frames)
        words = -(-n // 64)
        blocks = max(1, min(words, _MAX_MASK_WORDS // (64 * words)))
    scratch = order.new_empty(_TABLE_ROWS * n + (n + words + 64 * blocks * words if words else 0))
    kept, count = torch.empty_like(order), order.new_empty(1)
    _native.call(
        "nms_bev",
        boxes.device,
        boxes.contiguous(),
        order,
        frames,
        None if class_index is None else class_index.long().contiguous(),
        _native.dtype_code(boxes.dtype),
        n,
        iou_threshold,
        n if max_output is None else max_output,
        kept,
        count,
        scratch,
        blocks,
    )
    return kept[: int(count)]


@_nms_bev_op.register_fake
def _(
    boxes: Tensor,
    scores: Tensor,
    class_index: Tensor | None,
    batch_index: Tensor | None,
    iou_threshold: float,
    max_output: int | None,
) -> Tensor:
    return boxes.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.int64)
