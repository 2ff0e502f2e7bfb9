"""Sparse 3-D convolution: the rulebook (which voxel meets which at which kernel offset) and gather-GEMM-scatter."""
