"""Sparse 3-D convolution in plain PyTorch, for any device and any floating-point type.

A sparse convolution has two halves. The *rulebook* depends on the occupied cells alone: for each kernel offset k it
lists the pairs (input row, output row) with `input cell = output cell * stride - padding + k`. The *convolution* then
is, for each offset, gather the input rows, multiply by that offset's matrix, add onto the output rows
(Graham, Engelcke, van der Maaten: 3D Semantic Segmentation with Submanifold Sparse Convolutional Networks, 2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

Triple = tuple[int, int, int]

OUTSIDE = "indices: a cell is outside {} grids of {}"
TWICE = "indices name a cell more than once; give each occupied cell one row"


@dataclass(frozen=True)
class Rulebook:
    """Pairs of input and output row at each kernel offset; offsets count in (z, y, x) order, x fastest.

    `rulebook_from_pairs` makes one of pairs in any order.
    """

    in_rows: Tensor  # [P] int32; the pairs of one kernel offset side by side, by rising output row
    out_rows: Tensor  # [P] int32; a row occurs at most once in an offset, and so does an input row
    counts: tuple[int, ...]  # pairs of each kernel offset, P in all
    # A submanifold kernel's middle, where row i meets row i: these pairs are implied, not listed. The other offsets
    # come in mirrored couples, whose pairs are each other's turned round. None for any other kernel.
    identity: int | None
    indices: Tensor  # [V', 4] (batch, z, y, x) of the output rows
    spatial_shape: Triple  # (D', H', W') of the output grid
    input_rows: int  # V

    @cached_property
    def starts(self) -> Tensor:
        """Start of each kernel offset's pairs, and the end of the last one's: [K + 1] int64 on the CPU."""
        return torch.tensor((0, *accumulate(self.counts)))

    @cached_property
    def by_output(self) -> tuple[Tensor, Tensor]:
        """The pairs sorted by output row [P], and where each row's pairs begin among them [V']."""
        return _grouped(self.out_rows, self.indices.shape[0])

    @cached_property
    def by_input(self) -> tuple[Tensor, Tensor]:
        """The pairs sorted by input row [P], and where each row's pairs begin among them [V]."""
        return _grouped(self.in_rows, self.input_rows)


def _grouped(rows: Tensor, size: int) -> tuple[Tensor, Tensor]:
    lengths = torch.bincount(rows, minlength=size)
    return torch.argsort(rows, stable=True), lengths.cumsum(0) - lengths


def rulebook_from_pairs(
    in_rows: Tensor,
    out_rows: Tensor,
    counts: tuple[int, ...],
    *,
    identity: int | None,
    indices: Tensor,
    spatial_shape: Triple,
    input_rows: int,
) -> Rulebook:
    """A rulebook of pairs that stand in any order within their kernel offset; arguments as the fields of `Rulebook`.

    Raises:
        ValueError: more cells than 32 bits can count.
    """
    check_counts(input_rows, indices.shape[0])
    lengths = torch.tensor(counts, device=out_rows.device)
    offsets = torch.arange(len(counts), device=out_rows.device).repeat_interleave(lengths, output_size=len(out_rows))
    keys = offsets * indices.shape[0] + out_rows  # [P]
    if bool((keys[1:] < keys[:-1]).any()):
        order = torch.argsort(keys)
        in_rows, out_rows = in_rows[order], out_rows[order]
    return Rulebook(in_rows.int(), out_rows.int(), counts, identity, indices, spatial_shape, input_rows)


def check_counts(*counts: int) -> None:
    """Raise ValueError where there are more cells, in all or along an axis, than int32 can count."""
    if max(counts) >= 2**31:
        raise ValueError(f"{max(counts)} cells: rows and indices of a sparse convolution are counted in 32 bits")


def output_shape(spatial_shape: Triple, kernel_size: Triple, stride: Triple, padding: Triple) -> Triple:
    """The grid (D', H', W') that a convolution makes of a grid (D, H, W)."""
    z, y, x = ((n + 2 * p - k) // s + 1 for n, k, s, p in zip(spatial_shape, kernel_size, stride, padding, strict=True))
    if min(z, y, x) < 1:
        raise ValueError(f"a kernel of {kernel_size} with padding {padding} does not fit a grid of {spatial_shape}")
    return z, y, x


def build_rulebook(
    indices: Tensor,
    spatial_shape: Triple,
    batch_size: int,
    *,
    kernel_size: Triple,
    stride: Triple = (1, 1, 1),
    padding: Triple = (0, 0, 0),
    submanifold: bool = False,
) -> Rulebook:
    """Find all pairs of a convolution.

    Args:
        indices: occupied cells (batch, z, y, x) [V, 4], integers, each at most once, in any order.
        spatial_shape: (D, H, W) of the input grid.
        batch_size: number of frames; any of them may be empty.
        kernel_size, stride, padding: along (z, y, x). A submanifold convolution always has stride 1 and a padding of
            half the kernel; what is given here is not looked at.
        submanifold: the output cells are the input cells, in their order. Otherwise they are all cells that see an
            occupied one, ordered by (batch, z, y, x).

    Raises:
        ValueError: a cell is outside the grid or occurs twice, a submanifold kernel is even, or the
            kernel does not fit the grid.
    """
    _check_indices(indices, spatial_shape, batch_size)
    if submanifold:
        return _submanifold_rulebook(indices, spatial_shape, kernel_size)
    return _strided_rulebook(indices, spatial_shape, kernel_size, stride, padding)


def sparse_conv(features: Tensor, weight: Tensor, rulebook: Rulebook) -> Tensor:
    """Convolve features [V, Cin] with weight [Cout, kd, kh, kw, Cin] into [V', Cout]; differentiable in both (once).

    The arithmetic is done in the weight's type, inside autocast regions too.
    """
    check_convolution(features, weight, rulebook)
    output: Tensor = _SparseConv.apply(features.to(weight.dtype), weight, rulebook)
    return output


def check_convolution(features: Tensor, weight: Tensor, rulebook: Rulebook) -> None:
    """Raise ValueError where features, weight and rulebook do not go together, TypeError for a weight of integers."""
    if not weight.is_floating_point():
        raise TypeError(f"weight is of {weight.dtype}, expected a floating type")
    if features.dim() != 2 or weight.dim() != 5 or features.shape[1] != weight.shape[4]:
        raise ValueError(
            f"features {tuple(features.shape)} and weight {tuple(weight.shape)} do not go together: "
            "expected [V, Cin] and [Cout, kd, kh, kw, Cin]"
        )
    if features.shape[0] != rulebook.input_rows or math.prod(weight.shape[1:4]) != len(rulebook.counts):
        raise ValueError(
            f"the rulebook is for {rulebook.input_rows} rows and {len(rulebook.counts)} kernel offsets, "
            f"not {features.shape[0]} and {math.prod(weight.shape[1:4])}"
        )


class _SparseConv(torch.autograd.Function):
    """Gather, multiply, scatter. Products go through `out=`, which autocast leaves alone."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, rulebook: Rulebook) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.rulebook = rulebook
        matrices = weight.flatten(1, 3).permute(1, 2, 0)  # [K, Cin, Cout]
        gathered = features.index_select(0, rulebook.in_rows)  # [P, Cin]
        return _multiply_scatter(features, gathered, matrices, rulebook, rulebook.by_output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, weight = ctx.saved_tensors
        rulebook: Rulebook = ctx.rulebook
        grad_features = grad_weight = None
        gathered = grad.index_select(0, rulebook.out_rows)  # [P, Cout]
        if ctx.needs_input_grad[0]:
            matrices = weight.flatten(1, 3).permute(1, 0, 2)  # [K, Cout, Cin]
            grad_features = _multiply_scatter(grad, gathered, matrices, rulebook, rulebook.by_input)
        if ctx.needs_input_grad[1]:
            inputs = features.index_select(0, rulebook.in_rows)  # [P, Cin]
            counts, identity = rulebook.counts, rulebook.identity
            by_offset = weight_gradient(features, grad, inputs, gathered, counts, identity)  # [K, Cout, Cin]
            grad_weight = by_offset.transpose(0, 1).reshape(weight.shape)
        return grad_features, grad_weight, None


def _multiply_scatter(
    source: Tensor, gathered: Tensor, matrices: Tensor, rulebook: Rulebook, groups: tuple[Tensor, Tensor]
) -> Tensor:
    """Rows of source [S, A], gathered as [P, A], times matrices [K, A, B], summed over each group of pairs: [G, B]."""
    products = multiply(gathered, matrices, rulebook.counts)
    # A sum over sorted pairs, where an index_add would sort them anew in every layer (and on a GPU add in any order).
    pairs, starts = groups
    if pairs.shape[0] == 0:
        total = source.new_zeros(starts.shape[0], matrices.shape[2])
    else:
        total = F.embedding_bag(pairs, products, starts, mode="sum")
    if rulebook.identity is not None:
        total.addmm_(source, matrices[rulebook.identity])
    return total


def multiply(gathered: Tensor, matrices: Tensor, counts: Sequence[int]) -> Tensor:
    """Rows [P, A], those of one kernel offset side by side, times that offset's matrix of [K, A, B]: [P, B]."""
    products = gathered.new_empty(gathered.shape[0], matrices.shape[2])
    start = 0
    for matrix, count in zip(matrices, counts, strict=True):
        if count:
            torch.mm(gathered[start : start + count], matrix, out=products[start : start + count])
        start += count
    return products


def weight_gradient(
    features: Tensor,
    grad: Tensor,
    gathered_features: Tensor,
    gathered_grad: Tensor,
    counts: Sequence[int],
    identity: int | None,
) -> Tensor:
    """Gradient [K, Cout, Cin] of the matrices, from features [V, Cin] and grad [V', Cout], and both as pairs [P]."""
    result = features.new_zeros(len(counts), grad.shape[1], features.shape[1])
    if identity is not None:
        torch.mm(grad.t(), features, out=result[identity])
    start = 0
    for matrix, count in zip(result, counts, strict=True):
        if count:
            pairs = slice(start, start + count)
            torch.mm(gathered_grad[pairs].t(), gathered_features[pairs], out=matrix)
        start += count
    return result


def _check_indices(indices: Tensor, spatial_shape: Triple, batch_size: int) -> None:
    check_indices(indices)
    limit = torch.tensor([batch_size, *spatial_shape], device=indices.device)
    if bool(((indices < 0) | (indices >= limit)).any()):
        raise ValueError(OUTSIDE.format(batch_size, spatial_shape))


def check_indices(indices: Tensor) -> None:
    """Raise ValueError where indices are not integers `[V, 4]`."""
    if indices.dim() != 2 or indices.shape[1] != 4 or indices.is_floating_point():
        raise ValueError(f"indices: expected integers [V, 4] (batch, z, y, x), got {indices.dtype} {indices.shape}")


def check_submanifold_kernel(kernel_size: Triple) -> None:
    """Raise ValueError where a kernel has no middle."""
    if not all(k % 2 for k in kernel_size):
        raise ValueError(f"a submanifold convolution needs an odd kernel along each axis, not {kernel_size}")


def keys_of(cells: Tensor, shape: Triple) -> Tensor:
    """One int64 for each cell (batch, z, y, x) [V, 4] of a grid of `shape`; x counts fastest."""
    batch, z, y, x = cells.long().unbind(1)
    return ((batch * shape[0] + z) * shape[1] + y) * shape[2] + x


def _submanifold_rulebook(indices: Tensor, spatial_shape: Triple, kernel_size: Triple) -> Rulebook:
    """Look every cell's neighbours up among the sorted keys of the cells."""
    check_submanifold_kernel(kernel_size)
    # The grid with room for the kernel around it, so that a neighbour outside has a key of its own, which no cell has.
    depth, height, width = (n + k - 1 for n, k in zip(spatial_shape, kernel_size, strict=True))
    first = keys_of(indices, (depth, height, width))  # [V] of the neighbour under kernel offset 0
    middle_z, middle_y, middle_x = (k // 2 for k in kernel_size)
    keys, order = torch.sort(first + (middle_z * height + middle_y) * width + middle_x)  # [V] of the cells themselves
    if bool((keys[1:] == keys[:-1]).any()):
        raise ValueError(TWICE)
    keys = torch.cat([keys, keys.new_full((1,), torch.iinfo(torch.int64).max)])  # what a search past the end finds

    # A pair at offset k is, turned round, a pair at the mirrored offset: the first half of the kernel is enough.
    middle = math.prod(kernel_size) // 2
    none = order.new_empty(0)
    in_rows, out_rows = [none], [none]
    for row in range(-(-middle // kernel_size[2])):
        z, y = divmod(row, kernel_size[1])
        wanted = first + (z * height + y) * width
        position = torch.searchsorted(keys, wanted)
        for _ in range(min(kernel_size[2], middle - row * kernel_size[2])):
            hit = keys[position] == wanted
            hit_rows = hit.nonzero(as_tuple=True)[0]
            in_rows.append(order[position[hit_rows]])
            out_rows.append(hit_rows)
            # The next cell along x has the next key, so its place is known without another search.
            position, wanted = position + hit, wanted + 1
    counts = [rows.shape[0] for rows in in_rows[1:]]
    return rulebook_from_pairs(
        torch.cat(in_rows + out_rows[::-1]),
        torch.cat(out_rows + in_rows[::-1]),
        (*counts, 0, *counts[::-1]),
        identity=middle,
        indices=indices,
        spatial_shape=spatial_shape,
        input_rows=indices.shape[0],
    )


def _strided_rulebook(
    indices: Tensor, spatial_shape: Triple, kernel_size: Triple, stride: Triple, padding: Triple
) -> Rulebook:
    """Enumerate the output cells that see each input cell; the distinct ones are the output."""
    grid = output_shape(spatial_shape, kernel_size, stride, padding)
    if torch.unique(keys_of(indices, spatial_shape)).shape[0] != indices.shape[0]:
        raise ValueError(TWICE)
    axes = []
    for axis in range(3):
        moved = indices[:, axis + 1, None].long() + padding[axis]  # [V, 1]
        reach = -(-kernel_size[axis] // stride[axis])  # at most so many output cells along this axis see a cell
        cell = moved // stride[axis] - torch.arange(reach, device=indices.device)  # [V, R]
        offset = moved - cell * stride[axis]  # [V, R] under which place of the kernel
        axes.append((cell, offset, (offset < kernel_size[axis]) & (cell >= 0) & (cell < grid[axis])))
    (z, kernel_z, sees_z), (y, kernel_y, sees_y), (x, kernel_x, sees_x) = axes
    sees = sees_z[:, :, None, None] & sees_y[:, None, :, None] & sees_x[:, None, None, :]  # [V, Rz, Ry, Rx]
    pairs = sees.flatten().nonzero().squeeze(1)  # [P]
    kernel_offset = _combine(kernel_z, kernel_y, kernel_x, kernel_size).flatten()[pairs]  # [P]
    by_offset = torch.argsort(kernel_offset, stable=True)
    key = _combine(indices[:, :1].long() * grid[0] + z, y, x, grid).flatten()[pairs]  # [P]
    keys, out_rows = torch.unique(key, return_inverse=True)  # [V'] rising, [P]
    return rulebook_from_pairs(
        (pairs // math.prod(sees.shape[1:]))[by_offset],
        out_rows[by_offset],
        tuple(torch.bincount(kernel_offset, minlength=math.prod(kernel_size)).tolist()),
        identity=None,
        indices=_cells(keys, grid).to(indices.dtype),
        spatial_shape=grid,
        input_rows=indices.shape[0],
    )


def _combine(z: Tensor, y: Tensor, x: Tensor, shape: Triple) -> Tensor:
    """Linear places in a grid of `shape` for every combination of coordinates, each [V, R]: [V, Rz, Ry, Rx]."""
    return (z[:, :, None, None] * shape[1] + y[:, None, :, None]) * shape[2] + x[:, None, None, :]


def _cells(keys: Tensor, shape: Triple) -> Tensor:
    """The cells (batch, z, y, x) [V, 4] that keys [V] stand for."""
    columns = []
    for size in (shape[2], shape[1], shape[0]):
        columns.append(keys % size)
        keys = keys // size
    return torch.stack([keys, *columns[::-1]], dim=1)
