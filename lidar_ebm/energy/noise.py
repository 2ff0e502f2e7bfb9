"""The noise around labels that f over boxes is learnt against."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

from torch import Tensor

from lidar_ebm.config.base import one_each
from lidar_ebm.config.energy import EnergyConfig
from lidar_ebm.ebm.noise import GaussianMixtureNoise, Noise, ScalableNoise, ShiftedNoise
from lidar_ebm.ebm.random_numbers import Random
from lidar_ebm.energy.box_space import BOX_NAMES, box_space


def noise_stds(config: EnergyConfig, dimensions: int) -> list[tuple[float, ...]]:
    """Configured stds [K, D], those of a velocity completed."""
    return [one_each(row, dimensions) for row in config.noise.stds]


def make_noise(config: EnergyConfig, dimensions: int = 7) -> GaussianMixtureNoise | ShiftedNoise:
    """The configured noise around labels, a module that follows the model to its device."""
    space = box_space(config.min_size, dimensions)
    noise = GaussianMixtureNoise(noise_stds(config, dimensions), space, boundary=config.noise.boundary)
    share = config.noise.flip_share
    half_turn = [math.pi if name == "yaw" else 0.0 for name in BOX_NAMES[:dimensions]]
    return ShiftedNoise(noise, half_turn, share, space) if share else noise


@dataclass(frozen=True, eq=False)
class RelativeNoise:
    """Noise whose widths are multiplied by factors of each row, as by its size.

    It is the noise of y over the factors: with exact boundaries a bound is multiplied, too.
    """

    noise: Noise
    scales: Tensor  # [N, D] factors, 1 for angles

    def sample(self, center: Tensor, count: int, random: Random = None) -> Tensor:
        """`count` draws around each row of `center` [N, D]: [N, count, D]."""
        return self.noise.sample(center / self.scales, count, random) * self.scales.unsqueeze(1)

    def log_prob(self, y: Tensor, center: Tensor) -> Tensor:
        """Log-density of each of y [N, M, D] around its row of `center` [N, D]: [N, M]."""
        density = self.noise.log_prob(y / self.scales.unsqueeze(1), center / self.scales)
        return density - self.scales.log().sum(dim=1, keepdim=True)

    def constrain(self, y: Tensor) -> Tensor:
        """As the noise itself does."""
        return self.noise.constrain(y)

    def scaled(self, factor: float) -> RelativeNoise:
        """The same noise with its widths times `factor` (> 0)."""
        return RelativeNoise(cast(ScalableNoise, self.noise).scaled(factor), self.scales)
