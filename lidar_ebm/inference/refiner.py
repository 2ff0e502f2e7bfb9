"""From boxes to better boxes: the energy around each of them, fixed once, and all that is asked of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lidar_ebm.ebm.ascent import Ascent
from lidar_ebm.energy.box_features import BoxContext
from lidar_ebm.energy.energy_head import EnergyHead
from lidar_ebm.energy.uncertainty import BoxUncertainty, estimate_uncertainty
from lidar_ebm.types import Batch, BevFeatures

UNCERTAINTY_SEED = 0  # the same frames, the same numbers


@dataclass(frozen=True, eq=False)
class Refiner:
    """f(x, y) around N boxes of a batch, with what f sees of the frames computed once.

    `Refiner.around` makes one; refinement, values of f and uncertainty then share its context.
    """

    energy: EnergyHead
    boxes: Tensor  # [N, D] LiDAR frame, m, rad and m/s, that the context was made for
    context: BoxContext
    seed: int = UNCERTAINTY_SEED

    @classmethod
    def around(
        cls,
        energy: EnergyHead,
        batch: Batch,
        bev: BevFeatures | None,
        boxes: Tensor,
        batch_index: Tensor,
        *,
        class_index: Tensor | None = None,
        seed: int = UNCERTAINTY_SEED,
    ) -> Refiner:
        """The energy around boxes [N, D] in the frames batch_index [N] of a batch.

        Args:
            bev: the detector's maps; None will do for an energy that reads points alone.
            class_index: [N] int64; None will do for an energy that is not told the boxes' classes.
            seed: of the samples that uncertainty is estimated with.

        Raises:
            ValueError: the energy reads the maps, or is told classes, and there are none.
        """
        context = energy.context(batch, bev, boxes, batch_index, class_index=class_index)
        return cls(energy, boxes, context, seed)

    def f(self, candidates: Tensor) -> Tensor:
        """f [N, S] of candidates [N, S, D] for each box."""
        return self.energy(self.context, candidates)

    def refine(self, steps: int | None = None, *, record: bool = False) -> Ascent:
        """Ascend f from every box at once.

        Args:
            steps: T; as configured where None.
            record: keep the boxes as they would be after every number of steps.
        """
        return self.energy.refine(self.context, self.boxes, steps=steps, record=record)

    def uncertainty(self, boxes: Tensor, temperature: float) -> BoxUncertainty:
        """p(y | x) around boxes [N, D] that were refined from these, with f divided by `temperature`."""
        random = torch.Generator().manual_seed(self.seed)
        return estimate_uncertainty(self.f, boxes, self.energy.config, temperature=temperature, random=random)

    def select(self, rows: Tensor) -> Refiner:
        """The same around the boxes that `rows` (indices) names."""
        return replace(self, boxes=self.boxes[rows], context=self.context.select(rows))
