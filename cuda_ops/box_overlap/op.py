"""Rotated-box overlap in native code; `reference.py` says what each operation means."""

from __future__ import annotations

import torch
from torch import Tensor

from cuda_ops import _native
from cuda_ops._checks import check_boxes, check_one_device
from cuda_ops.box_overlap import reference


def box_iou_bev(a: Tensor, b: Tensor, *, aligned: bool = False) -> Tensor:
    """Intersection over union of boxes seen from above.

    Args:
        a: `[N, 7]` boxes, float32 or float64.
        b: `[M, 7]` boxes; with `aligned`, M = N.
        aligned: compare row with row instead of all with all.

    Returns:
        `[N, M]`, or `[N]` with `aligned`, in [0, 1] and the inputs' dtype. A box without area overlaps nothing. Not
        differentiable.

    Raises:
        ValueError: a shape other than the above, or boxes on two devices.
        TypeError: boxes that are not of a floating type.
    """
    return _box_iou(a, b, aligned=aligned, use_height=False)


def box_iou_3d(a: Tensor, b: Tensor, *, aligned: bool = False) -> Tensor:
    """Intersection over union of the boxes' volumes; arguments, result and errors as in `box_iou_bev`."""
    return _box_iou(a, b, aligned=aligned, use_height=True)


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


@torch.library.custom_op("lidar_ebm::box_iou", mutates_args=())
def _box_iou_op(a: Tensor, b: Tensor, aligned: bool, use_height: bool) -> Tensor:
    a, b = a.contiguous(), b.contiguous()
    n, m = a.shape[0], b.shape[0]
    iou = a.new_empty((n,) if aligned else (n, m))
    if iou.numel():
        _native.call("box_iou", a.device, a, b, _native.dtype_code(a.dtype), n, m, aligned, use_height, iou)
    return iou


@_box_iou_op.register_fake
def _(a: Tensor, b: Tensor, aligned: bool, use_height: bool) -> Tensor:
    return a.new_empty((a.shape[0],) if aligned else (a.shape[0], b.shape[0]))
