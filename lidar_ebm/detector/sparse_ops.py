"""Two interchangeable backends for sparse convolution, with one weight layout: [Cout, kd, kh, kw, Cin].

`builtin` is `cuda_ops.sparse_conv`: native kernels, or plain PyTorch where they were not built. `spconv` takes its
pairs, and on a GPU its convolution too, from the library of that name. On a CPU spconv 2.3.8 has no backward pass, and
its forward pass loses additions when it runs on several threads, so there its pairs feed the built-in convolution.
Both order the output cells by (batch, z, y, x), so everything after them is the same.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from cuda_ops.sparse_conv import build_rulebook, output_shape, rulebook_from_pairs, sparse_conv
from lidar_ebm.errors import InputError

Triple = tuple[int, int, int]
BackendName = Literal["auto", "spconv", "builtin"]


@dataclass(frozen=True)
class SparsePlan:
    """A convolution between known cells; what remains are features and weights."""

    indices: Tensor  # [V', 4] int32 (batch, z, y, x) of the output rows
    spatial_shape: Triple  # (D', H', W') of the output grid
    convolve: Callable[[Tensor, Tensor], Tensor]  # features [V, Cin], weight [Cout, kd, kh, kw, Cin] -> [V', Cout]


@dataclass(frozen=True)
class Kernel:
    """Geometry of a sparse convolution, along (z, y, x)."""

    size: Triple
    stride: Triple = (1, 1, 1)
    padding: Triple = (0, 0, 0)
    submanifold: bool = False  # output cells are the input cells; stride 1, padding half the size


def check_backend(name: BackendName) -> None:
    """Raise InputError where the backend of that name cannot be had."""
    if name == "spconv" and not _has_spconv():
        raise InputError(
            "backbone.backend = 'spconv': the library spconv is not installed. Install it "
            "(pip install 'lidar-ebm[cpu]', or 'lidar-ebm[cu120]' for a GPU), or set backbone.backend to builtin."
        )


def plan_sparse_conv(
    indices: Tensor, spatial_shape: Triple, batch_size: int, kernel: Kernel, backend: BackendName = "auto"
) -> SparsePlan:
    """Find what a convolution needs to know of the occupied cells.

    Args:
        indices: occupied cells (batch, z, y, x) [V, 4] int32, each once.
        spatial_shape: (D, H, W) of their grid.
        batch_size: number of frames.
        kernel: size, stride, padding; submanifold or not.
        backend: `auto` takes spconv on a GPU where it is installed and the built-in one elsewhere (on a CPU the
            built-in one is the faster of the two).

    Raises:
        InputError: spconv is asked for and not installed.
    """
    check_backend(backend)
    if backend == "auto":
        backend = "spconv" if indices.is_cuda and _has_spconv() else "builtin"
    # spconv refuses a batch without any voxel; 1×1×1 needs no pairs at all.
    if backend == "builtin" or indices.shape[0] == 0 or (kernel.submanifold and kernel.size == (1, 1, 1)):
        rulebook = build_rulebook(
            indices,
            spatial_shape,
            batch_size,
            kernel_size=kernel.size,
            stride=kernel.stride,
            padding=kernel.padding,
            submanifold=kernel.submanifold,
        )
        return SparsePlan(rulebook.indices, rulebook.spatial_shape, partial(sparse_conv, rulebook=rulebook))
    return _plan_with_spconv(indices, spatial_shape, batch_size, kernel)


def _has_spconv() -> bool:
    return importlib.util.find_spec("spconv") is not None


def _plan_with_spconv(indices: Tensor, spatial_shape: Triple, batch_size: int, kernel: Kernel) -> SparsePlan:
    from spconv.pytorch import ConvAlgo, ops

    padding = tuple(k // 2 for k in kernel.size) if kernel.submanifold else kernel.padding
    # pairs [2, K, V] int32: (input row, output row) of each kernel offset, then -1; pair_counts [K]
    cells, pairs, pair_counts = ops.get_indice_pairs(
        indices.contiguous(),
        batch_size,
        list(spatial_shape),
        ConvAlgo.Native,
        list(kernel.size),
        list(kernel.stride),
        list(padding),
        [1, 1, 1],  # dilation
        [0, 0, 0],  # output padding
        kernel.submanifold,
    )
    shape = spatial_shape
    if not kernel.submanifold:
        shape = output_shape(spatial_shape, kernel.size, kernel.stride, kernel.padding)
        cells, pairs = _in_order(cells, pairs, shape)
    if indices.is_cuda:
        convolve = partial(
            _spconv_on_gpu,
            pairs=pairs,
            pair_counts=pair_counts,
            output_rows=cells.shape[0],
            submanifold=kernel.submanifold,
        )
        return SparsePlan(cells, shape, convolve)
    valid = pairs[0] >= 0
    identity = valid.shape[0] // 2 if kernel.submanifold else None
    if identity is not None:
        valid[identity] = False
    rulebook = rulebook_from_pairs(
        pairs[0][valid],
        pairs[1][valid],
        tuple(valid.sum(1).tolist()),
        identity=identity,
        indices=cells,
        spatial_shape=shape,
        input_rows=indices.shape[0],
    )
    return SparsePlan(cells, shape, partial(sparse_conv, rulebook=rulebook))


def _in_order(cells: Tensor, pairs: Tensor, shape: Triple) -> tuple[Tensor, Tensor]:
    """Output cells by (batch, z, y, x), and the pairs with their new rows."""
    batch, z, y, x = cells.long().unbind(1)
    order = torch.argsort(((batch * shape[0] + z) * shape[1] + y) * shape[2] + x)
    row = torch.empty_like(order)
    row[order] = torch.arange(order.shape[0], device=order.device)
    out_rows = torch.where(pairs[1] >= 0, row[pairs[1].long().clamp_min(0)], -1)
    return cells[order], torch.stack([pairs[0], out_rows.to(pairs.dtype)])


def _spconv_on_gpu(
    features: Tensor, weight: Tensor, *, pairs: Tensor, pair_counts: Tensor, output_rows: int, submanifold: bool
) -> Tensor:
    from spconv.pytorch import ConvAlgo, functional

    convolve = functional.indice_subm_conv if submanifold else functional.indice_conv
    output: Tensor = convolve(features, weight, pairs, pair_counts, output_rows, ConvAlgo.Native)
    return output
