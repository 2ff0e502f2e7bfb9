"""Features of a box that an energy may see: the shared map where the box lies, and the raw points near it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from cuda_ops.box_sampling.op import sample_boxes
from cuda_ops.plain import is_plain
from cuda_ops.point_ops.op import LAG_COLUMN, box_frame_features_ragged, gather_near_boxes
from lidar_ebm.config.energy import PointEnergyConfig
from lidar_ebm.energy.box_feature import View
from lidar_ebm.types import Batch, BevGrid


@dataclass(frozen=True)
class BevView:
    """The shared map, and which of its frames each of N boxes reads."""

    shared: Tensor  # [B, C, H, W]
    grid: BevGrid
    batch_index: Tensor  # [N] int64

    def select(self, rows: Tensor) -> BevView:
        """The view of the boxes that `rows` (indices) names."""
        return replace(self, batch_index=self.batch_index[rows])

    def features(self, boxes: Tensor, grid_size: tuple[int, int]) -> Tensor:
        """The map at the grid of each candidate: boxes [N, S, D] -> [N, S, C * across * along]."""
        values = sample_boxes(
            self.shared,
            boxes[..., :7].flatten(0, 1),
            self.batch_index.repeat_interleave(boxes.shape[1]),
            grid_size=grid_size,
            origin=self.grid.origin,
            cell_size=self.grid.cell_size,
        )  # [N * S, C, across, along]
        return values.flatten(1).unflatten(0, boxes.shape[:2])


@dataclass(frozen=True)
class PointView:
    """The points near each of N boxes, one box after the other without padding."""

    points: Tensor  # [V, 4] x, y, z in m, reflectance; [V, 5] with the time lag in s
    box_index: Tensor  # [V] int64 rising, the box that each point is near
    lengths: Tensor  # [N] int64, how many of `points` are each box's, at most K
    counts: Tensor  # [N] int64, how many points there are near each box
    kinds: Tensor | None = None  # [N, classes] one-hot, the class of each box, where f is told it

    def select(self, rows: Tensor) -> PointView:
        """The view of the boxes that `rows` (indices) names."""
        lengths = self.lengths[rows]
        starts = (self.lengths.cumsum(0) - self.lengths)[rows] - (lengths.cumsum(0) - lengths)
        index = starts.repeat_interleave(lengths) + torch.arange(int(lengths.sum()), device=lengths.device)
        kinds = None if self.kinds is None else self.kinds[rows]
        return PointView(self.points[index], torch.repeat_interleave(lengths), lengths, self.counts[rows], kinds)

    def moved(self, velocity: Tensor) -> PointView:
        """The points where boxes of these velocities [N, 2] have taken them since they were measured."""
        if self.points.shape[1] <= LAG_COLUMN:
            return self
        way = velocity[self.box_index] * self.points[:, LAG_COLUMN:]  # [V, 2]
        return replace(self, points=torch.cat([self.points[:, :2] + way, self.points[:, 2:]], dim=1))

    def features(self, boxes: Tensor) -> Tensor:
        """Each point as each candidate for its box sees it: boxes [N, S, D] -> [V, S, F] (`box_frame_features`)."""
        return box_frame_features_ragged(self.points, self.box_index, boxes)

    def pool(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maximum, at least 0, and mean over each box's points: x [V, S, C] -> [N, S, C] each, 0 without points."""
        zeros = x.new_zeros(len(self.lengths), *x.shape[1:])
        if is_plain():  # the faster way cannot be differentiated twice
            maximum = zeros.scatter_reduce(0, self.box_index[:, None, None].expand_as(x), x, "amax")
        else:
            # Without `unsafe` it would look at the lengths on the host, in every step of a refinement.
            maximum = torch.segment_reduce(x, "max", lengths=self.lengths, axis=0, initial=0.0, unsafe=True)
        total = zeros.index_add(0, self.box_index, x)
        return maximum, total / self.lengths.clamp(min=1)[:, None, None]


@dataclass(frozen=True)
class BoxContext:
    """View that f(x, y) has of the frame x around each of N boxes. It is fixed once, so that f is continuous in y."""

    bev: BevView | None
    points: PointView | None
    others: tuple[View, ...] = ()  # of further terms

    def select(self, rows: Tensor) -> BoxContext:
        """The context of the boxes that `rows` (indices) names."""
        return BoxContext(
            None if self.bev is None else self.bev.select(rows),
            None if self.points is None else self.points.select(rows),
            tuple(view.select(rows) for view in self.others),
        )

    def frozen(self) -> BoxContext:
        """The same context, to whose map no gradient goes."""
        if self.bev is None or not self.bev.shared.requires_grad:
            return self
        return replace(self, bev=replace(self.bev, shared=self.bev.shared.detach()))


def points_near_boxes(
    batch: Batch,
    boxes: Tensor,
    batch_index: Tensor,
    config: PointEnergyConfig,
    seed: int | Sequence[int],
    *,
    columns: Sequence[int] = (0, 1, 2, 3),
) -> PointView:
    """The neighbourhoods of boxes [N, D] in the frames batch_index [N].

    With a velocity each box is where it was when a point was measured.

    Args:
        batch: the points.
        boxes: [N, D].
        batch_index: [N] int64.
        config: how many points, and how near.
        seed: of the choice among many points: one for all frames, or one for each. The order of the points changes
            nothing.
        columns: of the batch's points: x, y, z, reflectance, and the time lag if f is shown it.
    """
    seen = batch.points
    if tuple(columns) != tuple(range(seen.shape[1])):
        seen = seen[:, list(columns)]
    order = _order_of_places(seen) if config.order == "content" else torch.arange(len(seen))
    order = order.to(seen.device)
    cloud, cloud_frame = seen[order], batch.point_batch_index[order]

    def gather(points: Tensor, frame: Tensor, rows: Tensor | slice, seed: int) -> tuple[Tensor, Tensor]:
        return gather_near_boxes(
            points,
            frame,
            boxes[rows],
            batch_index[rows],
            margin=config.margin,
            max_points=config.max_points,
            seed=seed,
            drift=config.drift,
        )

    if isinstance(seed, int):
        chosen, counts = gather(cloud, cloud_frame, slice(None), seed)  # [N, K, 4], [N]
    else:
        chosen = seen.new_zeros(len(boxes), config.max_points, seen.shape[1])
        counts = torch.zeros_like(batch_index)
        for frame, own_seed in enumerate(seed):
            points, rows = cloud_frame == frame, batch_index == frame
            chosen[rows], counts[rows] = gather(cloud[points], cloud_frame[points], rows, own_seed)
    lengths = counts.clamp(max=config.max_points)
    held = torch.arange(config.max_points, device=boxes.device) < lengths.unsqueeze(1)  # [N, K]
    return PointView(chosen[held], torch.repeat_interleave(lengths), lengths, counts)


def _order_of_places(points: Tensor) -> Tensor:
    """An order [N] of points [N, C] that is that of their numbers, the last first, not of how they came."""
    if len(points) == 0:
        return torch.zeros(0, dtype=torch.int64, device=points.device)
    even = F.pad(points.float(), (0, points.shape[1] % 2)).contiguous()
    pairs = even.view(torch.int64)  # [N, 2 or 3]: the bits of x and y, those of z and reflectance, and the lag's
    order = torch.argsort(pairs[:, 0])
    for column in pairs.T[1:]:
        order = order[torch.argsort(column[order], stable=True)]
    return order
