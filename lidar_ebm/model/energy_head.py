"""f(x, y) over boxes: the published energy on the shared map, ours on the raw points, or their sum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from cuda_ops.point_ops.op import FRAME_FEATURES, SIGNED_DISTANCES
from lidar_ebm.config import BevEnergyConfig, Config, PointEnergyConfig
from lidar_ebm.ebm import Ascent, GaussianMixtureNoise, ascend, nce_loss
from lidar_ebm.model.box_features import BevView, BoxContext, PointView, constrain_boxes, points_near_boxes
from lidar_ebm.model.captured_climb import CapturedClimb
from lidar_ebm.model.synchronised import shared_count
from lidar_ebm.model.wide_linear import WideLinear
from lidar_ebm.types import Batch, BevFeatures

LAST_STD = 0.001  # of the last layers' weights before training: f starts flat, as published
# What brings `box_frame_features` to the order of one, m: offsets (3), signed distances (6), beyond (6), reflectance.
FEATURE_SCALES = (2.0, 1.0, 1.0, *(1.5,) * 6, *(0.5,) * 6, 1.0)
# Offsets span metres, yet centimetres at the faces decide how good a box is. Distances that are enlarged within this
# of a face let the network see them in a fraction of the training.
NEAR_SCALE = 0.25  # m
SIZE_SPREAD = 0.1  # of the log sizes within a class


class EnergyHead(nn.Module):
    """f(x, y): one number for each candidate box y, an unnormalised log-density, higher is better."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        kinds = config.energy.features
        self.bev = BevEnergy(config.bev.channels, config.energy.bev) if "bev" in kinds else None
        sizes = torch.tensor([item.anchor_size for item in config.classes])  # [classes, 3]
        self.points = PointEnergy(config.energy.points, sizes) if "points" in kinds else None
        self.noise = GaussianMixtureNoise(config.energy.noise.stds)
        self.captured = CapturedClimb()

    @property
    def needs_bev(self) -> bool:
        """Whether f reads the shared map; without, the detector need not run to train it."""
        return self.bev is not None

    def context(
        self,
        batch: Batch,
        bev: BevFeatures | None,
        boxes: Tensor,
        batch_index: Tensor,
        *,
        seed: int | Sequence[int] = 0,
    ) -> BoxContext:
        """What f may see around boxes [N, 7] in the frames batch_index [N], fixed for every candidate y to come.

        Args:
            batch: the points.
            bev: the maps; None will do where `needs_bev` is false.
            boxes: [N, 7] proposals, or labels.
            batch_index: [N] int64.
            seed: of the choice among more than K points; one for all frames, or one for each.

        Raises:
            ValueError: the maps are needed and missing.
        """
        bev_view = points = None
        if self.bev is not None:
            if bev is None:
                raise ValueError("this energy head reads the shared map, so its context needs the BevFeatures")
            bev_view = BevView(bev.shared.to(boxes.dtype), bev.grid, batch_index)
        if self.points is not None:
            points = points_near_boxes(batch, boxes, batch_index, self.config.energy.points, seed)
        return BoxContext(bev_view, points)

    def forward(self, context: BoxContext, boxes: Tensor) -> Tensor:
        """f [N, S] of boxes [N, S, 7], S candidates for each box of the context; gradients to boxes and parameters.

        f is a log-density: candidates differ by centimetres and their f by little, so it is computed in float32, in
        autocast regions too. (In bfloat16 the demo's refinement gained 2 points of AP instead of 31.)
        """
        if (self.bev is None, self.points is None) != (context.bev is None, context.points is None):
            raise ValueError("this context was made by an energy head with other box features")
        f = boxes.new_zeros(boxes.shape[:2])
        with torch.autocast(boxes.device.type, enabled=False):
            if self.bev is not None and context.bev is not None:
                f = f + self.bev(context.bev, boxes)
            if self.points is not None and context.points is not None:
                f = f + self.points(context.points, boxes)
        return f

    def loss(self, batch: Batch, bev: BevFeatures | None, *, seeds: Sequence[int] | None = None) -> Tensor:
        """NCE over all labels of the batch in one pass, a scalar; divided by `shared_count` of the labels.

        The points near a label are taken around a box that misses it as a proposal would
        (`neighbourhood_jitter`): taken around the label itself, the choice of points would give it away.

        Args:
            batch: points and labels.
            bev: the maps; None will do where `needs_bev` is false.
            seeds: for each frame, of all that is random about it, whatever else is in the batch; numbers that differ
                in their lowest 32 bits. None for torch's own.
        """
        if seeds is None:
            seeds = torch.randint(1 << 31, (batch.batch_size,)).tolist()
        if len(seeds) != batch.batch_size:
            raise ValueError(f"{len(seeds)} seeds for {batch.batch_size} frames; give one for each")
        settings = self.config.energy
        labels, frame = batch.boxes.boxes, batch.boxes.batch_index  # [N, 7], [N]
        misses = torch.zeros_like(labels)
        samples = labels.new_zeros(len(labels), settings.samples, 7)
        for index, seed in enumerate(seeds):
            own = torch.nonzero(frame == index)[:, 0]
            generator = torch.Generator(labels.device).manual_seed(seed)
            misses[own] = torch.randn(len(own), 7, generator=generator, device=labels.device, dtype=labels.dtype)
            samples[own] = self.noise.sample(labels[own], settings.samples, generator)
        near = _miss(labels, misses, settings.points.neighbourhood_jitter)
        return nce_loss(
            partial(self, self.context(batch, bev, near, frame, seed=seeds)),
            labels,
            self.noise,
            samples,
            constrain=partial(constrain_boxes, min_size=settings.min_size),
            count=shared_count(len(labels)),
        )

    def refine(self, context: BoxContext, boxes: Tensor, *, steps: int | None = None, record: bool = False) -> Ascent:
        """Climb f from the boxes [N, 7] that the context was made for.

        Args:
            context: from `context`.
            boxes: [N, 7].
            steps: T; None for the configured number.
            record: keep the boxes after every step.
        """
        settings = self.config.refinement
        steps = settings.steps if steps is None else steps
        if context.bev is not None:  # or each step would make a gradient of the whole map, for nobody
            context = replace(context, bev=replace(context.bev, shared=context.bev.shared.detach()))

        def climb(context: BoxContext, boxes: Tensor) -> Ascent:
            return ascend(
                partial(self, context),
                boxes,
                steps=steps,
                step_length=settings.step_length,
                constrain=partial(constrain_boxes, min_size=self.config.energy.min_size),
                record=record,
            )

        # Autocast keeps copies of the weights that a recording would go on reading after they have changed.
        if not boxes.is_cuda or record or len(boxes) == 0 or steps == 0 or torch.is_autocast_enabled():
            return climb(context, boxes)
        places = tuple((tensor.data_ptr(), tensor.dtype) for tensor in (*self.parameters(), *self.buffers()))
        key = (steps, settings.step_length, self.config.energy.min_size, places)
        return self.captured(climb, context, boxes, key=key)


class BevEnergy(nn.Module):
    """The published head: the shared map at a grid on the box, and small branches for z and h, which it cannot show."""

    def __init__(self, map_channels: int, config: BevEnergyConfig) -> None:
        super().__init__()
        self.grid = config.grid
        width = config.branch_channels
        self.z, self.height = (
            nn.Sequential(nn.Linear(1, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()) for _ in range(2)
        )
        # One linear layer of all features, in two parts: what comes from a frozen map then needs no gradient, and the
        # thousands of columns need no copy beside the few others.
        sampled = map_channels * config.grid[0] * config.grid[1]
        self.map_layer = WideLinear(sampled, config.hidden)
        self.shape_layer = nn.Linear(2 * width, config.hidden, bias=False)
        bound = 1 / math.sqrt(sampled + 2 * width)  # torch's own initialisation of the whole
        for parameter in (*self.map_layer.parameters(), *self.shape_layer.parameters()):
            nn.init.uniform_(parameter, -bound, bound)
        self.head = nn.Sequential(nn.ReLU(), *_hidden_and_last(config.hidden))

    def forward(self, view: BevView, boxes: Tensor) -> Tensor:
        """f [N, S] of boxes [N, S, 7]."""
        shape = torch.cat([self.z(boxes[..., 2:3]), self.height(boxes[..., 5:6])], dim=-1)
        hidden = self.map_layer(view.features(boxes, self.grid)) + self.shape_layer(shape)
        return self.head(hidden).squeeze(-1).to(boxes.dtype)


class PointEnergy(nn.Module):
    """A shared network over the points near a box, as the box sees them; their maximum and mean, how many there are,
    and the box's size make f.

    Unlike the map, the points show z, h and each face of the box. f does not change when points and box move together.
    """

    feature_scales: Tensor
    typical_log_size: Tensor
    log_size_spread: Tensor

    def __init__(self, config: PointEnergyConfig, class_sizes: Tensor) -> None:
        """Args: class_sizes: [classes, 3] typical l, w, h, m, which the inputs are measured against."""
        super().__init__()
        log_sizes = class_sizes.log()
        spread = (log_sizes.var(0, correction=0) + SIZE_SPREAD**2).sqrt()
        self.register_buffer("feature_scales", torch.tensor(FEATURE_SCALES), persistent=False)  # [16]
        self.register_buffer("typical_log_size", log_sizes.mean(0), persistent=False)  # [3]
        self.register_buffer("log_size_spread", spread, persistent=False)  # [3]
        widths = (FRAME_FEATURES + 6, *config.channels)
        layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
        self.point_network = nn.Sequential(*layers)
        self.head = _head(2 * widths[-1] + 4, config.hidden)

    def forward(self, view: PointView, boxes: Tensor) -> Tensor:
        """f [N, S] of boxes [N, S, 7]."""
        features = view.features(boxes)  # [V, S, 16]
        near = (features[..., SIGNED_DISTANCES] / NEAR_SCALE).tanh()  # [V, S, 6]
        x = self.point_network(torch.cat([features / self.feature_scales, near], dim=-1))  # [V, S, C]
        most, mean = view.pool(x.to(boxes.dtype))
        number = (view.counts.to(boxes.dtype) + 1).log()[:, None, None] / 5  # [N, 1, 1]
        size = (boxes[..., 3:6].log() - self.typical_log_size) / self.log_size_spread  # [N, S, 3]
        summary = torch.cat([most, mean, number.expand(*boxes.shape[:2], 1), size], dim=-1)  # [N, S, 2 * C + 4]
        return self.head(summary).squeeze(-1).to(boxes.dtype)


def _head(inputs: int, hidden: int) -> nn.Sequential:
    """Two hidden layers to one number, which starts close to zero everywhere."""
    return nn.Sequential(WideLinear(inputs, hidden), nn.ReLU(), *_hidden_and_last(hidden))


def _hidden_and_last(hidden: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    last = nn.Linear(hidden, 1)
    nn.init.normal_(last.weight, std=LAST_STD)
    return WideLinear(hidden, hidden), nn.ReLU(), last


def _miss(boxes: Tensor, noise: Tensor, stds: tuple[float, float, float]) -> Tensor:
    """Boxes [N, 7] moved, scaled and turned by standard normal noise [N, 7] times the stds of (xyz, log lwh, yaw)."""
    center = boxes[:, :3] + noise[:, :3] * stds[0]
    size = boxes[:, 3:6] * (noise[:, 3:6] * stds[1]).exp()
    return torch.cat([center, size, boxes[:, 6:] + noise[:, 6:] * stds[2]], dim=1)
