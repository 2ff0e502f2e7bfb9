"""Score matching: ∇_y f is fitted to ∇_y log p, so that neither Z nor a proposal is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lidar_ebm.ebm.densities import draw_normal, normal_log_prob
from lidar_ebm.ebm.energy import Energy, average, promote_to_float32
from lidar_ebm.ebm.losses.contrastive import check_samples
from lidar_ebm.ebm.losses.importance import check_stds
from lidar_ebm.ebm.random_numbers import Random
from lidar_ebm.ebm.targets import TargetSpace

_NO_CURVATURE = (
    "score matching needs second derivatives of f to y, and this f has none: an operation in it can be differentiated "
    "only once, or f is linear in y; build it of operations with two derivatives, or train by a method that needs "
    "one, such as NCE"
)


@dataclass(frozen=True, eq=False)
class SM:
    """tr ∇²_y f(y) + ½ ‖∇_y f(y)‖² at the label, the trace exact.

    One evaluation of f at [N, 1, D], its gradient, and D gradients of that, all in one graph. f must have two
    derivatives to y, and none of it may be lost: a network of straight pieces (ReLU) has no curvature, and would be
    trained to be flat.

    The formula comes of an integration by parts, which in a bounded dimension leaves a term at the bound unless the
    density vanishes there. So that it does not matter, each bounded dimension's part is weighted by the distance from
    the bound in units of the space's scale, at most 1 (generalised score matching): ∂²f + ½ (∂f)² becomes
    w (∂²f + ½ (∂f)²) + w' ∂f. Farther than a scale from its bound a label's loss is the plain one.

    Attributes:
        space: for wrapped and bounded dimensions; None for R^D.
    """

    space: TargetSpace | None = None

    def __call__(
        self, energy: Energy, y: Tensor, *, random: Random = None, count: Tensor | float | None = None
    ) -> Tensor:
        """See `Loss`; nothing here is random.

        Raises:
            ValueError: f does not depend on y, or cannot be differentiated twice.
        """
        with torch.enable_grad():
            leaf = (y if self.space is None else self.space.constrain(y)).detach().requires_grad_()
            slope = _slope(energy, leaf.unsqueeze(1), leaf)  # [N, D]
            curvature = _diagonal(slope, leaf)  # [N, D]
            bounded = self.space is not None and bool(self.space.bounded)
            if curvature is None and not bounded:  # at a bound, a density may be the exponential of a linear f
                raise ValueError(_NO_CURVATURE)
            terms = 0.5 * slope.square() + (0 if curvature is None else curvature)
            if self.space is not None and bounded:
                weight, change = _boundary_weights(leaf.detach(), self.space)
                terms = weight * terms + change * slope
            loss = average(terms.sum(-1), count)
        return loss if torch.is_grad_enabled() else loss.detach()


@dataclass(frozen=True, eq=False)
class DSM:
    """Denoising score matching: the mean over M noisy labels ỹ of ‖∇_y f(ỹ) - ∇ log N(ỹ; y, σ²)‖².

    On the real line that is ‖∇_y f(ỹ) + (ỹ - y) / σ²‖². In angles the normal is wrapped, and at bounds it is cut off;
    a difference of angles goes the shorter way around. What is learnt is p(y | x) blurred by that noise. One
    evaluation of f at [N, M, D] and its gradient, in one graph, so that parameters see two derivatives of f.

    Attributes:
        stds: σ, [D], all positive.
        samples: M.
        space: for wrapped and bounded dimensions; None for R^D.
    """

    stds: Sequence[float] | Tensor
    samples: int
    space: TargetSpace | None = None

    def __post_init__(self) -> None:
        check_samples(self.samples)
        check_stds("stds", self.stds)

    def __call__(
        self, energy: Energy, y: Tensor, *, random: Random = None, count: Tensor | float | None = None
    ) -> Tensor:
        """See `Loss`.

        Raises:
            ValueError: f does not depend on y.
        """
        center = y.detach().unsqueeze(1).expand(-1, self.samples, -1)  # [N, M, D]
        stds = torch.as_tensor(self.stds, dtype=y.dtype, device=y.device)  # [D]
        with torch.enable_grad():
            leaf = draw_normal(center, stds, self.space, random).requires_grad_()
            log_density = normal_log_prob(leaf, center, stds, self.space)
            target = torch.autograd.grad(log_density.sum(), leaf)[0]  # [N, M, D]
            slope = _slope(energy, leaf, leaf)
            loss = average((slope - target).square().sum(-1).mean(dim=1), count)
        return loss if torch.is_grad_enabled() else loss.detach()


def _slope(energy: Energy, candidates: Tensor, leaf: Tensor) -> Tensor:
    """∇f at the leaf that the candidates are made of, in float32 at least and still a function of the parameters."""
    f = promote_to_float32(energy(candidates))
    gradient = torch.autograd.grad(f.sum(), leaf, create_graph=True, allow_unused=True)[0] if f.requires_grad else None
    if gradient is None:
        raise ValueError("score matching fits the slope of f, and this f does not depend on y")
    return promote_to_float32(gradient)


def _diagonal(slope: Tensor, leaf: Tensor) -> Tensor | None:
    """The second derivatives ∂²f/∂y_d² [N, D] from ∇f [N, D] at the leaf [N, D]; None where torch knows of none."""
    has_curvature = False
    columns = []
    for d in range(leaf.shape[1]):
        column = slope[:, d]
        second = None
        if column.requires_grad:
            try:
                second = torch.autograd.grad(column.sum(), leaf, create_graph=True, allow_unused=True)[0]
            except RuntimeError as error:
                raise ValueError(f"{_NO_CURVATURE} ({error})") from error
        has_curvature = has_curvature or second is not None
        columns.append(torch.zeros_like(column) if second is None else second[:, d])  # None: f is linear in this y_d
    return torch.stack(columns, dim=-1) if has_curvature else None


def _boundary_weights(y: Tensor, space: TargetSpace) -> tuple[Tensor, Tensor]:
    """w and dw/dy [N, D] at y [N, D]: the distance from a bound in units of the scale, at most 1; 1 without a bound."""
    weight, change = torch.ones_like(y), torch.zeros_like(y)
    for d in space.bounded:
        distance = (y[:, d] - space.lower[d]) / space.scales[d]
        weight[:, d] = distance.clamp(0, 1)
        change[:, d] = (distance < 1).to(y) / space.scales[d]
    return weight, change
