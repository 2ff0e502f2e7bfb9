"""The bird's-eye-view network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lidar_ebm.config.config import Config
from lidar_ebm.config.detector import BackboneConfig, BevConfig, StageConfig, VoxelConfig
from lidar_ebm.detector.bev import BevNetwork


def small_config(layers: int = 3) -> Config:
    return Config(
        voxels=VoxelConfig(range=(0, -2, -1, 4, 2, 1), size=(0.25, 0.25, 0.5)),
        backbone=BackboneConfig(stages=(StageConfig(channels=8, layers=1),), out_channels=6),
        bev=BevConfig(channels=10, layers=layers),
    )


@pytest.mark.parametrize("layers", [1, 3])
def test_maps_have_the_shapes_of_the_configuration(layers: int) -> None:
    config = small_config(layers)
    depth, height, width = config.bev_shape
    occupied = torch.rand(2, height, width) < 0.5
    features = BevNetwork(config.detector_settings)(torch.randn(2, 6 * depth, height, width), occupied)
    assert features.shared.shape == (2, 10, height, width)
    assert features.anchor.shape == (2, 10, height, width)
    assert features.occupied is occupied
    assert features.grid == config.bev_grid
    assert (features.shared >= 0).all()
    assert features.shared.any()


def test_layers_are_the_published_ones() -> None:
    with torch.device("meta"):
        network = BevNetwork(Config().detector_settings)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    shapes = [tuple(module.weight.shape) for module in convolutions]
    assert shapes == [(256, 320, 3, 3), *[(256, 256, 3, 3)] * 6, (256, 256, 1, 1)]
    assert all(module.bias is None for module in convolutions)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [(norm.eps, norm.momentum) for norm in norms] == [(1e-3, 0.01)] * 8


def test_gradients_reach_the_input_through_either_map() -> None:
    config = small_config()
    depth, height, width = config.bev_shape
    network = BevNetwork(config.detector_settings)
    for name in ("shared", "anchor"):
        dense = torch.randn(1, 6 * depth, height, width, requires_grad=True)
        getattr(network(dense, torch.ones(1, height, width, dtype=torch.bool)), name).square().sum().backward()
        assert dense.grad is not None
        assert dense.grad.abs().sum() > 0


def test_channels_last_memory_changes_nothing_and_is_kept() -> None:
    config = small_config()
    depth, height, width = config.bev_shape
    network = BevNetwork(config.detector_settings).eval()
    dense, occupied = torch.randn(2, 6 * depth, height, width), torch.ones(2, height, width, dtype=torch.bool)
    expected = network(dense, occupied)
    features = network(dense.contiguous(memory_format=torch.channels_last), occupied)
    torch.testing.assert_close(features.shared, expected.shared)
    torch.testing.assert_close(features.anchor, expected.anchor)
    assert features.shared.is_contiguous(memory_format=torch.channels_last)
