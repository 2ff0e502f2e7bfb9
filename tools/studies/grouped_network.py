"""Many small networks f(x, y) of one real x and one real y, trained side by side: rows of a batch belong to models.

Each model: x through two layers (ReLU), y through one (tanh), both together through three (tanh, the last two
residual), and a last one to f. With ten units a layer an ordinary implementation spends its time on memory traffic:
[N, S, 10] numbers, tens of megabytes, are written and read for every operation. Here the x part is computed once for
each input, and the y part (`small_network.py`) row by row in buffers that stay in the processor's cache.
"""

from __future__ import annotations

import math

import torch
from small_network import WIDTH, slope_gradients, slopes, value_gradients, values
from torch import Tensor, nn

from lidar_ebm.ebm import Energy


class GroupedNetwork(nn.Module):
    """G independent models of the same shape, their weights stacked along the first dimension."""

    def __init__(self, models: int, *, generator: torch.Generator | None = None) -> None:
        """Weights are drawn for each model, uniform within 1 / √inputs as in `nn.Linear`."""
        super().__init__()
        self.models = models

        def draw(fan_in: int, *shape: int) -> nn.Parameter:
            return nn.Parameter((2 * torch.rand((models, *shape), generator=generator) - 1) / math.sqrt(fan_in))

        self.x_weight1, self.x_bias1 = draw(1, 1, WIDTH), draw(1, 1, WIDTH)
        self.x_weight2, self.x_bias2 = draw(WIDTH, WIDTH, WIDTH), draw(WIDTH, 1, WIDTH)
        self.y_weight, self.y_bias = draw(1, WIDTH), draw(1, WIDTH)
        # The first layer that sees both is linear in each: its part for x, with the bias, and its part for y.
        self.weight1_x, self.bias1 = draw(2 * WIDTH, WIDTH, WIDTH), draw(2 * WIDTH, 1, WIDTH)
        self.weight1_y = draw(2 * WIDTH, WIDTH, WIDTH)
        self.weight2, self.bias2 = draw(WIDTH, WIDTH, WIDTH), draw(WIDTH, WIDTH)
        self.weight3, self.bias3 = draw(WIDTH, WIDTH, WIDTH), draw(WIDTH, WIDTH)
        self.weight4, self.bias4 = draw(WIDTH, WIDTH), draw(WIDTH, 1)

    def energy(self, x: Tensor, *, plain: bool = False) -> Energy:
        """f for these inputs.

        Args:
            x: [G, B], each model's own.
            plain: by torch's operations, differentiable any number of times, on any device and in any type; the other
                way is float32 on the CPU and has two derivatives to y in all.

        Returns:
            y [G B, S, 1] -> f [G B, S]; rows n B ... n B + B - 1 are the n-th model's.
        """
        hidden = torch.relu(x.unsqueeze(-1) * self.x_weight1 + self.x_bias1)  # [G, B, W]
        hidden = torch.relu(torch.baddbmm(self.x_bias2, hidden, self.x_weight2))
        from_x = torch.baddbmm(self.bias1, hidden, self.weight1_x)  # [G, B, W]
        if plain:
            return lambda y: self._plain(y.reshape(self.models, x.shape[1], -1), from_x).flatten(0, 1)
        parameters = torch.cat([part.flatten(1) for part in self._y_parameters()], dim=1)  # [G, P]
        flat = from_x.flatten(0, 1)  # [G B, W]
        return lambda y: _value(y.squeeze(-1), flat, parameters)

    def _y_parameters(self) -> tuple[Tensor, ...]:
        """In the order of `small_network.py`."""
        layer2, layer3, last = (self.weight2, self.bias2), (self.weight3, self.bias3), (self.weight4, self.bias4)
        return (self.y_weight, self.y_bias, self.weight1_y, *layer2, *layer3, *last)

    def _plain(self, y: Tensor, from_x: Tensor) -> Tensor:
        """f [G, B, S] at y [G, B, S]."""

        def layer(weight: Tensor, below: Tensor) -> Tensor:
            return torch.einsum("gij,gbsj->gbsi", weight, below)

        def shaped(bias: Tensor) -> Tensor:
            return bias[:, None, None]

        hidden = torch.tanh(y.unsqueeze(-1) * shaped(self.y_weight) + shaped(self.y_bias))  # [G, B, S, W]
        hidden = torch.tanh(layer(self.weight1_y, hidden) + from_x.unsqueeze(2))
        hidden = torch.tanh(layer(self.weight2, hidden) + shaped(self.bias2)) + hidden
        hidden = torch.tanh(layer(self.weight3, hidden) + shaped(self.bias3)) + hidden
        return (hidden * shaped(self.weight4)).sum(-1) + self.bias4.unsqueeze(-1)


def _value(y: Tensor, from_x: Tensor, parameters: Tensor) -> Tensor:
    """f [N, S] at y [N, S], of what comes from x [N, W] and the parameters of G models [G, P].

    Where y's gradient may be asked for, it and that to the parameters are nodes apart, the latter's value being zero:
    torch runs a node for all of its inputs, though one alone is wanted, as in a Langevin step.
    """
    if not y.requires_grad:
        return _Value.apply(y, from_x, parameters, True)
    return _ValueAlongY.apply(y, from_x, parameters) + _Value.apply(y.detach(), from_x, parameters, False)


class _Value(torch.autograd.Function):
    """f, or zeros, with f's gradients to all but y."""

    @staticmethod
    def forward(ctx, y: Tensor, from_x: Tensor, parameters: Tensor, wanted: bool) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(y, from_x, parameters)
        out = torch.zeros(y.shape)
        if wanted:
            values(*_arrays(y, from_x, parameters), out.numpy())
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[no-untyped-def]
        y, from_x, parameters = ctx.saved_tensors
        to_x, to_parameters = torch.empty_like(from_x), torch.zeros_like(parameters)
        arrays = _arrays(y, from_x, parameters, gradient)
        value_gradients(*arrays, to_x.numpy(), to_parameters.numpy())
        return None, to_x, to_parameters, None


class _ValueAlongY(torch.autograd.Function):
    """f, with its gradient to y, which is itself a function of all."""

    @staticmethod
    def forward(ctx, y: Tensor, from_x: Tensor, parameters: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(y, from_x, parameters)
        out = torch.empty(y.shape)
        values(*_arrays(y, from_x, parameters), out.numpy())
        return out

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[no-untyped-def]
        return gradient * _Slope.apply(*ctx.saved_tensors), None, None


class _Slope(torch.autograd.Function):
    """df/dy [N, S], of the same."""

    @staticmethod
    def forward(ctx, y: Tensor, from_x: Tensor, parameters: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(y, from_x, parameters)
        out = torch.empty(y.shape)
        slopes(*_arrays(y, from_x, parameters), out.numpy())
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, ...]:  # type: ignore[no-untyped-def]
        y, from_x, parameters = ctx.saved_tensors
        to_y, to_x, to_parameters = torch.empty(y.shape), torch.empty_like(from_x), torch.zeros_like(parameters)
        arrays = _arrays(y, from_x, parameters, gradient)
        slope_gradients(*arrays, to_y.numpy(), to_x.numpy(), to_parameters.numpy())
        return to_y, to_x, to_parameters


def _arrays(*tensors: Tensor) -> list:
    """As numpy's, contiguous."""
    for tensor in tensors:
        if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
            raise ValueError(f"float32 on the CPU only, not {tensor.dtype} on {tensor.device}; plain=True takes any")
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
