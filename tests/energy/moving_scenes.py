"""Objects that move, seen in several sweeps."""

from __future__ import annotations

import torch
from torch import Tensor

from lidar_ebm.config.config import Config
from lidar_ebm.types import Batch, LabelBatch
from tests.energy.energy_scenes import car_points, make_config

LAGS = torch.arange(10) * 0.05  # s


def moving_config(*overrides: str) -> Config:
    return make_config(("points",), "velocity=true", "points.channels=[reflectance,time_lag]", *overrides)


def moving_labels(count: int, speed: float = 8.0) -> Tensor:
    """Cars [count, 9] of any heading that drive along it, or back."""
    scale = torch.tensor([30.0, 20.0, 0.4, 0.6, 0.2, 0.2, 6.2])
    boxes = torch.rand(count, 7) * scale + torch.tensor([10.0, -10.0, -1.2, 3.6, 1.5, 1.4, -3.1])
    forward = (torch.rand(count, 1) * 2 - 1) * speed
    return torch.cat([boxes, forward * boxes[:, 6:].cos(), forward * boxes[:, 6:].sin()], dim=1)


def moving_points(box: Tensor, count: int) -> Tensor:
    """Points [count, 5] of a car [9] and the ground it is on, the car's where it was at the time of their sweep."""
    points = car_points(box[:7], count)
    lag = LAGS[torch.randint(len(LAGS), (count,))]
    of_car = points[:, 2] > box[2] - box[5] / 2 + 1e-3
    way = torch.where(of_car, lag, 0.0).unsqueeze(1) * box[7:]
    return torch.cat([points[:, :2] - way, points[:, 2:], lag.unsqueeze(1)], dim=1)


def moving_batch(boxes: Tensor, count: int) -> Batch:
    """A frame for each box, of `count` points."""
    points = torch.cat([moving_points(box, count) for box in boxes])
    frame = torch.arange(len(boxes))
    labels = LabelBatch(boxes, torch.zeros_like(frame), frame, len(boxes))
    return Batch(("",) * len(boxes), points, frame.repeat_interleave(count), labels, len(boxes))
