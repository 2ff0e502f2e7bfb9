"""Box sampling against torch's grid_sample: 100 boxes on a map of 256 × 200 × 176, float32.

The map lies channels-last for us, as the detector makes it. The other side reads it in torch's default memory format,
as the published code does, and in a second line of each pair channels-last too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from harness import Comparison, Settings, compare, run
from published_energy import GRID, random_cars, sample_in_one_call, sample_on_expanded_map, shared_map
from torch import Tensor

from cuda_ops.box_sampling import sample_boxes

BOXES = 100
Sample = Callable[[Tensor, Tensor], Tensor]


def sample_own(bev: Tensor, boxes: Tensor) -> Tensor:
    """[N, C, 4, 7]"""
    frame = torch.zeros(len(boxes), dtype=torch.long, device=boxes.device)
    return sample_boxes(bev, boxes, frame, origin=GRID.origin, cell_size=GRID.cell_size)


def measure(settings: Settings) -> list[Comparison]:
    torch.manual_seed(0)
    bev = shared_map(1, settings.device).requires_grad_()
    plain = bev.detach().contiguous().requires_grad_()  # the same map, a plane a channel
    boxes = random_cars(BOXES, settings.device).requires_grad_()
    weight = torch.randn(BOXES, bev.shape[1], 4, 7, device=settings.device)

    def both(sample: Sample, bev: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(sample(bev, boxes), (bev, boxes), weight)

    def to_boxes(sample: Sample, bev: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(sample(bev.detach(), boxes), boxes, weight)

    for sample in (sample_on_expanded_map, sample_in_one_call):
        torch.testing.assert_close(sample_own(bev, boxes), sample(bev, boxes), atol=1e-3, rtol=1e-4)
    for function in (both, to_boxes):
        for ours, theirs in zip(function(sample_own, bev), function(sample_in_one_call, bev), strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-2, rtol=1e-3)

    whole, part = f"{BOXES} boxes, forward + gradients to map and boxes", f"{BOXES} boxes, forward + gradient to boxes"
    one_call, last = "grid_sample in one call", ", channels-last"
    comparisons = []
    for work, function, sample, layout, against, aim in (
        (whole, both, sample_on_expanded_map, plain, f"grid_sample on the map repeated {BOXES} times", 100),
        (whole, both, sample_on_expanded_map, bev, f"grid_sample on the map repeated {BOXES} times{last}", 100),
        (whole, both, sample_in_one_call, plain, one_call, 8),
        (whole, both, sample_in_one_call, bev, one_call + last, 8),
        (part, to_boxes, sample_in_one_call, plain, one_call, 4),
        (part, to_boxes, sample_in_one_call, bev, one_call + last, 4),
    ):
        comparisons.append(
            compare(
                settings,
                work,
                partial(function, sample_own, bev),
                partial(function, sample, layout),
                against=against,
                aim=aim,
            )
        )
    if settings.device.type == "cuda":
        comparisons += [against_copy(settings, dtype) for dtype in (torch.float32, torch.bfloat16)]
    return comparisons


def against_copy(settings: Settings, dtype: torch.dtype) -> Comparison:
    """The reads of an NCE step, 128 labels of 129 boxes, against a copy that moves as many bytes.

    Counted is what must move at least, the map and the output, once each; the ratio is the share of a copy's bandwidth.
    """
    bev = shared_map(16, settings.device).to(dtype)
    boxes = random_cars(128 * 129, settings.device)
    frame = torch.arange(len(boxes), device=settings.device) // (len(boxes) // len(bev))  # [N]

    def sample() -> Tensor:
        return sample_boxes(bev, boxes, frame, origin=GRID.origin, cell_size=GRID.cell_size)

    moved = bev.nbytes + sample().nbytes
    source = torch.empty(moved // 2, device=settings.device, dtype=torch.uint8)
    target = torch.empty_like(source)
    name = f"{len(boxes)} boxes, {str(dtype).removeprefix('torch.')}, forward"
    against = f"a copy of as many bytes, {moved / 1e9:.2f} GB"
    timing = compare(settings, name, sample, lambda: target.copy_(source), against=against, aim=0.6)
    achieved, copied = (moved / milliseconds / 1e6 for milliseconds in (timing.ours_ms, timing.other_ms))
    return replace(timing, work=f"{name}, {achieved:.0f} GB/s", other=f"{against} at {copied:.0f} GB/s")


if __name__ == "__main__":
    run(measure, __doc__ or "")
