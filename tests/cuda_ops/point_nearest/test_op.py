"""The native three nearest and interpolation against brute force and against the references."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cuda_ops import _native
from cuda_ops.point_nearest import op, reference
from cuda_ops.point_nearest.op import interpolate, three_nearest
from tests.cuda_ops.devices import DEVICES

Points = Callable[[int, torch.Generator], Tensor]


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def uniform(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, 3, generator=generator) * 20


def graded(count: int, generator: torch.Generator) -> Tensor:
    """From a millimetre apart to ten metres apart."""
    return torch.randn(count, 3, generator=generator) * torch.logspace(-3, 1, count).unsqueeze(1)


def lattice(count: int, generator: torch.Generator) -> Tensor:
    """Whole metres: duplicates, and many at equal distances."""
    return (torch.randn(count, 3, generator=generator) * 3).round()


def clusters(count: int, generator: torch.Generator) -> Tensor:
    centers = torch.randn(5, 3, generator=generator) * 1000
    return centers[torch.randint(5, (count,), generator=generator)] + torch.randn(count, 3, generator=generator) * 0.01


def flat(count: int, generator: torch.Generator) -> Tensor:
    return uniform(count, generator) * torch.tensor([1.0, 1.0, 0.0])


def strays(count: int, generator: torch.Generator) -> Tensor:
    """A few points a million metres away, one at the limit of float32."""
    points = uniform(count, generator)
    points[:: max(count // 4, 1)] += 1e6
    points[count // 2 :][:1] = 3e38
    return points


def broken(count: int, generator: torch.Generator) -> Tensor:
    points = uniform(count, generator)
    points[::5, 0], points[1::7, 1], points[2::11, 2] = math.nan, math.inf, -math.inf
    return points


def equal(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(1, 3, generator=generator).expand(count, 3)


KINDS = [uniform, graded, lattice, clusters, flat, strays, broken, equal]


def brute_force(query: Tensor, support: Tensor, query_batch: Tensor, support_batch: Tensor) -> tuple[Tensor, Tensor]:
    x, y, z = (query[:, None] - support).unbind(2)  # [Q, P] each
    squared = (x * x + y * y + z * z).nan_to_num(nan=math.inf, posinf=math.inf)
    squared[query_batch[:, None] != support_batch] = math.inf
    squared, index = torch.nn.functional.pad(squared, (0, 3), value=math.inf).sort(dim=1, stable=True)
    squared, index = squared[:, :3], index[:, :3]
    return squared.double().sqrt().float(), index.masked_fill(squared.isinf(), -1)


@pytest.mark.parametrize("device", DEVICES)
class TestThreeNearest:
    @pytest.mark.parametrize("points", KINDS)
    @pytest.mark.parametrize(
        ("queries", "support_points", "frames"),
        [(1, 1, 1), (40, 2, 1), (7, 8, 2), (50, 9, 4), (300, 64, 1), (301, 65, 3), (60, 700, 2), (500, 5000, 1)],
    )
    def test_equals_brute_force(
        self, points: Points, queries: int, support_points: int, frames: int, device: str, generator: torch.Generator
    ) -> None:
        support, query = points(support_points, generator), points(queries, generator)
        support_batch = torch.randint(frames, (support_points,), generator=generator)
        query_batch = torch.randint(frames, (queries,), generator=generator)
        arguments = [tensor.to(device) for tensor in (query, support, query_batch, support_batch)]
        distance, index = three_nearest(*arguments, frames)
        expected_distance, expected_index = brute_force(query, support, query_batch, support_batch)
        assert torch.equal(index.cpu(), expected_index)
        assert torch.equal(distance.cpu(), expected_distance)
        assert distance.dtype == torch.float32

    @pytest.mark.parametrize("points", KINDS)
    def test_equals_the_reference(self, points: Points, device: str, generator: torch.Generator) -> None:
        support, query = points(900, generator), uniform(400, generator)
        support_batch, query_batch = torch.arange(900) // 300, torch.arange(400) % 4  # no support points in frame 3
        arguments = [tensor.to(device) for tensor in (query, support, query_batch, support_batch)]
        for ours, theirs in zip(three_nearest(*arguments, 4), reference.three_nearest(*arguments, 4), strict=True):
            assert torch.equal(ours, theirs)

    def test_agrees_with_cdist(self, device: str, generator: torch.Generator) -> None:
        for spread in (0.1, 1.0, 10.0):
            support = torch.randn(2000, 3, generator=generator).double() * torch.tensor([30.0, 30.0, 1.0]) * spread
            query = torch.randn(800, 3, generator=generator).double() * 20 * spread
            zeros = torch.zeros(2000, dtype=torch.int64, device=device)
            distance, _ = three_nearest(query.to(device), support.to(device), zeros[:800], zeros, 1)
            expected = torch.cdist(query, support, compute_mode="donot_use_mm_for_euclid_dist").topk(3, largest=False)
            torch.testing.assert_close(distance.cpu().double(), expected.values, rtol=1e-5, atol=1e-5 * spread)

    @pytest.mark.parametrize("points", [clusters, lattice, strays, equal, broken])
    def test_many_points_in_one_place_are_no_trouble(
        self, points: Points, device: str, generator: torch.Generator
    ) -> None:
        """Comparing all with all would take minutes."""
        if not _native.serves(torch.device(device)):
            pytest.skip("the reference does compare all with all there")
        support, query = points(100_000, generator).to(device), points(100_000, generator).to(device)
        zeros = torch.zeros(100_000, dtype=torch.int64, device=device)
        distance, index = three_nearest(query, support, zeros, zeros, 1)
        chosen = torch.arange(0, 100_000, 5000)
        expected = brute_force(query.cpu()[chosen], support.cpu(), zeros.cpu()[chosen], zeros.cpu())
        assert torch.equal(distance.cpu()[chosen], expected[0])
        assert torch.equal(index.cpu()[chosen], expected[1])

    def test_empty(self, device: str) -> None:
        points, frames = torch.rand(4, 3, device=device), torch.zeros(4, dtype=torch.int64, device=device)
        distance, index = three_nearest(points[:0], points, frames[:0], frames, 1)
        assert distance.shape == index.shape == (0, 3)
        distance, index = three_nearest(points, points[:0], frames, frames[:0], 1)
        assert distance.isinf().all()
        assert (index == -1).all()

    def test_strided_integers_and_other_floats(self, device: str, generator: torch.Generator) -> None:
        support, query = uniform(300, generator).to(device), uniform(200, generator).to(device)
        batch = torch.randint(2, (300,), generator=generator).to(device)
        expected = three_nearest(query, support, batch[:200], batch, 2)
        wide = torch.stack([support, support], dim=2).double()[:, :, 1]
        narrow = batch.to(torch.int32).repeat_interleave(2)[::2]
        found = three_nearest(query.T.contiguous().T, wide, narrow[:200], narrow, 2)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))

    def test_opcheck(self, device: str, generator: torch.Generator) -> None:
        if not _native.serves(torch.device(device)):
            pytest.skip("no native kernels")
        support, zeros = uniform(20, generator).to(device), torch.zeros(20, dtype=torch.int64, device=device)
        torch.library.opcheck(op._three_nearest_op, (support[:7], support, zeros[:7], zeros, 1))

    def test_a_frame_outside_the_batch(self, device: str) -> None:
        if not _native.serves(torch.device(device)):
            pytest.skip("no native kernels")
        points, zeros = torch.rand(4, 3, device=device), torch.zeros(4, dtype=torch.int64, device=device)
        for wrong in (-1, 2, 1 << 40):
            frames = torch.tensor([0, 1, wrong, 0], device=device)
            if device == "cpu":
                with pytest.raises(RuntimeError, match="_batch goes from"):
                    three_nearest(points, points, zeros, frames, 2)
                with pytest.raises(RuntimeError, match="query_batch goes from"):
                    three_nearest(points, points, frames, zeros, 2)
            else:
                assert (three_nearest(points, points, zeros, frames, 2)[1] != 2).all()
                assert (three_nearest(points, points, frames, zeros, 2)[1][2] == -1).all()


def neighbours(support: int, queries: int, generator: torch.Generator, device: str) -> tuple[Tensor, Tensor]:
    """Index and distance [Q, 3], a tenth of them missing, and with a row that many queries share."""
    index = torch.randint(support, (queries, 3), generator=generator)
    index[::3, 1] = 0
    distance = torch.rand(queries, 3, generator=generator).sort(dim=1).values
    missing = torch.rand(queries, 3, generator=generator) < 0.1
    return index.masked_fill(missing, -1).to(device), distance.masked_fill(missing, math.inf).to(device)


@pytest.mark.parametrize("device", DEVICES)
class TestInterpolate:
    @pytest.mark.parametrize("channels", [1, 3, 64, 100])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
    def test_values_and_gradients_equal_the_reference(
        self, channels: int, dtype: torch.dtype, device: str, generator: torch.Generator
    ) -> None:
        features = torch.randn(50, channels, generator=generator).to(device, dtype)
        index, distance = neighbours(50, 300, generator, device)
        cotangent = torch.randn(300, channels, generator=generator).to(device, dtype)
        results = []
        for function in (interpolate, reference.interpolate):
            leaf = features.clone().requires_grad_()
            value = function(leaf, index, distance)
            assert value.dtype == dtype
            (gradient,) = torch.autograd.grad(value, leaf, cotangent)
            results.append((value, gradient))
        tolerance = {torch.float16: 2e-3, torch.bfloat16: 2e-2}.get(dtype, 2e-5)
        torch.testing.assert_close(results[0][0], results[1][0], rtol=tolerance, atol=tolerance)
        # The reference sums the gradient in the features' own type.
        torch.testing.assert_close(results[0][1], results[1][1], rtol=tolerance, atol=20 * tolerance)

    def test_gradient_by_finite_differences(self, device: str, generator: torch.Generator) -> None:
        features = torch.rand(6, 2, generator=generator).to(device, torch.float64).requires_grad_()
        index = torch.tensor([[0, 1, 2], [2, 4, 5], [3, -1, -1], [-1, -1, -1]], device=device)
        distance = torch.rand(4, 3, generator=generator).to(device, torch.float64)
        assert torch.autograd.gradcheck(lambda f: interpolate(f, index, distance), features)

    def test_opcheck(self, device: str, generator: torch.Generator) -> None:
        if not _native.serves(torch.device(device)):
            pytest.skip("no native kernels")
        features = torch.rand(6, 4, generator=generator).to(device).requires_grad_()
        index, distance = neighbours(6, 9, generator, device)
        weight = reference.inverse_distance_weights(index, distance, features.dtype)
        torch.library.opcheck(op._weigh_rows_op, (features, index, weight))
        torch.library.opcheck(op._weigh_rows_backward_op, (torch.rand(9, 4, device=device), index, weight, 6))

    def test_strided(self, device: str, generator: torch.Generator) -> None:
        features = torch.rand(8, 20, generator=generator).to(device).T  # [20, 8]
        index, distance = neighbours(20, 30, generator, device)
        expected = interpolate(features.contiguous(), index, distance)
        apart = index.T.contiguous().T, distance.double()
        assert not apart[0].is_contiguous()
        torch.testing.assert_close(interpolate(features, *apart), expected, rtol=1e-6, atol=1e-6)

    def test_gradient_that_is_an_expanded_scalar(self, device: str, generator: torch.Generator) -> None:
        features = torch.rand(20, 5, generator=generator).to(device).requires_grad_()
        index, distance = neighbours(20, 30, generator, device)
        interpolate(features, index, distance).sum().backward()
        weight = reference.inverse_distance_weights(index, distance, torch.float32)
        share = torch.zeros(21, device=device).index_add_(0, index.flatten() + 1, weight.flatten())[1:]
        torch.testing.assert_close(features.grad, share.unsqueeze(1).expand(20, 5))

    @pytest.mark.parametrize(("support", "queries", "channels"), [(0, 4, 5), (4, 0, 5), (4, 4, 0), (0, 0, 0)])
    def test_empty(self, support: int, queries: int, channels: int, device: str) -> None:
        features = torch.zeros(support, channels, device=device, requires_grad=True)
        index = torch.full((queries, 3), -1, device=device)
        value = interpolate(features, index, torch.full((queries, 3), math.inf, device=device))
        assert torch.equal(value, torch.zeros(queries, channels, device=device))
        value.sum().backward()
        assert torch.equal(features.grad, torch.zeros_like(features))

    def test_features_of_a_missing_neighbour_are_not_read(self, device: str) -> None:
        features = torch.tensor([[math.nan], [3.0]], device=device)
        index = torch.tensor([[1, -1, -1]], device=device)
        assert interpolate(features, index, torch.tensor([[2.0, 1.0, math.inf]], device=device)).tolist() == [[3.0]]

    @pytest.mark.parametrize("wrong", [5, -2, 1 << 40])
    def test_index_out_of_range(self, wrong: int, device: str) -> None:
        if device != "cpu" or not _native.serves(torch.device(device)):
            pytest.skip("only the native CPU kernel checks it")
        with pytest.raises(RuntimeError, match=f"index {wrong} into 5 rows"):
            interpolate(torch.rand(5, 2), torch.tensor([[0, 1, wrong]]), torch.ones(1, 3))


def test_result_does_not_depend_on_the_number_of_threads(generator: torch.Generator) -> None:
    support, query = graded(4000, generator), graded(3000, generator)
    support_batch, query_batch = torch.arange(4000) % 2, torch.arange(3000) % 2
    features, cotangent = torch.rand(4000, 16, generator=generator), torch.rand(3000, 16, generator=generator)
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            distance, index = three_nearest(query, support, query_batch, support_batch, 2)
            leaf = features.clone().requires_grad_()
            value = interpolate(leaf, index, distance)
            results.append((distance, index, value.detach(), *torch.autograd.grad(value, leaf, cotangent)))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, results[0], strict=True))


class TestErrors:
    def test_three_nearest(self) -> None:
        points, frames = torch.rand(4, 3), torch.zeros(4, dtype=torch.int64)
        with pytest.raises(ValueError, match=r"query has shape \(4, 2\), expected \[N, 3\]"):
            three_nearest(points[:, :2], points, frames, frames, 1)
        with pytest.raises(TypeError, match=r"support is of torch.int64"):
            three_nearest(points, points.long(), frames, frames, 1)
        with pytest.raises(ValueError, match=r"query_batch has shape \(3,\), expected \(4,\)"):
            three_nearest(points, points, frames[:3], frames, 1)
        with pytest.raises(TypeError, match=r"support_batch is of torch.float32"):
            three_nearest(points, points, frames, frames.float(), 1)
        with pytest.raises(ValueError, match="different devices"):
            three_nearest(points, points.to("meta"), frames, frames, 1)

    def test_interpolate(self) -> None:
        features, index, distance = torch.rand(4, 2), torch.zeros(5, 3, dtype=torch.int64), torch.rand(5, 3)
        with pytest.raises(ValueError, match=r"features has shape \(4,\), expected \[P, C\]"):
            interpolate(features[:, 0], index, distance)
        with pytest.raises(ValueError, match=r"shapes \(5, 3\) and \(4, 3\)"):
            interpolate(features, index, distance[:4])
        with pytest.raises(TypeError, match=r"are of torch.float32, torch.int32, torch.float32"):
            interpolate(features, index.int(), distance)
        with pytest.raises(ValueError, match="different devices"):
            interpolate(features, index.to("meta"), distance)
