"""Three nearest points and the interpolation of 64 channels, against scipy's cKDTree."""

from __future__ import annotations

import torch
from harness import Comparison, Settings, compare, run
from scipy.spatial import cKDTree
from torch import Tensor

from cuda_ops.point_nearest.op import interpolate, three_nearest
from lidar_ebm.simulation.simulator import SimulationSettings, simulate_frame

QUERIES, SUPPORT, CHANNELS = 32_000, 33_000, 64


def measure(settings: Settings) -> list[Comparison]:
    """Queries and support points as in a LiDAR frame, and spread evenly over a street's volume."""
    generator = torch.Generator().manual_seed(0)
    size = torch.tensor([70.4, 80.0, 4.0])
    scenes = {
        "LiDAR frame": lidar_points(generator),
        "uniform": (
            torch.rand(QUERIES, 3, generator=generator) * size,
            torch.rand(SUPPORT, 3, generator=generator) * size,
        ),
    }
    comparisons = []
    for name, (query, support) in scenes.items():
        features = torch.rand(len(support), CHANNELS, generator=generator).to(settings.device)
        comparisons += _compare_scene(settings, name, query.to(settings.device), support.to(settings.device), features)
    return comparisons


def lidar_points(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mean points of 0.1 m voxels as queries, centres of 0.16 m voxels as support points."""
    frame = torch.from_numpy(simulate_frame(SimulationSettings(seed=0), 0).points[:, :3])
    fine, own = torch.unique((frame / 0.1).floor().long(), dim=0, return_inverse=True)
    means = torch.zeros(len(fine), 3).index_add_(0, own, frame) / torch.bincount(own).unsqueeze(1)
    centers = (torch.unique((frame / 0.16).floor().long(), dim=0) + 0.5) * 0.16
    return _sample(means, QUERIES, generator), _sample(centers, SUPPORT, generator)


def _sample(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """At most `count` of the points, in their order."""
    return points[torch.randperm(len(points), generator=generator)[:count].sort().values]


def _compare_scene(settings: Settings, name: str, query: Tensor, support: Tensor, features: Tensor) -> list[Comparison]:
    query_batch, support_batch = query.new_zeros(len(query)).long(), support.new_zeros(len(support)).long()

    def our_neighbours() -> tuple[Tensor, Tensor]:
        return three_nearest(query, support, query_batch, support_batch, 1)

    def their_neighbours() -> tuple[Tensor, Tensor]:
        tree = cKDTree(support.cpu().numpy())
        neighbours = tree.query(query.cpu().numpy(), 3, workers=torch.get_num_threads())
        distance, index = map(torch.from_numpy, neighbours)
        return distance.float().to(query.device), index.to(query.device)

    def ours() -> Tensor:
        distance, index = our_neighbours()
        return interpolate(features, index, distance)

    def theirs() -> Tensor:
        return _gather_one_by_one(features, *their_neighbours())

    # Of equally near points scipy names any, so its indices may differ; its distances may not.
    distance, index = our_neighbours()
    torch.testing.assert_close(distance, their_neighbours()[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours(), _gather_one_by_one(features, distance, index), rtol=1e-4, atol=1e-5)
    work = (
        f"three nearest and interpolation, {len(query)} queries on {len(support)} points, {CHANNELS} channels, {name}"
    )
    whole = compare(settings, work, ours, theirs, against="scipy cKDTree, torch gathers", aim=1.5)

    leaf = features.clone().requires_grad_()
    cotangent = torch.ones_like(ours())

    def our_gradient() -> Tensor:
        return torch.autograd.grad(interpolate(leaf, index, distance), leaf, cotangent)[0]

    def their_gradient() -> Tensor:
        near = leaf.index_select(0, index.flatten()).view(*index.shape, CHANNELS)
        return torch.autograd.grad(torch.einsum("qk,qkc->qc", _weights(distance), near), leaf, cotangent)[0]

    torch.testing.assert_close(our_gradient(), their_gradient(), rtol=1e-3, atol=1e-3)
    work = f"interpolation alone, forward and backward, {name}"
    return [whole, compare(settings, work, our_gradient, their_gradient, against="torch index_select and einsum")]


def _gather_one_by_one(features: Tensor, distance: Tensor, index: Tensor) -> Tensor:
    """The interpolation without a [Q, 3, C] in between: the quickest way in plain torch."""
    weight = _weights(distance)
    result = weight[:, :1] * features[index[:, 0]]
    for k in (1, 2):
        result.addcmul_(weight[:, k : k + 1], features[index[:, k]])
    return result


def _weights(distance: Tensor) -> Tensor:
    weight = 1.0 / (distance + 1e-8)
    return weight / weight.sum(1, keepdim=True)  # [Q, 3]


if __name__ == "__main__":
    run(measure, __doc__ or "")
