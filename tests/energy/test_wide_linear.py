"""The linear layer for many channels against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lidar_ebm.energy.wide_linear import WideLinear


@pytest.mark.parametrize("shape", [(5, 3, 40), (7, 40), (40,), (0, 40), (2, 0, 40)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_is_a_linear_layer(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    plain = nn.Linear(40, 24, dtype=dtype)
    wide = WideLinear(40, 24, dtype=dtype)
    wide.load_state_dict(plain.state_dict())
    x = torch.randn(shape, dtype=dtype, requires_grad=True)
    results = []
    for layer in (plain, wide):
        y = layer(x)
        assert y.shape == (*shape[:-1], 24)
        results.append((y, *torch.autograd.grad(y.square().sum(), (x, *layer.parameters()))))
    for expected, value in zip(*results, strict=True):
        torch.testing.assert_close(value, expected, atol=1e-4, rtol=1e-5)


def test_takes_rows_that_lie_apart() -> None:
    layer = WideLinear(40, 24)
    x = torch.randn(40, 9).T
    torch.testing.assert_close(layer(x), nn.functional.linear(x, layer.weight, layer.bias))


def test_rounds_as_autocast_asks() -> None:
    layer = WideLinear(40, 24)
    x = torch.randn(9, 40)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), layer(x), atol=0.1, rtol=0.02)
