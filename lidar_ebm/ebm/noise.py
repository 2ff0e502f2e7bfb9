"""Noise distributions: where the samples that a density is learnt against come from, and how likely each was."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from lidar_ebm.ebm.densities import draw_normal, draw_student, normal_log_prob, student_log_prob
from lidar_ebm.ebm.random_numbers import Random, integers, uniform
from lidar_ebm.ebm.targets import TargetSpace

Boundary = Literal["exact", "clamped"]


class Noise(Protocol):
    """A distribution q(y | c) around a centre c, usually the target itself."""

    def sample(self, center: Tensor, count: int, random: Random = None) -> Tensor:
        """`count` draws around each row of `center` [N, D]: [N, count, D], without gradients."""
        ...

    def log_prob(self, y: Tensor, center: Tensor) -> Tensor:
        """log q of each of y [N, M, D] around its row of `center` [N, D]: [N, M]; -inf where q never draws."""
        ...

    def constrain(self, y: Tensor) -> Tensor:
        """Points that an energy is shown for draws and targets y [..., D]; `log_prob` is asked for y itself."""
        ...


class ScalableNoise(Noise, Protocol):
    """Noise that can be made narrower, as for the noise on labels."""

    def scaled(self, factor: float) -> Noise:
        """The same distribution with its widths times `factor`."""
        ...


class GaussianMixtureNoise(nn.Module):
    """Equal-weight mixture of K axis-aligned Gaussians centred at the target,

        q(y | c) = 1/K Σ_k Π_d N(y_d; c_d, σ_kd²).

    In a target space the normals are wrapped in its angles and cut off at its bounds ("exact"): every draw is a point
    of the space and the density integrates to one over it. The other way ("clamped", the published one) lets draws
    leave the space, takes their density as they are, and only shows an energy the nearest point of the space.

    A module only so that its stds follow the model to its device; it has no parameters and leaves nothing in
    checkpoints.
    """

    stds: Tensor

    def __init__(
        self,
        stds: Tensor | Sequence[Sequence[float]],
        space: TargetSpace | None = None,
        *,
        boundary: Boundary = "exact",
        shared: bool = True,
    ) -> None:
        """Set the widths, the space and the way in which its bounds are kept.

        Args:
            stds: [K, D], all positive, in the target's units.
            space: None for R^D.
            boundary: "exact" or "clamped".
            shared: one component for all dimensions of a sample together (the published way), or one for each
                dimension by itself, the density then the product over dimensions of 1/K Σ_k N(y_d; c_d, σ_kd²).

        Raises:
            ValueError: `stds` are not positive, or not of the space's dimensions, or `boundary` is neither.
        """
        super().__init__()
        if boundary not in ("exact", "clamped"):
            raise ValueError(f"boundary: {boundary!r}; give 'exact' or 'clamped'")
        self.register_buffer("stds", _widths("stds", stds, space), persistent=False)
        self.space = space
        self.boundary = boundary
        self.shared = shared

    def sample(self, center: Tensor, count: int, random: Random = None) -> Tensor:
        """`count` draws around each row of `center` [N, D]: [N, count, D].

        The random numbers are drawn where the generator lives: a CPU generator gives the same draws on every device.
        The components come first, then the normals.
        """
        _check_center(center, self.stds.shape[1])
        stds = _choose(self.stds.to(center), len(center), count, self.shared, random)
        return draw_normal(center.unsqueeze(1), stds, self._drawn_in(), random)

    def log_prob(self, y: Tensor, center: Tensor) -> Tensor:
        """Log-density of each of y [N, M, D] around its row of `center` [N, D]: [N, M].

        The squares stay in the exponent until the components are summed, so that no density under- or overflows,
        however small σ is. With "exact" boundaries -inf below a bound; angles may come wrapped or not.
        """
        _check_center(center, self.stds.shape[1])
        stds, space = self.stds.to(y), self._drawn_in()  # [K, D]
        if self.shared and (space is None or not (space.wrapped or space.bounded)):  # the quick way
            offset = (y - center.unsqueeze(1)).unsqueeze(-2)  # [N, M, 1, D]
            exponent = -0.5 * (offset / stds).square().sum(-1)  # [N, M, K]
            normaliser = stds.log().sum(-1) + 0.5 * stds.shape[1] * math.log(2 * math.pi)  # [K]
            return torch.logsumexp(exponent - normaliser, dim=-1) - math.log(len(stds))
        return _mix(normal_log_prob(y.unsqueeze(-2), center[:, None, None], stds, space), self.shared)

    def constrain(self, y: Tensor) -> Tensor:
        """Points that an energy is shown for y [..., D]: with "exact" boundaries draws as they are and targets' angles
        wrapped, with "clamped" ones the nearest point of the space."""
        if self.space is None:
            return y
        return self.space.wrap(y) if self.boundary == "exact" else self.space.constrain(y)

    def scaled(self, factor: float) -> GaussianMixtureNoise:
        """The same noise with its stds times `factor` (> 0)."""
        noise = copy.deepcopy(self)
        noise.stds = self.stds * _check_factor(factor)
        return noise

    def _drawn_in(self) -> TargetSpace | None:
        return self.space if self.boundary == "exact" else None


class StudentMixtureNoise(nn.Module):
    """Equal-weight mixture of K heavy-tailed noises centred at the target: Student's t in each dimension.

    In a target space the densities are cut off at its bounds and, in angles, half a turn from the centre.
    """

    scales: Tensor

    def __init__(
        self,
        scales: Tensor | Sequence[Sequence[float]],
        degrees: float,
        space: TargetSpace | None = None,
        *,
        shared: bool = True,
    ) -> None:
        """Set the widths and the weight of the tails.

        Args:
            scales: [K, D], all positive, in the target's units; half of a Cauchy's draws lie within its scale.
            degrees: of freedom, above zero: 1 is Cauchy's distribution, many are a normal one. In a space that is
                wrapped or bounded anywhere 1 or 2, whose shares beyond a bound are known in closed form.
            space: None for R^D.
            shared: one component for all dimensions of a sample together, or one for each by itself.

        Raises:
            ValueError: `scales` are not positive or not of the space's dimensions, or `degrees` are no such number.
        """
        super().__init__()
        if not 0 < degrees < math.inf:
            raise ValueError(f"degrees: {degrees}; give a positive number")
        if space is not None and (space.wrapped or space.bounded) and degrees not in (1, 2):
            raise ValueError(f"degrees: {degrees}; give 1 or 2 in a space with angles or bounds")
        self.register_buffer("scales", _widths("scales", scales, space), persistent=False)
        self.degrees = degrees
        self.space = space
        self.shared = shared

    def sample(self, center: Tensor, count: int, random: Random = None) -> Tensor:
        """`count` draws around each row of `center` [N, D]: [N, count, D]."""
        _check_center(center, self.scales.shape[1])
        scales = _choose(self.scales.to(center), len(center), count, self.shared, random)
        return draw_student(center.unsqueeze(1), scales, self.degrees, self.space, random)

    def log_prob(self, y: Tensor, center: Tensor) -> Tensor:
        """Log-density of each of y [N, M, D] around its row of `center` [N, D]: [N, M]; -inf below a bound."""
        _check_center(center, self.scales.shape[1])
        scales = self.scales.to(y)
        densities = student_log_prob(y.unsqueeze(-2), center[:, None, None], scales, self.degrees, self.space)
        return _mix(densities, self.shared)

    def constrain(self, y: Tensor) -> Tensor:
        """Draws as they are, targets' angles wrapped [..., D]."""
        return y if self.space is None else self.space.wrap(y)

    def scaled(self, factor: float) -> StudentMixtureNoise:
        """The same noise with its scales times `factor` (> 0)."""
        noise = copy.deepcopy(self)
        noise.scales = self.scales * _check_factor(factor)
        return noise


class UniformNoise(nn.Module):
    """Even noise over a box of R^D, wherever the centre is. Targets outside of the box are impossible to it."""

    low: Tensor
    high: Tensor

    def __init__(
        self, low: Tensor | Sequence[float], high: Tensor | Sequence[float], space: TargetSpace | None = None
    ) -> None:
        """The box.

        Args:
            low, high: [D], each `high` above its `low`.
            space: wraps targets' angles before they are looked up; None for R^D.

        Raises:
            ValueError: `low` and `high` span no box, or one of other dimensions than the space's.
        """
        super().__init__()
        corners = [_floating(low), _floating(high)]
        ends = torch.stack(corners) if corners[0].shape == corners[1].shape else torch.empty(0)
        if ends.ndim != 2 or ends.shape[1] == 0 or not bool((ends[0] < ends[1]).all() and ends.isfinite().all()):
            raise ValueError(f"low and high must be of shape [D], each high above its low, got {low} and {high}")
        _check_dims("low and high", ends.shape[1], space)
        self.register_buffer("low", ends[0], persistent=False)
        self.register_buffer("high", ends[1], persistent=False)
        self.space = space

    def sample(self, center: Tensor, count: int, random: Random = None) -> Tensor:
        """`count` draws for each row of `center` [N, D]: [N, count, D]."""
        _check_center(center, len(self.low))
        with torch.no_grad():
            low, high = self.low.to(center), self.high.to(center)
            return torch.minimum(low + (high - low) * uniform((len(center), count, len(low)), center, random), high)

    def log_prob(self, y: Tensor, center: Tensor) -> Tensor:
        """Log-density of each of y [N, M, D]: [N, M]; the same everywhere in the box, its faces included."""
        low, high = self.low.to(y), self.high.to(y)
        y = self.constrain(y)
        inside = ((y >= low) & (y <= high)).all(dim=-1)
        return torch.where(inside, -(high - low).log().sum(), -math.inf)

    def constrain(self, y: Tensor) -> Tensor:
        """Draws as they are, targets' angles wrapped [..., D]."""
        return y if self.space is None else self.space.wrap(y)


class ShiftedNoise(nn.Module):
    """Noise whose centre is moved for a share of the draws, as by half a turn for headings that may be flipped:

    q(y | c) = (1 - share) q0(y | c) + share q0(y | c + shift).
    """

    noise: ScalableNoise
    shift: Tensor

    def __init__(
        self,
        noise: ScalableNoise,
        shift: Tensor | Sequence[float],
        share: float,
        space: TargetSpace | None = None,
    ) -> None:
        """Set what is moved, where to and how often.

        Args:
            noise: q0.
            shift: [D], in the target's units.
            share: probability of the moved centre, 0 < share < 1.
            space: whose angles the moved centre is wrapped in; None for R^D.

        Raises:
            ValueError: `share` is no such probability, or `shift` not of shape [D].
        """
        super().__init__()
        if not 0 < share < 1:
            raise ValueError(f"share: {share}; give a probability above 0 and below 1")
        values = _floating(shift)
        if values.ndim != 1 or len(values) == 0 or not bool(values.isfinite().all()):
            raise ValueError(f"shift must be of shape [D] and finite, got shape {list(values.shape)}: {values}")
        _check_dims("shift", len(values), space)
        self.noise = noise
        self.register_buffer("shift", values, persistent=False)
        self.share = share
        self.space = space

    def sample(self, center: Tensor, count: int, random: Random = None) -> Tensor:
        """`count` draws around each row of `center` [N, D]: [N, count, D].

        Drawn are: which are moved, then `count` around the centre, then `count` around the moved one.
        """
        _check_center(center, len(self.shift))
        moved = uniform((len(center), count, 1), center, random) < self.share
        here = self.noise.sample(center, count, random)
        return torch.where(moved, self.noise.sample(self._moved(center), count, random), here)

    def log_prob(self, y: Tensor, center: Tensor) -> Tensor:
        """Log-density of each of y [N, M, D] around its row of `center` [N, D]: [N, M]."""
        _check_center(center, len(self.shift))
        here = self.noise.log_prob(y, center) + math.log1p(-self.share)
        return torch.logaddexp(here, self.noise.log_prob(y, self._moved(center)) + math.log(self.share))

    def constrain(self, y: Tensor) -> Tensor:
        """As the noise that is moved does."""
        return self.noise.constrain(y)

    def scaled(self, factor: float) -> Noise:
        """The unmoved noise, its widths times `factor`: noise that narrow does not take a target elsewhere."""
        return self.noise.scaled(factor)

    def _moved(self, center: Tensor) -> Tensor:
        moved = center + self.shift.to(center)
        return moved if self.space is None else self.space.wrap(moved)


def _floating(values: Tensor | Sequence[float] | Sequence[Sequence[float]]) -> Tensor:
    """A copy of a floating-point type."""
    tensor = torch.as_tensor(values)
    return tensor.detach().clone() if tensor.is_floating_point() else tensor.to(torch.get_default_dtype())


def _widths(name: str, values: Tensor | Sequence[Sequence[float]], space: TargetSpace | None) -> Tensor:
    """[K, D], checked."""
    widths = _floating(values)
    if widths.ndim != 2 or 0 in widths.shape or not bool(((widths > 0) & widths.isfinite()).all()):
        raise ValueError(f"{name} must be positive and of shape [K, D], got shape {list(widths.shape)}: {widths}")
    _check_dims(name, widths.shape[1], space)
    return widths


def _check_dims(name: str, dims: int, space: TargetSpace | None) -> None:
    if space is not None and dims != space.dims:
        raise ValueError(f"{name}: {dims} dimensions, but the target space has {space.dims}: {', '.join(space.names)}")


def _check_center(center: Tensor, dims: int) -> None:
    if center.ndim != 2 or center.shape[1] != dims:
        raise ValueError(
            f"center must be of shape [N, {dims}], as the noise has {dims} dimensions, got {list(center.shape)}"
        )


def _check_factor(factor: float) -> float:
    if not 0 < factor < math.inf:
        raise ValueError(f"factor: {factor}; give a positive number")
    return factor


def _choose(widths: Tensor, rows: int, count: int, shared: bool, random: Random) -> Tensor:
    """Of the widths [K, D] of K components those of one drawn for each sample, or for each of its dimensions.

    Returns:
        [rows, count, D].
    """
    if shared:
        return widths[integers(len(widths), (rows, count), widths, random)]
    dims = widths.shape[1]
    component = integers(len(widths), (rows, count, dims), widths, random)
    return widths[component, torch.arange(dims, device=widths.device)]


def _mix(log_densities: Tensor, shared: bool) -> Tensor:
    """Log-density [N, M] of the mixture whose components have these in each dimension [N, M, K, D]."""
    components, dims = log_densities.shape[-2:]
    if shared:
        return torch.logsumexp(log_densities.sum(-1), dim=-1) - math.log(components)
    return torch.logsumexp(log_densities, dim=-2).sum(-1) - dims * math.log(components)
