"""The point operations in plain torch: what every faster implementation must agree with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from cuda_ops._ragged import enumerate_runs

FRAME_FEATURES = 16  # of `box_frame_features`: 3 offsets, 6 signed distances, 6 distances beyond, reflectance
MOVING = 9  # numbers of a box that has a velocity
LAG_COLUMN = 4  # of points: x, y, z, reflectance, seconds before the frame's own time
SIGNED_DISTANCES = slice(3, 9)  # the signed ones among them

_PAIRS_AT_ONCE = 1 << 17  # of points and boxes: temporaries that fit a processor's cache are fastest
# Far above what float64 loses to rounding, far below a sensor's noise, m: a point on a face lies inside, whichever way
# a device rounds.
_TOUCHING = 1e-9


@torch.no_grad()
def points_in_boxes(
    points: Tensor,
    boxes: Tensor,
    *,
    point_batch_index: Tensor | None = None,
    batch_index: Tensor | None = None,
    first: bool = False,
) -> Tensor:
    """Mask of the points that lie in each box.

    Computed in float64, so that every device decides alike. A point on a face lies inside; a box with NaN or infinity
    holds no point, and a point with NaN lies in no box.

    Args:
        points: [P, >= 3], x, y, z first, m.
        boxes: [N, 7] LiDAR frame, m, rad.
        point_batch_index: [P] integers, frame of each point, which meets the boxes of its frame alone. None: one frame.
        batch_index: [N] integers, frame of each box; given where `point_batch_index` is.
        first: ask for the first box of each point instead of all.

    Returns:
        [P, N] bool; with `first`, [P] int64, the lowest row of a box that holds the point, -1 where none does.
    """
    mask = torch.zeros((len(points), len(boxes)), dtype=torch.bool, device=points.device)  # [P, N]
    rows = max(1, _PAIRS_AT_ONCE // max(1, len(boxes)))
    for start in range(0, len(points), rows):
        part = slice(start, start + rows)
        mask[part] = _inside(points[part, :3], boxes, (0.0, 0.0, 0.0)).T
    if point_batch_index is not None and batch_index is not None:
        mask &= point_batch_index.unsqueeze(1) == batch_index
    if not first:
        return mask
    lowest = functional.pad(mask.byte(), (0, 1), value=1).argmax(dim=1)  # the first of equal ones; N where none is
    return lowest.masked_fill(lowest == len(boxes), -1)


@torch.no_grad()
def gather_near_boxes(
    points: Tensor,
    point_batch_index: Tensor,
    boxes: Tensor,
    batch_index: Tensor,
    *,
    margin: Sequence[float],
    max_points: int,
    seed: int,
    drift: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Points inside each box, grown by a margin, at most `max_points` of them.

    A box with a velocity is where it was when each point was measured: a point with lag t meets it at
    centre - velocity * t.

    Where there are more, the choice follows a hash of (seed, place of the point in its frame): it looks random, is the
    same on every device, and depends neither on the other boxes nor on the other frames of the batch.

    Args:
        points: [P, F], the first three x, y, z in m; for moving boxes the fifth, if there is one, the lag in s.
        point_batch_index: [P] int64, frame of each point.
        boxes: [N, 7] LiDAR frame, m, rad, or [N, 9] with vx, vy over ground, m/s.
        batch_index: [N] int64, frame of each box.
        margin: added on either side of length, width and height, m.
        max_points: K.
        seed: of the choice.
        drift: of moving boxes, added to the margins of length and width for each second of a point's lag, m/s.

    Returns:
        chosen points [N, K, F] in the order of their hashes, zeros after the last, and the number of points in each
        grown box [N] int64, chosen or not.
    """
    chosen = points.new_zeros(len(boxes), max_points, points.shape[1])
    counts = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    for frame in batch_index.unique().tolist():
        in_frame = points[point_batch_index == frame]
        in_frame = in_frame[_hash(len(in_frame), seed, points.device).argsort(stable=True)]
        rows = (batch_index == frame).nonzero().squeeze(1)
        for part in rows.split(max(1, _PAIRS_AT_ONCE // max(len(in_frame), 1))):
            inside = _inside(in_frame, boxes[part], margin, drift)  # [n, P]
            counts[part] = inside.sum(1)
            box, point = inside.nonzero().unbind(1)  # box rising, then in the order of the hashes
            place = enumerate_runs(counts[part])[1]
            first = place < max_points
            chosen[part[box[first]], place[first]] = in_frame[point[first]]
    return chosen, counts


def _hash(count: int, seed: int, device: torch.device) -> Tensor:
    """A 32-bit hash of (seed, i) for i in 0..count - 1, as int64: xor-shift-multiply rounds, exact on every device."""

    def mix(value: Tensor) -> Tensor:
        value = ((value ^ (value >> 16)) * 0x21F0AAAD) & 0xFFFFFFFF  # both factors' product stays below 2^63
        value = ((value ^ (value >> 15)) * 0x735A2D97) & 0xFFFFFFFF
        return value ^ (value >> 15)

    start = mix(torch.tensor([(seed + 0x9E3779B9) & 0xFFFFFFFF], device=device))
    return mix(mix(torch.arange(count, device=device)) ^ start)


def _inside(points: Tensor, boxes: Tensor, margin: Sequence[float], drift: float = 0.0) -> Tensor:
    """Mask of the points [P, >= 3] that lie in each box [N, 7 or 9] grown by `margin` on either side: bool [N, P]."""
    points, boxes = points.double(), boxes.double()
    half = boxes[:, 3:6] / 2 + boxes.new_tensor(margin) + _TOUCHING  # [N, 3]
    fine = boxes.isfinite().all(1) & (half[:, :2] >= 0).all(1)
    half = half.masked_fill(~fine.unsqueeze(1), -1.0)
    dx, dy, dz = (points[:, :3].T.unsqueeze(1) - boxes[:, :3].T.unsqueeze(2)).unbind(0)  # [N, P] each
    length, width = half[:, 0:1], half[:, 1:2]
    if boxes.shape[1] == MOVING and points.shape[1] > LAG_COLUMN:
        lag = points[:, LAG_COLUMN]
        dx, dy = dx + boxes[:, 7:8] * lag, dy + boxes[:, 8:9] * lag
        more = torch.where(fine.unsqueeze(1), drift * lag, 0.0)
        length, width = length + more, width + more  # [N, P]
    cos, sin = boxes[:, 6:7].cos(), boxes[:, 6:7].sin()  # [N, 1]
    along, across = dx * cos + dy * sin, dy * cos - dx * sin
    return (along.abs() <= length) & (across.abs() <= width) & (dz.abs() <= half[:, 2:3])


def box_frame_features(points: Tensor, boxes: Tensor) -> Tensor:
    """Each point as each candidate box sees it, with gradient to the boxes.

    A point with a lag is seen by a box with a velocity from where the box was then: centre - velocity * lag.

    Args:
        points: [N, K, 4] x, y, z in the LiDAR frame in m, and reflectance; or [N, K, 5] with the time lag in s.
        boxes: [N, S, 7], S candidates for each neighbourhood of points; or [N, S, 9] with vx, vy over ground, m/s.

    Returns:
        [N, S, K, 16] in m: the point's offset from the centre along the box's length, width and height (3); its
        signed distances to the faces at +l/2, +w/2, +h/2, -l/2, -w/2, -h/2, positive outside (6); the distance beyond
        each of them, zero inside (6); reflectance (1). With a lag [N, S, K, 17], the lag last.
    """
    delta = points[:, None, :, :3] - boxes[:, :, None, :3]  # [N, S, K, 3], subtracted first: exact near the box
    if points.shape[-1] > LAG_COLUMN and boxes.shape[-1] == MOVING:
        moved = boxes[:, :, None, 7:9] * points[:, None, :, LAG_COLUMN:]  # [N, S, K, 2]
        delta = torch.cat([delta[..., :2] + moved, delta[..., 2:]], dim=-1)
    cos, sin = boxes[..., 6:7].cos(), boxes[..., 6:7].sin()  # [N, S, 1]
    dx, dy, dz = delta.unbind(-1)  # [N, S, K]
    offset = torch.stack([dx * cos + dy * sin, dy * cos - dx * sin, dz], dim=-1)  # [N, S, K, 3]
    half = boxes[:, :, None, 3:6] / 2  # [N, S, 1, 3]
    signed = torch.cat([offset - half, -offset - half], dim=-1)  # [N, S, K, 6]
    own = points[:, None, :, 3:].expand(*offset.shape[:-1], -1)  # the point's, whoever sees it
    return torch.cat([offset, signed, signed.relu(), own], dim=-1)


def box_frame_features_ragged(points: Tensor, box_index: Tensor, boxes: Tensor) -> Tensor:
    """`box_frame_features` for neighbourhoods of different sizes.

    Args:
        points: [V, 4] x, y, z in the LiDAR frame in m, and reflectance; or [V, 5] with the time lag in s.
        box_index: [V] integers in 0..N - 1, the neighbourhood that each point belongs to.
        boxes: [N, S, 7], S candidates for each neighbourhood; or [N, S, 9].

    Returns:
        [V, S, 16], or [V, S, 17] with the lag.
    """
    candidates = boxes.index_select(0, box_index)  # [V, S, 7 or 9]
    return box_frame_features(points.unsqueeze(1), candidates).squeeze(2)
