"""Energy-based regression for any target y in R^D: p(y | x) = exp f(x, y) / Z(x), with f one scalar network.

Nothing here knows of boxes or LiDAR. An energy is a callable that takes candidates y [N, S, D], S for each of N inputs,
and returns f [N, S]; what it knows of the inputs x it carries itself.
"""

from __future__ import annotations

from lidar_ebm.ebm.ascent import Ascent, ascend
from lidar_ebm.ebm.losses import Constraint, Energy, nce_loss
from lidar_ebm.ebm.noise import GaussianMixtureNoise

__all__ = ["Ascent", "Constraint", "Energy", "GaussianMixtureNoise", "ascend", "nce_loss"]
