"""Sparse 3-D convolution in native code; `reference.py` says what each operation means.

On a CPU one pass gathers, multiplies and adds. On a GPU torch's BLAS multiplies, one product a kernel offset, with
native kernels before and after it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cuda_ops import _native
from cuda_ops._checks import check_one_device
from cuda_ops.sparse_conv import reference
from cuda_ops.sparse_conv.reference import Rulebook
from cuda_ops.sparse_conv.rulebook import build_rulebook

__all__ = ["build_rulebook", "sparse_conv"]


def sparse_conv(features: Tensor, weight: Tensor, rulebook: Rulebook) -> Tensor:
    """Convolve features along the pairs of a rulebook.

    The arithmetic is done in the weight's type, inside autocast regions too. The same input gives the same bits, on a
    CPU with any number of threads.

    Args:
        features: `[V, Cin]` of the input cells.
        weight: `[Cout, kd, kh, kw, Cin]`.
        rulebook: of the input cells and a kernel of that size.

    Returns:
        `[V', Cout]` for the rulebook's output cells, of the weight's type; once differentiable in features and weight.

    Raises:
        ValueError: shapes that do not go together, or tensors on two devices.
        TypeError: the weight is not of a floating type.
    """
    reference.check_convolution(features, weight, rulebook)
    device = check_one_device(features=features, weight=weight, rulebook=rulebook.in_rows)
    wide = weight.dtype in (torch.float32, torch.float64)
    if not _native.serves(device) or not (wide or device.type == "cuda"):
        return reference.sparse_conv(features, weight, rulebook)
    identity = -1 if rulebook.identity is None else rulebook.identity
    output: Tensor = _sparse_conv_op(
        features.to(weight.dtype),
        weight,
        rulebook.in_rows,
        rulebook.out_rows,
        rulebook.starts,
        identity,
        rulebook.indices.shape[0],
    )
    return output


# Schemas are written out because torch 2.4 cannot read annotations that are strings.
@torch.library.custom_op(
    "lidar_ebm::sparse_conv",
    mutates_args=(),
    schema="(Tensor features, Tensor weight, Tensor in_rows, Tensor out_rows, Tensor starts, int identity, "
    "int outputs) -> Tensor",
)
def _sparse_conv_op(
    features: Tensor, weight: Tensor, in_rows: Tensor, out_rows: Tensor, starts: Tensor, identity: int, outputs: int
) -> Tensor:
    features, weight = features.contiguous(), weight.contiguous()
    if features.is_cuda:
        matrices = weight.flatten(1, 3).permute(1, 2, 0)  # [K, Cin, Cout]
        gathered = _gather(features, in_rows)  # [P, Cin]
        return _multiply_sum(features, gathered, matrices, out_rows, starts, identity, outputs)
    return _convolve_on_cpu(features, weight, in_rows, out_rows, starts, identity, features.shape[0], outputs, False)


@_sparse_conv_op.register_fake
def _(
    features: Tensor, weight: Tensor, in_rows: Tensor, out_rows: Tensor, starts: Tensor, identity: int, outputs: int
) -> Tensor:
    return features.new_empty(outputs, weight.shape[0])


@torch.library.custom_op(
    "lidar_ebm::sparse_conv_backward",
    mutates_args=(),
    schema="(Tensor grad, Tensor features, Tensor weight, Tensor in_rows, Tensor out_rows, Tensor starts, "
    "int identity, bool needs_features, bool needs_weight) -> (Tensor, Tensor)",
)
def _sparse_conv_backward_op(
    grad: Tensor,
    features: Tensor,
    weight: Tensor,
    in_rows: Tensor,
    out_rows: Tensor,
    starts: Tensor,
    identity: int,
    needs_features: bool,
    needs_weight: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of features and weight; the one that is not needed is empty."""
    grad, features, weight = grad.contiguous(), features.contiguous(), weight.contiguous()
    grad_features, grad_weight = features.new_empty(0), weight.new_empty(0)
    inputs, outputs = features.shape[0], grad.shape[0]
    if grad.is_cuda:
        gathered = _gather(grad, out_rows)  # [P, Cout]
        if needs_features:
            matrices = weight.flatten(1, 3).permute(1, 0, 2)  # [K, Cout, Cin]
            grad_features = _multiply_sum(grad, gathered, matrices, in_rows, starts, identity, inputs)
        if needs_weight:
            counts = starts.diff().tolist()
            by_offset = reference.weight_gradient(
                features, grad, _gather(features, in_rows), gathered, counts, identity if identity >= 0 else None
            )  # [K, Cout, Cin]
            grad_weight = by_offset.transpose(0, 1).reshape(weight.shape)
        return grad_features, grad_weight
    if needs_features:
        grad_features = _convolve_on_cpu(grad, weight, in_rows, out_rows, starts, identity, inputs, outputs, True)
    if needs_weight:
        grad_weight = torch.empty_like(weight)
        dtype, offsets = _native.dtype_code(weight.dtype), starts.shape[0] - 1
        cout, cin = weight.shape[0], weight.shape[4]
        pairs = (in_rows, out_rows, starts, identity)
        _native.call(
            "sparse_conv_weight", grad.device, features, grad, dtype, cout, offsets, cin, *pairs, inputs, grad_weight
        )
    return grad_features, grad_weight


@_sparse_conv_backward_op.register_fake
def _(
    grad: Tensor,
    features: Tensor,
    weight: Tensor,
    in_rows: Tensor,
    out_rows: Tensor,
    starts: Tensor,
    identity: int,
    needs_features: bool,
    needs_weight: bool,
) -> tuple[Tensor, Tensor]:
    return (
        features.new_empty(features.shape if needs_features else (0,)),
        weight.new_empty(weight.shape if needs_weight else (0,)),
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.identity, _ = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    needs_features, needs_weight = ctx.needs_input_grad[:2]
    grad_features, grad_weight = _sparse_conv_backward_op(
        grad, *ctx.saved_tensors, ctx.identity, needs_features, needs_weight
    )
    return grad_features if needs_features else None, grad_weight if needs_weight else None, *(5 * [None])


_sparse_conv_op.register_autograd(_differentiate, setup_context=_save)


def _convolve_on_cpu(
    source: Tensor,
    weight: Tensor,
    in_rows: Tensor,
    out_rows: Tensor,
    starts: Tensor,
    identity: int,
    inputs: int,
    outputs: int,
    backward: bool,
) -> Tensor:
    """Features [V, Cin] → [V', Cout], or backward their gradients the other way."""
    cout, offsets, cin = weight.shape[0], starts.shape[0] - 1, weight.shape[4]
    result = source.new_empty((inputs, cin) if backward else (outputs, cout))
    dtype = _native.dtype_code(weight.dtype)
    pairs = (in_rows, out_rows, starts, identity, inputs, outputs)
    _native.call("sparse_conv", source.device, source, weight, dtype, cout, offsets, cin, *pairs, backward, result)
    return result


def _gather(source: Tensor, rows: Tensor) -> Tensor:
    """source [S, C] at rows [P]: [P, C]."""
    gathered = source.new_empty(rows.shape[0], source.shape[1])
    dtype = _native.dtype_code(source.dtype)
    _native.call("sparse_conv_gather", source.device, source, dtype, rows, rows.shape[0], source.shape[1], gathered)
    return gathered


def _multiply_sum(
    source: Tensor, gathered: Tensor, matrices: Tensor, rows: Tensor, starts: Tensor, identity: int, size: int
) -> Tensor:
    """Rows of source [S, A], gathered as [P, A], times matrices [K, A, B], each added onto its row: [size, B]."""
    offsets, channels = matrices.shape[0], matrices.shape[2]
    products = reference.multiply(gathered, matrices, starts.diff().tolist())  # [P, B]
    total = source.new_zeros(size, channels)
    if identity >= 0:
        torch.mm(source, matrices[identity], out=total)
    # Where each row's product of each offset stands, so that a row's sum has one order.
    places = torch.full((size, offsets), -1, dtype=torch.int64, device=source.device)
    device_starts = starts.to(source.device, non_blocking=True)
    _native.call("sparse_conv_places", source.device, rows, rows.shape[0], device_starts, offsets, places)
    dtype = _native.dtype_code(source.dtype)
    _native.call("sparse_conv_sum", source.device, products, dtype, places, size, offsets, channels, total)
    return total
