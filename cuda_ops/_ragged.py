"""Helpers that the references share for work on runs of different lengths."""

from __future__ import annotations

import torch
from torch import Tensor

PAIRS_AT_ONCE = 1 << 22  # pairs looked at together; bounds the memory


def enumerate_runs(count: Tensor) -> tuple[Tensor, Tensor]:
    """For runs of the given lengths, one after another: run and position within it of each of their entries."""
    run = torch.repeat_interleave(count)
    return run, torch.arange(len(run), device=count.device) - (count.cumsum(0) - count)[run]
