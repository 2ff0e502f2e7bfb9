"""The three nearest points and interpolation in native code; `reference.py` says what each operation means."""

from __future__ import annotations

import torch
from torch import Tensor

from cuda_ops import _native
from cuda_ops._checks import check_column, check_one_device
from cuda_ops.point_nearest import reference

_MAX_POINTS = (1 << 31) - 1  # the kernels keep the number of a point in 32 bits


def three_nearest(
    query: Tensor, support: Tensor, query_batch: Tensor, support_batch: Tensor, batch_size: int
) -> tuple[Tensor, Tensor]:
    """The three support points of the same frame that are nearest to each query point.

    Exact, and the same to the last bit on every device. The time hardly depends on how the points are spread.

    Args:
        query: `[Q, 3]`, m; computed in float32.
        support: `[P, 3]`, m.
        query_batch: `[Q]` integers below `batch_size`, the frame of each query.
        support_batch: `[P]`, the same for the support points.
        batch_size: number of frames.

    Returns:
        distance `[Q, 3]` float32 in m, rising, and index `[Q, 3]` int64 into `support`; of two equally near points the
        one with the lower index comes first. Where there are fewer than three: distance infinity, index -1. A point
        with a coordinate that is NaN or infinite has no neighbours and is none. Not differentiable.

    Raises:
        ValueError: a shape other than the above, tensors on two devices, more than 2^31 - 1 support points.
        TypeError: points that are not of a floating type, frames that are not integers.
        RuntimeError: a frame below 0 or from `batch_size` on (on a GPU such a point has no neighbours and is none).
    """
    _check_points(query, "query")
    _check_points(support, "support")
    check_column(query_batch, len(query), "query_batch")
    check_column(support_batch, len(support), "support_batch")
    if len(support) > _MAX_POINTS:
        raise ValueError(f"{len(support)} support points, expected at most {_MAX_POINTS}")
    device = check_one_device(query=query, support=support, query_batch=query_batch, support_batch=support_batch)
    if not _native.serves(device):
        return reference.three_nearest(query, support, query_batch, support_batch, batch_size)
    nearest: tuple[Tensor, Tensor] = _three_nearest_op(
        query.detach().float(), support.detach().float(), query_batch.long(), support_batch.long(), batch_size
    )
    return nearest


def interpolate(features: Tensor, index: Tensor, distance: Tensor) -> Tensor:
    """Mean of three neighbours' features weighted by their inverse distance.

    The gradient is summed in a fixed order, so it is the same every time and for every number of threads.

    Args:
        features: `[P, C]` of the support points, of any floating type. Sums are in float32, or in float64 for float64.
        index: `[Q, 3]` int64 from `three_nearest`; -1 means no neighbour.
        distance: `[Q, 3]`, m.

    Returns:
        `[Q, C]` of the features' type, with gradient to the features; zero for a query without neighbours.

    Raises:
        ValueError: a shape other than the above, or tensors on two devices.
        TypeError: features or distances that are not of a floating type, indices that are not int64.
        RuntimeError: an index below -1 or from P on (on a GPU it counts as -1).
    """
    if features.ndim != 2:
        raise ValueError(f"features has shape {tuple(features.shape)}, expected [P, C]")
    if index.ndim != 2 or index.shape[1] != 3 or distance.shape != index.shape:
        shapes = f"{tuple(index.shape)} and {tuple(distance.shape)}"
        raise ValueError(f"index and distance have shapes {shapes}, expected [Q, 3] both")
    if not features.is_floating_point() or not distance.is_floating_point() or index.dtype != torch.int64:
        raise TypeError(
            f"features, index, distance are of {features.dtype}, {index.dtype}, {distance.dtype}, "
            "expected a floating type, int64, a floating type"
        )
    if not _native.serves(check_one_device(features=features, index=index, distance=distance)):
        return reference.interpolate(features, index, distance)
    weight = reference.inverse_distance_weights(index, distance, features.dtype)
    result: Tensor = _weigh_rows_op(features, index, weight)
    return result


def _check_points(points: Tensor, name: str) -> None:
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"{name} has shape {tuple(points.shape)}, expected [N, 3]: x, y, z")
    if not points.is_floating_point():
        raise TypeError(f"{name} is of {points.dtype}, expected a floating type")


# Schemas are written out because torch 2.4 cannot read annotations that are strings.
@torch.library.custom_op(
    "lidar_ebm::three_nearest",
    mutates_args=(),
    schema="(Tensor query, Tensor support, Tensor query_batch, Tensor support_batch, int batch_size) "
    "-> (Tensor, Tensor)",
)
def _three_nearest_op(
    query: Tensor, support: Tensor, query_batch: Tensor, support_batch: Tensor, batch_size: int
) -> tuple[Tensor, Tensor]:
    query, support = query.contiguous(), support.contiguous()
    query_batch, support_batch = query_batch.contiguous(), support_batch.contiguous()
    if len(query) == 0 or len(support) == 0:
        return query.new_full((len(query), 3), torch.inf), query_batch.new_full((len(query), 3), -1)
    window = _window(support)
    coarse, fine = _curve_keys(support, support_batch, window, with_fine=True)
    by_fine = fine.sort().indices
    support_order = by_fine[coarse[by_fine].sort(stable=True).indices]
    query_order = _curve_keys(query, query_batch, window, with_fine=False)[0].sort().indices
    scratch = torch.empty(_tree_bytes(len(support)), dtype=torch.uint8, device=support.device)
    distance, index = query.new_empty((len(query), 3)), query_batch.new_empty((len(query), 3))
    queries, points = (
        (query, query_batch, query_order, len(query)),
        (support, support_batch, support_order, len(support)),
    )
    memory = (scratch, len(scratch))
    _native.call("three_nearest", support.device, *queries, *points, batch_size, *memory, distance, index)
    return distance, index


@_three_nearest_op.register_fake
def _(
    query: Tensor, support: Tensor, query_batch: Tensor, support_batch: Tensor, batch_size: int
) -> tuple[Tensor, Tensor]:
    return query.new_empty((len(query), 3)), query_batch.new_empty((len(query), 3))


def _window(points: Tensor) -> Tensor:
    """A cube around nearly all the points, whatever the others are: lowest x, y, z and edge, `[4]` float64, m.

    It comes from quantiles of a sample. Only the speed rests on it.
    """
    sample = points[:: len(points) // 1024 + 1].double()
    sample = sample.where(sample.isfinite(), torch.nan)
    low, high = (sample.nanquantile(fraction, dim=0) for fraction in (0.01, 0.99))  # [3] each
    spread = (high - low).amax(0, keepdim=True)
    return torch.cat([(low + high) / 2 - spread, 2 * spread])


def _curve_keys(points: Tensor, batch: Tensor, window: Tensor, *, with_fine: bool) -> tuple[Tensor, Tensor]:
    """Keys of points along a space-filling curve, int64: coarse ones `[N]`, and finer ones among equals or `[0]`."""
    coarse, fine = torch.empty_like(batch), batch.new_empty(len(batch) if with_fine else 0)
    _native.call("nearest_keys", points.device, points, batch, len(points), window, coarse, fine if with_fine else None)
    return coarse, fine


def _tree_bytes(points: int) -> int:
    """Size of the search tree of kernel.h: blocks of eight points, and blocks of eight of them, up to a single one."""
    blocks = -(-points // 8)
    total = 160 * blocks
    while True:
        blocks = -(-blocks // 8)
        total += 288 * blocks
        if blocks == 1:
            return total


@torch.library.custom_op(
    "lidar_ebm::weigh_rows",
    mutates_args=(),
    schema="(Tensor features, Tensor index, Tensor weight) -> Tensor",
)
def _weigh_rows_op(features: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    features, index = features.contiguous(), index.contiguous()
    support, channels = features.shape
    result = features.new_empty((len(index), channels))
    if result.numel():
        table = (features, _native.dtype_code(features.dtype), support, channels)
        _native.call("weigh_rows", features.device, *table, index, weight.contiguous(), len(index), result)
    return result


@_weigh_rows_op.register_fake
def _(features: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    return features.new_empty((len(index), features.shape[1]))


@torch.library.custom_op(
    "lidar_ebm::weigh_rows_backward",
    mutates_args=(),
    schema="(Tensor gradient, Tensor index, Tensor weight, int support) -> Tensor",
)
def _weigh_rows_backward_op(gradient: Tensor, index: Tensor, weight: Tensor, support: int) -> Tensor:
    gradient = gradient.contiguous()
    result = gradient.new_empty((support, gradient.shape[1]))
    if result.numel():
        rows, order = index.flatten().sort(stable=True)
        table = (gradient, _native.dtype_code(gradient.dtype), support, gradient.shape[1])
        entries = (rows, order, weight.contiguous(), len(rows))
        _native.call("weigh_rows_backward", gradient.device, *table, *entries, result)
    return result


@_weigh_rows_backward_op.register_fake
def _(gradient: Tensor, index: Tensor, weight: Tensor, support: int) -> Tensor:
    return gradient.new_empty((support, gradient.shape[1]))


def _keep_for_backward(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    features, index, weight = inputs
    ctx.save_for_backward(index, weight)
    ctx.support = len(features)  # type: ignore[attr-defined]


def _gradients(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, None, None]:
    if not ctx.needs_input_grad[0]:  # type: ignore[attr-defined]
        return None, None, None
    index, weight = ctx.saved_tensors  # type: ignore[attr-defined]
    return _weigh_rows_backward_op(gradient, index, weight, ctx.support), None, None  # type: ignore[attr-defined]


_weigh_rows_op.register_autograd(_gradients, setup_context=_keep_for_backward)
