"""Box sampling against torch's grid_sample: 100 boxes on a map of 256 x 200 x 176, float32."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from harness import Comparison, Settings, compare, run
from torch import Tensor

from cuda_ops.box_sampling import box_grid, sample_boxes

CHANNELS, HEIGHT, WIDTH = 256, 200, 176
CELL = 0.4
ORIGIN = (CELL / 2, -CELL * HEIGHT / 2 + CELL / 2)
GRID_SIZE = (4, 7)
Sample = Callable[[Tensor, Tensor], Tensor]


def make_boxes(count: int, device: torch.device) -> Tensor:
    """[count, 7] boxes of the size of cars, anywhere on the map."""
    shares = torch.rand(count, 7)
    boxes = torch.empty(count, 7)
    boxes[:, 0] = shares[:, 0] * CELL * WIDTH
    boxes[:, 1] = (shares[:, 1] - 0.5) * CELL * HEIGHT
    boxes[:, 2] = -1.0
    boxes[:, 3:6] = torch.tensor([3.9, 1.6, 1.5]) * (0.8 + 0.4 * shares[:, 3:6])
    boxes[:, 6] = (shares[:, 6] - 0.5) * 2 * math.pi
    return boxes.to(device)


def grid_for_torch(boxes: Tensor) -> Tensor:
    """[N, across, along, 2], the boxes' grids in grid_sample's units."""
    cells = (box_grid(boxes, GRID_SIZE) - boxes.new_tensor(ORIGIN)) / CELL
    return 2 * cells / boxes.new_tensor([WIDTH - 1, HEIGHT - 1]) - 1


def sample_expanded(bev: Tensor, boxes: Tensor) -> Tensor:
    """The published composition: a view of the map for each box. [N, C, across, along]"""
    return F.grid_sample(bev.expand(len(boxes), -1, -1, -1), grid_for_torch(boxes), align_corners=True)


def sample_in_one_call(bev: Tensor, boxes: Tensor) -> Tensor:
    """All positions as one picture of a single column. [N, C, across, along]"""
    across, along = GRID_SIZE
    picture = F.grid_sample(bev, grid_for_torch(boxes).view(1, -1, 1, 2), align_corners=True)  # [1, C, N * G, 1]
    return picture.view(bev.shape[1], len(boxes), across, along).transpose(0, 1)


def sample_own(bev: Tensor, boxes: Tensor) -> Tensor:
    """[N, C, across, along]"""
    frame = torch.zeros(len(boxes), dtype=torch.long, device=boxes.device)
    return sample_boxes(bev, boxes, frame, grid_size=GRID_SIZE, origin=ORIGIN, cell_size=(CELL, CELL))


def measure(settings: Settings) -> list[Comparison]:
    torch.manual_seed(0)
    # Both sides read channels-last, which is the faster memory format for grid_sample too.
    bev = torch.randn(1, CHANNELS, HEIGHT, WIDTH, device=settings.device)
    bev = bev.contiguous(memory_format=torch.channels_last).requires_grad_()
    boxes = make_boxes(100, settings.device).requires_grad_()
    weight = torch.randn(100, CHANNELS, *GRID_SIZE, device=settings.device)

    def both(sample: Sample) -> tuple[Tensor, ...]:
        return torch.autograd.grad(sample(bev, boxes), (bev, boxes), weight)

    def to_boxes(sample: Sample) -> tuple[Tensor, ...]:
        return torch.autograd.grad(sample(bev.detach(), boxes), boxes, weight)

    for sample in (sample_expanded, sample_in_one_call):
        torch.testing.assert_close(sample_own(bev, boxes), sample(bev, boxes), atol=1e-3, rtol=1e-4)
    for ours, theirs in zip(
        (*both(sample_own), *to_boxes(sample_own)),
        (*both(sample_in_one_call), *to_boxes(sample_in_one_call)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=2e-2, rtol=1e-3)

    def row(work: str, run_once: Callable[[Sample], object], other: Sample, against: str, aim: float) -> Comparison:
        return compare(settings, work, lambda: run_once(sample_own), lambda: run_once(other), against=against, aim=aim)

    whole, one_call = "100 boxes, forward + gradients to map and boxes", "grid_sample in one call"
    comparisons = [
        row(whole, both, sample_expanded, "grid_sample on the map expanded 100 times", 100),
        row(whole, both, sample_in_one_call, one_call, 8),
        row("100 boxes, forward + gradient to boxes", to_boxes, sample_in_one_call, one_call, 4),
    ]
    if settings.device.type == "cuda":
        for dtype in (torch.float32, torch.bfloat16):
            comparisons.append(against_copy(settings, dtype))
    return comparisons


def against_copy(settings: Settings, dtype: torch.dtype) -> Comparison:
    """The reads of an NCE step, 128 labels of 129 boxes, against a copy that moves as many bytes.

    Counted is what must move at least, the map and the output, once each; the ratio is the share of a copy's bandwidth.
    """
    bev = torch.randn(16, CHANNELS, HEIGHT, WIDTH, device=settings.device, dtype=dtype)
    bev = bev.contiguous(memory_format=torch.channels_last)
    boxes = make_boxes(128 * 129, settings.device)
    frame = torch.arange(len(boxes), device=settings.device) // (len(boxes) // len(bev))  # [N]

    def sample() -> Tensor:
        return sample_boxes(bev, boxes, frame, grid_size=GRID_SIZE, origin=ORIGIN, cell_size=(CELL, CELL))

    moved = bev.nbytes + sample().nbytes
    source = torch.empty(moved // 2, device=settings.device, dtype=torch.uint8)
    target = torch.empty_like(source)
    name = f"{len(boxes)} boxes, {str(dtype).removeprefix('torch.')}, forward"
    against = f"a copy of as many bytes, {moved / 1e9:.2f} GB"
    return compare(settings, name, sample, lambda: target.copy_(source), against=against, aim=0.6)


if __name__ == "__main__":
    run(measure, __doc__ or "")
