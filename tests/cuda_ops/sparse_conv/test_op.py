"""The native sparse convolution against its reference and against dense ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from cuda_ops import _native
from cuda_ops.sparse_conv import Rulebook, Triple, build_rulebook, op, reference, rulebook_from_pairs, sparse_conv
from tests.cuda_ops.devices import DEVICES, needs_native
from tests.cuda_ops.sparse_conv.test_reference import SHAPE, STRIDED, compare_with_dense, random_cells

KERNELS: list[dict[str, Any]] = [
    *({"kernel_size": size, "submanifold": True} for size in [(3, 3, 3), (1, 1, 1), (3, 1, 5), (5, 5, 5)]),
    *({"kernel_size": kernel, "stride": stride, "padding": padding} for kernel, stride, padding in STRIDED),
    {"kernel_size": (5, 2, 3), "stride": (2, 3, 1), "padding": (2, 1, 1)},
]
SUBMANIFOLD, DOWN = KERNELS[0], KERNELS[4]
WIDE = (3, 5, 150)  # several blocks of 64 keys along x


def sorted_cells(batch_size: int, shape: Triple, share: float, device: str = "cpu") -> Tensor:
    """Cells by (batch, z, y, x), as the network has them; the last grid stays empty."""
    occupied = torch.rand(batch_size, *shape) < share
    occupied[-1] = False
    return occupied.nonzero().to(torch.int32).to(device)


def assert_same(actual: Rulebook, expected: Rulebook) -> None:
    for name in ("in_rows", "out_rows", "indices"):
        assert getattr(actual, name).dtype == getattr(expected, name).dtype
        assert torch.equal(getattr(actual, name), getattr(expected, name)), name
    for name in ("counts", "identity", "spatial_shape", "input_rows"):
        assert getattr(actual, name) == getattr(expected, name), name


def random_inputs(
    rulebook: Rulebook, kernel: Triple, cin: int, cout: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Features [V, Cin], weight [Cout, kd, kh, kw, Cin], and a direction [V', Cout] for the gradients."""
    options: dict[str, Any] = {"dtype": dtype, "device": rulebook.in_rows.device}
    features = torch.randn(rulebook.input_rows, cin, **options).requires_grad_()
    weight = torch.randn(cout, *kernel, cin, **options).requires_grad_()
    return features, weight, torch.randn(rulebook.indices.shape[0], cout, **options)


def run(
    function: Any, features: Tensor, weight: Tensor, rulebook: Rulebook, direction: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Output and both gradients."""
    output = function(features, weight, rulebook)
    return output, *torch.autograd.grad(output, (features, weight), direction)


def arguments(features: Tensor, weight: Tensor, rulebook: Rulebook) -> tuple[Any, ...]:
    """Arguments that the operation itself takes."""
    identity = -1 if rulebook.identity is None else rulebook.identity
    pairs = (rulebook.in_rows, rulebook.out_rows, rulebook.starts)
    return features, weight, *pairs, identity, rulebook.indices.shape[0]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("shape", [SHAPE, WIDE])
@pytest.mark.parametrize("share", [0.02, 0.4])
def test_rulebook_is_that_of_the_reference(kernel: dict[str, Any], shape: Triple, share: float, device: str) -> None:
    cells = sorted_cells(3, shape, share, device)
    shuffled = cells[torch.randperm(cells.shape[0], device=device)]
    for indices in (cells, shuffled, cells[:1], cells[:0], shuffled.long()):
        actual = build_rulebook(indices, shape, 3, **kernel)
        assert_same(actual, reference.build_rulebook(indices, shape, 3, **kernel))
        assert kernel.get("submanifold", False) == (actual.indices is indices)


@pytest.mark.parametrize("device", DEVICES)
def test_rulebook_of_cells_that_are_not_contiguous(device: str) -> None:
    cells = sorted_cells(3, SHAPE, 0.3, device)
    strided = torch.stack([cells, cells], dim=2)[:, :, 0]
    assert not strided.is_contiguous()
    assert_same(build_rulebook(strided, SHAPE, 3, **DOWN), reference.build_rulebook(cells, SHAPE, 3, **DOWN))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_values_and_gradients_are_those_of_the_dense_convolution(
    kernel: dict[str, Any], dtype: torch.dtype, device: str
) -> None:
    indices = random_cells(3, SHAPE, 0.3, device)
    rulebook = build_rulebook(indices, SHAPE, 3, **kernel)
    features, weight, _ = random_inputs(rulebook, kernel["kernel_size"], 4, 6, dtype)
    size = kernel["kernel_size"]
    half = (size[0] // 2, size[1] // 2, size[2] // 2)
    stride, padding = kernel.get("stride", (1, 1, 1)), kernel.get("padding", half)
    compare_with_dense(features.detach(), weight.detach(), indices, rulebook, stride, padding, function=sparse_conv)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cin", [1, 3, 16, 33, 64, 100])
@pytest.mark.parametrize("cout", [1, 5, 16, 17, 48, 100])
def test_any_number_of_channels(cin: int, cout: int, dtype: torch.dtype, device: str) -> None:
    indices = random_cells(2, SHAPE, 0.4, device)
    for kernel in (SUBMANIFOLD, DOWN):
        rulebook = build_rulebook(indices, SHAPE, 2, **kernel)
        inputs = random_inputs(rulebook, (3, 3, 3), cin, cout, dtype)
        *tensors, direction = inputs
        expected = run(reference.sparse_conv, *tensors, rulebook, direction)
        actual = run(sparse_conv, *tensors, rulebook, direction)
        for a, b in zip(actual, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4 if dtype == torch.float32 else 1e-10, atol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_channels_and_pairs_in_several_pieces(device: str) -> None:
    """More channels than a panel is deep, more pairs than a segment of the weight's gradient is long."""
    indices = sorted_cells(2, (8, 32, 64), 0.7, device)
    rulebook = build_rulebook(indices, (8, 32, 64), 2, kernel_size=(1, 1, 3), submanifold=True)
    assert max(rulebook.counts) > 4096
    for cin, cout in ((300, 2), (2, 300)):
        features, weight, direction = random_inputs(rulebook, (1, 1, 3), cin, cout, torch.float64)
        expected = run(reference.sparse_conv, features, weight, rulebook, direction)
        torch.testing.assert_close(run(sparse_conv, features, weight, rulebook, direction), expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kernel", [SUBMANIFOLD, DOWN], ids=str)
def test_gradients_are_those_of_finite_differences(kernel: dict[str, Any], device: str) -> None:
    rulebook = build_rulebook(random_cells(2, (3, 4, 4), 0.3, device), (3, 4, 4), 2, **kernel)
    features, weight, _ = random_inputs(rulebook, (3, 3, 3), 2, 3, torch.float64)
    assert torch.autograd.gradcheck(lambda f, w: sparse_conv(f, w, rulebook), (features, weight))


@needs_native
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kernel", [SUBMANIFOLD, DOWN], ids=str)
def test_operation_is_registered_as_torch_wants_it(kernel: dict[str, Any], device: str) -> None:
    rulebook = build_rulebook(sorted_cells(2, SHAPE, 0.3, device), SHAPE, 2, **kernel)
    features, weight, direction = random_inputs(rulebook, (3, 3, 3), 3, 5, torch.float32)
    torch.library.opcheck(op._sparse_conv_op, arguments(features, weight, rulebook))
    inputs = (direction, *arguments(features.detach(), weight.detach(), rulebook)[:-1])
    for needed in ((True, True), (True, False), (False, True)):
        torch.library.opcheck(op._sparse_conv_backward_op, (*inputs, *needed))


@pytest.mark.parametrize("device", DEVICES)
def test_only_the_gradients_that_are_needed_once(device: str) -> None:
    rulebook = build_rulebook(sorted_cells(2, SHAPE, 0.3, device), SHAPE, 2, **DOWN)
    features, weight, direction = random_inputs(rulebook, (3, 3, 3), 3, 5, torch.float64)
    _, grad_features, grad_weight = run(sparse_conv, features, weight, rulebook, direction)
    alone = sparse_conv(features, weight.detach(), rulebook)
    assert torch.equal(torch.autograd.grad(alone, features, direction)[0], grad_features)
    alone = sparse_conv(features.detach(), weight, rulebook)
    assert torch.equal(torch.autograd.grad(alone, weight, direction)[0], grad_weight)
    grads = torch.autograd.grad(sparse_conv(features, weight, rulebook).sum(), features, create_graph=True)
    with pytest.raises(RuntimeError):
        grads[0].sum().backward()


@pytest.mark.parametrize("kernel", [SUBMANIFOLD, DOWN], ids=str)
def test_bits_do_not_depend_on_the_number_of_threads(kernel: dict[str, Any]) -> None:
    shape = (6, 40, 40)
    indices = sorted_cells(2, shape, 0.4)
    threads, results = torch.get_num_threads(), []
    for count in (1, 2, 3):
        torch.manual_seed(0)
        torch.set_num_threads(count)
        try:
            rulebook = build_rulebook(indices, shape, 2, **kernel)
            features, weight, direction = random_inputs(rulebook, (3, 3, 3), 16, 24, torch.float32)
            results.append((rulebook, run(op.sparse_conv, features, weight, rulebook, direction)))
        finally:
            torch.set_num_threads(threads)
    if not _native.serves(torch.device("cpu")):
        pytest.skip("torch's BLAS may add in another order")
    for rulebook, tensors in results[1:]:
        assert_same(rulebook, results[0][0])
        assert all(torch.equal(a, b) for a, b in zip(tensors, results[0][1], strict=True))


@pytest.mark.parametrize("device", DEVICES)
def test_inputs_that_are_not_contiguous(device: str) -> None:
    rulebook = build_rulebook(random_cells(2, SHAPE, 0.3, device), SHAPE, 2, **SUBMANIFOLD)
    features, weight, direction = random_inputs(rulebook, (3, 3, 3), 6, 5, torch.float64)
    expected = run(sparse_conv, features, weight, rulebook, direction)
    turned = features.detach().t().contiguous().t().requires_grad_()
    mixed = weight.detach().permute(4, 1, 2, 3, 0).contiguous().permute(4, 1, 2, 3, 0).requires_grad_()
    strided = direction.t().contiguous().t()
    assert not (turned.is_contiguous() or mixed.is_contiguous() or strided.is_contiguous())
    torch.testing.assert_close(run(sparse_conv, turned, mixed, rulebook, strided), expected)
    output = sparse_conv(features, weight, rulebook)
    torch.testing.assert_close(  # the gradient of a sum has no strides at all
        torch.autograd.grad(output.sum(), features)[0],
        torch.autograd.grad(sparse_conv(features, weight, rulebook), features, torch.ones_like(output))[0],
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kernel", [SUBMANIFOLD, DOWN], ids=str)
@pytest.mark.parametrize("count", [0, 1])
def test_no_or_one_voxel(count: int, kernel: dict[str, Any], device: str) -> None:
    indices = torch.tensor([[1, 4, 6, 5]], dtype=torch.int32, device=device)[:count]
    rulebook = build_rulebook(indices, SHAPE, 2, **kernel)
    assert_same(rulebook, reference.build_rulebook(indices, SHAPE, 2, **kernel))
    features, weight, direction = random_inputs(rulebook, (3, 3, 3), 4, 6, torch.float32)
    expected = run(reference.sparse_conv, features, weight, rulebook, direction)
    torch.testing.assert_close(run(sparse_conv, features, weight, rulebook, direction), expected)


@pytest.mark.parametrize("device", DEVICES)
def test_pairs_of_another_library(device: str) -> None:
    """A strided rulebook whose input rows do not rise with the output rows: the backward pass sorts it."""
    indices = random_cells(2, SHAPE, 0.3, device)
    rulebook = build_rulebook(indices, SHAPE, 2, **DOWN)
    assert (rulebook.in_rows.diff() < 0).sum() > len(rulebook.counts)
    blocks = torch.arange(sum(rulebook.counts), device=device).split(list(rulebook.counts))
    shuffled = torch.cat([block.flip(0) for block in blocks])
    again = rulebook_from_pairs(
        rulebook.in_rows[shuffled],
        rulebook.out_rows[shuffled],
        rulebook.counts,
        identity=None,
        indices=rulebook.indices,
        spatial_shape=rulebook.spatial_shape,
        input_rows=rulebook.input_rows,
    )
    assert_same(again, rulebook)
    features, weight, direction = random_inputs(rulebook, (3, 3, 3), 4, 6, torch.float64)
    expected = run(reference.sparse_conv, features, weight, rulebook, direction)
    torch.testing.assert_close(run(sparse_conv, features, weight, again, direction), expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_arithmetic_is_in_the_type_of_the_weight(dtype: torch.dtype, device: str) -> None:
    rulebook = build_rulebook(random_cells(2, SHAPE, 0.3, device), SHAPE, 2, **SUBMANIFOLD)
    features, weight, direction = random_inputs(rulebook, (3, 3, 3), 8, 16, torch.float32)
    expected = run(sparse_conv, features, weight, rulebook, direction)
    with torch.autocast(device, dtype=torch.bfloat16):
        actual = run(sparse_conv, features.to(dtype).float(), weight, rulebook, direction)
    assert actual[0].dtype == torch.float32
    narrow = sparse_conv(features, weight.to(dtype), rulebook)
    assert narrow.dtype == dtype
    torch.testing.assert_close(narrow.float(), expected[0], rtol=0.05, atol=0.3)


@pytest.mark.parametrize("device", DEVICES)
def test_not_a_number_stays_where_it_is_seen(device: str) -> None:
    indices = sorted_cells(2, SHAPE, 0.3, device)
    rulebook = build_rulebook(indices, SHAPE, 2, **SUBMANIFOLD)
    features, weight, _ = random_inputs(rulebook, (3, 3, 3), 5, 7, torch.float32)
    clean = sparse_conv(features.detach(), weight.detach(), rulebook)
    broken = features.detach().clone()
    broken[3, 2] = float("nan")
    output = sparse_conv(broken, weight.detach(), rulebook)
    sees = ((indices - indices[3]).abs() <= 1).all(1) & (indices[:, 0] == indices[3, 0])
    assert output[sees].isnan().all()
    assert torch.equal(output[~sees], clean[~sees])


@pytest.mark.parametrize("device", DEVICES)
def test_a_grid_of_more_cells_than_32_bits_can_count(device: str) -> None:
    shape = (2_000, 20_000, 20_000)
    corner = torch.tensor([[1, n, h, w] for n in (1_998, 1_999) for h in (19_998, 19_999) for w in (0, 19_999)])
    for kernel in (SUBMANIFOLD, DOWN):
        actual = build_rulebook(corner.to(device), shape, 2, **kernel)
        assert_same(actual, reference.build_rulebook(corner.to(device), shape, 2, **kernel))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("submanifold", [True, False])
@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([[0, 1, 2, 3], [0, 1, 2, 3]], "more than once"),
        ([[0, 1, 2, 3], [0, 4, 0, 0], [0, 1, 2, 3]], "more than once"),
        ([[0, 1, 2, 3], [0, 5, 0, 0]], r"outside 2 grids of \(5, 7, 6\)"),
        ([[2, 0, 0, 0]], "outside"),
        ([[0, 0, -1, 0]], "outside"),
        ([[0, 0, 0, 2**32]], "outside"),
        ([[-(2**32), 0, 0, 0]], "outside"),
    ],
)
def test_cells_that_cannot_be(indices: list[list[int]], message: str, submanifold: bool, device: str) -> None:
    cells = torch.tensor(indices, device=device)
    with pytest.raises(ValueError, match=message):
        build_rulebook(cells, SHAPE, 2, kernel_size=(3, 3, 3), submanifold=submanifold)


def test_kernels_and_grids_that_cannot_be() -> None:
    indices = torch.zeros(1, 4, dtype=torch.int32)
    with pytest.raises(ValueError, match="odd kernel along each axis"):
        build_rulebook(indices, SHAPE, 1, kernel_size=(3, 2, 3), submanifold=True)
    with pytest.raises(ValueError, match="does not fit"):
        build_rulebook(indices, SHAPE, 1, kernel_size=(7, 3, 3))
    with pytest.raises(ValueError, match=r"expected integers.*float32"):
        build_rulebook(torch.zeros(1, 4), SHAPE, 1, kernel_size=(3, 3, 3))
    with pytest.raises(ValueError, match=r"expected integers.*\[1, 3\]"):
        build_rulebook(indices[:, :3], SHAPE, 1, kernel_size=(3, 3, 3))


def test_features_weight_and_rulebook_must_go_together() -> None:
    rulebook = build_rulebook(torch.zeros(1, 4, dtype=torch.int32), SHAPE, 1, **SUBMANIFOLD)
    with pytest.raises(ValueError, match=r"\(1, 4\).*\(2, 3, 3, 3, 5\) do not go together"):
        sparse_conv(torch.zeros(1, 4), torch.zeros(2, 3, 3, 3, 5), rulebook)
    with pytest.raises(ValueError, match="rulebook is for 1 rows and 27 kernel offsets, not 2 and 27"):
        sparse_conv(torch.zeros(2, 4), torch.zeros(2, 3, 3, 3, 4), rulebook)
    with pytest.raises(ValueError, match="not 1 and 1"):
        sparse_conv(torch.zeros(1, 4), torch.zeros(2, 1, 1, 1, 4), rulebook)
    with pytest.raises(TypeError, match=r"weight is of torch\.int64"):
        sparse_conv(torch.zeros(1, 4), torch.zeros(2, 3, 3, 3, 4, dtype=torch.int64), rulebook)
    with pytest.raises(ValueError, match="different devices"):
        sparse_conv(torch.zeros(1, 4), torch.zeros(2, 3, 3, 3, 4, device="meta"), rulebook)
