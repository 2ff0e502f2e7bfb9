"""Reading a bird's-eye-view map on each box's own grid, natively; `reference.py` says what each operation means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cuda_ops import _native
from cuda_ops._checks import check_boxes, check_column, check_one_device
from cuda_ops.box_sampling import reference
from cuda_ops.box_sampling.ordered import add_in_order


def sample_boxes(
    bev: Tensor,
    boxes: Tensor,
    batch_index: Tensor,
    *,
    grid_size: tuple[int, int] = (4, 7),
    origin: tuple[float, float],
    cell_size: tuple[float, float],
) -> Tensor:
    """All channels of the map at every grid point of every box.

    Positions are computed in the boxes' type, at least in float32, and sums at least in float32, whatever the map's
    type is, inside autocast regions too. Differentiable once; for a second derivative call it within
    `cuda_ops.plain.plain_torch()`.

    Args:
        bev: [B, C, H, W] of any floating type, H along y, W along x; channels-last is the fast memory format, and
            nothing is copied for another one.
        boxes: [N, 7] (x, y, z, l, w, h, yaw), m and rad, in the map's frame.
        batch_index: [N] integers, the frame of each box.
        grid_size: points across the width (right to left) and along the length (rear to front), corners included.
        origin: x, y of the centre of cell (0, 0), m.
        cell_size: dx, dy between centres, m.

    Returns:
        [N, C, across, along], contiguous, in the map's type; zero off the map, and NaN at positions that are NaN.
        Gradients flow to the map and to the boxes' x, y, l, w and yaw; only those of inputs that require one are
        computed. On a GPU the map's is the same from run to run only where `torch.use_deterministic_algorithms` asks
        for that.

    Raises:
        ValueError: a shape does not fit, or tensors are on two devices.
        TypeError: a map or boxes that are not of a floating type, an index that is not of integers.
        IndexError: a frame that the map does not have, on a CPU; a GPU reads zero for it.
    """
    return _sample(bev, boxes, batch_index, grid_size, origin, cell_size, parts=False)


def part_sensitive_scores(
    bev: Tensor,
    boxes: Tensor,
    batch_index: Tensor,
    *,
    grid_size: tuple[int, int] = (4, 7),
    origin: tuple[float, float],
    cell_size: tuple[float, float],
) -> Tensor:
    """Channel k of the map read at grid point k of each box, averaged over the grid (SA-SSD's part-sensitive warping).

    Args:
        bev: [B, K * G, H, W], K scores of G = across * along channels each; channel k * G + g is read at point g,
            counted with the length running fastest.
        boxes, batch_index, grid_size, origin, cell_size: as in `sample_boxes`.

    Returns:
        [N, K], in the map's type; precision, gradients and errors as in `sample_boxes`.
    """
    return _sample(bev, boxes, batch_index, grid_size, origin, cell_size, parts=True)


def _sample(
    bev: Tensor,
    boxes: Tensor,
    batch_index: Tensor,
    grid_size: tuple[int, int],
    origin: tuple[float, float],
    cell_size: tuple[float, float],
    *,
    parts: bool,
) -> Tensor:
    _check(bev, boxes, batch_index, grid_size, parts)
    device = check_one_device(bev=bev, boxes=boxes, batch_index=batch_index)
    boxes = boxes.to(torch.promote_types(boxes.dtype, torch.float32))
    if not _native.serves(device):
        plain = reference.part_sensitive_scores if parts else reference.sample_boxes
        return plain(bev, boxes, batch_index, grid_size=grid_size, origin=origin, cell_size=cell_size).contiguous()
    return _sample_op(bev, boxes, batch_index.long(), grid_size, (*origin, *cell_size), parts)


def _check(bev: Tensor, boxes: Tensor, batch_index: Tensor, grid_size: tuple[int, int], parts: bool) -> None:
    check_boxes(boxes)
    check_column(batch_index, len(boxes), "batch_index")
    if bev.ndim != 4:
        raise ValueError(f"the map has shape {tuple(bev.shape)}, expected [B, C, H, W]")
    if not bev.is_floating_point():
        raise TypeError(f"the map is of {bev.dtype}, expected a floating type")
    across, along = grid_size
    if across < 1 or along < 1:
        raise ValueError(f"a grid of {across} x {along} points has none")
    if parts and bev.shape[1] % (across * along):
        raise ValueError(
            f"expected a map [B, K * {across * along}, H, W] for a {grid_size} grid, got {tuple(bev.shape)}"
        )


# The schemas are written out because torch 2.4 cannot read lists from annotations.
@torch.library.custom_op(
    "lidar_ebm::sample_boxes",
    mutates_args=(),
    schema="(Tensor bev, Tensor boxes, Tensor batch_index, int[] grid_size, float[] place, bool parts) -> Tensor",
)
def _sample_op(
    bev: Tensor, boxes: Tensor, batch_index: Tensor, grid_size: Sequence[int], place: Sequence[float], parts: bool
) -> Tensor:
    if bev.device.type == "cpu" and len(batch_index):
        low, high = (int(value) for value in batch_index.aminmax())
        if low < 0 or high >= len(bev):
            raise IndexError(f"batch_index reaches from {low} to {high} in a map of {len(bev)} frames")
    out = bev.new_empty(_out_shape(bev, boxes, grid_size, parts))
    if out.numel():
        arguments = _boxes_on_grid(boxes, batch_index, grid_size, place)
        _native.call("box_sampling_read", bev.device, *_map(bev), *arguments, parts, out)
    return out


@_sample_op.register_fake
def _(
    bev: Tensor, boxes: Tensor, batch_index: Tensor, grid_size: Sequence[int], place: Sequence[float], parts: bool
) -> Tensor:
    return bev.new_empty(_out_shape(bev, boxes, grid_size, parts))


@torch.library.custom_op(
    "lidar_ebm::sample_boxes_backward",
    mutates_args=(),
    schema="(Tensor gradient, Tensor bev, Tensor boxes, Tensor batch_index, int[] grid_size, float[] place, "
    "bool parts, bool to_map, bool to_boxes) -> (Tensor, Tensor)",
)
def _backward_op(
    gradient: Tensor,
    bev: Tensor,
    boxes: Tensor,
    batch_index: Tensor,
    grid_size: Sequence[int],
    place: Sequence[float],
    parts: bool,
    to_map: bool,
    to_boxes: bool,
) -> tuple[Tensor, Tensor]:
    gradient = gradient.contiguous()
    arguments = _boxes_on_grid(boxes, batch_index, grid_size, place)
    box_gradient = boxes.new_empty(boxes.shape if to_boxes else 0)
    if box_gradient.numel():
        _native.call("box_sampling_grad_boxes", bev.device, *_map(bev), *arguments, parts, gradient, box_gradient)
    if not to_map:
        return bev.new_empty(0), box_gradient
    if bev.device.type == "cpu":
        map_gradient = torch.empty_like(bev)
        if map_gradient.numel():
            _native.call("box_sampling_grad_map", bev.device, *_map(map_gradient), *arguments, parts, gradient)
        return map_gradient, box_gradient
    wide = torch.promote_types(bev.dtype, torch.float32)
    sums, gradient = torch.zeros_like(bev, dtype=wide), gradient.to(wide)
    if gradient.numel() and torch.are_deterministic_algorithms_enabled():
        add_in_order(sums, gradient, boxes, batch_index, grid_size, place, parts)
    elif gradient.numel():
        _native.call("box_sampling_grad_map", bev.device, *_map(sums), *arguments, parts, gradient)
    return sums.to(bev.dtype), box_gradient


@_backward_op.register_fake
def _(
    gradient: Tensor,
    bev: Tensor,
    boxes: Tensor,
    batch_index: Tensor,
    grid_size: Sequence[int],
    place: Sequence[float],
    parts: bool,
    to_map: bool,
    to_boxes: bool,
) -> tuple[Tensor, Tensor]:
    map_gradient = torch.empty_like(bev) if to_map else bev.new_empty(0)
    return map_gradient, boxes.new_empty(boxes.shape if to_boxes else 0)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    bev, boxes, batch_index, *ctx.rest = inputs
    ctx.save_for_backward(bev, boxes, batch_index)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    to_map, to_boxes = ctx.needs_input_grad[:2]
    map_gradient, box_gradient = _backward_op(gradient, *ctx.saved_tensors, *ctx.rest, to_map, to_boxes)
    return map_gradient if to_map else None, box_gradient if to_boxes else None, None, None, None, None


def _refuse(ctx: Any, *gradients: Tensor) -> None:
    raise RuntimeError(
        "the native box sampling can be differentiated once only; for second derivatives call it within "
        "cuda_ops.plain.plain_torch(), or set LIDAR_EBM_NATIVE=0 in the environment"
    )


_sample_op.register_autograd(_backward, setup_context=_setup_context)
_backward_op.register_autograd(_refuse)


def _out_shape(bev: Tensor, boxes: Tensor, grid_size: Sequence[int], parts: bool) -> tuple[int, ...]:
    across, along = grid_size
    if parts:
        return boxes.shape[0], bev.shape[1] // (across * along)
    return boxes.shape[0], bev.shape[1], across, along


def _map(bev: Tensor) -> tuple[Tensor | int, ...]:
    """LIDAR_EBM_MAP of native.h, after the address and the type."""
    return bev, _native.dtype_code(bev.dtype), *bev.shape, *bev.stride()


def _boxes_on_grid(
    boxes: Tensor, batch_index: Tensor, grid_size: Sequence[int], place: Sequence[float]
) -> tuple[Tensor | int | float, ...]:
    """The boxes, their type, frames and number, and LIDAR_EBM_GRID."""
    boxes, batch_index = boxes.contiguous(), batch_index.contiguous()
    return boxes, _native.dtype_code(boxes.dtype), batch_index, len(boxes), *grid_size, *place
