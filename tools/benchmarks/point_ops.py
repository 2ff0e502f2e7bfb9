"""Points in boxes, near boxes and as boxes see them, against their plain PyTorch references.

`python tools/benchmarks/point_ops.py --help`
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from harness import Comparison, Settings, compare, run
from torch import Tensor

from cuda_ops.point_ops import op, reference
from lidar_ebm.formats.kitti.calibration import SIMULATED_CAMERA
from lidar_ebm.simulation.simulator import SimulationSettings, simulate_frame

POINTS, BOXES, NEAR = 20_000, 100, 96
LABELS, CANDIDATES = 16, 129
MARGIN = (1.0, 1.0, 0.5)  # m


def frame_points(device: torch.device) -> Tensor:
    """A simulated frame in the camera's view, in the sensor's order, repeated or cut to [20000, 4]."""
    points = torch.from_numpy(simulate_frame(SimulationSettings(seed=0, camera=SIMULATED_CAMERA), 0).points)
    return points.repeat(-(-POINTS // len(points)), 1)[:POINTS].contiguous().to(device)


def cars(points: Tensor, count: int) -> Tensor:
    """Boxes [count, 7] of cars' sizes around points of the frame, where surfaces are."""
    generator = torch.Generator().manual_seed(0)
    centers = points.cpu()[torch.randint(len(points), (count,), generator=generator), :3]
    sizes = torch.tensor([3.9, 1.6, 1.56]) * (1 + 0.1 * torch.randn(count, 3, generator=generator))
    yaw = 6.28 * torch.rand(count, 1, generator=generator) - 3.14
    return torch.cat([centers, sizes, yaw], dim=1).to(points.device)


def candidates(boxes: Tensor) -> Tensor:
    """Boxes [n, 129, D] around boxes [n, D]."""
    generator = torch.Generator().manual_seed(1)
    noise = 0.1 * torch.randn(len(boxes), CANDIDATES, boxes.shape[1], generator=generator)
    return boxes.unsqueeze(1) + noise.to(boxes.device)


def in_sweeps(points: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """The points [P, 5] as of ten sweeps, at 20 Hz, and the boxes [N, 9] at 10 m/s along their headings."""
    lag = 0.05 * (torch.arange(len(points), device=points.device) % 10)
    heading = torch.stack([boxes[:, 6].cos(), boxes[:, 6].sin()], dim=1)
    return torch.cat([points, lag.unsqueeze(1)], dim=1), torch.cat([boxes, 10 * heading], dim=1)


def with_gradient(
    features: Callable[[Tensor], Tensor], plain: Callable[[Tensor], Tensor], boxes: Tensor
) -> list[Callable[[], tuple[Tensor, Tensor]]]:
    """Both sides' features and gradient to the boxes, of a sum that weights every feature differently."""
    leaf = boxes.clone().requires_grad_()
    with torch.no_grad():
        weights = torch.randn_like(plain(leaf))

    def work(side: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        value = side(leaf)
        return value.detach(), torch.autograd.grad(value, leaf, weights)[0]

    torch.testing.assert_close(work(features), work(plain), rtol=1e-4, atol=1e-3)
    return [partial(work, features), partial(work, plain)]


def measure(settings: Settings) -> list[Comparison]:
    """The table of these operations."""
    points = frame_points(settings.device)
    boxes = cars(points, BOXES)
    point_frame, box_frame = points.new_zeros(POINTS).long(), boxes.new_zeros(BOXES).long()

    def gather(implementation: Callable[..., tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        return implementation(
            points, point_frame, boxes, box_frame, margin=MARGIN, max_points=NEAR, seed=0
        )  # [100, 96, 4], [100]

    sweeps, moving = in_sweeps(points, boxes)  # [20000, 5], [100, 9]

    def gather_moving(implementation: Callable[..., tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        return implementation(
            sweeps, point_frame, moving, box_frame, margin=MARGIN, max_points=NEAR, seed=0, drift=1.0
        )  # [100, 96, 5], [100]

    late, late_counts = gather_moving(op.gather_near_boxes)
    torch.testing.assert_close((late, late_counts), gather_moving(reference.gather_near_boxes), rtol=0, atol=0)
    chosen, counts = gather(op.gather_near_boxes)
    torch.testing.assert_close((chosen, counts), gather(reference.gather_near_boxes), rtol=0, atol=0)
    inside = op.points_in_boxes(points, boxes)
    assert inside.any() and torch.equal(inside, reference.points_in_boxes(points, boxes))

    near, seen = chosen[:LABELS], candidates(boxes[:LABELS])  # [16, 96, 4], [16, 129, 7]
    held = torch.arange(NEAR, device=near.device) < counts[:LABELS, None]  # [16, 96]
    flat, box_index = near[held], held.nonzero()[:, 0]  # [V, 4], [V]
    padded = with_gradient(partial(op.box_frame_features, near), partial(reference.box_frame_features, near), seen)
    ragged = with_gradient(
        partial(op.box_frame_features_ragged, flat, box_index),
        partial(reference.box_frame_features_ragged, flat, box_index),
        seen,
    )
    late_held = torch.arange(NEAR, device=near.device) < late_counts[:LABELS, None]  # [16, 96]
    late_flat, late_index = late[:LABELS][late_held], late_held.nonzero()[:, 0]  # [V, 5], [V]
    in_nine = with_gradient(
        partial(op.box_frame_features_ragged, late_flat, late_index),
        partial(reference.box_frame_features_ragged, late_flat, late_index),
        candidates(moving[:LABELS]),
    )
    return [
        compare(
            settings,
            f"`gather_near_boxes`, {POINTS:,} points, {BOXES} boxes, K {NEAR}",
            lambda: gather(op.gather_near_boxes),
            lambda: gather(reference.gather_near_boxes),
            against="the reference's eager mask-and-choose",
            aim=10,
        ),
        compare(
            settings,
            f"`box_frame_features`, {LABELS} × {CANDIDATES} boxes, K {NEAR}, forward + gradient to boxes",
            *padded,
            against="its eager composition",
            aim=3,
        ),
        compare(
            settings,
            f"`box_frame_features_ragged`, the same without padding, {len(flat)} points",
            *ragged,
            against="its eager composition",
        ),
        compare(
            settings,
            f"`gather_near_boxes` of moving boxes, the same in ten sweeps, {BOXES} boxes of 10 m/s",
            lambda: gather_moving(op.gather_near_boxes),
            lambda: gather_moving(reference.gather_near_boxes),
            against="the reference's eager mask-and-choose",
        ),
        compare(
            settings,
            f"`box_frame_features_ragged` in nine dimensions, {LABELS} × {CANDIDATES} boxes, {len(late_flat)} points, "
            "forward + gradient to boxes",
            *in_nine,
            against="its eager composition",
            aim=3,
        ),
        compare(
            settings,
            f"`points_in_boxes`, {POINTS:,} points, {BOXES} boxes",
            lambda: op.points_in_boxes(points, boxes),
            lambda: reference.points_in_boxes(points, boxes),
            against="the reference, in pieces that fit the cache",
        ),
    ]


if __name__ == "__main__":
    run(measure, __doc__ or "")
