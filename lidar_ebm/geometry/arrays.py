"""One implementation for numpy arrays and torch tensors: compute in torch, hand back what came in."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Array = TypeVar("Array", np.ndarray, Tensor)


def as_tensor(array: np.ndarray | Tensor) -> Tensor:
    """The tensor itself, or a tensor over the array's memory (a copy only where torch cannot share it)."""
    if isinstance(array, Tensor):
        return array
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def as_given(result: Tensor, given: Array) -> Array:
    """`result` as the kind of array that `given` is."""
    return result if isinstance(given, Tensor) else result.numpy()
