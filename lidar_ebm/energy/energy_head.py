"""f(x, y) over boxes: the published energy on the shared map, ours on the raw points, or their sum."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cuda_ops.plain import plain_torch
from lidar_ebm.config.base import one_each
from lidar_ebm.config.energy import EnergySettings
from lidar_ebm.ebm.ascent import Ascent, ascend
from lidar_ebm.ebm.energy import value
from lidar_ebm.ebm.multi_start import highest
from lidar_ebm.ebm.noise import Noise
from lidar_ebm.ebm.proposal_network import GaussianMixture
from lidar_ebm.ebm.random_numbers import GroupedGenerator, normal
from lidar_ebm.ebm.step_rules import Adam, Halving, Momentum, StepRule
from lidar_ebm.energy.box_feature import BoxFeature
from lidar_ebm.energy.box_features import BevView, BoxContext, points_near_boxes
from lidar_ebm.energy.box_proposal import BoxProposal
from lidar_ebm.energy.box_space import VELOCITY, box_space, relative_scales
from lidar_ebm.energy.captured_refinement import CapturedRefinement
from lidar_ebm.energy.losses import BY_GRADIENTS, LEARNED, make_loss
from lidar_ebm.energy.networks import BevEnergy, PointEnergy
from lidar_ebm.energy.noise import RelativeNoise, make_noise
from lidar_ebm.system.synchronised import shared_count
from lidar_ebm.types import TIME_LAG, Batch, BevFeatures

START_SEED = 0  # of the draws that further refinement paths start from
RULES: dict[str, StepRule] = {"halving": Halving(), "momentum": Momentum(), "adam": Adam()}


class EnergyHead(nn.Module):
    """f(x, y): one number for each candidate box y, an unnormalised log-density, higher is better.

    Boxes are rows of D numbers: x, y, z, l, w, h, yaw, and vx, vy where boxes have a velocity. f is over the first d of
    them. Where that leaves the velocity out, f sees points that were moved by it, and refined boxes keep it.
    """

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
        channels = config.points.channels
        self.lag = 3 + channels.index(TIME_LAG) if TIME_LAG in channels else None  # its column among the points'
        lag = self.lag is not None
        sizes_of_classes = torch.tensor(sizes)
        self.points = None
        if "points" in kinds:
            velocity = settings.points.velocity_input and config.energy_dimensions > 7
            self.points = PointEnergy(settings.points, sizes_of_classes, activation, lag=lag, velocity=velocity)
        self.classes = len(sizes)
        self.extra = nn.ModuleList(extra)
        self.space = box_space(settings.min_size, config.energy_dimensions)
        self.noise = make_noise(settings, config.energy_dimensions)
        widths = [energy.width for energy in (self.bev, self.points, *extra) if energy is not None]
        self.proposal = (
            BoxProposal(sum(widths), settings, self.space.dims) if settings.objective.method in LEARNED else None
        )
        ascent = config.refinement
        lengths = None
        if not isinstance(ascent.step_length, float):
            power = 1 if ascent.rule == "adam" else 2
            lengths = torch.tensor(one_each(ascent.step_length, self.space.dims, power=power))
        self.register_buffer("step_lengths", lengths, persistent=False)  # [d], where they differ
        # The same draws around every box, so that what becomes of a box depends on nothing else.
        draws = torch.randn(ascent.starts - 1, self.space.dims, generator=torch.Generator().manual_seed(START_SEED))
        stds = torch.tensor(one_each(ascent.start_stds, self.space.dims))
        self.register_buffer("start_offsets", draws * stds, persistent=False)  # [P - 1, d]
        self.captured = CapturedRefinement()

    @property
    def needs_bev(self) -> bool:
        """True for an f that reads the shared map; without, the detector need not run to train it."""
        return self.bev is not None

    @property
    def needs_classes(self) -> bool:
        """True for an f that is told the class of each box."""
        return self.points is not None and self.config.energy.points.class_input

    @property
    def _needs_velocity(self) -> bool:
        """True where a box's velocity changes what f sees, whether f is over it or not."""
        moved = self.config.box_dimensions > self.space.dims and self.points is not None and self.lag is not None
        return moved or self.space.dims > VELOCITY.start

    def trained_on(self, labels: Tensor) -> Tensor:
        """Mask [N] of the labels [N, D] that the loss is over: not those whose velocity is unknown, if that matters."""
        seen = labels if self._needs_velocity else labels[:, : VELOCITY.start]
        return ~seen[:, VELOCITY].isnan().any(dim=1)

    def context(
        self,
        batch: Batch,
        bev: BevFeatures | None,
        boxes: Tensor,
        batch_index: Tensor,
        *,
        seed: int | Sequence[int] = 0,
        class_index: Tensor | None = None,
    ) -> BoxContext:
        """View that f has around boxes [N, D] in the frames batch_index [N], fixed for every candidate y to come.

        Args:
            batch: the points.
            bev: the maps; None will do where `needs_bev` is false.
            boxes: [N, D] proposals, or labels.
            batch_index: [N] int64.
            seed: of the choice among more than K points; one for all frames, or one for each.
            class_index: [N] int64; None will do where `needs_classes` is false.

        Raises:
            ValueError: the maps or the classes are needed and missing.
        """
        if boxes.shape[1] != self.config.box_dimensions:
            raise ValueError(f"boxes have {boxes.shape[1]} numbers, and this energy's {self.config.box_dimensions}")
        bev_view = points = None
        if self.bev is not None:
            if bev is None:
                raise ValueError("this energy head reads the shared map, so its context needs the BevFeatures")
            bev_view = BevView(bev.shared.to(boxes.dtype), bev.grid, batch_index)
        if self.points is not None:
            columns = (0, 1, 2, 3) if self.lag is None else (0, 1, 2, 3, self.lag)
            points = points_near_boxes(batch, boxes, batch_index, self.config.energy.points, seed, columns=columns)
            if boxes.shape[1] > self.space.dims:
                points = points.moved(boxes[:, VELOCITY])
            if self.needs_classes:
                if class_index is None:
                    raise ValueError("this energy is told the class of each box, so its context needs class_index")
                points = replace(points, kinds=F.one_hot(class_index, self.classes).to(boxes.dtype))
        others = tuple(term.view(batch, boxes, batch_index) for term in self._terms())
        return BoxContext(bev_view, points, others)

    def forward(self, context: BoxContext, boxes: Tensor) -> Tensor:
        """f [N, S] of boxes [N, S, D], S candidates for each box of the context; gradients to boxes and parameters.

        f is a log-density: candidates differ by centimetres and their f by little, so it is computed in float32, in
        autocast regions too. (In bfloat16 the demo's refinement gained 2 points of AP instead of 31.)
        """
        boxes = boxes[..., : self.space.dims]
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
        """The configured loss, a scalar: its sum over the batch's labels (`trained_on`), divided by their count.

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
        labels, frame, kind = batch.boxes.boxes, batch.boxes.batch_index, batch.boxes.class_index  # [N, D], [N], [N]
        if self._needs_velocity:
            used = self.trained_on(labels)
            labels, frame, kind = labels[used], frame[used], kind[used]
        random = GroupedGenerator(seeds, frame)
        near = self._displaced(labels, normal(labels.shape, labels, random))
        context = self.context(batch, bev, near, frame, seed=seeds, class_index=kind)
        labels = labels[:, : self.space.dims]
        noise: Noise = self.noise if self.proposal is None else self.proposal_density(context, near)
        if settings.noise.relative:
            noise = RelativeNoise(noise, relative_scales(labels, settings.noise.relative))
        loss, method = make_loss(settings, noise, self.space.dims), settings.objective.method

        def energy(boxes: Tensor) -> Tensor:
            # Chains of Langevin steps ask for the gradient to the boxes alone, and could do without the whole map's.
            in_a_chain = method == "ml-mcmc" and boxes.requires_grad
            return self(context.frozen() if in_a_chain else context, boxes)

        twice = method in BY_GRADIENTS
        with torch.autocast(labels.device.type, enabled=False), plain_torch() if twice else nullcontext():
            divisor = shared_count(len(labels)) if count is None else count
            total = loss(energy, labels, random=random, count=divisor)
            if twice:  # the slope does not depend on the last bias, but whoever trains waits for every gradient
                total = total + energy(labels.new_zeros(len(labels), 0, self.space.dims)).sum()
        return total

    def _displaced(self, boxes: Tensor, noise: Tensor) -> Tensor:
        """Boxes [N, D] displaced as proposals are, by standard normal noise [N, D] times the configured stds."""
        settings, relative = self.config.energy.points, self.config.energy.noise.relative
        place, size, turn = settings.neighbourhood_jitter
        offset = noise[:, :3] * place
        if relative:
            offset = offset * relative_scales(boxes, relative)[:, :3]
        sizes = boxes[:, 3:6] * (noise[:, 3:6] * size).exp()
        yaw = boxes[:, 6:7] + noise[:, 6:7] * turn
        velocity = boxes[:, VELOCITY] + noise[:, VELOCITY] * settings.velocity_jitter
        return torch.cat([boxes[:, :3] + offset, sizes, yaw, velocity], dim=1)

    def proposal_density(self, context: BoxContext, boxes: Tensor) -> GaussianMixture:
        """The q(y | x) that is learnt beside f, for the boxes [N, D] that the context was made for.

        It sees what the energies see of those boxes, and its gradient changes nothing of that.

        Raises:
            ValueError: f is trained by a method without one.
        """
        if self.proposal is None:
            raise ValueError(f"energy.objective.method={self.config.energy.objective.method} learns no proposal")
        boxes = boxes[:, : self.space.dims]
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
        """Ascend f from the boxes [N, D] that the context was made for, and from the configured draws around them.

        Args:
            context: from `context`.
            boxes: [N, D].
            steps: T; None for the configured number. With 0 boxes stay as they are, and no draws are made around them.
            record: keep the boxes as they would be after every number of steps.

        Returns:
            The best ends [N, D]; f0 is f at the boxes themselves.
        """
        own = self._refine(context, boxes[:, : self.space.dims], steps, record)
        kept = boxes[:, self.space.dims :].detach()  # a velocity that f is not over
        if not kept.shape[1]:
            return own
        trajectory = own.trajectory
        if trajectory is not None:
            trajectory = torch.cat([trajectory, kept.expand(len(trajectory), -1, -1)], dim=2)
        return replace(own, y=torch.cat([own.y, kept], dim=1), trajectory=trajectory)

    def _refine(self, context: BoxContext, boxes: Tensor, steps: int | None, record: bool) -> Ascent:
        """`refine` of the numbers [N, d] that f is over."""
        settings = self.config.refinement
        steps = settings.steps if steps is None else steps
        context = context.frozen()  # or each step would make a gradient of the whole map, for nobody
        starts = boxes.unsqueeze(1)  # [N, P, d]
        if settings.starts > 1 and steps > 0:
            offsets = self.start_offsets.to(boxes)
            if self.config.energy.noise.relative:
                offsets = offsets * relative_scales(starts, self.config.energy.noise.relative)
            starts = torch.cat([starts, self.space.constrain(starts + offsets)], dim=1)

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
        key = (steps, settings, self.config.energy.min_size, self.config.energy.noise.relative, places)
        return self.captured(refine, context, starts, key=key)

    def _ascend(self, context: BoxContext, starts: Tensor, steps: int, record: bool) -> Ascent:
        """From starts [N, P, d] to the best end of each box."""
        settings, energy = self.config.refinement, partial(self, context)
        step_length = settings.step_length if self.step_lengths is None else self.step_lengths.to(starts)
        if relative := self.config.energy.noise.relative:
            # f is the steeper the narrower its noise was: as with the noise's variance, or width, steps grow.
            scales = relative_scales(starts[:, :1], relative if settings.rule == "adam" else 2 * relative)
            step_length = step_length * scales
        ascent = ascend(
            energy,
            starts,
            steps=steps,
            step_length=step_length,
            rule=RULES[settings.rule],
            constrain=self.space.constrain,
            record=record,
        )
        y, f = _best(ascent.y, ascent.f)
        trajectory = None
        if ascent.trajectory is not None:  # [1 + T, N, P, d]
            later = [_best(y, value(energy, y))[0] for y in ascent.trajectory[1:]] if starts.shape[1] > 1 else ()
            own = ascent.trajectory[:, :, 0]
            trajectory = torch.stack([own[0], *later]) if later else own
        refined = Ascent(y, f, ascent.f0[:, 0], trajectory)
        return refined if not settings.minimum_points else self._where_seen(context, starts[:, 0], refined)

    def _where_seen(self, context: BoxContext, boxes: Tensor, refined: Ascent) -> Ascent:
        """The refined boxes where there are points enough, and the boxes [N, d] themselves elsewhere."""
        assert context.points is not None  # the configuration asks for points, so f sees them
        seen = context.points.counts >= self.config.refinement.minimum_points  # [N]
        trajectory = refined.trajectory
        return Ascent(
            torch.where(seen[:, None], refined.y, boxes),
            torch.where(seen, refined.f, refined.f0),
            refined.f0,
            None if trajectory is None else torch.where(seen[:, None], trajectory, boxes),
        )


def _best(y: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
    """Of P boxes each, [N, P, d], the one of the highest f [N, P], and its f: [N, d], [N]."""
    best = highest(f)[:, None]  # [N, 1]
    return y.take_along_dim(best.unsqueeze(-1), dim=1).squeeze(1), f.take_along_dim(best, dim=1).squeeze(1)
