"""Sparse 3-D convolution in plain PyTorch, for any device and any floating-point type.

A sparse convolution has two halves. The *rulebook* depends on the occupied cells alone: for each kernel offset k it
lists the pairs (input row, output row) with `input cell = output cell * stride - padding + k`. The *convolution* then
is, for each offset, gather the input rows, multiply by that offset's matrix, add onto the output rows
(Graham, Engelcke, van der Maaten: 3D Semantic Segmentation with Submanifold Sparse Convolutional Networks, 2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Rulebook:
    """Which input row meets which output row at which kernel offset; offsets count in (z, y, x) order, x fastest."""

    in_rows: Tensor  # [P] int64, pairs of one kernel offset side by side
    out_rows: Tensor  # [P] int64
    counts: tuple[int, ...]  # pairs of each kernel offset, P in all
    identity: int | None  # the offset at which row i meets row i for every i; its pairs are implied, not listed
    indices: Tensor  # [V', 4] int32 (batch, z, y, x) of the output rows
    spatial_shape: Triple  # (D', H', W') of the output grid
    input_rows: int  # V

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
        ValueError: a cell is outside the grid or (submanifold) occurs twice, a submanifold kernel is even, or the
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
    output: Tensor = _SparseConv.apply(features.to(weight.dtype), weight, rulebook)
    return output


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
            by_offset = _weight_gradient(features, grad, gathered, rulebook)  # [K, Cout, Cin]
            grad_weight = by_offset.transpose(0, 1).reshape(weight.shape)
        return grad_features, grad_weight, None


def _multiply_scatter(
    source: Tensor, gathered: Tensor, matrices: Tensor, rulebook: Rulebook, groups: tuple[Tensor, Tensor]
) -> Tensor:
    """Rows of source [S, A], gathered as [P, A], times matrices [K, A, B], summed over each group of pairs: [G, B]."""
    products = source.new_empty(gathered.shape[0], matrices.shape[2])  # [P, B]
    start = 0
    for matrix, count in zip(matrices, rulebook.counts, strict=True):
        if count:
            torch.mm(gathered[start : start + count], matrix, out=products[start : start + count])
        start += count
    # A sum over sorted pairs, where an index_add would sort them anew in every layer (and on a GPU add in any order).
    pairs, starts = groups
    if pairs.shape[0] == 0:
        total = source.new_zeros(starts.shape[0], matrices.shape[2])
    else:
        total = F.embedding_bag(pairs, products, starts, mode="sum")
    if rulebook.identity is not None:
        total.addmm_(source, matrices[rulebook.identity])
    return total


def _weight_gradient(features: Tensor, grad: Tensor, gathered_grad: Tensor, rulebook: Rulebook) -> Tensor:
    """Gradient of each kernel offset's matrix, [K, Cout, Cin]."""
    result = features.new_zeros(len(rulebook.counts), grad.shape[1], features.shape[1])
    if rulebook.identity is not None:
        torch.mm(grad.t(), features, out=result[rulebook.identity])
    inputs = features.index_select(0, rulebook.in_rows)  # [P, Cin]
    start = 0
    for matrix, count in zip(result, rulebook.counts, strict=True):
        if count:
            torch.mm(gathered_grad[start : start + count].t(), inputs[start : start + count], out=matrix)
        start += count
    return result


def _check_indices(indices: Tensor, spatial_shape: Triple, batch_size: int) -> None:
    if indices.dim() != 2 or indices.shape[1] != 4 or indices.is_floating_point():
        raise ValueError(f"indices: expected integers [V, 4] (batch, z, y, x), got {indices.dtype} {indices.shape}")
    limit = torch.tensor([batch_size, *spatial_shape], device=indices.device)
    if bool(((indices < 0) | (indices >= limit)).any()):
        raise ValueError(f"indices: a cell is outside {batch_size} grids of {spatial_shape}")


def _keys(cells: Tensor, shape: Triple) -> Tensor:
    """One int64 for each cell (batch, z, y, x) [V, 4] of a grid of `shape`; x counts fastest."""
    batch, z, y, x = cells.long().unbind(1)
    return ((batch * shape[0] + z) * shape[1] + y) * shape[2] + x


def _submanifold_rulebook(indices: Tensor, spatial_shape: Triple, kernel_size: Triple) -> Rulebook:
    """Look every cell's neighbours up among the sorted keys of the cells."""
    if not all(k % 2 for k in kernel_size):
        raise ValueError(f"a submanifold convolution needs an odd kernel along each axis, not {kernel_size}")
    # The grid with room for the kernel around it, so that a neighbour outside has a key of its own, which no cell has.
    depth, height, width = (n + k - 1 for n, k in zip(spatial_shape, kernel_size, strict=True))
    first = _keys(indices, (depth, height, width))  # [V] of the neighbour under kernel offset 0
    middle_z, middle_y, middle_x = (k // 2 for k in kernel_size)
    keys, order = torch.sort(first + (middle_z * height + middle_y) * width + middle_x)  # [V] of the cells themselves
    if bool((keys[1:] == keys[:-1]).any()):
        raise ValueError("indices name a cell more than once; give each occupied cell one row")
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
            found = hit.nonzero(as_tuple=True)[0]
            in_rows.append(order[position[found]])
            out_rows.append(found)
            # The next cell along x has the next key, so its place is known without another search.
            position, wanted = position + hit, wanted + 1
    counts = [rows.shape[0] for rows in in_rows[1:]]
    return Rulebook(
        in_rows=torch.cat(in_rows + out_rows[::-1]),
        out_rows=torch.cat(out_rows + in_rows[::-1]),
        counts=(*counts, 0, *counts[::-1]),
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
    axes = []
    for axis in range(3):
        moved = indices[:, axis + 1, None].long() + padding[axis]  # [V, 1]
        reach = -(-kernel_size[axis] // stride[axis])  # at most so many output cells along this axis see a cell
        cell = moved // stride[axis] - torch.arange(reach, device=indices.device)  # [V, R]
        offset = moved - cell * stride[axis]  # [V, R] under which place of the kernel
        axes.append((cell, offset, (offset < kernel_size[axis]) & (cell >= 0) & (cell < grid[axis])))
    (z, kernel_z, sees_z), (y, kernel_y, sees_y), (x, kernel_x, sees_x) = axes
    sees = sees_z[:, :, None, None] & sees_y[:, None, :, None] & sees_x[:, None, None, :]  # [V, Rz, Ry, Rx]
    found = sees.flatten().nonzero().squeeze(1)  # [P]
    kernel_offset = _combine(kernel_z, kernel_y, kernel_x, kernel_size).flatten()[found]  # [P]
    by_offset = torch.argsort(kernel_offset, stable=True)
    key = _combine(indices[:, :1].long() * grid[0] + z, y, x, grid).flatten()[found]  # [P]
    keys, out_rows = torch.unique(key, return_inverse=True)  # [V'] rising, [P]
    return Rulebook(
        in_rows=(found // math.prod(sees.shape[1:]))[by_offset],
        out_rows=out_rows[by_offset],
        counts=tuple(torch.bincount(kernel_offset, minlength=math.prod(kernel_size)).tolist()),
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
