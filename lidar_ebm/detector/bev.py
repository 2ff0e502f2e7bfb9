"""The bird's-eye-view network: dense 3×3 convolutions on the backbone's volume seen from above."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from lidar_ebm.config.detector import DetectorSettings
from lidar_ebm.types import BevFeatures


class BevNetwork(nn.Module):
    """3×3 convolutions to the shared feature map, and one 1×1 convolution from it for the anchor head."""

    def __init__(self, config: DetectorSettings) -> None:
        super().__init__()
        channels = config.bev.channels
        self.grid = config.bev_grid
        widths = [config.backbone.out_channels * config.bev_shape[0]] + [channels] * config.bev.layers
        self.shared = nn.Sequential(*(_layer(a, b, 3) for a, b in pairwise(widths)))
        self.anchor = _layer(channels, channels, 1)

    def forward(self, dense: Tensor, occupied: Tensor) -> BevFeatures:
        """Make the maps.

        Args:
            dense: the backbone's volume [B, C*D, H, W].
            occupied: cells over a non-empty column [B, H, W] bool, handed on.
        """
        shared = self.shared(dense)  # [B, C, H, W]
        return BevFeatures(shared, self.anchor(shared), occupied, self.grid)


def _layer(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels, eps=1e-3, momentum=0.01),
        nn.ReLU(inplace=True),
    )
