"""Noise distributions: where the samples that a density is learnt against come from, and how likely each was."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class GaussianMixtureNoise(nn.Module):
    """Equal-weight mixture of K axis-aligned Gaussians centred at the target,

        q(y | c) = 1/K Σ_k Π_d N(y_d; c_d, σ_kd²).

    One component is drawn for all dimensions of a sample together. A module only so that its stds follow the model to
    its device; it has no parameters and leaves nothing in checkpoints.
    """

    stds: Tensor

    def __init__(self, stds: Tensor | Sequence[Sequence[float]]) -> None:
        """Args: stds: [K, D], all positive, in the target's units."""
        super().__init__()
        values = torch.as_tensor(stds)
        values = values.detach().clone() if values.is_floating_point() else values.to(torch.get_default_dtype())
        if values.ndim != 2 or 0 in values.shape or not bool((values > 0).all()):
            raise ValueError(f"stds must be positive and of shape [K, D], got shape {list(values.shape)}: {values}")
        self.register_buffer("stds", values, persistent=False)

    def sample(self, center: Tensor, count: int, generator: torch.Generator | None = None) -> Tensor:
        """`count` draws around each row of `center` [N, D]: [N, count, D].

        The random numbers are drawn where the generator lives: a CPU generator gives the same draws on every device.
        """
        rows, dims = center.shape
        device = center.device if generator is None else generator.device
        component = torch.randint(len(self.stds), (rows, count), generator=generator, device=device)  # [N, M]
        noise = torch.randn((rows, count, dims), generator=generator, device=device, dtype=center.dtype)
        return center.unsqueeze(1) + noise.to(center) * self.stds.to(center)[component.to(center.device)]

    def log_prob(self, y: Tensor, center: Tensor) -> Tensor:
        """Log-density of each of y [N, M, D] around its row of `center` [N, D]: [N, M].

        The squares stay in the exponent until the components are summed, so that no density under- or overflows,
        however small σ is.
        """
        stds = self.stds.to(y)  # [K, D]
        offset = (y - center.unsqueeze(1)).unsqueeze(-2)  # [N, M, 1, D]
        exponent = -0.5 * (offset / stds).square().sum(-1)  # [N, M, K]
        normaliser = stds.log().sum(-1) + 0.5 * stds.shape[1] * math.log(2 * math.pi)  # [K]
        return torch.logsumexp(exponent - normaliser, dim=-1) - math.log(len(stds))
