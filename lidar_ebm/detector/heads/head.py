"""`Head`: from bird's-eye-view maps to scored boxes, and the losses that teach it.

The anchor head and the center head are built in; one of your own is a module of this form, given to
`Detector(settings, head=...)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from lidar_ebm.types import BevFeatures, LabelBatch, Proposals


class Head(nn.Module):
    """A detection head: `forward` predicts, `decode` makes boxes of it, `loss` compares it with labels."""

    def forward(self, bev: BevFeatures) -> Any:
        """Predictions from the maps of a batch, in a form of the head's own."""
        raise NotImplementedError

    def count(self, predictions: Any, boxes: LabelBatch) -> int:
        """Number that `loss` divides by where this batch is all of a step."""
        raise NotImplementedError

    def loss(self, predictions: Any, boxes: LabelBatch, *, count: float | None = None) -> dict[str, Tensor]:
        """Weighted losses by name, each a sum over the batch divided by `count`, or by this batch's own."""
        raise NotImplementedError

    def decode(self, predictions: Any, score_threshold: float, count: int, *, together: int | None = None) -> Proposals:
        """Scored boxes before suppression: of each frame and class at most `count`, of a frame at most `together`, of
        those that score above the threshold; frame by frame, falling scores within."""
        raise NotImplementedError

    def average(self, views: Sequence[tuple[Any, str]]) -> Any:
        """One frame's predictions from those of mirrored ones, for a head that detection with flips is to take.

        Args:
            views: predictions, and the axes along which their frames are mirrored ("", "x", "y" or "xy").
        """
        raise NotImplementedError
