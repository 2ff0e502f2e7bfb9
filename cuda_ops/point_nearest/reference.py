"""The three nearest points and the interpolation between them in plain torch: what native code must agree with."""

from __future__ import annotations

import torch
from torch import Tensor

from cuda_ops._ragged import PAIRS_AT_ONCE, enumerate_runs

_NOTHING = torch.iinfo(torch.int64).max


@torch.no_grad()
def three_nearest(
    query: Tensor, support: Tensor, query_batch: Tensor, support_batch: Tensor, batch_size: int
) -> tuple[Tensor, Tensor]:
    """The three support points of the same frame that are nearest to each query point.

    Exact. Known points are sorted into the cells of a grid and each query looks at the 27 cells around it. It is done
    once its third neighbour lies no farther than one cell; the others look again in cells of twice the size.

    Args:
        query: [Q, 3] float32, m.
        support: [P, 3] float32, m.
        query_batch: [Q] int64, frame of each query.
        support_batch: [P] int64.
        batch_size: number of frames.

    Returns:
        distance [Q, 3] in m, rising, and index [Q, 3] int64 into `support`; of two equally near points the one with the
        lower index comes first. Where a frame has fewer than three support points: distance infinity, index -1. A point
        with a coordinate that is NaN or infinite has no neighbours and is none; nor is one so far away that its squared
        distance overflows.
    """
    query, support = query.float(), support.float()
    distance = query.new_full((len(query), 3), torch.inf)
    index = torch.full((len(query), 3), -1, dtype=torch.int64, device=query.device)
    finite_query, finite_support = (points.isfinite().all(1).nonzero()[:, 0] for points in (query, support))
    if len(finite_query) and len(finite_support):
        finite_distance, support_index = _three_nearest_finite(
            query[finite_query],
            support[finite_support],
            query_batch[finite_query].long(),
            support_batch[finite_support].long(),
        )
        distance[finite_query] = finite_distance
        index[finite_query] = finite_support[support_index.clamp(min=0)].masked_fill(support_index < 0, -1)
    return distance, index


def _three_nearest_finite(
    query: Tensor, support: Tensor, query_batch: Tensor, support_batch: Tensor
) -> tuple[Tensor, Tensor]:
    """`three_nearest` of at least one point each, all coordinates finite."""
    distance = query.new_full((len(query), 3), torch.inf)
    index = torch.full((len(query), 3), -1, dtype=torch.int64, device=query.device)
    # Differences of float64 coordinates are exact, so that no point falls into the wrong cell by rounding.
    everything = torch.cat([query, support]).double()
    everything = everything - everything.amin(0)
    extent = float(everything.max())
    query_place, support_place = everything.split([len(query), len(support)])
    cell = max(_typical_third_distance(query, support, query_batch, support_batch), extent / (1 << 16), 1e-6)
    rest = torch.arange(len(query), device=query.device)
    while len(rest):
        query_cell, support_cell = (query_place[rest] / cell).long(), (support_place / cell).long()
        order, start, count = _runs_around(query_cell, support_cell, query_batch[rest], support_batch)
        distance[rest], index[rest] = _nearest_in_runs(query[rest], support, order, start, count)
        if cell > extent:  # the cells around each query have held its whole frame
            break
        rest = rest[distance[rest, 2] > cell]
        cell *= 2
    return distance, index


def _typical_third_distance(query: Tensor, support: Tensor, query_batch: Tensor, support_batch: Tensor) -> float:
    """Distance within which most of a sample of the queries find three support points, m; 0 if none does."""
    chosen = torch.linspace(0, len(query) - 1, min(64, len(query)), device=query.device).long()
    separation = torch.cdist(query[chosen], support, compute_mode="donot_use_mm_for_euclid_dist")  # [64, P]
    separation = separation.masked_fill(query_batch[chosen].unsqueeze(1) != support_batch, torch.inf)
    third = separation.topk(min(3, len(support)), largest=False).values[:, -1]
    third = third[third.isfinite()]
    return float(third.quantile(0.9)) if len(third) else 0.0


def _runs_around(
    query_cell: Tensor, support_cell: Tensor, query_batch: Tensor, support_batch: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Support points in the 3 × 3 × 3 cells around each query.

    With the support points sorted by (frame, z, y, x), three cells that follow one another in x are one run, so there
    are nine runs a query.

    Returns:
        order [P] that sorts the support points, and start and count [Q, 9] of each query's runs in that order.
    """
    support_cell, query_cell = support_cell + 1, query_cell + 1  # an empty cell before each row, and one after it
    size = torch.maximum(support_cell.amax(0), query_cell.amax(0)) + 2  # [3] x, y, z

    def key(batch: Tensor, z: Tensor, y: Tensor, x: Tensor) -> Tensor:
        return ((batch * size[2] + z) * size[1] + y) * size[0] + x

    keys, order = key(support_batch, support_cell[:, 2], support_cell[:, 1], support_cell[:, 0]).sort(stable=True)
    step = torch.tensor([-1, 0, 1], device=query_cell.device)
    x, y, z = query_cell.unsqueeze(2).unbind(1)  # [Q, 1] each
    first = key(query_batch.unsqueeze(1), (z + step).repeat_interleave(3, dim=1), (y + step).repeat(1, 3), x - 1)
    start = torch.searchsorted(keys, first)  # [Q, 9]
    return order, start, torch.searchsorted(keys, first + 3) - start


def _nearest_in_runs(
    query: Tensor, support: Tensor, order: Tensor, start: Tensor, count: Tensor
) -> tuple[Tensor, Tensor]:
    """Distance and index [Q, 3] of the three nearest among each query's runs of the ordered support points."""
    pairs = count.sum(1)  # [Q]
    sizes = torch.unique_consecutive((pairs.cumsum(0) - pairs) // PAIRS_AT_ONCE, return_counts=True)[1].tolist()
    keys = []
    for points, starts, counts in zip(query.split(sizes), start.split(sizes), count.split(sizes), strict=True):
        run, position = enumerate_runs(counts.flatten())  # one entry for each pair
        near = order[starts.flatten()[run] + position]
        row = run // count.shape[1]
        x, y, z = (points[row] - support[near]).unbind(1)
        squared = x * x + y * y + z * z  # in this order, every step rounded, on every device
        # Bits of a float that is not negative rise with it: one integer orders by distance, then by index.
        rank = (squared.view(torch.int32).long() << 32) | near
        best = []
        for _ in range(3):
            lowest = rank.new_full((len(points),), _NOTHING).scatter_reduce(0, row, rank, "amin")
            rank = rank.masked_fill(rank == lowest[row], _NOTHING)
            best.append(lowest)
        keys.append(torch.stack(best, dim=1))
    key = torch.cat(keys)  # [Q, 3]
    # In float64 and back the root is the correctly rounded one, which a float32 vector library need not give.
    distance = (key >> 32).int().view(torch.float32).double().sqrt().float()
    missing = (key == _NOTHING) | distance.isinf()
    return distance.masked_fill(missing, torch.inf), (key & 0xFFFFFFFF).masked_fill(missing, -1)


def interpolate(features: Tensor, index: Tensor, distance: Tensor) -> Tensor:
    """Mean of three neighbours' features weighted by their inverse distance, with gradient to the features.

    Args:
        features: [P, C] of the support points. Sums are in float32, or in float64 for float64.
        index: [Q, 3] int64 from `three_nearest`; -1 means no neighbour.
        distance: [Q, 3], m.

    Returns:
        [Q, C] of the features' type; zero for a query without neighbours.
    """
    if len(features) == 0:
        return features.new_zeros(len(index), features.shape[1]) + features.sum()
    weight = inverse_distance_weights(index, distance, features.dtype)
    near = features.index_select(0, index.clamp(min=0).flatten()).view(*index.shape, features.shape[1])  # [Q, 3, C]
    near = near.to(weight.dtype).masked_fill((index < 0).unsqueeze(2), 0)
    return torch.einsum("qk,qkc->qc", weight, near).to(features.dtype)


@torch.no_grad()
def inverse_distance_weights(index: Tensor, distance: Tensor, dtype: torch.dtype) -> Tensor:
    """Weights [Q, 3] of the neighbours, zero for a missing one, otherwise of sum one.

    They are of the type to compute in for features of `dtype`: float64 for float64, otherwise float32.
    """
    distance = distance.to(torch.promote_types(dtype, torch.float32))
    weight = (distance + 1e-8).reciprocal().masked_fill(index < 0, 0)
    return weight / weight.sum(1, keepdim=True).clamp(min=1e-30)
