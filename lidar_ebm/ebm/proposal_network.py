"""q(y | x) that a network gives for each input: a mixture of normals in the target's space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from lidar_ebm.ebm.densities import draw_normal, normal_log_prob
from lidar_ebm.ebm.random_numbers import Random, uniform
from lidar_ebm.ebm.targets import TargetSpace

STD_RANGE = 1000.0  # a component is at most this many times wider or narrower than the spread it starts from


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """Mixtures of K axis-aligned normals, one mixture for each of N rows; wrapped in angles, cut off at bounds.

    A `Noise` whose centres do not matter, and differentiable in its parameters.
    """

    logits: Tensor  # [N, K] of the components' weights
    means: Tensor  # [N, K, D]
    log_stds: Tensor  # [N, K, D]
    space: TargetSpace | None = None

    def __post_init__(self) -> None:
        if self.means.ndim != 3 or self.means.shape != self.log_stds.shape or self.means.shape[:2] != self.logits.shape:
            raise ValueError(
                f"a mixture has logits [N, K] and means and log_stds [N, K, D], got {list(self.logits.shape)}, "
                f"{list(self.means.shape)} and {list(self.log_stds.shape)}"
            )

    @torch.no_grad()
    def sample(self, center: Tensor, count: int, random: Random = None) -> Tensor:
        """`count` draws for each row: [N, count, D], of the type of `center` [N, D], whose values are not used."""
        shares = self.logits.softmax(-1).cumsum(-1)[:, :-1].contiguous()  # [N, K - 1]
        component = torch.searchsorted(shares, uniform((len(shares), count), shares, random), right=True)  # [N, M]
        index = component.unsqueeze(-1).expand(-1, -1, self.means.shape[2])  # [N, M, D]
        means, stds = self.means.gather(1, index), self.log_stds.exp().gather(1, index)
        return draw_normal(means, stds, self.space, random).to(center.dtype)

    def log_prob(self, y: Tensor, center: Tensor | None = None) -> Tensor:
        """Log-density of y [N, M, D]: [N, M], with gradients to the mixture's parameters."""
        means, stds = self.means.unsqueeze(1), self.log_stds.exp().unsqueeze(1)  # [N, 1, K, D]
        components = normal_log_prob(y.unsqueeze(2), means, stds, self.space).sum(-1)  # [N, M, K]
        return (components + self.logits.log_softmax(-1).unsqueeze(1)).logsumexp(-1)

    def constrain(self, y: Tensor) -> Tensor:
        """y [..., D] with its angles wrapped."""
        return y if self.space is None else self.space.wrap(y)


class MixtureDensityNetwork(nn.Module):
    """A `GaussianMixture` for each row of features, its means relative to a first estimate where there is one."""

    spread: Tensor

    def __init__(
        self,
        features: int,
        components: int,
        space: TargetSpace,
        *,
        hidden: Sequence[int] = (64, 64),
        spread: float | Sequence[float] | None = None,
    ) -> None:
        """A network with ReLU between its layers.

        Args:
            features: F.
            components: K.
            space: of the targets.
            hidden: widths of the hidden layers; none for one linear layer.
            spread: how far targets lie from the reference, or from zero where there is none, in each dimension [D] or
                all: the means' unit, and what the components' stds start at (from half of it to twice). None for
                the space's scales.
        """
        super().__init__()
        if features < 1 or components < 1:
            raise ValueError(f"features: {features}, components: {components}; give at least 1 of each")
        self.space = space
        self.components = components
        values = torch.as_tensor(space.scales if spread is None else spread, dtype=torch.get_default_dtype())
        if values.ndim > 1 or values.numel() not in (1, space.dims) or not bool((values > 0).all()):
            raise ValueError(f"spread: {spread}; give a positive number, or one for each of {space.dims} dimensions")
        self.register_buffer("spread", values.expand(space.dims).clone(), persistent=False)  # [D]
        widths = [features, *hidden]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        last = nn.Linear(widths[-1], components * (1 + 2 * space.dims))
        nn.init.normal_(last.weight, std=0.01)
        with torch.no_grad():  # components differ from the start, or they would stay alike
            _, means, log_stds = self._parts(last.bias.zero_().unsqueeze(0))
            nn.init.normal_(means, std=0.5)
            log_stds.copy_(torch.linspace(-1, 1, components).mul(math.log(2)).unsqueeze(-1).expand_as(log_stds))
        self.network = nn.Sequential(*layers, last)

    def forward(self, x: Tensor, reference: Tensor | None = None) -> GaussianMixture:
        """q(y | x) of x [N, F]; `reference` [N, D] is a first estimate of y that the means are measured from."""
        logits, means, log_stds = self._parts(self.network(x).to(torch.promote_types(x.dtype, torch.float32)))
        spread = self.spread.to(means)
        means = means * spread
        if reference is not None:
            means = means + reference.unsqueeze(1)
        limit = math.log(STD_RANGE)
        log_stds = spread.log() + limit * (log_stds / limit).tanh()  # neither a spike nor beyond all numbers
        return GaussianMixture(logits, means, log_stds, self.space)

    def _parts(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Views of the outputs [N, K * (1 + 2 D)]: logits [N, K], means and log stds [N, K, D]."""
        logits, means, log_stds = outputs.split([self.components, *(self.components * self.space.dims,) * 2], dim=-1)
        shape = (len(outputs), self.components, self.space.dims)
        return logits, means.view(shape), log_stds.view(shape)
