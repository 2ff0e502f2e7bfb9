"""The native kernels as operations that torch knows: results, their shapes without data, gradients.

`op.py` checks what comes here: shapes, one device, points of float32 or float64, frames and indices of int64.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cuda_ops import _native
from cuda_ops.point_ops.reference import FRAME_FEATURES, LAG_COLUMN


# Schemas are spelt out because torch 2.4 infers none from annotations that are strings.
@torch.library.custom_op(
    "lidar_ebm::points_in_boxes",
    mutates_args=(),
    schema="(Tensor points, Tensor boxes, Tensor? point_frame, Tensor? box_frame, bool first) -> Tensor",
)
def points_in_boxes_op(
    points: Tensor, boxes: Tensor, point_frame: Tensor | None, box_frame: Tensor | None, first: bool
) -> Tensor:
    """`points_in_boxes` by the native kernel."""
    points, boxes = points.contiguous(), boxes.contiguous()
    p, n = len(points), len(boxes)
    if first:
        held = points.new_full((p,), -1, dtype=torch.int64)
    else:
        held = points.new_zeros((p, n), dtype=torch.bool)
    if p and n:
        scratch = boxes.new_empty(n, 13) if boxes.is_cuda else None
        frames = [None if frame is None else frame.contiguous() for frame in (point_frame, box_frame)]
        _native.call(
            "points_in_boxes",
            points.device,
            points,
            _native.dtype_code(points.dtype),
            p,
            points.shape[1],
            frames[0],
            boxes,
            frames[1],
            n,
            first,
            held,
            scratch,
        )
    return held


@points_in_boxes_op.register_fake
def _(points: Tensor, boxes: Tensor, point_frame: Tensor | None, box_frame: Tensor | None, first: bool) -> Tensor:
    if first:
        return points.new_empty((points.shape[0],), dtype=torch.int64)
    return points.new_empty((points.shape[0], boxes.shape[0]), dtype=torch.bool)


@torch.library.custom_op(
    "lidar_ebm::gather_near_boxes",
    mutates_args=(),
    schema="(Tensor points, Tensor point_frame, Tensor boxes, Tensor box_frame, float margin_length, "
    "float margin_width, float margin_height, float drift, SymInt max_points, SymInt seed) -> (Tensor, Tensor)",
)
def gather_near_boxes_op(
    points: Tensor,
    point_frame: Tensor,
    boxes: Tensor,
    box_frame: Tensor,
    margin_length: float,
    margin_width: float,
    margin_height: float,
    drift: float,
    max_points: int,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """`gather_near_boxes` by the native kernel."""
    points, boxes, box_frame = points.contiguous(), boxes.contiguous(), box_frame.contiguous()
    n, (p, f) = len(boxes), points.shape
    chosen = points.new_zeros((n, max_points, f))
    counts = box_frame.new_zeros((n,))
    if p and n:
        order = hashes = rows = None
        if points.is_cuda:  # a block of threads looks at one frame's points from the first to the last
            point_frame, order = point_frame.sort(stable=True)
            hashes = order.new_empty((n, max_points), dtype=torch.int32)
            rows = order.new_empty((n, max_points))
        _native.call(
            "gather_near_boxes",
            points.device,
            points,
            _native.dtype_code(points.dtype),
            p,
            f,
            point_frame.contiguous(),
            order,
            boxes,
            boxes.shape[1],
            box_frame,
            n,
            margin_length,
            margin_width,
            margin_height,
            drift,
            max_points,
            seed,
            chosen,
            counts,
            hashes,
            rows,
        )
    return chosen, counts


@gather_near_boxes_op.register_fake
def _(
    points: Tensor,
    point_frame: Tensor,
    boxes: Tensor,
    box_frame: Tensor,
    margin_length: float,
    margin_width: float,
    margin_height: float,
    drift: float,
    max_points: int,
    seed: int,
) -> tuple[Tensor, Tensor]:
    n = boxes.shape[0]
    return points.new_empty((n, max_points, points.shape[1])), box_frame.new_empty((n,))


def _features_shape(points: Tensor, box_index: Tensor | None, boxes: Tensor, k: int) -> tuple[int, ...]:
    n, s = boxes.shape[:2]
    width = FRAME_FEATURES + points.shape[1] - LAG_COLUMN
    return (n, s, k, width) if box_index is None else (points.shape[0], s, width)


# points [N * K, 4 or 5], or [V, 4 or 5] and box_index [V]; boxes [N, S, 7 or 9].
@torch.library.custom_op(
    "lidar_ebm::box_frame_features",
    mutates_args=(),
    schema="(Tensor points, Tensor? box_index, Tensor boxes, SymInt k) -> Tensor",
)
def features_op(points: Tensor, box_index: Tensor | None, boxes: Tensor, k: int) -> Tensor:
    """`box_frame_features` by the native kernel."""
    points, boxes = points.contiguous(), boxes.contiguous()
    features = points.new_empty(_features_shape(points, box_index, boxes, k))
    if features.numel():
        _native.call(
            "box_frame_features",
            points.device,
            points,
            points.shape[1],
            None if box_index is None else box_index.contiguous(),
            boxes,
            boxes.shape[2],
            _native.dtype_code(points.dtype),
            len(points),
            *boxes.shape[:2],
            features,
            boxes.new_empty(*boxes.shape[:2], 10) if boxes.is_cuda else None,
        )
    return features


@features_op.register_fake
def _(points: Tensor, box_index: Tensor | None, boxes: Tensor, k: int) -> Tensor:
    return points.new_empty(_features_shape(points, box_index, boxes, k))


@torch.library.custom_op(
    "lidar_ebm::box_frame_features_backward",
    mutates_args=(),
    schema="(Tensor gradient, Tensor points, Tensor? box_index, Tensor boxes, bool to_points, bool to_boxes) "
    "-> (Tensor, Tensor)",
)
def features_backward_op(
    gradient: Tensor, points: Tensor, box_index: Tensor | None, boxes: Tensor, to_points: bool, to_boxes: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of `features_op` with respect to points and boxes; empty where not asked for."""
    gradient, points, boxes = gradient.contiguous(), points.contiguous(), boxes.contiguous()
    n, s = boxes.shape[:2]
    of_points = torch.zeros_like(points) if to_points else points.new_empty(0)
    of_boxes = torch.zeros_like(boxes) if to_boxes else boxes.new_empty(0)
    if gradient.numel():
        frames = spans = None
        if boxes.is_cuda:
            frames = boxes.new_empty(n, s, 10)
            if box_index is not None:
                spans = box_index.new_empty(n, 2)
                spans[:, 0], spans[:, 1] = len(points), 0
        _native.call(
            "box_frame_features_backward",
            gradient.device,
            gradient,
            points,
            points.shape[1],
            None if box_index is None else box_index.contiguous(),
            boxes,
            boxes.shape[2],
            _native.dtype_code(points.dtype),
            len(points),
            n,
            s,
            of_points if to_points else None,
            of_boxes if to_boxes else None,
            frames,
            spans,
        )
    return of_points, of_boxes


@features_backward_op.register_fake
def _(
    gradient: Tensor, points: Tensor, box_index: Tensor | None, boxes: Tensor, to_points: bool, to_boxes: bool
) -> tuple[Tensor, Tensor]:
    return (
        torch.empty_like(points, memory_format=torch.contiguous_format) if to_points else points.new_empty(0),
        torch.empty_like(boxes, memory_format=torch.contiguous_format) if to_boxes else boxes.new_empty(0),
    )


def _setup_features_context(ctx: Any, inputs: tuple[Tensor, Tensor | None, Tensor, int], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])


def _features_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, Tensor | None, None]:
    points, box_index, boxes = ctx.saved_tensors
    to_points, _, to_boxes, _ = ctx.needs_input_grad
    of_points, of_boxes = features_backward_op(gradient, points, box_index, boxes, to_points, to_boxes)
    return of_points if to_points else None, None, of_boxes if to_boxes else None, None


features_op.register_autograd(_features_backward, setup_context=_setup_features_context)
