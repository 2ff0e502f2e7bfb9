"""f(x, y) over boxes: the published energy on the shared map, ours on the raw points, or their sum."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from cuda_ops.plain import plain_torch
from lidar_ebm.config.energy import EnergySettings
from lidar_ebm.ebm.ascent import Ascent, ascend
from lidar_ebm.ebm.energy import value
from lidar_ebm.ebm.multi_start import highest
from lidar_ebm.ebm.proposal_network import GaussianMixture
from lidar_ebm.ebm.random_numbers import GroupedGenerator, normal
from lidar_ebm.ebm.step_rules import Adam, Halving, Momentum, StepRule
from lidar_ebm.energy.box_feature import BoxFeature
from lidar_ebm.energy.box_features import BevView, BoxContext, points_near_boxes
from lidar_ebm.energy.box_proposal import BoxProposal
from lidar_ebm.energy.box_space import box_space
from lidar_ebm.energy.captured_refinement import CapturedRefinement
from lidar_ebm.energy.losses import BY_GRADIENTS, LEARNED, make_loss, make_noise
from lidar_ebm.energy.networks import BevEnergy, PointEnergy
from lidar_ebm.system.synchronised import shared_count
from lidar_ebm.types import Batch, BevFeatures

START_SEED = 0  # of the draws that further refinement paths start from
RULES: dict[str, StepRule] = {"halving": Halving(), "momentum": Momentum(), "adam": Adam()}


class EnergyHead(nn.Module):
    """f(x, y): one number for each candidate box y, an unnormalised log-density, higher is better."""

    step_lengths: Tensor | None
    start_offsets: Tensor

    def __init__(
        self,
        config: EnergySettings,
        *,
        map_channels: int,
        sizes: Sequence[Sequence[float]],
        extra: Sequence[BoxFeature] = (),
    ) -> None:
        """Make an energy with fresh weights.

        Args:
            config: the energy, its refinement and its uncertainty.
            map_channels: channels of the shared map.
            sizes: length, width and height of each class in m, by which point features are scaled.
            extra: further terms of f.
        """
        super().__init__()
        self.config = config
        settings = config.energy
        kinds, activation = settings.features, settings.activation
        self.bev = BevEnergy(map_channels, settings.bev, activation) if "bev" in kinds else None
        self.points = PointEnergy(settings.points, torch.tensor(sizes), activation) if "points" in kinds else None
        self.extra = nn.ModuleList(extra)
        self.space = box_space(settings.min_size)
        self.noise = make_noise(settings)
        widths = [energy.width for energy in (self.bev, self.points, *extra) if energy is not None]
        self.proposal = BoxProposal(sum(widths), settings) if settings.objective.method in LEARNED else None
        ascent = config.refinement
        lengths = None if isinstance(ascent.step_length, float) else torch.tensor(ascent.step_length)
        self.register_buffer("step_lengths", lengths, persistent=False)  # [7], where they differ
        # The same draws around every box, so that what becomes of a box depends on nothing else.
        draws = torch.randn(ascent.starts - 1, 7, generator=torch.Generator().manual_seed(START_SEED))
        self.register_buffer("start_offsets", draws * torch.tensor(ascent.start_stds), persistent=False)  # [P - 1, 7]
        self.captured = CapturedRefinement()

    @property
    def needs_bev(self) -> bool:
        """True for an f that reads the shared map; without, the detector need not run to train it."""
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
        """View that f has around boxes [N, 7] in the frames batch_index [N], fixed for every candidate y to come.

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
        others = tuple(term.view(batch, boxes, batch_index) for term in self._terms())
        return BoxContext(bev_view, points, others)

    def forward(self, context: BoxContext, boxes: Tensor) -> Tensor:
        """f [N, S] of boxes [N, S, 7], S candidates for each box of the context; gradients to boxes and parameters.

        f is a log-density: candidates differ by centimetres and their f by little, so it is computed in float32, in
        autocast regions too. (In bfloat16 the demo's refinement gained 2 points of AP instead of 31.)
        """
        f = boxes.new_zeros(boxes.shape[:2])
        with torch.autocast(boxes.device.type, enabled=False):
            for energy, view in self._with_views(context):
                f = f + energy(view, boxes)
        return f

    def loss(
        self,
        batch: Batch,
        bev: BevFeatures | None,
        *,
        seeds: Sequence[int] | None = None,
        count: float | None = None,
    ) -> Tensor:
        """The configured loss, a scalar: its sum over all labels of the batch, divided by their count.

        The points near a label are taken around a box that is displaced from it as a proposal would be
        (`neighbourhood_jitter`): taken around the label itself, the choice of points would give it away.

        Args:
            batch: points and labels.
            bev: the maps; None will do where `needs_bev` is false.
            seeds: for each frame, of all that is random about it, whatever else is in the batch; numbers that differ
                in their lowest 32 bits. None for torch's own.
            count: what the sum is divided by; None for this batch's labels, shared by all processes.
        """
        if seeds is None:
            seeds = torch.randint(1 << 31, (batch.batch_size,)).tolist()
        if len(seeds) != batch.batch_size:
            raise ValueError(f"{len(seeds)} seeds for {batch.batch_size} frames; give one for each")
        settings = self.config.energy
        labels, frame = batch.boxes.boxes, batch.boxes.batch_index  # [N, 7], [N]
        random = GroupedGenerator(seeds, frame)
        near = _displaced(labels, normal(labels.shape, labels, random), settings.points.neighbourhood_jitter)
        context = self.context(batch, bev, near, frame, seed=seeds)
        noise = self.noise if self.proposal is None else self.proposal_density(context, near)
        loss, method = make_loss(settings, noise), settings.objective.method

        def energy(boxes: Tensor) -> Tensor:
            # Chains of Langevin steps ask for the gradient to the boxes alone, and could do without the whole map's.
            in_a_chain = method == "ml-mcmc" and boxes.requires_grad
            return self(context.frozen() if in_a_chain else context, boxes)

        twice = method in BY_GRADIENTS
        with torch.autocast(labels.device.type, enabled=False), plain_torch() if twice else nullcontext():
            divisor = shared_count(len(labels)) if count is None else count
            total = loss(energy, labels, random=random, count=divisor)
            if twice:  # the slope does not depend on the last bias, but whoever trains waits for every gradient
                total = total + energy(labels.new_zeros(len(labels), 0, 7)).sum()
        return total

    def proposal_density(self, context: BoxContext, boxes: Tensor) -> GaussianMixture:
        """The q(y | x) that is learnt beside f, for the boxes [N, 7] that the context was made for.

        It sees what the energies see of those boxes, and its gradient changes nothing of that.

        Raises:
            ValueError: f is trained by a method without one.
        """
        if self.proposal is None:
            raise ValueError(f"energy.objective.method={self.config.energy.objective.method} learns no proposal")
        with torch.autocast(boxes.device.type, enabled=False):
            with torch.no_grad():
                seen = [energy.describe(view, boxes.unsqueeze(1)) for energy, view in self._with_views(context)]
            return self.proposal(torch.cat(seen, dim=-1).squeeze(1).to(boxes.dtype), boxes)

    def _with_views(self, context: BoxContext) -> list[tuple[Any, Any]]:
        """Each of the energies that f is the sum of, with what it sees."""
        if (self.bev is None, self.points is None) != (context.bev is None, context.points is None):
            raise ValueError("this context was made by an energy head with other box features")
        pairs = ((self.bev, context.bev), (self.points, context.points))
        built_in = [(energy, view) for energy, view in pairs if energy is not None and view is not None]
        return [*built_in, *zip(self._terms(), context.others, strict=True)]

    def _terms(self) -> list[BoxFeature]:
        return [cast(BoxFeature, term) for term in self.extra]

    def refine(self, context: BoxContext, boxes: Tensor, *, steps: int | None = None, record: bool = False) -> Ascent:
        """Ascend f from the boxes [N, 7] that the context was made for, and from the configured draws around them.

        Args:
            context: from `context`.
            boxes: [N, 7].
            steps: T; None for the configured number. With 0 boxes stay as they are, and no draws are made around them.
            record: keep the boxes as they would be after every number of steps.

        Returns:
            The best ends; f0 is f at the boxes themselves.
        """
        settings = self.config.refinement
        steps = settings.steps if steps is None else steps
        context = context.frozen()  # or each step would make a gradient of the whole map, for nobody
        starts = boxes.unsqueeze(1)  # [N, P, 7]
        if settings.starts > 1 and steps > 0:
            starts = torch.cat([starts, self.space.constrain(starts + self.start_offsets.to(boxes))], dim=1)

        def refine(context: BoxContext, starts: Tensor) -> Ascent:
            return self._ascend(context, starts, steps, record)

        # Autocast keeps copies of the weights that a recording would go on reading after they have changed.
        if (
            not boxes.is_cuda
            or record
            or context.others
            or len(boxes) == 0
            or steps == 0
            or torch.is_autocast_enabled()
        ):
            return refine(context, starts)
        places = tuple((tensor.data_ptr(), tensor.dtype) for tensor in (*self.parameters(), *self.buffers()))
        key = (steps, settings, self.config.energy.min_size, places)
        return self.captured(refine, context, starts, key=key)

    def _ascend(self, context: BoxContext, starts: Tensor, steps: int, record: bool) -> Ascent:
        """From starts [N, P, 7] to the best end of each box."""
        settings, energy = self.config.refinement, partial(self, context)
        ascent = ascend(
            energy,
            starts,
            steps=steps,
            step_length=settings.step_length if self.step_lengths is None else self.step_lengths.to(starts),
            rule=RULES[settings.rule],
            constrain=self.space.constrain,
            record=record,
        )
        y, f = _best(ascent.y, ascent.f)
        trajectory = None
        if ascent.trajectory is not None:  # [1 + T, N, P, 7]
            later = [_best(y, value(energy, y))[0] for y in ascent.trajectory[1:]] if starts.shape[1] > 1 else ()
            own = ascent.trajectory[:, :, 0]
            trajectory = torch.stack([own[0], *later]) if later else own
        return Ascent(y, f, ascent.f0[:, 0], trajectory)


def _best(y: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
    """Of P boxes each, [N, P, 7], the one of the highest f [N, P], and its f: [N, 7], [N]."""
    best = highest(f)[:, None]  # [N, 1]
    return y.take_along_dim(best.unsqueeze(-1), dim=1).squeeze(1), f.take_along_dim(best, dim=1).squeeze(1)


def _displaced(boxes: Tensor, noise: Tensor, stds: tuple[float, float, float]) -> Tensor:
    """Boxes [N, 7] moved, scaled and turned by standard normal noise [N, 7] times the stds of (xyz, log lwh, yaw)."""
    center = boxes[:, :3] + noise[:, :3] * stds[0]
    size = boxes[:, 3:6] * (noise[:, 3:6] * stds[1]).exp()
    return torch.cat([center, size, boxes[:, 6:] + noise[:, 6:] * stds[2]], dim=1)
