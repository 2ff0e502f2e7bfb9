"""Box sampling against grid_sample, a loop over corners, and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cuda_ops.box_sampling.reference import bilinear_read, box_grid, part_sensitive_scores, sample_boxes

ORIGIN, CELL = (0.2, -3.8), (0.4, 0.5)
SHAPE = (9, 12)  # H, W
PLACE = {"origin": ORIGIN, "cell_size": CELL}


def make_map(batch_size: int = 2, channels: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(batch_size, channels, *SHAPE, dtype=dtype)


def make_boxes(count: int, batch_size: int = 2) -> tuple[Tensor, Tensor]:
    """Boxes all over the map and beyond its borders."""
    boxes = torch.rand(count, 7, dtype=torch.float64)
    boxes[:, 0] = boxes[:, 0] * 7 - 1
    boxes[:, 1] = boxes[:, 1] * 6.5 - 5
    boxes[:, 3:6] = boxes[:, 3:6] * 4 + 0.1
    boxes[:, 6] = (boxes[:, 6] - 0.5) * 2 * math.pi
    return boxes, torch.randint(batch_size, (count,))


def read_with_grid_sample(bev: Tensor, xy: Tensor, batch_index: Tensor) -> Tensor:
    """[P, C] by torch's own reader, a position at a time on the map of its frame."""
    steps = (xy - xy.new_tensor(ORIGIN)) / xy.new_tensor(CELL)
    height, width = bev.shape[2:]
    grid = 2 * steps / xy.new_tensor([width - 1, height - 1]) - 1
    rows = F.grid_sample(bev[batch_index], grid[:, None, None], align_corners=True, padding_mode="zeros")
    return rows[:, :, 0, 0]


def test_grid_spans_the_box_from_rear_right_to_front_left() -> None:
    boxes = torch.tensor([[10.0, 5.0, 0.0, 4.0, 2.0, 1.5, math.pi / 2]])
    grid = box_grid(boxes, (4, 7))[0]
    # Heading +y: the front is at higher y, the right side at higher x.
    torch.testing.assert_close(grid[0, 0], torch.tensor([11.0, 3.0]))
    torch.testing.assert_close(grid[-1, 0], torch.tensor([9.0, 3.0]))
    torch.testing.assert_close(grid[0, -1], torch.tensor([11.0, 7.0]))
    torch.testing.assert_close(grid[-1, -1], torch.tensor([9.0, 7.0]))
    torch.testing.assert_close(grid.flatten(0, 1).mean(0), boxes[0, :2])
    torch.testing.assert_close(box_grid(boxes, (1, 1))[0, 0, 0], boxes[0, :2])


def test_values_at_cell_centres_are_the_cells() -> None:
    bev = make_map()
    row, column = torch.meshgrid(*(torch.arange(n).double() for n in SHAPE), indexing="ij")
    xy = torch.stack([column * CELL[0] + ORIGIN[0], row * CELL[1] + ORIGIN[1]], dim=-1).flatten(0, 1)
    for frame in range(2):
        values = bilinear_read(bev, xy, torch.full((len(xy),), frame), **PLACE)
        torch.testing.assert_close(values.T.reshape(3, *SHAPE), bev[frame])


@pytest.mark.parametrize("channels_last", [False, True])
def test_matches_grid_sample_everywhere(channels_last: bool) -> None:
    bev = make_map()
    if channels_last:
        bev = bev.contiguous(memory_format=torch.channels_last)
    xy = torch.rand(4000, 2, dtype=torch.float64) * torch.tensor([8.0, 8.0]) + torch.tensor([-1.5, -6.0])
    batch_index = torch.randint(2, (4000,))
    expected = read_with_grid_sample(bev, xy, batch_index)
    torch.testing.assert_close(bilinear_read(bev, xy, batch_index, **PLACE), expected)
    assert (expected == 0).all(dim=1).any()  # positions beyond the map were among them
    assert (expected != 0).all(dim=1).any()


def test_fades_to_zero_over_the_cell_beyond_the_border() -> None:
    bev = torch.ones(1, 1, *SHAPE)
    steps = torch.tensor([0.0, -0.25, -0.75, -1.0, -1.5, 11.0, 11.5, 12.0, 13.0])
    xy = torch.stack([steps * CELL[0] + ORIGIN[0], torch.full_like(steps, ORIGIN[1] + CELL[1])], dim=1)
    values = bilinear_read(bev, xy, torch.zeros(len(steps), dtype=torch.long), **PLACE)[:, 0]
    expected = torch.tensor([1.0, 0.75, 0.25, 0.0, 0.0, 1.0, 0.5, 0.0, 0.0])
    torch.testing.assert_close(values, expected, atol=1e-5, rtol=0)


def test_sample_boxes_orders_its_output() -> None:
    bev = make_map()
    boxes, batch_index = make_boxes(20)
    sampled = sample_boxes(bev, boxes, batch_index, grid_size=(3, 5), **PLACE)
    assert sampled.shape == (20, 3, 3, 5)
    grid = box_grid(boxes, (3, 5))
    for across in range(3):
        for along in range(5):
            expected = read_with_grid_sample(bev, grid[:, across, along], batch_index)
            torch.testing.assert_close(sampled[:, :, across, along], expected)


def test_gradients_match_grid_sample() -> None:
    boxes, batch_index = make_boxes(30)
    weight = torch.randn(30, 3, 4, 7, dtype=torch.float64)
    gradients = []
    for own in (True, False):
        torch.manual_seed(3)
        bev, box = make_map().requires_grad_(), boxes.clone().requires_grad_()
        if own:
            values = sample_boxes(bev, box, batch_index, **PLACE)
        else:
            xy = box_grid(box, (4, 7)).flatten(0, 2)
            values = read_with_grid_sample(bev, xy, batch_index.repeat_interleave(28)).view(30, 4, 7, 3)
            values = values.permute(0, 3, 1, 2)
        gradients.append(torch.autograd.grad((values * weight).sum(), (bev, box)))
    for own_gradient, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(own_gradient, expected)


def test_gradcheck() -> None:
    bev = make_map(batch_size=2, channels=2).requires_grad_()
    boxes, batch_index = make_boxes(4)
    boxes.requires_grad_()

    def sample(bev: Tensor, boxes: Tensor) -> Tensor:
        return sample_boxes(bev, boxes, batch_index, grid_size=(2, 3), **PLACE)

    assert torch.autograd.gradcheck(sample, (bev, boxes))
    assert torch.autograd.gradgradcheck(sample, (bev, boxes))


def test_gradcheck_of_part_scores() -> None:
    bev = make_map(channels=2 * 6).requires_grad_()
    boxes, batch_index = make_boxes(4)

    def score(bev: Tensor, boxes: Tensor) -> Tensor:
        return part_sensitive_scores(bev, boxes, batch_index, grid_size=(2, 3), **PLACE)

    assert torch.autograd.gradcheck(score, (bev, boxes.requires_grad_()))


@pytest.mark.parametrize("classes", [1, 3])
def test_part_scores_read_each_channel_at_its_own_point(classes: int) -> None:
    across, along = 4, 7
    bev = make_map(channels=classes * across * along)
    boxes, batch_index = make_boxes(15)
    scores = part_sensitive_scores(bev, boxes, batch_index, grid_size=(across, along), **PLACE)
    everything = sample_boxes(bev, boxes, batch_index, grid_size=(across, along), **PLACE)
    own = everything.view(15, classes, across * along, across * along).diagonal(dim1=2, dim2=3)
    torch.testing.assert_close(scores, own.mean(dim=-1))


@pytest.mark.parametrize("size", [0.05, 60.0, 1e6])
def test_tiny_and_huge_boxes(size: float) -> None:
    bev = make_map()
    boxes, batch_index = make_boxes(10)
    boxes[:, 3:6] = size
    sampled = sample_boxes(bev, boxes, batch_index, **PLACE)
    xy = box_grid(boxes, (4, 7)).flatten(0, 2)
    expected = read_with_grid_sample(bev, xy, batch_index.repeat_interleave(28)).view(10, 4, 7, 3)
    torch.testing.assert_close(sampled, expected.permute(0, 3, 1, 2))


def test_box_off_the_map_reads_zero_with_zero_gradients() -> None:
    bev = make_map().requires_grad_()
    boxes = torch.tensor([[500.0, 1e30, 0.0, 4.0, 2.0, 1.5, 0.3]], dtype=torch.float64, requires_grad=True)
    sampled = sample_boxes(bev, boxes, torch.tensor([1]), **PLACE)
    assert (sampled == 0).all()
    for gradient in torch.autograd.grad(sampled.sum(), (bev, boxes)):
        assert (gradient == 0).all()


def test_no_boxes() -> None:
    bev = make_map().requires_grad_()
    boxes, batch_index = make_boxes(0)
    boxes.requires_grad_()
    sampled = sample_boxes(bev, boxes, batch_index, **PLACE)
    assert sampled.shape == (0, 3, 4, 7)
    for gradient in torch.autograd.grad(sampled.sum(), (bev, boxes)):
        assert (gradient == 0).all()
    assert part_sensitive_scores(make_map(channels=28), boxes, batch_index, **PLACE).shape == (0, 1)


@pytest.mark.parametrize(("bad", "reads"), [(math.nan, math.nan), (math.inf, 0.0)])
def test_a_box_that_is_nowhere_spoils_only_itself(bad: float, reads: float) -> None:
    bev = make_map()
    boxes, batch_index = make_boxes(3)
    expected = sample_boxes(bev, boxes, batch_index, **PLACE)
    boxes[1, 0] = bad
    expected[1] = reads
    sampled = sample_boxes(bev, boxes, batch_index, **PLACE)
    torch.testing.assert_close(sampled, expected, equal_nan=True)


def test_low_precision_maps_keep_float32_positions() -> None:
    bev = make_map(dtype=torch.float32)
    boxes, batch_index = make_boxes(20)
    boxes = boxes.float()
    exact = sample_boxes(bev.bfloat16().float(), boxes, batch_index, **PLACE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = sample_boxes(bev.bfloat16(), boxes, batch_index, **PLACE)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), exact, atol=1e-6, rtol=2**-8)


def test_wrong_shapes_are_named() -> None:
    bev, (boxes, batch_index) = make_map(), make_boxes(3)
    with pytest.raises(ValueError, match=r"boxes \[N, 7\].*\(3, 6\)"):
        sample_boxes(bev, boxes[:, :6], batch_index, **PLACE)
    with pytest.raises(ValueError, match=r"\(2, 3, 9\)"):
        sample_boxes(bev[..., 0], boxes, batch_index, **PLACE)
    with pytest.raises(ValueError, match=r"K \* 28"):
        part_sensitive_scores(bev, boxes, batch_index, **PLACE)
