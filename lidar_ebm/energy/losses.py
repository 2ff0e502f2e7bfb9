"""From settings to the loss that f over boxes is trained with."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lidar_ebm.config.base import one_each
from lidar_ebm.config.energy import EnergyConfig
from lidar_ebm.ebm.energy import Energy, Loss
from lidar_ebm.ebm.losses import DSM, KLDIS, MLIS, MLMCMC, NCE, SM, LearnedProposal
from lidar_ebm.ebm.noise import Noise
from lidar_ebm.ebm.random_numbers import Random
from lidar_ebm.ebm.targets import TargetSpace
from lidar_ebm.energy.box_space import box_space

LEARNED = ("learned-nce", "learned-ml-is")  # methods whose samples come from a density that is learnt beside f
BY_GRADIENTS = ("sm", "dsm")  # methods that differentiate f twice


def make_loss(config: EnergyConfig, noise: Noise, dimensions: int = 7) -> Loss:
    """The configured loss.

    Args:
        config: of the energy.
        noise: `make_noise`, or for the methods with a learnt proposal q(y | x) for the labels at hand.
        dimensions: of the boxes.
    """
    settings, samples, space = config.objective, config.samples, box_space(config.min_size, dimensions)
    method, label_stds = settings.method, one_each(settings.label_stds, dimensions)
    if method == "nce":
        return NCE(noise, samples)
    if method == "nce+":
        return NCE(noise, samples, settings.label_noise)
    if method == "ml-is":
        return MLIS(noise, samples)
    if method == "kld-is":
        return KLDIS(noise, samples, label_stds, space)
    if method == "ml-mcmc":
        length = settings.langevin_step_length
        lengths = length if isinstance(length, float) else one_each(length, dimensions)
        return MLMCMC(samples, settings.langevin_steps, lengths, space)
    if method == "sm":
        return _InScales(SM(_in_scales(space)), space)
    if method == "dsm":
        stds = [std / scale for std, scale in zip(label_stds, space.scales, strict=True)]
        return _InScales(DSM(stds, samples, _in_scales(space)), space)
    return LearnedProposal(noise, samples, "nce" if method == "learned-nce" else "ml-is")


@dataclass(frozen=True, eq=False)
class _InScales:
    """A loss that looks at slopes of f, seen in units of the space's scales, so that metres and radians weigh alike.

    What is learnt best is the same in any units, but without this the slope in yaw would outweigh all others.
    """

    loss: Loss  # over `_in_scales(space)`
    space: TargetSpace

    def __call__(
        self, energy: Energy, y: Tensor, *, random: Random = None, count: Tensor | float | None = None
    ) -> Tensor:
        """See `Loss`."""
        scales = y.new_tensor(self.space.scales)
        return self.loss(lambda u: energy(u * scales), y / scales, random=random, count=count)


def _in_scales(space: TargetSpace) -> TargetSpace:
    """The space in units of its scales."""
    periods = tuple(None if p is None else p / scale for p, scale in zip(space.periods, space.scales, strict=True))
    lower = tuple(bound / scale for bound, scale in zip(space.lower, space.scales, strict=True))
    return TargetSpace(space.names, periods, lower, (1.0,) * space.dims)
