"""Things that couple the frames of a batch, over all processes of a distributed training.

Two things do: batch normalisation's statistics, and the counts that sums of losses are divided by. With both shared,
P processes that each take a part of a batch, and the mean of their gradients, train as one process would on the whole.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

M = TypeVar("M", bound=nn.Module)


def process_count() -> int:
    """Number of processes that train together; 1 where none but this one does."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def shared_count(count: Tensor | int) -> Tensor | float:
    """Divisor of this process' sum of losses with which the mean over the processes is the whole batch's loss.

    That is the sum of the counts over all processes, at least one, divided by the number of processes. Every process
    has to call this, and all of them as often.

    Args:
        count: how many of this process' rows count; a scalar.

    Returns:
        A number; for a single process' tensor a tensor.
    """
    processes = process_count()
    if processes == 1:
        return count.clamp(min=1) if isinstance(count, Tensor) else max(count, 1)
    total = torch.as_tensor(count, dtype=torch.float64).clone()
    if not isinstance(count, Tensor) and dist.get_backend() == "nccl":
        total = total.cuda()
    dist.all_reduce(total)
    return max(float(total), 1.0) / processes


def synchronise_norms(module: M) -> M:
    """Let every batch normalisation in `module` take its training statistics over all processes.

    Parameters, buffers and their names stay what they are, and so does evaluation mode. Call it when the processes
    have met and before the module is wrapped; for one process it does nothing. Every process then has to run every
    such layer in training mode equally often, on any number of rows, zero too.

    Returns:
        The module itself, changed in place (or its replacement, where it is a normalisation itself).
    """
    return _replace(module) if process_count() > 1 else module


def _replace(module: Any) -> Any:
    if isinstance(module, SynchronisedNorm):
        return module
    if isinstance(module, _BatchNorm):
        return SynchronisedNorm(module)
    for name, child in module.named_children():
        setattr(module, name, _replace(child))
    return module


class SynchronisedNorm(_BatchNorm):
    """Batch normalisation of [N, C, ...] with statistics over the rows of all processes.

    Takes over the parameters and buffers of the layer that it stands in for. Where all processes together have less
    than two values a channel, and so no variance, it normalises by the running statistics and leaves them as they are.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, norm: _BatchNorm) -> None:
        if norm.running_mean is None:
            raise ValueError(f"{norm} keeps no running statistics, which its replacement cannot do without")
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, device="meta")
        self.weight, self.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers():
            setattr(self, name, buffer)
        self.training = norm.training

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected [N, C, ...], got {input.dim()} dimension(s)")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise [N, C, ...]."""
        self._check_input_dim(input)
        if not self.training:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        with torch.no_grad():
            count, mean, squares = _moments_of_all(input)
            enough = count > 1  # on the device: to look at it would make the host wait, in every layer
            share = enough / count.clamp(min=1)
            self._follow(mean, squares / (count - 1).clamp(min=1), enough)
            mean = torch.where(enough, mean, self.running_mean.double())
            variance = torch.where(enough, squares * share, self.running_var.double())
            inverse = (variance + self.eps).rsqrt()
        return _Normalise.apply(input, self.weight, self.bias, mean, inverse, share)

    def _follow(self, mean: Tensor, variance: Tensor, enough: Tensor) -> None:
        """Bring a batch's mean and unbiased variance into the running statistics, as torch does."""
        self.num_batches_tracked += enough
        if self.momentum is None:  # torch's way to ask for the plain average of all batches
            momentum = enough / self.num_batches_tracked.clamp(min=1).double()
        else:
            momentum = self.momentum * enough.double()
        for running, new in ((self.running_mean, mean), (self.running_var, variance)):
            running.copy_(running + (new - running) * momentum)


class _Normalise(torch.autograd.Function):
    """(x - mean) * inverse * weight + bias, where mean and inverse come from the x of all processes."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,  # [N, C, ...]
        weight: Tensor | None,  # [C]
        bias: Tensor | None,  # [C]
        mean: Tensor,  # [C] float64
        inverse: Tensor,  # [C] float64, one by the standard deviation
        share: Tensor,  # float64, one by the number of values in each channel; 0 where mean and inverse are given
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, inverse, share)
        scale = inverse if weight is None else inverse * weight
        offset = -mean * scale if bias is None else bias - mean * scale
        return torch.addcmul(_along(offset, x), _values(x), _along(scale, x)).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse, share = ctx.saved_tensors
        dimensions = [d for d in range(x.dim()) if d != 1]
        y = _values(gradient)
        normalised = (_values(x) - _along(mean, x)) * _along(inverse, x)
        own = torch.stack([y.sum(dimensions), (y * normalised).sum(dimensions)])  # [2, C]
        # Every x moved the mean and variance that every process used.
        total = own.to(torch.float64, copy=True)
        dist.all_reduce(total)
        scale = inverse if weight is None else inverse * weight
        through_mean, through_variance = total * share * scale
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = y * _along(scale, x) - _along(through_mean, x) - normalised * _along(through_variance, x)
            to_x = to_x.to(x.dtype)
        to_weight = own[1].to(weight.dtype) if ctx.needs_input_grad[1] else None
        to_bias = own[0].to(weight.dtype) if ctx.needs_input_grad[2] else None
        return to_x, to_weight, to_bias, None, None, None


def _moments_of_all(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Values a channel (a scalar), their mean [C] and their summed squares about it [C], over all processes; float64.

    Each process' own mean and squares are put together, so that no difference of large sums loses digits.
    """
    channels = x.shape[1]
    rows = x.numel() // channels
    own = torch.zeros(2 * channels + 1, dtype=torch.float64, device=x.device)
    if rows:
        variance, mean = torch.var_mean(_values(x), [d for d in range(x.dim()) if d != 1], correction=0)
        own = torch.cat([own.new_full((1,), rows), mean.double(), variance.double() * rows])
    parts = [torch.empty_like(own) for _ in range(process_count())]
    dist.all_gather(parts, own)
    everyone = torch.stack(parts)  # [P, 1 + 2 C]
    counts, means, squares = everyone[:, :1], everyone[:, 1 : channels + 1], everyone[:, channels + 1 :]
    count = counts.sum()
    mean = (counts * means).sum(0) / count.clamp(min=1)
    return count, mean, (squares + counts * (means - mean).square()).sum(0)


def _values(x: Tensor) -> Tensor:
    """In float32 at least: statistics of half-precision features would lose their last digits in half precision."""
    return x.float() if x.dtype.itemsize < 4 else x


def _along(values: Tensor, x: Tensor) -> Tensor:
    """Values [C] beside x [N, C, ...], in the precision that x is normalised in."""
    return values.to(torch.promote_types(x.dtype, torch.float32)).view(-1, *[1] * (x.dim() - 2))
