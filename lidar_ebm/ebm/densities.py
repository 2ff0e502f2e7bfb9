"""Normal and Student densities in a target space, each dimension for itself: wrapped in angles, cut off at bounds.

Everything is in closed form, without a loop that depends on values, and differentiable; draws are not.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lidar_ebm.ebm.random_numbers import Random, normal, uniform
from lidar_ebm.ebm.targets import TargetSpace, wrap_period

_LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)
_TAIL = 6.0  # stds that a bound lies above the centre, from which on the formulas for the far tail are used
_FRACTIONS = 18  # of the tail's continued fraction: exact in float64 from _TAIL on
_WIDE = 0.4  # periods that the std measures, from which on a wrapped normal is summed as waves instead of wraps
_TERMS = 3  # wraps to either side, and waves: what is left out at _WIDE is below 1e-16 of the density
_UNIFORM = 1.5  # periods that the std measures, from which on a wrapped normal is uniform to 1e-19


def normal_log_prob(y: Tensor, center: Tensor, std: Tensor, space: TargetSpace | None = None) -> Tensor:
    """Log-density of y in each dimension: normal, wrapped normal in angles, truncated normal in bounded dimensions.

    Args:
        y, center, std: [..., D], of shapes that broadcast; the centre may lie anywhere, also below a bound.
        space: None for the real line in every dimension.

    Returns:
        [..., D]; -inf below a bound. Stable at any std, small or large.
    """
    log_density = -0.5 * ((y - center) / std).square() - std.log() - _LOG_ROOT_2PI
    if space is None or not (space.wrapped or space.bounded):
        return log_density
    columns = list(log_density.unbind(-1))
    for d, period in space.wrapped_periods:
        columns[d] = _wrapped_normal_log_prob(y[..., d] - center[..., d], std[..., d], period)
    for d in space.bounded:
        columns[d] = _truncated_normal_log_prob(y[..., d], center[..., d], std[..., d], space.lower[d])
    return torch.stack(columns, dim=-1)


@torch.no_grad()
def draw_normal(center: Tensor, std: Tensor, space: TargetSpace | None = None, random: Random = None) -> Tensor:
    """One draw for each entry: normal, wrapped normal in angles, truncated normal in bounded dimensions.

    Every draw comes of one standard normal number, monotonically: where no bound is near and nothing wraps around it
    is the same draw as without a space.

    Args:
        center, std: [N, ..., D], of shapes that broadcast.
        space: None for the real line in every dimension.
        random: where the numbers come from.

    Returns:
        Points of the space [N, ..., D], without gradients.
    """
    numbers = normal(torch.broadcast_shapes(center.shape, std.shape), center, random)
    y = center + numbers * std
    if space is None or not (space.wrapped or space.bounded):
        return y
    columns = list(y.unbind(-1))
    numbers, center, std = numbers.double(), center.double(), std.double()  # float32 would be coarse in the tails
    for d, period in space.wrapped_periods:
        columns[d] = _wrapped_normal(numbers[..., d], center[..., d], std[..., d], period).to(y)
    for d in space.bounded:
        columns[d] = _truncated_normal(numbers[..., d], center[..., d], std[..., d], space.lower[d]).to(y)
    return space.constrain(torch.stack(columns, dim=-1))  # rounding to y's type may have left the space by a digit


def student_log_prob(
    y: Tensor, center: Tensor, scale: Tensor, degrees: float, space: TargetSpace | None = None
) -> Tensor:
    """Log-density of y in each dimension: Student's, cut off at lower bounds and, in angles, half a turn away.

    Args:
        y, center, scale: [..., D], of shapes that broadcast.
        degrees: of freedom, above zero; 1 or 2 where the space is wrapped or bounded anywhere.
        space: None for the real line in every dimension.

    Returns:
        [..., D]; -inf below a bound.
    """
    offset = y - center if space is None else space.difference(y, center)
    constant = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - 0.5 * math.log(degrees * math.pi)
    log_density = constant - 0.5 * (degrees + 1) * torch.log1p((offset / scale).square() / degrees) - scale.log()
    if space is None or not (space.wrapped or space.bounded):
        return log_density
    columns = list(log_density.unbind(-1))
    for d, period in space.wrapped_periods:
        columns[d] = columns[d] - _student_within(period / 2 / scale[..., d], degrees).log()
    for d in space.bounded:
        lower = space.lower[d]
        log_share = _student_above((lower - center[..., d]) / scale[..., d], degrees).log()
        columns[d] = torch.where(y[..., d] >= lower, columns[d] - log_share, -math.inf)
    return torch.stack(columns, dim=-1)


@torch.no_grad()
def draw_student(
    center: Tensor, scale: Tensor, degrees: float, space: TargetSpace | None = None, random: Random = None
) -> Tensor:
    """One draw for each entry from the density of `student_log_prob`.

    Args:
        center, scale: [N, ..., D], of shapes that broadcast.
        degrees: of freedom, above zero; 1 or 2 where the space is wrapped or bounded anywhere.
        space: None for the real line in every dimension.
        random: where the numbers come from.

    Returns:
        Points of the space [N, ..., D], without gradients.
    """
    kind = center.dtype
    shape = torch.broadcast_shapes(center.shape, scale.shape)
    center, scale = center.double(), scale.double()  # float32 would be coarse in the tails
    pairs = uniform((*shape, 2), center, random)
    radius = (degrees * torch.expm1(-2 / degrees * torch.log1p(-pairs[..., 0]))).sqrt()  # Bailey's polar method
    numbers = radius * (2 * math.pi * pairs[..., 1]).cos()
    y = center + numbers * scale
    if space is None or not (space.wrapped or space.bounded):
        return y.to(kind)
    columns = list(y.unbind(-1))
    for d, period in space.wrapped_periods:
        share = _student_within(numbers[..., d].abs(), degrees) * _student_within(period / 2 / scale[..., d], degrees)
        columns[d] = center[..., d] + scale[..., d] * _student_half_width(share, degrees) * numbers[..., d].sign()
    for d in space.bounded:
        start = (space.lower[d] - center[..., d]) / scale[..., d]
        share = _student_above(numbers[..., d], degrees) * _student_above(start, degrees)
        columns[d] = center[..., d] + scale[..., d] * _student_quantile(share, degrees)
    return space.constrain(torch.stack(columns, dim=-1).to(kind))


def _wrapped_normal_log_prob(offset: Tensor, std: Tensor, period: float) -> Tensor:
    """Σ_k N(offset + k period; 0, std²) for narrow stds, the same by its Fourier series for wide ones."""
    offset = wrap_period(offset, period)
    narrow = std.clamp(max=_WIDE * period)
    z, turn = offset / narrow, period / narrow
    others = torch.zeros_like(z)  # relative to the nearest wrap, none above 1
    for k in range(1, _TERMS + 1):
        others = others + (-k * turn * (0.5 * k * turn + z)).exp() + (-k * turn * (0.5 * k * turn - z)).exp()
    wraps = torch.log1p(others) - 0.5 * z.square() - narrow.log() - _LOG_ROOT_2PI

    wide = (std / period).clamp(min=_WIDE, max=8.0)  # from 8 on every wave is zero
    phase = 2 * math.pi / period * offset
    waves = torch.zeros_like(z)
    for n in range(1, _TERMS + 1):
        waves = waves + 2 * (-2 * (math.pi * n * wide).square()).exp() * (n * phase).cos()
    return torch.where(std < _WIDE * period, wraps, torch.log1p(waves) - math.log(period))


def _wrapped_normal(numbers: Tensor, center: Tensor, std: Tensor, period: float) -> Tensor:
    """Draws that still need wrapping; spread evenly where a std of many turns would magnify the numbers' rounding."""
    even = center + period * (torch.special.ndtr(numbers) - 0.5)
    return torch.where(std < _UNIFORM * period, center + numbers * std, even)


def _truncated_normal_log_prob(y: Tensor, center: Tensor, std: Tensor, lower: float) -> Tensor:
    """N(y; center, std²) / P(normal >= lower), -inf below the bound.

    With the centre far below, both are too small for any type: there the exponent is that of the excess over the
    bound, and the rest the normal's hazard rate at the bound.
    """
    start = (lower - center) / std
    near = -0.5 * ((y - center) / std).square() - torch.special.log_ndtr(-start.clamp(max=_TAIL)) - _LOG_ROOT_2PI
    far_start, excess = start.clamp(min=_TAIL), (y - lower) / std
    far = _hazard(far_start).log() - excess * (0.5 * excess + far_start)
    return torch.where(y >= lower, torch.where(start < _TAIL, near, far) - std.log(), -math.inf)


def _truncated_normal(numbers: Tensor, center: Tensor, std: Tensor, lower: float) -> Tensor:
    """The inverse of P(draw > y), at the shares P(normal > number) of standard normal numbers."""
    start = (lower - center) / std
    upper = torch.special.ndtr(-start.clamp(max=_TAIL)) * torch.special.ndtr(-numbers)
    near = center - std * torch.special.ndtri(upper.clamp(max=1 - 2**-53))
    # In the far tail the same in logarithms, solved for the excess e over the bound t: with the hazard rate h,
    # -log P(normal > t + e | normal > t) = e (t + e / 2) + log h(t + e) / h(t).
    t = start.clamp(min=_TAIL)
    exponential = -torch.special.log_ndtr(-numbers)
    excess = 2 * exponential / (t + (t.square() + 2 * exponential).sqrt())
    for _ in range(3):  # Newton steps; the start is within 3 %
        hazard = _hazard(t + excess)
        excess = excess - (excess * (t + 0.5 * excess) + (hazard / _hazard(t)).log() - exponential) / hazard
    return torch.where(start < _TAIL, near, lower + std * excess)


def _hazard(t: Tensor) -> Tensor:
    """N(t; 0, 1) / P(normal > t) for t >= _TAIL, by Laplace's continued fraction."""
    value = t
    for k in range(_FRACTIONS, 0, -1):
        value = t + k / value
    return value


def _student_above(t: Tensor, degrees: float) -> Tensor:
    """P(T > t) for 1 or 2 degrees of freedom, to full relative accuracy in both tails."""
    if degrees == 1:
        return torch.atan2(torch.ones_like(t), t) / math.pi
    root = (2 + t.square()).sqrt()
    return torch.where(t > 0, 1 / (root * (root + t.clamp(min=0))), 0.5 - 0.5 * t / root)


def _student_quantile(share: Tensor, degrees: float) -> Tensor:
    """t with P(T > t) = share, for 1 or 2 degrees of freedom."""
    share = share.clamp(max=1 - 2**-53)
    if degrees == 1:
        return 1 / (math.pi * share).tan()
    return (1 - 2 * share) / (2 * share * (1 - share)).sqrt()


def _student_within(t: Tensor, degrees: float) -> Tensor:
    """P(|T| < t) for t >= 0 and 1 or 2 degrees of freedom."""
    return 2 / math.pi * t.atan() if degrees == 1 else t / (2 + t.square()).sqrt()


def _student_half_width(share: Tensor, degrees: float) -> Tensor:
    """t with P(|T| < t) = share, for 1 or 2 degrees of freedom."""
    if degrees == 1:
        return (math.pi / 2 * share).tan()
    return math.sqrt(2) * share / ((1 - share) * (1 + share)).clamp(min=2**-53).sqrt()
