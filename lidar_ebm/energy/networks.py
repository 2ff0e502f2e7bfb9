"""The networks of f(x, y): the published one on the shared map, and ours on the raw points."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from cuda_ops.point_ops.op import FRAME_FEATURES, SIGNED_DISTANCES
from lidar_ebm.config.energy import BevEnergyConfig, PointEnergyConfig
from lidar_ebm.energy.box_features import BevView, PointView
from lidar_ebm.energy.wide_linear import WideLinear

LAST_STD = 0.001  # of the last layers' weights before training: f starts flat, as published
# What brings `box_frame_features` to the order of one, m: offsets (3), signed distances (6), beyond (6), reflectance,
# time lag (s).
FEATURE_SCALES = (2.0, 1.0, 1.0, *(1.5,) * 6, *(0.5,) * 6, 1.0, 0.25)
# Offsets span metres, yet centimetres at the faces decide how good a box is. Distances that are enlarged within this
# of a face let the network see them in a fraction of the training.
NEAR_SCALE = 0.25  # m
SIZE_SPREAD = 0.1  # of the log sizes within a class
VELOCITY_INPUTS, COARSE_SPEED, FINE_SPEED = 4, 5.0, 0.5  # m/s
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU}


class BevEnergy(nn.Module):
    """The published head: the shared map at a grid on the box, and small branches for z and h, which it cannot show."""

    def __init__(self, map_channels: int, config: BevEnergyConfig, activation: str = "relu") -> None:
        super().__init__()
        activation_type = ACTIVATIONS[activation]
        self.grid = config.grid
        self.width = config.hidden  # of `describe`
        width = config.branch_channels
        self.z, self.height = (
            nn.Sequential(nn.Linear(1, width), activation_type(), nn.Linear(width, width), activation_type())
            for _ in range(2)
        )
        # One linear layer of all features, in two parts: what comes from a frozen map then needs no gradient, and the
        # thousands of columns need no copy beside the few others.
        sampled = map_channels * config.grid[0] * config.grid[1]
        self.map_layer = WideLinear(sampled, config.hidden)
        self.shape_layer = nn.Linear(2 * width, config.hidden, bias=False)
        bound = 1 / math.sqrt(sampled + 2 * width)  # torch's own initialisation of the whole
        for parameter in (*self.map_layer.parameters(), *self.shape_layer.parameters()):
            nn.init.uniform_(parameter, -bound, bound)
        self.head = nn.Sequential(activation_type(), *_hidden_and_last(config.hidden, activation_type))

    def describe(self, view: BevView, boxes: Tensor) -> Tensor:
        """Description of boxes [N, S, D] by the map: [N, S, width]."""
        shape = torch.cat([self.z(boxes[..., 2:3]), self.height(boxes[..., 5:6])], dim=-1)
        return self.map_layer(view.features(boxes, self.grid)) + self.shape_layer(shape)

    def forward(self, view: BevView, boxes: Tensor) -> Tensor:
        """f [N, S] of boxes [N, S, D]."""
        return self.head(self.describe(view, boxes)).squeeze(-1).to(boxes.dtype)


class PointEnergy(nn.Module):
    """A shared network over the points near a box, as the box sees them; their maximum and mean, how many there are,
    and the box's size make f.

    Unlike the map, the points show z, h and each face of the box. f does not change when points and box move together.
    """

    feature_scales: Tensor
    typical_log_size: Tensor
    log_size_spread: Tensor

    def __init__(
        self,
        config: PointEnergyConfig,
        class_sizes: Tensor,
        activation: str = "relu",
        *,
        lag: bool = False,
        velocity: bool = False,
    ) -> None:
        """Make the networks with fresh weights.

        Args:
            config: widths, and if the class is an input.
            class_sizes: [classes, 3] typical l, w, h, m, which the inputs are measured against.
            activation: of `ACTIVATIONS`.
            lag: points have a time lag.
            velocity: boxes have one, which is an input beside the points.
        """
        super().__init__()
        activation_type = ACTIVATIONS[activation]
        log_sizes = class_sizes.log()
        spread = (log_sizes.var(0, correction=0) + SIZE_SPREAD**2).sqrt()
        features = FRAME_FEATURES + lag
        scales = torch.tensor(FEATURE_SCALES[:features])
        self.register_buffer("feature_scales", scales, persistent=False)  # [16], or [17] with the lag
        self.register_buffer("typical_log_size", log_sizes.mean(0), persistent=False)  # [3]
        self.register_buffer("log_size_spread", spread, persistent=False)  # [3]
        widths = (features + 6, *config.channels)
        layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), activation_type())]
        self.point_network = nn.Sequential(*layers)
        self.velocity = velocity
        kinds = len(class_sizes) if config.class_input else 0
        self.width = 2 * widths[-1] + 4 + kinds + (VELOCITY_INPUTS if velocity else 0)  # of `describe`
        self.head = _head(self.width, config.hidden, activation_type)

    def describe(self, view: PointView, boxes: Tensor) -> Tensor:
        """Description of boxes [N, S, D] by the points: [N, S, width]."""
        features = view.features(boxes)  # [V, S, 16 or 17]
        near = (features[..., SIGNED_DISTANCES] / NEAR_SCALE).tanh()  # [V, S, 6]
        x = self.point_network(torch.cat([features / self.feature_scales, near], dim=-1))  # [V, S, C]
        maximum, mean = view.pool(x.to(boxes.dtype))
        number = (view.counts.to(boxes.dtype) + 1).log()[:, None, None] / 5  # [N, 1, 1]
        size = (boxes[..., 3:6].log() - self.typical_log_size) / self.log_size_spread  # [N, S, 3]
        parts = [maximum, mean, number.expand(*boxes.shape[:2], 1), size]
        if view.kinds is not None:
            parts.append(view.kinds.to(boxes.dtype)[:, None].expand(-1, boxes.shape[1], -1))
        if self.velocity:
            parts.append(_velocity_inputs(boxes))
        return torch.cat(parts, dim=-1)  # [N, S, width]

    def forward(self, view: PointView, boxes: Tensor) -> Tensor:
        """f [N, S] of boxes [N, S, D]."""
        return self.head(self.describe(view, boxes)).squeeze(-1).to(boxes.dtype)


def _velocity_inputs(boxes: Tensor) -> Tensor:
    """The velocity of boxes [N, S, 9] along and across their heading, on a coarse and a fine scale: [N, S, 4]."""
    cos, sin = boxes[..., 6].cos(), boxes[..., 6].sin()
    vx, vy = boxes[..., 7], boxes[..., 8]
    along, across = vx * cos + vy * sin, vy * cos - vx * sin
    scaled = [along / COARSE_SPEED, (along / FINE_SPEED).tanh(), across / COARSE_SPEED, (across / FINE_SPEED).tanh()]
    return torch.stack(scaled, dim=-1)


def _head(inputs: int, hidden: int, activation_type: type[nn.Module]) -> nn.Sequential:
    """Two hidden layers to one number, which starts close to zero everywhere."""
    return nn.Sequential(WideLinear(inputs, hidden), activation_type(), *_hidden_and_last(hidden, activation_type))


def _hidden_and_last(hidden: int, activation_type: type[nn.Module]) -> tuple[nn.Module, nn.Module, nn.Module]:
    last = nn.Linear(hidden, 1)
    nn.init.normal_(last.weight, std=LAST_STD)
    return WideLinear(hidden, hidden), activation_type(), last
