"""The point operations in plain torch: what every faster implementation must agree with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

FRAME_FEATURES = 16  # D of `box_frame_features`: 3 offsets, 6 signed distances, 6 distances beyond, reflectance
SIGNED_DISTANCES = slice(3, 9)  # the signed ones among them

_PAIRS_AT_ONCE = 1 << 22  # query-known or box-point pairs looked at together; bounds the memory
_NOTHING = torch.iinfo(torch.int64).max


@torch.no_grad()
def three_nearest(
    query: Tensor, known: Tensor, query_batch: Tensor, known_batch: Tensor, batch_size: int
) -> tuple[Tensor, Tensor]:
    """The three known points of the same frame that are nearest to each query point.

    Exact. Known points are sorted into the cells of a grid and each query looks at the 27 cells around it. It is done
    once its third neighbour lies no farther than one cell; the others look again in cells of twice the size.

    Args:
        query: [Q, 3] float32, m.
        known: [P, 3] float32, m.
        query_batch: [Q] int64, frame of each query.
        known_batch: [P] int64.
        batch_size: number of frames.

    Returns:
        distance [Q, 3] in m, rising, and index [Q, 3] int64 into `known`; of two equally near points the one with the
        lower index comes first. Where a frame has fewer than three known points: distance infinity, index -1.
    """
    query, known = query.float(), known.float()
    distance = query.new_full((len(query), 3), torch.inf)
    index = torch.full((len(query), 3), -1, dtype=torch.int64, device=query.device)
    if len(query) == 0 or len(known) == 0:
        return distance, index
    # Differences of float64 coordinates are exact, so that no point falls into the wrong cell by rounding.
    everything = torch.cat([query, known]).double()
    everything = everything - everything.amin(0)
    extent = float(everything.max())
    query_place, known_place = everything.split([len(query), len(known)])
    cell = max(_typical_third_distance(query, known, query_batch, known_batch), extent / (1 << 16), 1e-6)
    rest = torch.arange(len(query), device=query.device)
    while len(rest):
        query_cell, known_cell = (query_place[rest] / cell).long(), (known_place / cell).long()
        order, start, count = _runs_around(query_cell, known_cell, query_batch[rest], known_batch)
        distance[rest], index[rest] = _nearest_in_runs(query[rest], known, order, start, count)
        if cell > extent:  # the cells around each query have held its whole frame
            break
        rest = rest[distance[rest, 2] > cell]
        cell *= 2
    return distance, index


def _typical_third_distance(query: Tensor, known: Tensor, query_batch: Tensor, known_batch: Tensor) -> float:
    """Distance within which most of a sample of the queries find three known points, m; 0 if none does."""
    chosen = torch.linspace(0, len(query) - 1, min(64, len(query)), device=query.device).long()
    separation = torch.cdist(query[chosen], known, compute_mode="donot_use_mm_for_euclid_dist")  # [64, P]
    separation = separation.masked_fill(query_batch[chosen].unsqueeze(1) != known_batch, torch.inf)
    third = separation.topk(min(3, len(known)), largest=False).values[:, -1]
    third = third[third.isfinite()]
    return float(third.quantile(0.9)) if len(third) else 0.0


def _runs_around(
    query_cell: Tensor, known_cell: Tensor, query_batch: Tensor, known_batch: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Known points in the 3 × 3 × 3 cells around each query.

    With the known points sorted by (frame, z, y, x), three cells that follow one another in x are one run, so there are
    nine runs a query.

    Returns:
        order [P] that sorts the known points, and start and count [Q, 9] of each query's runs in that order.
    """
    known_cell, query_cell = known_cell + 1, query_cell + 1  # an empty cell before each row, and one after it
    size = torch.maximum(known_cell.amax(0), query_cell.amax(0)) + 2  # [3] x, y, z

    def key(batch: Tensor, z: Tensor, y: Tensor, x: Tensor) -> Tensor:
        return ((batch * size[2] + z) * size[1] + y) * size[0] + x

    keys, order = key(known_batch, known_cell[:, 2], known_cell[:, 1], known_cell[:, 0]).sort(stable=True)
    step = torch.tensor([-1, 0, 1], device=query_cell.device)
    x, y, z = query_cell.unsqueeze(2).unbind(1)  # [Q, 1] each
    first = key(query_batch.unsqueeze(1), (z + step).repeat_interleave(3, dim=1), (y + step).repeat(1, 3), x - 1)
    start = torch.searchsorted(keys, first)  # [Q, 9]
    return order, start, torch.searchsorted(keys, first + 3) - start


def _nearest_in_runs(
    query: Tensor, known: Tensor, order: Tensor, start: Tensor, count: Tensor
) -> tuple[Tensor, Tensor]:
    """Distance and index [Q, 3] of the three nearest among each query's runs of the ordered known points."""
    pairs = count.sum(1)  # [Q]
    sizes = torch.unique_consecutive((pairs.cumsum(0) - pairs) // _PAIRS_AT_ONCE, return_counts=True)[1].tolist()
    keys = []
    for points, starts, counts in zip(query.split(sizes), start.split(sizes), count.split(sizes), strict=True):
        run, position = _enumerate_runs(counts.flatten())  # one entry for each pair
        near = order[starts.flatten()[run] + position]
        row = run // count.shape[1]
        squared = (points[row] - known[near]).square().sum(1)
        # Bits of a float that is not negative rise with it: one integer orders by distance, then by index.
        rank = (squared.view(torch.int32).long() << 32) | near
        best = []
        for _ in range(3):
            least = rank.new_full((len(points),), _NOTHING).scatter_reduce(0, row, rank, "amin")
            rank = rank.masked_fill(rank == least[row], _NOTHING)
            best.append(least)
        keys.append(torch.stack(best, dim=1))
    key = torch.cat(keys)  # [Q, 3]
    missing = key == _NOTHING
    distance = (key >> 32).int().view(torch.float32).sqrt()
    return distance.masked_fill(missing, torch.inf), (key & 0xFFFFFFFF).masked_fill(missing, -1)


def _enumerate_runs(count: Tensor) -> tuple[Tensor, Tensor]:
    """For runs of the given lengths, one after another: run and position within it of each of their entries."""
    run = torch.repeat_interleave(count)
    return run, torch.arange(len(run), device=count.device) - (count.cumsum(0) - count)[run]


def interpolate(features: Tensor, index: Tensor, distance: Tensor) -> Tensor:
    """Mean of three neighbours' features weighted by their inverse distance, with gradient to the features.

    Args:
        features: [P, C] of the known points.
        index: [Q, 3] int64 from `three_nearest`.
        distance: [Q, 3], m.

    Returns:
        [Q, C]; zero for a query without neighbours.
    """
    if len(features) == 0:
        return features.new_zeros(len(index), features.shape[1]) + features.sum()
    weight = 1.0 / (distance + 1e-8)  # zero for a missing neighbour
    weight = (weight / weight.sum(1, keepdim=True).clamp(min=1e-30)).to(features.dtype)
    near = features.index_select(0, index.clamp(min=0).flatten())  # [Q * 3, C]
    return torch.einsum("qk,qkc->qc", weight, near.view(*index.shape, features.shape[1]))


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
) -> tuple[Tensor, Tensor]:
    """Points inside each box, grown by a margin, at most `max_points` of them.

    Where there are more, the choice follows a hash of (seed, place of the point in its frame): it looks random, is the
    same on every device, and depends neither on the other boxes nor on the other frames of the batch.

    Args:
        points: [P, F], the first three x, y, z in m.
        point_batch_index: [P] int64, frame of each point.
        boxes: [N, 7] LiDAR frame, m, rad.
        batch_index: [N] int64, frame of each box.
        margin: added on either side of length, width and height, m.
        max_points: K.
        seed: of the choice.

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
            inside = _inside(in_frame[:, :3], boxes[part], margin)  # [n, P]
            counts[part] = inside.sum(1)
            box, point = inside.nonzero().unbind(1)  # box rising, then in the order of the hashes
            place = _enumerate_runs(counts[part])[1]
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


def _inside(points: Tensor, boxes: Tensor, margin: Sequence[float]) -> Tensor:
    """Which points [P, 3] lie in which boxes [N, 7] grown by `margin` on either side: bool [N, P]."""
    half = boxes[:, 3:6] / 2 + boxes.new_tensor(margin)  # [N, 3]
    dx, dy, dz = (points.T.unsqueeze(1) - boxes[:, :3].T.unsqueeze(2)).unbind(0)  # [N, P] each
    cos, sin = boxes[:, 6:].cos(), boxes[:, 6:].sin()  # [N, 1]
    along, across = dx * cos + dy * sin, dy * cos - dx * sin
    return (along.abs() <= half[:, 0:1]) & (across.abs() <= half[:, 1:2]) & (dz.abs() <= half[:, 2:3])


def box_frame_features(points: Tensor, boxes: Tensor) -> Tensor:
    """Each point as each candidate box sees it, with gradient to the boxes.

    Args:
        points: [N, K, 4] x, y, z in the LiDAR frame in m, and reflectance.
        boxes: [N, S, 7], S candidates for each neighbourhood of points.

    Returns:
        [N, S, K, 16] in m: the point's offset from the centre along the box's length, width and height (3); its
        signed distances to the faces at +l/2, +w/2, +h/2, -l/2, -w/2, -h/2, positive outside (6); the distance beyond
        each of them, zero inside (6); reflectance (1).
    """
    delta = points[:, None, :, :3] - boxes[:, :, None, :3]  # [N, S, K, 3], subtracted first: exact near the box
    cos, sin = boxes[..., 6:].cos(), boxes[..., 6:].sin()  # [N, S, 1]
    dx, dy, dz = delta.unbind(-1)  # [N, S, K]
    offset = torch.stack([dx * cos + dy * sin, dy * cos - dx * sin, dz], dim=-1)  # [N, S, K, 3]
    half = boxes[:, :, None, 3:6] / 2  # [N, S, 1, 3]
    signed = torch.cat([offset - half, -offset - half], dim=-1)  # [N, S, K, 6]
    reflectance = points[:, None, :, 3:4].expand(*offset.shape[:-1], 1)
    return torch.cat([offset, signed, signed.relu(), reflectance], dim=-1)
