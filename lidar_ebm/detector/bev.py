"""The bird's-eye-view network: dense convolutions on the encoder's output, at one scale or at several."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lidar_ebm.config.detector import BevConfig, DetectorSettings
from lidar_ebm.types import BevFeatures


class BevNetwork(nn.Module):
    """3×3 convolutions, or strided blocks of them, to the shared feature map, and one 1×1 convolution to the head's."""

    def __init__(self, config: DetectorSettings) -> None:
        super().__init__()
        channels = config.bev.channels
        self.grid = config.bev_grid
        self.map_stride = config.bev.map_stride
        self.shared: nn.Module
        if config.bev.scales:
            self.shared = ScaleNetwork(config.encoder_channels, config.bev)
        else:
            widths = [config.encoder_channels] + [channels] * config.bev.layers
            self.shared = nn.Sequential(*(convolution(a, b) for a, b in pairwise(widths)))
        self.anchor = convolution(channels, channels, 1)

    def forward(self, dense: Tensor, occupied: Tensor) -> BevFeatures:
        """Make the maps.

        Args:
            dense: the encoder's output [B, C, H, W].
            occupied: cells over a non-empty column [B, H, W] bool; with a map stride a cell of the maps is occupied
                where any below it is.
        """
        shared = self.shared(dense)  # [B, C, H', W']
        if self.map_stride > 1:
            cells = F.max_pool2d(occupied[:, None].to(torch.float32), self.map_stride, ceil_mode=True)
            occupied = cells[:, 0] > 0
        return BevFeatures(shared, self.anchor(shared), occupied, self.grid)


class ScaleNetwork(nn.Module):
    """Blocks at ever coarser scales; all of them, brought to the maps' cells, side by side, through a 3×3 convolution.

    After SECOND and PointPillars.
    """

    def __init__(self, in_channels: int, config: BevConfig) -> None:
        super().__init__()
        blocks, ups = [], []
        width, stride = in_channels, 1
        for scale in config.scales:
            layers = [convolution(width, scale.channels, stride=scale.stride)]
            layers += [convolution(scale.channels, scale.channels) for _ in range(scale.layers)]
            blocks.append(nn.Sequential(*layers))
            width, stride = scale.channels, stride * scale.stride
            ups.append(_to_stride(width, scale.up_channels, stride, config.map_stride))
        self.blocks, self.ups = nn.ModuleList(blocks), nn.ModuleList(ups)
        self.map_stride = config.map_stride
        self.output = convolution(sum(scale.up_channels for scale in config.scales), config.channels)

    def forward(self, dense: Tensor) -> Tensor:
        """The shared map [B, C, H', W'] of the encoder's output [B, Cin, H, W]."""
        height, width = ((n - 1) // self.map_stride + 1 for n in dense.shape[2:])
        maps = []
        for block, up in zip(self.blocks, self.ups, strict=True):
            dense = block(dense)
            maps.append(up(dense)[:, :, :height, :width])  # a coarse cell at the border may reach over it
        return self.output(torch.cat(maps, dim=1))


def _to_stride(in_channels: int, out_channels: int, stride: int, wanted: int) -> nn.Sequential:
    """From cells of one stride to those of another, of which one divides the other."""
    if stride > wanted:
        factor = stride // wanted
        resample: nn.Module = nn.ConvTranspose2d(in_channels, out_channels, factor, stride=factor, bias=False)
    else:
        resample = nn.Conv2d(in_channels, out_channels, 3, stride=wanted // stride, padding=1, bias=False)
    return _normalised(resample, out_channels)


def convolution(in_channels: int, out_channels: int, kernel_size: int = 3, *, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, batch normalisation, ReLU."""
    layer = nn.Conv2d(in_channels, out_channels, kernel_size, stride=stride, padding=kernel_size // 2, bias=False)
    return _normalised(layer, out_channels)


def _normalised(layer: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(layer, nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01), nn.ReLU(inplace=True))
