"""Checks of arguments that several operations share; every message says what was given."""

from __future__ import annotations

import torch
from torch import Tensor


def check_boxes(boxes: Tensor, name: str = "boxes", *, moving: bool = False) -> None:
    """Boxes `[N, 7]` of a floating type; where they may be `moving` also `[N, 9]`."""
    if boxes.ndim != 2 or boxes.shape[1] not in ((7, 9) if moving else (7,)):
        expected = "[N, 7]: x, y, z, l, w, h, yaw" + (", or [N, 9] with vx, vy" if moving else "")
        raise ValueError(f"{name} has shape {tuple(boxes.shape)}, expected {expected}")
    if not boxes.is_floating_point():
        raise TypeError(f"{name} is of {boxes.dtype}, expected a floating type")


def check_column(value: Tensor, count: int, name: str) -> None:
    """One integer for each of `count` rows."""
    if value.shape != (count,):
        raise ValueError(f"{name} has shape {tuple(value.shape)}, expected ({count},): one value a row")
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise TypeError(f"{name} is of {value.dtype}, expected integers")


def check_one_device(**tensors: Tensor | None) -> torch.device:
    """The device that all of them are on."""
    devices = {name: tensor.device for name, tensor in tensors.items() if tensor is not None}
    if len(set(devices.values())) > 1:
        raise ValueError("tensors on different devices: " + ", ".join(f"{n} on {d}" for n, d in devices.items()))
    return next(iter(devices.values()))
