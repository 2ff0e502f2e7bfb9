"""The sparse convolution against dense ones."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cuda_ops.sparse_conv.reference import Rulebook, Triple, build_rulebook, rulebook_from_pairs, sparse_conv
from tests.cuda_ops.devices import DEVICES

SHAPE = (5, 7, 6)
STRIDED = [  # kernel, stride, padding
    ((3, 3, 3), (2, 2, 2), (1, 1, 1)),
    ((3, 3, 3), (1, 2, 2), (1, 1, 1)),
    ((3, 3, 3), (2, 1, 3), (0, 1, 1)),
    ((3, 3, 3), (1, 1, 1), (1, 1, 1)),
    ((1, 1, 1), (1, 1, 1), (0, 0, 0)),
    ((1, 1, 1), (2, 2, 2), (0, 0, 0)),
    ((2, 2, 2), (2, 2, 2), (0, 0, 0)),
]


def random_cells(batch_size: int, shape: Triple, share: float, device: str = "cpu") -> Tensor:
    """Cells of random grids in random order; the last grid stays empty."""
    occupied = torch.rand(batch_size, *shape) < share
    occupied[-1] = False
    cells = occupied.nonzero().to(torch.int32)
    return cells[torch.randperm(cells.shape[0])].to(device)


def to_dense(features: Tensor, indices: Tensor, batch_size: int, shape: Triple) -> Tensor:
    """[V, C] on cells → [B, C, D, H, W]."""
    dense = features.new_zeros(batch_size, *shape, features.shape[1])
    return dense.index_put(tuple(indices.long().T), features).permute(0, 4, 1, 2, 3)


def at_cells(dense: Tensor, indices: Tensor) -> Tensor:
    """[B, C, D, H, W] → [V, C]."""
    batch, z, y, x = indices.long().T
    return dense[batch, :, z, y, x]


def compare_with_dense(
    features: Tensor,
    weight: Tensor,
    indices: Tensor,
    rulebook: Rulebook,
    stride: Triple,
    padding: Triple,
    function: Callable[[Tensor, Tensor, Rulebook], Tensor] = sparse_conv,
) -> None:
    """Values at the output cells, and both gradients of a random function of them."""
    features, weight = features.requires_grad_(), weight.requires_grad_()
    output = function(features, weight, rulebook)
    dense = F.conv3d(to_dense(features, indices, 3, SHAPE), weight.permute(0, 4, 1, 2, 3), None, stride, padding)
    expected = at_cells(dense, rulebook.indices)
    torch.testing.assert_close(output, expected)
    direction = torch.randn_like(output)
    actual = torch.autograd.grad((output * direction).sum(), (features, weight))
    torch.testing.assert_close(actual, torch.autograd.grad((expected * direction).sum(), (features, weight)))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kernel", [(3, 3, 3), (1, 1, 1), (3, 1, 5)])
def test_submanifold_is_the_dense_convolution_at_the_occupied_cells(
    kernel: Triple, dtype: torch.dtype, device: str
) -> None:
    indices = random_cells(3, SHAPE, 0.3, device)
    rulebook = build_rulebook(indices, SHAPE, 3, kernel_size=kernel, submanifold=True)
    assert rulebook.indices is indices
    assert rulebook.spatial_shape == SHAPE
    features = torch.randn(indices.shape[0], 4, dtype=dtype, device=device)
    weight = torch.randn(6, *kernel, 4, dtype=dtype, device=device)
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    compare_with_dense(features, weight, indices, rulebook, (1, 1, 1), padding)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("kernel", "stride", "padding"), STRIDED)
def test_strided_is_the_dense_convolution_wherever_an_occupied_cell_is_seen(
    kernel: Triple, stride: Triple, padding: Triple, dtype: torch.dtype, device: str
) -> None:
    indices = random_cells(3, SHAPE, 0.1, device)
    rulebook = build_rulebook(indices, SHAPE, 3, kernel_size=kernel, stride=stride, padding=padding)
    occupancy = to_dense(torch.ones(indices.shape[0], 1, device=device), indices, 3, SHAPE)
    seen = F.conv3d(occupancy, torch.ones(1, 1, *kernel, device=device), None, stride, padding)[:, 0] > 0.5
    assert rulebook.spatial_shape == tuple(seen.shape[1:])
    assert torch.equal(rulebook.indices, seen.nonzero().to(torch.int32))  # which is ordered by (batch, z, y, x)
    features = torch.randn(indices.shape[0], 4, dtype=dtype, device=device)
    weight = torch.randn(6, *kernel, 4, dtype=dtype, device=device)
    compare_with_dense(features, weight, indices, rulebook, stride, padding)


@pytest.mark.parametrize("submanifold", [True, False])
def test_gradients_are_those_of_finite_differences(submanifold: bool) -> None:
    indices = random_cells(2, (3, 4, 4), 0.3)
    rulebook = build_rulebook(
        indices, (3, 4, 4), 2, kernel_size=(3, 3, 3), stride=(2, 2, 2), padding=(1, 1, 1), submanifold=submanifold
    )
    features = torch.randn(indices.shape[0], 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 3, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f, w: sparse_conv(f, w, rulebook), (features, weight))


def test_every_pair_is_listed_once_and_meets_at_its_kernel_offset() -> None:
    indices = random_cells(3, SHAPE, 0.3)
    for submanifold in (True, False):
        stride = (1, 1, 1) if submanifold else (2, 2, 2)
        rulebook = build_rulebook(
            indices, SHAPE, 3, kernel_size=(3, 3, 3), stride=stride, padding=(1, 1, 1), submanifold=submanifold
        )
        offset = torch.repeat_interleave(torch.arange(27), torch.tensor(rulebook.counts))
        zyx = torch.stack([offset // 9, offset // 3 % 3, offset % 3], dim=1)
        moved = rulebook.indices[rulebook.out_rows, 1:] * torch.tensor(stride) - 1 + zyx
        assert torch.equal(moved, indices[rulebook.in_rows, 1:].long())
        assert torch.equal(rulebook.indices[rulebook.out_rows, 0], indices[rulebook.in_rows, 0])
        pairs = torch.stack([rulebook.in_rows, rulebook.out_rows, offset])
        assert pairs.unique(dim=1).shape == pairs.shape
        place = offset * rulebook.indices.shape[0] + rulebook.out_rows
        assert (place[1:] > place[:-1]).all()  # by offset and output row


def test_a_rulebook_of_pairs_in_any_order() -> None:
    indices = random_cells(2, SHAPE, 0.3)
    rulebook = build_rulebook(indices, SHAPE, 2, kernel_size=(3, 3, 3), submanifold=True)
    blocks = torch.arange(sum(rulebook.counts)).split(list(rulebook.counts))
    shuffled = torch.cat([block[torch.randperm(block.shape[0])] for block in blocks])
    again = rulebook_from_pairs(
        rulebook.in_rows[shuffled].long(),
        rulebook.out_rows[shuffled].long(),
        rulebook.counts,
        identity=rulebook.identity,
        indices=indices,
        spatial_shape=SHAPE,
        input_rows=indices.shape[0],
    )
    assert torch.equal(again.in_rows, rulebook.in_rows)
    assert torch.equal(again.out_rows, rulebook.out_rows)
    assert again.starts.diff().tolist() == list(again.counts)


@pytest.mark.parametrize("submanifold", [True, False])
def test_the_order_of_the_voxels_does_not_matter(submanifold: bool) -> None:
    indices = random_cells(3, SHAPE, 0.3)
    features, weight = torch.randn(indices.shape[0], 4), torch.randn(5, 3, 3, 3, 4)
    dense = []
    for order in (torch.arange(indices.shape[0]), torch.randperm(indices.shape[0])):
        rulebook = build_rulebook(
            indices[order], SHAPE, 3, kernel_size=(3, 3, 3), padding=(1, 1, 1), submanifold=submanifold
        )
        output = sparse_conv(features[order], weight, rulebook)
        dense.append(to_dense(output, rulebook.indices, 3, rulebook.spatial_shape))
    torch.testing.assert_close(dense[0], dense[1])


@pytest.mark.parametrize("submanifold", [True, False])
def test_no_voxel_at_all(submanifold: bool) -> None:
    indices = torch.zeros(0, 4, dtype=torch.int32)
    rulebook = build_rulebook(
        indices, SHAPE, 2, kernel_size=(3, 3, 3), stride=(2, 2, 2), padding=(1, 1, 1), submanifold=submanifold
    )
    features = torch.zeros(0, 4, requires_grad=True)
    weight = torch.randn(6, 3, 3, 3, 4, requires_grad=True)
    output = sparse_conv(features, weight, rulebook)
    assert output.shape == (0, 6)
    output.sum().backward()
    assert features.grad is not None
    assert features.grad.shape == (0, 4)
    assert weight.grad is not None
    assert not weight.grad.any()


def test_single_voxel_meets_only_itself() -> None:
    indices = torch.tensor([[1, 4, 6, 5]], dtype=torch.int32)  # the last cell of the grid
    rulebook = build_rulebook(indices, SHAPE, 2, kernel_size=(3, 3, 3), submanifold=True)
    features, weight = torch.randn(1, 4), torch.randn(6, 3, 3, 3, 4)
    torch.testing.assert_close(sparse_conv(features, weight, rulebook), features @ weight[:, 1, 1, 1].T)


def test_a_grid_of_more_cells_than_32_bits_can_count() -> None:
    shape = (2_000, 20_000, 20_000)
    corner = torch.tensor([[1, n, h, w] for n in (1_998, 1_999) for h in (19_998, 19_999) for w in (0, 19_999)])
    rulebook = build_rulebook(corner, shape, 2, kernel_size=(3, 3, 3), submanifold=True)
    features, weight = torch.ones(8, 1), torch.ones(1, 3, 3, 3, 1)
    # Two groups of 2 × 2 cells at opposite ends of x; neither sees the other over the edge of the grid.
    assert torch.equal(sparse_conv(features, weight, rulebook), torch.full((8, 1), 4.0))


def test_results_are_the_same_bits_each_time() -> None:
    indices = random_cells(3, SHAPE, 0.5)
    features, weight = torch.randn(indices.shape[0], 16), torch.randn(16, 3, 3, 3, 16)
    runs = []
    for _ in range(2):
        rulebook = build_rulebook(indices, SHAPE, 3, kernel_size=(3, 3, 3), submanifold=True)
        runs.append(sparse_conv(features, weight, rulebook))
    assert torch.equal(*runs)


def test_autocast_leaves_the_arithmetic_in_the_type_of_the_weight() -> None:
    indices = random_cells(2, SHAPE, 0.5)
    rulebook = build_rulebook(indices, SHAPE, 2, kernel_size=(3, 3, 3), submanifold=True)
    features = torch.randn(indices.shape[0], 4, requires_grad=True)
    weight = torch.randn(5, 3, 3, 3, 4, requires_grad=True)
    expected = sparse_conv(features, weight, rulebook)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = sparse_conv(features, weight, rulebook)
        output.sum().backward()
    assert torch.equal(output, expected)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([[0, 1, 2, 3], [0, 1, 2, 3]], "more than once"),
        ([[0, 5, 0, 0]], "outside"),
        ([[2, 0, 0, 0]], "outside"),
        ([[0, 0, -1, 0]], "outside"),
    ],
)
def test_cells_that_cannot_be(indices: list[list[int]], message: str) -> None:
    for submanifold in (True, False):
        with pytest.raises(ValueError, match=message):
            build_rulebook(torch.tensor(indices), SHAPE, 2, kernel_size=(3, 3, 3), submanifold=submanifold)


def test_kernels_that_cannot_be() -> None:
    indices = torch.zeros(1, 4, dtype=torch.int32)
    with pytest.raises(ValueError, match="odd"):
        build_rulebook(indices, SHAPE, 1, kernel_size=(3, 2, 3), submanifold=True)
    with pytest.raises(ValueError, match="does not fit"):
        build_rulebook(indices, SHAPE, 1, kernel_size=(7, 3, 3))
    with pytest.raises(ValueError, match="expected integers"):
        build_rulebook(torch.zeros(1, 3), SHAPE, 1, kernel_size=(3, 3, 3))


def test_features_weight_and_rulebook_must_go_together() -> None:
    indices = torch.zeros(1, 4, dtype=torch.int32)
    rulebook = build_rulebook(indices, SHAPE, 1, kernel_size=(3, 3, 3), submanifold=True)
    assert len(rulebook.counts) == math.prod((3, 3, 3))
    with pytest.raises(ValueError, match="do not go together"):
        sparse_conv(torch.zeros(1, 4), torch.zeros(2, 3, 3, 3, 5), rulebook)
    with pytest.raises(ValueError, match="rulebook is for"):
        sparse_conv(torch.zeros(2, 4), torch.zeros(2, 3, 3, 3, 4), rulebook)
    with pytest.raises(ValueError, match="rulebook is for"):
        sparse_conv(torch.zeros(1, 4), torch.zeros(2, 1, 1, 1, 4), rulebook)
