"""`BoxFeature`: a term of f with a view of the frame that is its own.

f is a sum of terms. Those of the map and of the points are built in; one of your own is a module of this form, given to
`EnergyHead(..., extra=[...])`.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn

from lidar_ebm.types import Batch


class View(Protocol):
    """View that a term has of the frame around each of N boxes, fixed once so that f is continuous in the box."""

    def select(self, rows: Tensor) -> Any:
        """The view of the boxes that `rows` (indices) names."""


class BoxFeature(nn.Module):
    """A term of f: `view` once around each of N boxes, then `forward` for any candidates."""

    width: int = 0  # of `describe`

    def view(self, batch: Batch, boxes: Tensor, batch_index: Tensor) -> View:
        """The view around boxes [N, D] in the frames batch_index [N] of a batch."""
        raise NotImplementedError

    def forward(self, view: Any, boxes: Tensor) -> Tensor:
        """The term [N, S] of candidates [N, S, d], the numbers of a box that f is over, differentiable in them."""
        raise NotImplementedError

    def describe(self, view: Any, boxes: Tensor) -> Tensor:
        """Numbers [N, S, width] of candidates, for a proposal density that is learnt beside f."""
        return boxes.new_zeros(*boxes.shape[:2], self.width)
