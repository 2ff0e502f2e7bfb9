"""The native box sampling against the reference: values, gradients, and what is asked of every operation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from cuda_ops import _native
from cuda_ops.box_sampling import op, reference
from tests.cuda_ops.devices import DEVICES, needs_native

pytestmark = pytest.mark.parametrize("device", DEVICES)

PLACE: dict[str, Any] = {"origin": (0.2, -3.8), "cell_size": (0.4, 0.5)}
FRAMES, HEIGHT, WIDTH = 3, 9, 12
GRID = (2, 3)
PAIRS = [(op.sample_boxes, reference.sample_boxes), (op.part_sensitive_scores, reference.part_sensitive_scores)]
NATIVE = _native.serves(torch.device("cpu"))


def make_map(device: str, channels: int = 12, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    """[FRAMES, channels, HEIGHT, WIDTH], channels-last."""
    generator = torch.Generator().manual_seed(seed)
    bev = torch.randn(FRAMES, channels, HEIGHT, WIDTH, dtype=torch.float64, generator=generator)
    return bev.to(device, dtype).contiguous(memory_format=torch.channels_last)


def make_boxes(count: int, device: str, dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[Tensor, Tensor]:
    """[count, 7] boxes all over the map and beyond its borders, and their frames [count]."""
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(count, 7, dtype=torch.float64, generator=generator)
    boxes[:, 0] = boxes[:, 0] * 7 - 1
    boxes[:, 1] = boxes[:, 1] * 6.5 - 5
    boxes[:, 3:6] = boxes[:, 3:6] * 4 + 0.1
    boxes[:, 6] = (boxes[:, 6] - 0.5) * 2 * math.pi
    return boxes.to(device, dtype), torch.randint(FRAMES, (count,), generator=generator).to(device)


def values_and_gradients(
    function: Callable[..., Tensor], bev: Tensor, boxes: Tensor, frame: Tensor, grid_size: tuple[int, int] = GRID
) -> tuple[Tensor, ...]:
    """The result, and its gradients in the map and the boxes."""
    bev, boxes = bev.detach().requires_grad_(), boxes.detach().requires_grad_()
    out = function(bev, boxes, frame, grid_size=grid_size, **PLACE)
    weight = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(7)).to(out)
    return (out, *torch.autograd.grad(out, (bev, boxes), weight))


def nchw(bev: Tensor) -> Tensor:
    return bev.contiguous()


def slice_of_larger(bev: Tensor) -> Tensor:
    """The same values inside of a larger channels-last map: neither dense nor contiguous."""
    larger = bev.new_full((FRAMES, bev.shape[1] + 3, HEIGHT + 2, WIDTH + 1), math.nan)
    larger = larger.contiguous(memory_format=torch.channels_last)
    larger[:, 2:-1, 1:-1, 1:] = bev
    return larger[:, 2:-1, 1:-1, 1:]


def transposed(bev: Tensor) -> Tensor:
    return bev.transpose(2, 3).contiguous().transpose(2, 3)


@pytest.mark.parametrize("channels", [6, 12, 18, 300])
@pytest.mark.parametrize(("own", "plain"), PAIRS)
def test_values_and_gradients(
    own: Callable[..., Tensor], plain: Callable[..., Tensor], channels: int, device: str
) -> None:
    inputs = (make_map(device, channels), *make_boxes(40, device))
    actual, expected = values_and_gradients(own, *inputs), values_and_gradients(plain, *inputs)
    assert (expected[0] == 0).any() and (expected[0] != 0).any()
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("grid_size", [(1, 1), (1, 4), (4, 7), (6, 7)])
def test_grids(grid_size: tuple[int, int], device: str) -> None:
    channels = 2 * grid_size[0] * grid_size[1]
    inputs = (make_map(device, channels), *make_boxes(20, device))
    for own, plain in PAIRS:
        actual, expected = (values_and_gradients(f, *inputs, grid_size) for f in (own, plain))
        for ours, theirs in zip(actual, expected, strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("layout", [nchw, slice_of_larger, transposed])
@pytest.mark.parametrize(("own", "plain"), PAIRS)
def test_any_strides(
    own: Callable[..., Tensor], plain: Callable[..., Tensor], layout: Callable[[Tensor], Tensor], device: str
) -> None:
    bev, (boxes, frame) = make_map(device), make_boxes(30, device)
    expected = values_and_gradients(plain, bev, boxes, frame)
    spread = torch.stack([boxes, boxes], dim=-1)[..., 0]
    bev = layout(bev)
    actual = values_and_gradients(own, bev, spread, frame.repeat_interleave(2)[::2].int())
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert actual[0].is_contiguous()
    if NATIVE:
        assert actual[1].stride() == torch.empty_like(bev).stride()


@pytest.mark.parametrize("own", [op.sample_boxes, op.part_sensitive_scores])
def test_a_gradient_that_is_expanded(own: Callable[..., Tensor], device: str) -> None:
    bev, (boxes, frame) = make_map(device).requires_grad_(), make_boxes(10, device)
    out = own(bev, boxes, frame, grid_size=GRID, **PLACE)
    (from_sum,) = torch.autograd.grad(out.sum(), bev, retain_graph=True)
    (from_ones,) = torch.autograd.grad(out, bev, torch.ones_like(out))
    torch.testing.assert_close(from_sum, from_ones)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize(("own", "plain"), PAIRS)
def test_low_precision_maps(
    own: Callable[..., Tensor], plain: Callable[..., Tensor], dtype: torch.dtype, tolerance: float, device: str
) -> None:
    bev, (boxes, frame) = make_map(device, dtype=dtype), make_boxes(40, device, torch.float32)
    expected = values_and_gradients(plain, bev.double(), boxes.double(), frame)
    with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
        actual = values_and_gradients(own, bev, boxes, frame)
    assert [tensor.dtype for tensor in actual] == [dtype, dtype, torch.float32]
    for ours, theirs in zip(actual, expected, strict=True):
        scale = theirs.abs().max().item()
        torch.testing.assert_close(ours.double(), theirs, atol=max(1e-4, tolerance) * scale, rtol=tolerance)


@needs_native
def test_many_small_shares_add_up_in_float32(device: str) -> None:
    bev = torch.zeros(1, 1, 3, 3, dtype=torch.bfloat16, device=device, requires_grad=True)
    boxes = torch.zeros(1000, 7, device=device)
    frame = torch.zeros(1000, dtype=torch.long, device=device)
    out = op.sample_boxes(bev, boxes, frame, grid_size=(1, 1), origin=(0.0, 0.0), cell_size=(1.0, 1.0))
    (gradient,) = torch.autograd.grad(out.sum(), bev)
    assert gradient[0, 0, 0, 0] == 1000  # sums in bfloat16 would stop at 256


def test_low_precision_boxes_are_widened(device: str) -> None:
    bev, (boxes, frame) = make_map(device, dtype=torch.float32), make_boxes(10, device, torch.bfloat16)
    boxes.requires_grad_()
    own = op.sample_boxes(bev, boxes, frame, **PLACE)
    torch.testing.assert_close(own, reference.sample_boxes(bev, boxes.float(), frame, **PLACE))
    (gradient,) = torch.autograd.grad(own.sum(), boxes)
    assert gradient.dtype == torch.bfloat16


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("own", [op.sample_boxes, op.part_sensitive_scores])
def test_gradcheck(own: Callable[..., Tensor], channels_last: bool, device: str) -> None:
    bev, (boxes, frame) = make_map(device, channels=6), make_boxes(4, device, seed=3)
    bev = bev if channels_last else bev.contiguous()

    def sample(bev: Tensor, boxes: Tensor) -> Tensor:
        return own(bev, boxes, frame, grid_size=GRID, **PLACE)

    assert torch.autograd.gradcheck(sample, (bev.requires_grad_(), boxes.requires_grad_()), fast_mode=True)


@needs_native
@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize(("to_map", "to_boxes"), [(True, True), (True, False), (False, True), (False, False)])
def test_opcheck(parts: bool, to_map: bool, to_boxes: bool, device: str) -> None:
    bev, (boxes, frame) = make_map(device), make_boxes(5, device)
    bev.requires_grad_(to_map)
    boxes.requires_grad_(to_boxes)
    torch.library.opcheck(op._sample_op, (bev, boxes, frame, list(GRID), [0.2, -3.8, 0.4, 0.5], parts))


@pytest.mark.parametrize(("own", "plain"), PAIRS)
def test_only_what_is_asked_for(own: Callable[..., Tensor], plain: Callable[..., Tensor], device: str) -> None:
    bev, (boxes, frame) = make_map(device), make_boxes(10, device)
    _, to_map, to_boxes = values_and_gradients(plain, bev, boxes, frame)
    out = own(bev, boxes, frame, grid_size=GRID, **PLACE)
    assert not out.requires_grad
    weight = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(7)).to(out)
    for leaf, expected in ((bev, to_map), (boxes, to_boxes)):
        leaf.requires_grad_()
        out = own(bev, boxes, frame, grid_size=GRID, **PLACE)
        torch.testing.assert_close(torch.autograd.grad(out, leaf, weight)[0], expected)
        leaf.requires_grad_(False)


@needs_native
def test_a_second_derivative_is_refused(device: str) -> None:
    bev, (boxes, frame) = make_map(device), make_boxes(5, device)
    boxes.requires_grad_()
    out = op.sample_boxes(bev, boxes, frame, **PLACE)
    (gradient,) = torch.autograd.grad(out.square().sum(), boxes, create_graph=True)
    with pytest.raises(RuntimeError, match="LIDAR_EBM_NATIVE=0"):
        torch.autograd.grad(gradient.sum(), boxes)


@pytest.mark.parametrize("size", [0.0, 0.05, 60.0, 1e6])
@pytest.mark.parametrize(("own", "plain"), PAIRS)
def test_tiny_and_huge_boxes(
    own: Callable[..., Tensor], plain: Callable[..., Tensor], size: float, device: str
) -> None:
    bev, (boxes, frame) = make_map(device), make_boxes(10, device)
    boxes[:, 3:6] = size
    actual, expected = (values_and_gradients(f, bev, boxes, frame) for f in (own, plain))
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("position", [0.0, -0.4, -0.2, 0.2, 4.4, 4.6, 4.8, 5.0])
def test_borders(position: float, device: str) -> None:
    """On the outermost centres, within the cell beyond them, at its end and further."""
    bev = make_map(device)
    boxes = torch.zeros(1, 7, dtype=torch.float64, device=device)
    boxes[0, 0], boxes[0, 1] = position + 0.2, -3.8 + 0.25
    inputs = (bev, boxes, torch.ones(1, dtype=torch.long, device=device), (1, 1))
    actual, expected = (
        values_and_gradients(op.sample_boxes, *inputs),
        values_and_gradients(reference.sample_boxes, *inputs),
    )
    for ours, theirs in zip(actual[:2], expected[:2], strict=True):
        torch.testing.assert_close(ours, theirs)
    if position in (-0.2, 0.2, 4.6, 5.0):  # elsewhere rounding decides which side of a cell line a position is on
        torch.testing.assert_close(actual[2], expected[2])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e30])
@pytest.mark.parametrize("column", [0, 1, 3, 4, 6])
@pytest.mark.parametrize(("own", "plain"), PAIRS)
def test_a_box_that_is_nowhere_spoils_only_itself(
    own: Callable[..., Tensor], plain: Callable[..., Tensor], column: int, bad: float, device: str
) -> None:
    bev, (boxes, frame) = make_map(device), make_boxes(4, device)
    others = [0, 1, 3]
    _, _, of_others = values_and_gradients(own, bev, boxes, frame)
    boxes[2, column] = bad
    out, _, to_boxes = values_and_gradients(own, bev, boxes, frame)
    torch.testing.assert_close(out, plain(bev, boxes, frame, grid_size=GRID, **PLACE), equal_nan=True)
    torch.testing.assert_close(to_boxes[others], of_others[others])
    if column < 2 and not math.isnan(bad):
        assert (out[2] == 0).all() and (to_boxes[2] == 0).all()


def test_no_boxes(device: str) -> None:
    for own, _ in PAIRS:
        out, to_map, to_boxes = values_and_gradients(own, make_map(device), *make_boxes(0, device))
        assert len(out) == 0 and to_boxes.shape == (0, 7)
        assert to_map.shape == (FRAMES, 12, HEIGHT, WIDTH) and (to_map == 0).all()


def test_maps_without_channels_or_cells(device: str) -> None:
    boxes, frame = make_boxes(3, device)
    empty = torch.zeros(FRAMES, 0, HEIGHT, WIDTH, dtype=torch.float64, device=device)
    assert op.sample_boxes(empty, boxes, frame, **PLACE).shape == (3, 0, 4, 7)
    for shape in ((FRAMES, 5, 0, WIDTH), (FRAMES, 5, HEIGHT, 0)):
        if NATIVE:
            out, to_map, to_boxes = values_and_gradients(
                op.sample_boxes, torch.zeros(shape, device=device), boxes, frame
            )
            assert (out == 0).all() and to_map.shape == shape and (to_boxes == 0).all()


@pytest.mark.parametrize("wrong", [-1, FRAMES])
def test_a_frame_that_the_map_does_not_have(wrong: int, device: str) -> None:
    bev, (boxes, frame) = make_map(device), make_boxes(3, device)
    boxes[:, :2] = torch.tensor([2.0, -2.0])
    frame[1] = wrong
    if device == "cpu":
        for own, _ in PAIRS:
            with pytest.raises(IndexError):
                own(bev, boxes, frame, grid_size=GRID, **PLACE)
        return
    out, _, to_boxes = values_and_gradients(op.sample_boxes, bev, boxes, frame)
    assert (out[1] == 0).all() and (to_boxes[1] == 0).all() and (out[0] != 0).any()


def test_threads_change_nothing(device: str) -> None:
    bev, (boxes, frame) = make_map(device, 48, torch.float32), make_boxes(200, device, torch.float32)
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            for own, _ in PAIRS:
                results.append(values_and_gradients(own, bev, boxes, frame))
    finally:
        torch.set_num_threads(threads)
    for first, other in zip(results * 2, results[2:], strict=False):
        for ours, theirs in zip(first, other, strict=True):
            if device == "cpu" and NATIVE:
                assert torch.equal(ours, theirs)
            else:
                torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("layout", [nchw, lambda bev: bev])
def test_deterministic_algorithms(layout: Callable[[Tensor], Tensor], device: str) -> None:
    bev, (boxes, frame) = layout(make_map(device, 48, torch.float32)), make_boxes(300, device, torch.float32)
    before = torch.are_deterministic_algorithms_enabled()
    for own, plain in PAIRS:
        expected = values_and_gradients(plain, bev.double(), boxes.double(), frame)
        try:
            torch.use_deterministic_algorithms(True)
            first, second = (values_and_gradients(own, bev, boxes, frame) for _ in range(2))
        finally:
            torch.use_deterministic_algorithms(before)
        for ours, again, theirs in zip(first, second, expected, strict=True):
            assert torch.equal(ours, again)
            torch.testing.assert_close(ours.double(), theirs, atol=1e-3, rtol=1e-3)


def test_wrong_arguments_are_named(device: str) -> None:
    bev, (boxes, frame) = make_map(device), make_boxes(3, device)
    with pytest.raises(ValueError, match=r"\(3, 6\)"):
        op.sample_boxes(bev, boxes[:, :6], frame, **PLACE)
    with pytest.raises(ValueError, match=r"\(3, 12, 9\)"):
        op.sample_boxes(bev[..., 0], boxes, frame, **PLACE)
    with pytest.raises(ValueError, match=r"batch_index has shape \(2,\)"):
        op.sample_boxes(bev, boxes, frame[:2], **PLACE)
    with pytest.raises(ValueError, match=r"K \* 28.*\(3, 12, 9, 12\)"):
        op.part_sensitive_scores(bev, boxes, frame, **PLACE)
    with pytest.raises(ValueError, match="0 x 7"):
        op.sample_boxes(bev, boxes, frame, grid_size=(0, 7), **PLACE)
    with pytest.raises(TypeError, match=r"int64"):
        op.sample_boxes(bev.long(), boxes, frame, **PLACE)
    with pytest.raises(TypeError, match=r"float64, expected integers"):
        op.sample_boxes(bev, boxes, frame.double(), **PLACE)
    with pytest.raises(ValueError, match="meta"):
        op.sample_boxes(bev, boxes.to("meta"), frame, **PLACE)


def test_maps_of_more_than_two_to_the_31_elements(device: str) -> None:
    if device != "cuda" or torch.cuda.mem_get_info()[1] < 20e9:
        pytest.skip("needs a GPU with 20 GB of memory")
    bev = torch.zeros(49, 256, 400, 440, dtype=torch.bfloat16, device=device)
    bev = bev.contiguous(memory_format=torch.channels_last)
    assert bev.numel() > 2**31
    bev[-1] = torch.randn(256, 400, 440, device=device)
    box = torch.tensor([[170.0, 150.0, -1.0, 4.0, 1.6, 1.5, 0.3]], device=device)
    place: dict[str, Any] = {"origin": (0.2, 0.2), "cell_size": (0.4, 0.4)}
    read = op.sample_boxes(bev, box, torch.tensor([48], device=device), **place)
    alone = op.sample_boxes(bev[-1:], box, torch.tensor([0], device=device), **place)
    assert (read != 0).any()
    torch.testing.assert_close(read, alone)
