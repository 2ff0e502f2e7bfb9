"""The plain three nearest and their interpolation against brute force."""

from __future__ import annotations

import math

import pytest
import torch

from cuda_ops.point_nearest.reference import interpolate, three_nearest


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class TestThreeNearest:
    @pytest.mark.parametrize("spread", [0.0, 1.0, 50.0])
    def test_agrees_with_brute_force(self, spread: float, generator: torch.Generator) -> None:
        """Clusters of very different density, several frames, queries far from every support point."""
        support = torch.randn(700, 3, generator=generator) * torch.logspace(-2, 1, 700).unsqueeze(1)
        query = torch.randn(500, 3, generator=generator) + spread * torch.randn(500, 1, generator=generator)
        support_batch = torch.randint(3, (700,), generator=generator)
        query_batch = torch.randint(3, (500,), generator=generator)
        distance, index = three_nearest(query, support, query_batch, support_batch, 3)
        all_pairs = (query.double()[:, None] - support.double()).norm(dim=-1)
        all_pairs[query_batch[:, None] != support_batch] = torch.inf
        expected, expected_index = all_pairs.topk(3, largest=False)
        torch.testing.assert_close(distance.double(), expected, rtol=1e-5, atol=1e-6)
        assert (index == expected_index).float().mean() > 0.999  # float32 may swap two that are equally near
        torch.testing.assert_close(all_pairs.gather(1, index), expected, rtol=1e-5, atol=1e-6)

    def test_support_points_of_a_regular_grid_tie_by_index(self) -> None:
        support = torch.cartesian_prod(*[torch.arange(4.0)] * 3)  # 64 points, many at the same distance
        query = torch.tensor([[1.5, 1.5, 1.5], [1.0, 1.0, 1.0]])
        zeros = torch.zeros(64, dtype=torch.int64)
        distance, index = three_nearest(query, support, zeros[:2], zeros, 1)
        order = (query[:, None] - support).square().sum(-1).argsort(dim=1, stable=True)[:, :3]
        assert torch.equal(index, order)
        assert distance[1].tolist() == [0.0, 1.0, 1.0]

    @pytest.mark.parametrize("count", [0, 1, 2])
    def test_fewer_than_three_support_points(self, count: int) -> None:
        """Frame 1 has `count` support points, frame 0 has five."""
        support = torch.arange(15.0).view(5, 3)
        support = torch.cat([support, torch.ones(count, 3)])
        support_batch = torch.tensor([0] * 5 + [1] * count)
        distance, index = three_nearest(torch.zeros(1, 3), support, torch.tensor([1]), support_batch, 2)
        assert distance.isfinite().sum() == (index >= 5).sum() == count
        assert ((index == -1) == distance.isinf()).all()
        features = torch.rand(len(support), 4, requires_grad=True)
        mean = features[5:].mean(0) if count else torch.zeros(4)
        torch.testing.assert_close(interpolate(features, index, distance)[0], mean)

    def test_points_that_are_not_finite_have_no_neighbours_and_are_none(self) -> None:
        support = torch.tensor([[math.nan, 0, 0], [1.0, 0, 0], [0, math.inf, 0], [3.0, 0, 0], [3e38, 0, 0]])
        query = torch.tensor([[0.0, 0, 0], [math.nan, 0, 0], [0, 0, -math.inf]])
        zeros = torch.zeros(5, dtype=torch.int64)
        distance, index = three_nearest(query, support, zeros[:3], zeros, 1)
        assert index.tolist() == [[1, 3, -1], [-1, -1, -1], [-1, -1, -1]]
        assert distance.tolist() == [[1.0, 3.0, math.inf], [math.inf] * 3, [math.inf] * 3]

    def test_empty(self) -> None:
        none, empty = torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)
        distance, index = three_nearest(none, torch.rand(4, 3), empty, torch.zeros(4, dtype=torch.int64), 1)
        assert distance.shape == index.shape == (0, 3)
        distance, index = three_nearest(torch.rand(4, 3), none, torch.zeros(4, dtype=torch.int64), empty, 1)
        assert distance.isinf().all()
        features = torch.zeros(0, 5, requires_grad=True)
        result = interpolate(features, index, distance)
        assert torch.equal(result, torch.zeros(4, 5))
        result.sum().backward()


class TestInterpolate:
    def test_weights_are_inverse_distances(self) -> None:
        features = torch.tensor([[1.0], [2.0], [4.0], [100.0]])
        value = interpolate(features, torch.tensor([[0, 1, 2]]), torch.tensor([[1.0, 2.0, 4.0]]))
        torch.testing.assert_close(value, torch.tensor([[(1 + 2 / 2 + 4 / 4) / (1 + 1 / 2 + 1 / 4)]]))

    def test_at_a_support_point_gives_its_features(self) -> None:
        features = torch.rand(3, 5)
        value = interpolate(features, torch.tensor([[1, 0, 2]]), torch.tensor([[0.0, 1.0, 2.0]]))
        torch.testing.assert_close(value[0], features[1])

    def test_a_missing_neighbour_counts_for_nothing(self) -> None:
        features = torch.tensor([[math.nan], [3.0]])
        value = interpolate(features, torch.tensor([[1, -1, -1]]), torch.tensor([[2.0, 1.0, math.inf]]))
        assert value.tolist() == [[3.0]]

    def test_gradient_to_the_features(self, generator: torch.Generator) -> None:
        features = torch.rand(6, 2, dtype=torch.float64, generator=generator, requires_grad=True)
        index = torch.tensor([[0, 1, 2], [2, 4, 5], [3, -1, -1]])
        distance = torch.tensor([[0.1, 0.2, 0.3], [1.0, 1.0, 2.0], [0.5, math.inf, math.inf]], dtype=torch.float64)
        assert torch.autograd.gradcheck(lambda f: interpolate(f, index, distance), features)
