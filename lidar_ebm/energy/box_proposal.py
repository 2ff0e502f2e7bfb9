"""A density over boxes that is learnt beside f, for its samples to come from."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lidar_ebm.config.energy import EnergyConfig
from lidar_ebm.ebm.proposal_network import GaussianMixture, MixtureDensityNetwork
from lidar_ebm.energy.box_space import box_space
from lidar_ebm.energy.noise import noise_stds

# q follows exp f / Z, and an f that is flat, as before training, is a density without end: q would get ever wider and
# flee to where f has not been lowered yet, and f would learn nothing near the labels. So one component stays with the
# first estimate, as wide as the widest noise, and none gets much wider than this many times that.
FIXED_SHARE = 0.25
WIDEST = 3.0


class BoxProposal(nn.Module):
    """q(y | x) of the boxes near a first estimate, from features of that estimate."""

    def __init__(self, features: int, config: EnergyConfig, dimensions: int = 7) -> None:
        """Args: features: F; config: its widest noise is how far boxes lie from the first estimate; dimensions: D."""
        super().__init__()
        settings = config.objective
        self.network = MixtureDensityNetwork(
            features,
            settings.proposal_components,
            box_space(config.min_size, dimensions),
            hidden=(settings.proposal_hidden,) * 2,
            spread=[max(column) for column in zip(*noise_stds(config, dimensions), strict=True)],
        )

    def forward(self, features: Tensor, boxes: Tensor) -> GaussianMixture:
        """q(y | x) from features [N, F] of first estimates [N, D]: the learnt components, and the fixed one last."""
        mixture = self.network(features, boxes)
        spread = self.network.spread.to(boxes).log()  # [D]
        limit = spread + math.log(WIDEST)
        log_stds = limit - F.softplus(limit - mixture.log_stds)
        logits = mixture.logits.log_softmax(-1) + math.log(1 - FIXED_SHARE)
        return replace(
            mixture,
            logits=torch.cat([logits, logits.new_full((len(boxes), 1), math.log(FIXED_SHARE))], dim=1),
            means=torch.cat([mixture.means, boxes.unsqueeze(1)], dim=1),
            log_stds=torch.cat([log_stds, spread.expand(len(boxes), 1, -1)], dim=1),
        )
