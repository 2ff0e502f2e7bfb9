"""Ten refinement steps of 100 boxes with the published energy head, the whole loop.

The other side is the published loop (f and its gradient before each step, f after it), on grid_sample in one call, on a
map in torch's default memory format and, in the second line, channels-last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from harness import Comparison, Settings, compare, run
from published_energy import GRID, PublishedEnergy, published_head, random_cars, sample_in_one_call, shared_map
from torch import Tensor

from lidar_ebm.config.loading import load_config
from lidar_ebm.energy.box_features import BevView, BoxContext
from lidar_ebm.energy.box_space import box_space
from lidar_ebm.formats.kitti.calibration import SIMULATED_CAMERA
from lidar_ebm.inference.detection import detect_batch
from lidar_ebm.runs.model import Model
from lidar_ebm.simulation.simulator import SimulationSettings, simulate_frame
from lidar_ebm.types import Batch, LabelBatch

BOXES, STEPS = 100, 10


def measure(settings: Settings) -> Sequence[Comparison]:
    torch.manual_seed(0)
    head = published_head(settings.device)
    assert head.bev is not None
    energy = PublishedEnergy(head.bev)
    bev, boxes = shared_map(1, settings.device), random_cars(BOXES, settings.device)
    step_length, space = head.config.refinement.step_length, box_space(head.config.energy.min_size)
    assert isinstance(step_length, float)  # as published
    context = BoxContext(BevView(bev, GRID, torch.zeros(BOXES, dtype=torch.int64, device=settings.device)), None)

    def published(bev: Tensor) -> Tensor:
        y = boxes
        length = torch.full_like(y[:, :1], step_length)  # [N, 1]
        for _ in range(STEPS):
            leaf = y.detach().requires_grad_()
            before = energy(sample_in_one_call(bev, leaf), leaf)
            (gradient,) = torch.autograd.grad(before.sum(), leaf)
            candidate = space.constrain(y + length * gradient)
            with torch.no_grad():
                after = energy(sample_in_one_call(bev, candidate), candidate)
            better = (after >= before)[:, None]
            y = torch.where(better, candidate, y)
            length = torch.where(better, length, length / 2)
        return y

    def ours() -> Tensor:
        return head.refine(context, boxes, steps=STEPS).y

    torch.testing.assert_close(ours(), published(bev), atol=1e-4, rtol=1e-4)
    assert not torch.equal(ours(), boxes)
    work, against = (
        f"{STEPS} refinement steps of {BOXES} boxes, 7200-1024-1024-1",
        "published loop, one-call grid_sample",
    )
    plain = bev.contiguous()
    comparisons = [
        compare(settings, work, ours, lambda: published(plain), against=against, aim=2),
        compare(settings, work, ours, lambda: published(bev), against=f"{against}, channels-last", aim=2),
    ]
    if settings.device.type == "cuda":  # at most 1.5 ms on an H100, and 3 % of a detection
        detect = detection(settings.device)
        comparisons.append(
            compare(settings, work, ours, detect, against="a whole detection with ten steps, published size", aim=33)
        )
    return comparisons


def detection(device: torch.device) -> Callable[[], object]:
    """An untrained detector of the published size, which finds boxes everywhere, on a simulated frame."""
    config = load_config("sassd_ebm_car", ["detection.score_threshold=0", "part_score.score_threshold=0"])
    detector = Model(config).to(device).eval()
    points = torch.from_numpy(simulate_frame(SimulationSettings(seed=0, camera=SIMULATED_CAMERA), 0).points)
    nothing = torch.zeros(0, dtype=torch.int64)
    labels = LabelBatch(torch.zeros(0, 7), nothing, nothing, 1)
    batch = Batch(("000000",), points, torch.zeros(len(points), dtype=torch.int64), labels, 1).to(device)
    return lambda: detect_batch(detector, batch, STEPS).after()


if __name__ == "__main__":
    run(measure, __doc__ or "")
