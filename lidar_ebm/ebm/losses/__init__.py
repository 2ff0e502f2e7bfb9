"""Training an energy: losses whose minimum is f(x, y) = log p(y | x) + a constant for each x."""

from __future__ import annotations

from lidar_ebm.ebm.losses.contrastive import NCE
from lidar_ebm.ebm.losses.importance import KLDIS, MLIS
from lidar_ebm.ebm.losses.langevin_likelihood import MLMCMC
from lidar_ebm.ebm.losses.learned_proposal import LearnedProposal
from lidar_ebm.ebm.losses.score_matching import DSM, SM

__all__ = ["DSM", "KLDIS", "MLIS", "MLMCMC", "NCE", "SM", "LearnedProposal"]
