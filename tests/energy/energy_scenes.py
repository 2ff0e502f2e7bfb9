"""Energy heads, batches and maps for tests that need a small scene."""

from __future__ import annotations

import torch
from torch import Tensor

from lidar_ebm.config.config import Config
from lidar_ebm.config.loading import load_config
from lidar_ebm.energy.energy_head import EnergyHead
from lidar_ebm.runs.model import make_energy
from lidar_ebm.types import Batch, BevFeatures, BevGrid, LabelBatch


def make_config(kinds: tuple[str, ...] = ("points",), *overrides: str) -> Config:
    small = ["energy.bev.hidden=16", "bev.channels=3", "energy.points.channels=[16,16]", "energy.points.hidden=16"]
    return load_config(None, [f"energy.features=[{','.join(kinds)}]", *small, *overrides])


def make_head(config: Config) -> EnergyHead:
    """With last layers that are not small, so that f is far from flat."""
    head = make_energy(config)
    for energy in (head.bev, head.points):
        if energy is not None:
            torch.nn.init.normal_(energy.head[-1].weight)
    return head


def car_points(box: Tensor, count: int) -> Tensor:
    """Points on the two long sides, the rear and the roof of a box, and on the ground around it: [count, 4]."""
    offset = (torch.rand(count, 3) - 0.5) * box[3:6]
    face = torch.randint(5, (count,))
    for index, (axis, sign) in enumerate([(1, 1), (1, -1), (0, -1), (2, 1)]):
        offset[face == index, axis] = sign * box[3 + axis] / 2
    ground = face == 4
    offset[ground] *= torch.tensor([1.4, 1.8, 0.0])
    offset[ground, 2] = -box[5] / 2
    cos, sin = box[6].cos(), box[6].sin()
    x = offset[:, 0] * cos - offset[:, 1] * sin
    y = offset[:, 0] * sin + offset[:, 1] * cos
    return torch.stack([x + box[0], y + box[1], offset[:, 2] + box[2], torch.rand(count)], dim=1)


def make_batch(boxes: Tensor, counts: list[int]) -> Batch:
    """A frame for each box."""
    points = [car_points(box, count) for box, count in zip(boxes, counts, strict=True)]
    frame = torch.arange(len(boxes))
    labels = LabelBatch(boxes, torch.zeros_like(frame), frame, len(boxes))
    return Batch(
        ("",) * len(boxes), torch.cat(points), torch.repeat_interleave(torch.tensor(counts)), labels, len(boxes)
    )


def make_maps(frames: int, channels: int = 3) -> BevFeatures:
    maps = torch.rand(frames, channels, 20, 60)
    return BevFeatures(
        maps, maps, torch.ones(frames, 20, 60, dtype=torch.bool), BevGrid((0.2, -3.8), (0.4, 0.4), (20, 60))
    )
