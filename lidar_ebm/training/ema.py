"""The exponential moving average of the weights in training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

WARM_UP = 10  # steps: early on the average forgets faster, or it would keep the random weights it began with


class MovingAverage:
    """Follows tensors that change in place: average ← d average + (1 - d) value.

    d = min(decay, (1 + n) / (10 + n)) after n updates, so that the first weights do not linger. What is no
    floating-point number (a count of batches) is copied.
    """

    def __init__(self, tensors: Mapping[str, Tensor], decay: float) -> None:
        """Args: tensors: by name, what is followed: a model's own parameters and buffers."""
        self.decay, self.updates = decay, 0
        self._followed = {name: tensor.detach() for name, tensor in tensors.items()}
        self.averages = {name: tensor.clone() for name, tensor in self._followed.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the tensors as they are now."""
        decay = min(self.decay, (1 + self.updates) / (WARM_UP + self.updates))
        self.updates += 1
        smooth = [name for name, tensor in self._followed.items() if tensor.is_floating_point()]
        averages = [self.averages[name] for name in smooth]
        torch._foreach_lerp_(averages, [self._followed[name] for name in smooth], 1 - decay)
        for name in self._followed.keys() - set(smooth):
            self.averages[name].copy_(self._followed[name])

    def restore(self, averages: Mapping[str, Tensor], updates: int) -> None:
        """Go on from averages that were saved after so many updates."""
        for name, average in self.averages.items():
            average.copy_(averages[name])
        self.updates = updates

    @torch.no_grad()
    def take_over(self) -> None:
        """Make the averages the tensors' own values."""
        for name, tensor in self._followed.items():
            tensor.copy_(self.averages[name])

    @contextmanager
    def taken_over(self) -> Iterator[None]:
        """Within, the tensors have the averages' values."""
        kept = {name: tensor.clone() for name, tensor in self._followed.items()}
        self.take_over()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, tensor in self._followed.items():
                    tensor.copy_(kept[name])
