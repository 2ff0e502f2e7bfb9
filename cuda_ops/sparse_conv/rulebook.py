"""The rulebook of a sparse convolution, found in native code."""

from __future__ import annotations

import math
from itertools import accumulate

import torch
from torch import Tensor

from cuda_ops import _native
from cuda_ops.sparse_conv import reference
from cuda_ops.sparse_conv.reference import Rulebook, Triple, output_shape, rulebook_from_pairs

_CELLS_UNSORTED, _CELL_TWICE, _CELL_OUTSIDE = 1, 2, 3  # as in native.h


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
        indices: occupied cells (batch, z, y, x) `[V, 4]`, integers, each at most once, in any order.
        spatial_shape: (D, H, W) of the input grid.
        batch_size: number of frames; any of them may be empty.
        kernel_size, stride, padding: along (z, y, x). A submanifold convolution always has stride 1 and a padding of
            half the kernel; what is given here is not looked at.
        submanifold: the output cells are the input cells, in their order. Otherwise they are all cells that see an
            occupied one, ordered by (batch, z, y, x).

    Raises:
        ValueError: a cell is outside the grid or occurs twice, a submanifold kernel is even, the kernel
            does not fit the grid, or there are more cells, in all or along an axis, than 32 bits can count.
    """
    reference.check_indices(indices)
    if not _native.serves(indices.device):
        return reference.build_rulebook(
            indices,
            spatial_shape,
            batch_size,
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            submanifold=submanifold,
        )
    if submanifold:
        reference.check_submanifold_kernel(kernel_size)
        stride, padding = (1, 1, 1), (kernel_size[0] // 2, kernel_size[1] // 2, kernel_size[2] // 2)
    grid = output_shape(spatial_shape, kernel_size, stride, padding)
    device, count = indices.device, indices.shape[0]
    reference.check_counts(count, batch_size, *spatial_shape)
    geometry = torch.tensor([batch_size, *spatial_shape, *grid, *kernel_size, *stride, *padding])  # [16]
    cells = _as_int32(indices)  # [V, 4]
    status = torch.zeros(1, dtype=torch.int64, device=device)
    _native.call("sparse_conv_check", device, cells, count, geometry, status)
    order = None
    code = status.item()
    if code == _CELLS_UNSORTED:
        order = torch.argsort(reference.keys_of(cells, spatial_shape))  # [V]
        cells = cells[order]
        _native.call("sparse_conv_check", device, cells, count, geometry, status)
        code = status.item()
    if code == _CELL_OUTSIDE:
        raise ValueError(reference.OUTSIDE.format(batch_size, spatial_shape))
    if code == _CELL_TWICE:
        raise ValueError(reference.TWICE)

    if submanifold:
        keys = torch.empty(count, dtype=torch.int64, device=device)
        _native.call("sparse_conv_keys", device, cells, count, geometry, keys)
        output_indices = indices
    else:
        reach = math.prod(-(-k // s) for k, s in zip(kernel_size, stride, strict=True))
        keys = _output_keys(cells, geometry, reach)  # [V']
        output_cells = cells.new_empty(keys.shape[0], 4)
        _native.call("sparse_conv_cells", device, keys, keys.shape[0], geometry, output_cells)
        output_indices = output_cells.to(indices.dtype)
    outputs, offsets = keys.shape[0], math.prod(kernel_size)
    reference.check_counts(outputs)

    blocks = torch.empty(1 << outputs.bit_length(), 3, dtype=torch.int64, device=device)
    table = torch.empty(offsets // 2 if submanifold else offsets, count, dtype=torch.int32, device=device)
    _native.call(
        "sparse_conv_table",
        device,
        cells,
        count,
        geometry,
        keys,
        outputs,
        blocks,
        blocks.shape[0],
        table.shape[0],
        table,
    )
    in_rows, out_rows, counts = _pairs(table, submanifold)
    identity = offsets // 2 if submanifold else None
    if order is None:
        return Rulebook(in_rows, out_rows, counts, identity, output_indices, grid, count)
    return rulebook_from_pairs(
        order[in_rows],
        order[out_rows] if submanifold else out_rows,
        counts,
        identity=identity,
        indices=output_indices,
        spatial_shape=grid,
        input_rows=count,
    )


def _as_int32(indices: Tensor) -> Tensor:
    if indices.dtype != torch.int32:
        indices = indices.long().clamp(-1, 2**31 - 1).int()  # what is outside every grid stays so
    return indices.contiguous()


def _output_keys(cells: Tensor, geometry: Tensor, reach: int) -> Tensor:
    """The rising keys [V'] of the cells that see one of `cells`; at most `reach` see each."""
    count, device = cells.shape[0], cells.device
    keys = torch.empty(count * reach, dtype=torch.int64, device=device)
    if cells.is_cuda:
        _native.call("sparse_conv_candidates", device, cells, count, geometry, keys)
        keys = torch.unique(keys)
        return keys[keys != torch.iinfo(torch.int64).max]
    cell_count = torch.empty(1, dtype=torch.int64)
    _native.call("sparse_conv_outputs", device, cells, count, geometry, keys, cell_count)
    return keys[: int(cell_count)]


def _pairs(table: Tensor, submanifold: bool) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """Input rows [P], output rows [P] and pairs of each offset from a table of output rows (see native.h)."""
    planes, inputs = table.shape
    if table.is_cuda:
        met = table >= 0
        offset, in_rows = met.nonzero(as_tuple=True)
        out_rows, in_rows = table[offset, in_rows], in_rows.int()
        counts = met.sum(1).tolist()
        if submanifold:
            first, second = in_rows.split(counts), out_rows.split(counts)
            in_rows, out_rows = torch.cat([in_rows, *second[::-1]]), torch.cat([out_rows, *first[::-1]])
            counts = [*counts, 0, *counts[::-1]]
        return in_rows, out_rows, tuple(counts)
    pair_count = torch.empty(planes, dtype=torch.int64)
    _native.call("sparse_conv_count", table.device, table, planes, inputs, pair_count)
    counts = pair_count.tolist()
    if submanifold:
        counts = [*counts, 0, *counts[::-1]]
    starts = torch.tensor((0, *accumulate(counts)))
    in_rows, out_rows = table.new_empty(int(starts[-1])), table.new_empty(int(starts[-1]))
    _native.call("sparse_conv_pairs", table.device, table, planes, inputs, starts, len(counts), in_rows, out_rows)
    return in_rows, out_rows, tuple(counts)
