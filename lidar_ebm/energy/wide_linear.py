"""A linear layer of many channels, by the faster of torch's two libraries for it on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class WideLinear(nn.Linear):
    """`nn.Linear`, on a CPU computed as a 1 × 1 convolution over one long row of pixels.

    That is the same product, but torch gives convolutions to oneDNN and plain products to its BLAS, and on an AMD
    processor with AVX-512 oneDNN is the faster one where there are hundreds of channels, by a quarter at the head's
    size (tools/benchmarks/wide_linear.py). With few channels its backward pass is the slower one.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] → [..., out]."""
        if x.device.type != "cpu" or x.dtype != torch.float32 or x.numel() == 0:
            return super().forward(x)
        # [1, in, 1, N], channels-last without a copy
        pixels = x.reshape(1, 1, -1, self.in_features).permute(0, 3, 1, 2)
        y = F.conv2d(pixels, self.weight[:, :, None, None], self.bias)  # [1, out, 1, N]
        return y.permute(0, 2, 3, 1).reshape(*x.shape[:-1], self.out_features)
