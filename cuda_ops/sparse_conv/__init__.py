"""Sparse 3-D convolution: the rulebook (which voxel meets which at which kernel offset) and gather-GEMM-scatter."""

from __future__ import annotations

from cuda_ops.sparse_conv.op import build_rulebook, sparse_conv
from cuda_ops.sparse_conv.reference import Rulebook, Triple, output_shape, rulebook_from_pairs

__all__ = ["Rulebook", "Triple", "build_rulebook", "output_shape", "rulebook_from_pairs", "sparse_conv"]
