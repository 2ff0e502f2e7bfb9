"""Energy-based regression for any target y in R^D: p(y | x) = exp f(x, y) / Z(x), with f one scalar network.

Nothing here knows of boxes or LiDAR. An energy is a callable that takes candidates y [N, S, D], S for each of N inputs,
and returns f [N, S]; what it knows of the inputs x it carries itself. README.md shows the way through.
"""

from __future__ import annotations

from lidar_ebm.ebm.adaptive_sampling import adaptive_importance_samples
from lidar_ebm.ebm.ascent import Ascent, ascend
from lidar_ebm.ebm.calibration import HeldOut, Reliability, fit_temperature
from lidar_ebm.ebm.energy import Constraint, Energy, Loss
from lidar_ebm.ebm.grid import Grid, GridBest, GridDensity, grid_search, tabulate
from lidar_ebm.ebm.langevin import LangevinResult, langevin
from lidar_ebm.ebm.losses import DSM, KLDIS, MLIS, MLMCMC, NCE, SM, LearnedProposal
from lidar_ebm.ebm.modes import Modes, modes
from lidar_ebm.ebm.multi_start import best_of_starts
from lidar_ebm.ebm.noise import GaussianMixtureNoise, Noise, ShiftedNoise, StudentMixtureNoise, UniformNoise
from lidar_ebm.ebm.proposal_network import GaussianMixture, MixtureDensityNetwork
from lidar_ebm.ebm.random_numbers import GroupedGenerator, Random
from lidar_ebm.ebm.sampling import WeightedSamples, importance_samples
from lidar_ebm.ebm.step_rules import Adam, Halving, Momentum, StepRule
from lidar_ebm.ebm.targets import TargetSpace
from lidar_ebm.ebm.uncertainty import Interval, WeightedPoints

__all__ = [
    "DSM",
    "KLDIS",
    "MLIS",
    "MLMCMC",
    "NCE",
    "SM",
    "Adam",
    "Ascent",
    "Constraint",
    "Energy",
    "GaussianMixture",
    "GaussianMixtureNoise",
    "Grid",
    "GridBest",
    "GridDensity",
    "GroupedGenerator",
    "Halving",
    "HeldOut",
    "Interval",
    "LangevinResult",
    "LearnedProposal",
    "Loss",
    "MixtureDensityNetwork",
    "Modes",
    "Momentum",
    "Noise",
    "Random",
    "Reliability",
    "ShiftedNoise",
    "StepRule",
    "StudentMixtureNoise",
    "TargetSpace",
    "UniformNoise",
    "WeightedPoints",
    "WeightedSamples",
    "adaptive_importance_samples",
    "ascend",
    "best_of_starts",
    "fit_temperature",
    "grid_search",
    "importance_samples",
    "langevin",
    "modes",
    "tabulate",
]
