"""The space that boxes live in, as the energy-based regression library sees it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lidar_ebm.ebm.targets import TargetSpace

BOX_NAMES = ("x", "y", "z", "l", "w", "h", "yaw", "vx", "vy")  # the first seven of boxes without a velocity
YAW = BOX_NAMES.index("yaw")
VELOCITY = slice(7, 9)
CAR_SIZE = (3.9, 1.6, 1.56)  # l, w, h, m, that stds and steps are meant for where they follow the size


def box_space(min_size: float, dimensions: int = 7) -> TargetSpace:
    """(x, y, z, l, w, h, yaw), or with (vx, vy): positions and velocities anywhere, sizes of at least `min_size` m,
    yaw wrapped to [-π, π).

    What counts as near is 0.1 m, 0.05 rad of yaw, which is 0.1 m at the end of a car, and 0.2 m/s.
    """
    names = BOX_NAMES[:dimensions]
    bounds = (-math.inf,) * 3 + (min_size,) * 3 + (-math.inf,) * 3
    periods = (None,) * 6 + (2 * math.pi,) + (None,) * 2
    scales = (0.1,) * 6 + (0.05,) + (0.2,) * 2
    return TargetSpace(names, periods[:dimensions], bounds[:dimensions], scales[:dimensions])


def relative_scales(boxes: Tensor, power: float) -> Tensor:
    """Factors [..., D] for numbers that are meant for a car: a power of the size of boxes [..., D] relative to its own.

    Of x, y, l and w it is the size √(l w), of z and h the height. Yaw and velocity have a factor of 1.
    """
    length, width, height = boxes[..., 3:6].detach().unbind(-1)
    around = (length * width / (CAR_SIZE[0] * CAR_SIZE[1])).sqrt() ** power
    upwards = (height / CAR_SIZE[2]) ** power
    others = torch.ones_like(boxes[..., YAW:])
    return torch.cat([torch.stack([around, around, upwards, around, around, upwards], dim=-1), others], dim=-1)
