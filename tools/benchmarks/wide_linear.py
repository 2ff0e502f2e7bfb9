"""The energy head's first layer, 7168 → 1024, by `WideLinear` and by `nn.Linear`, on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from harness import Comparison, Settings, compare, run
from torch import Tensor, nn

from lidar_ebm.energy.wide_linear import WideLinear

INPUTS, OUTPUTS = 7168, 1024


def measure(settings: Settings) -> Sequence[Comparison]:
    torch.manual_seed(0)
    if settings.device.type != "cpu":  # there it is nn.Linear itself
        return []
    wide, plain = WideLinear(INPUTS, OUTPUTS), nn.Linear(INPUTS, OUTPUTS)
    plain.load_state_dict(wide.state_dict())

    def compare_rows(rows: int, wanted: str) -> Comparison:
        x = torch.randn(rows, INPUTS, requires_grad=wanted == "input")
        direction = torch.randn(rows, OUTPUTS)

        def gradients(layer: nn.Linear) -> tuple[Tensor, ...]:
            inputs = (x,) if wanted == "input" else tuple(layer.parameters())
            return torch.autograd.grad(layer(x), inputs, direction)

        torch.testing.assert_close(gradients(wide), gradients(plain), atol=1e-2, rtol=1e-3)
        work = f"{INPUTS} → {OUTPUTS} of {rows} rows, forward + gradient of the {wanted}"
        return compare(settings, work, lambda: gradients(wide), lambda: gradients(plain), against="nn.Linear")

    return [compare_rows(100, "input"), compare_rows(16 * 129, "weight")]


if __name__ == "__main__":
    run(measure, __doc__ or "")
