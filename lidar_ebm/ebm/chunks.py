"""Evaluating f at many candidates in parts, so that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lidar_ebm.ebm.energy import Energy, value

CHUNK = 16_384  # candidates of one call; a head of a thousand units a layer then needs some hundred MB


def spans(rows: int, candidates: int, chunk: int) -> Iterator[tuple[int, int]]:
    """[start, stop) of parts of `candidates`, each of at most `chunk` over all rows together (but one for each row).

    Raises:
        ValueError: `chunk` is not positive.
    """
    if chunk < 1:
        raise ValueError(f"chunk: {chunk} candidates at a time; give 1 or more")
    size = max(1, chunk // max(1, rows))
    return ((start, min(start + size, candidates)) for start in range(0, candidates, size))


def value_in_chunks(energy: Energy, y: Tensor, chunk: int = CHUNK) -> Tensor:
    """f [N, S] at y [N, S, D] without gradients, at most `chunk` of the N x S at a time (but one for each row)."""
    parts = [value(energy, y[:, start:stop]) for start, stop in spans(y.shape[0], y.shape[1], chunk)]
    return torch.cat(parts, dim=1) if parts else value(energy, y)
