"""Boxes of any origin refined by a trained energy: `load_energy(run).refine(points, boxes)`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.collate import collate
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.errors import InputError
from lidar_ebm.inference.detection import check_steps
from lidar_ebm.inference.points import checked_points
from lidar_ebm.inference.refiner import Refiner
from lidar_ebm.runs.model import Model
from lidar_ebm.runs.run import load_run


@dataclass(frozen=True, eq=False)
class Refined:
    """Boxes after refinement, row for row as they were given, with all of their columns."""

    boxes: Boxes  # M of them; `boxes.f` is f there
    f0: np.ndarray  # [M] f at the boxes as they were given

    @property
    def f(self) -> np.ndarray:
        """f [M] at the refined boxes."""
        return self.boxes.columns()["f"]


class LoadedEnergy:
    """A trained energy, ready for boxes of any source in point clouds of any source."""

    def __init__(self, model: Model) -> None:
        """Args: model: a run's; its detector runs only where the energy reads its maps."""
        self.model = model.eval()

    @torch.inference_mode(False)  # an ascent needs gradients, and a caller's inference mode would forbid them
    @torch.no_grad()
    def refine(
        self, points: ArrayLike | Tensor, boxes: Boxes | ArrayLike, names: Any = None, *, steps: int | None = None
    ) -> Refined:
        """Refine the boxes of one frame.

        Args:
            points: [N, 4] x, y, z in the LiDAR frame (x forward, y left, z up, m) and reflectance 0..1, all of them.
            boxes: `Boxes`, or [M, 7] x, y, z (centre), l, w, h, yaw.
            names: M class names, of boxes that are an array.
            steps: refinement steps T; the run's configuration where None.

        Raises:
            InputError: points or boxes have another shape or numbers that are not finite, a size is not above 0, or
                `steps` is negative.
        """
        check_steps(steps)
        given = boxes if isinstance(boxes, Boxes) else Boxes(np.asarray(boxes, np.float64), _names(names))
        _check(given)
        cloud = checked_points(points)
        sample = Sample("points", cloud, np.zeros((0, 7), np.float32), np.zeros(0, np.int64))
        batch = collate([sample]).to(next(self.model.parameters()).device)
        start = torch.as_tensor(given.boxes, dtype=torch.float32, device=batch.points.device)
        bev = self.model.detector.encode(batch).bev if self.model.energy.needs_bev else None
        index = torch.zeros(len(start), dtype=torch.int64, device=start.device)
        ascent = Refiner.around(self.model.energy, batch, bev, start, index).refine(steps)
        return Refined(given.with_columns(boxes=ascent.y, f=ascent.f), ascent.f0.double().cpu().numpy())


def load_energy(run: str | Path, device: str = "cpu", *, weights: str = "model.safetensors") -> LoadedEnergy:
    """Load the energy of a trained run.

    Args:
        weights: which of the folder's files: the finished run's, or a checkpoint (`checkpoints/best.safetensors`).

    Raises:
        InputError: the folder holds no finished run, or its weights do not fit its configuration.
    """
    return LoadedEnergy(load_run(run, device, weights=weights))


def refine(points: ArrayLike | Tensor, boxes: Boxes, energy: str | Path | LoadedEnergy) -> Boxes:
    """Refine the boxes of one frame by the energy of a run.

    Args:
        points: [N, 4] x, y, z in the LiDAR frame (m) and reflectance 0..1.
        boxes: of any source.
        energy: a run folder, or an energy that is loaded already.

    Raises:
        InputError: as `load_energy` and `LoadedEnergy.refine`.
    """
    loaded = energy if isinstance(energy, LoadedEnergy) else load_energy(energy)
    return loaded.refine(points, boxes).boxes


def _names(names: Any) -> Any:
    if names is None:
        raise InputError("names: give the class name of each box, or give `Boxes`.")
    return names


def _check(boxes: Boxes) -> None:
    bad = ~np.isfinite(boxes.boxes).all(axis=1) | ~(boxes.boxes[:, 3:6] > 0).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        raise InputError(
            f"boxes: box {row} ({boxes.names[row]}) has a number that is not finite, or a size that is not above 0. "
            "Correct it or leave it out."
        )
