"""Boxes of any origin refined by a trained energy: `load_energy(run).refine(points, boxes)`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from lidar_ebm.boxes import Boxes
from lidar_ebm.boxes.boxes import BOX_SIZE
from lidar_ebm.config.config import Config
from lidar_ebm.datasets.collate import collate
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.datasets.samples import index_by_name
from lidar_ebm.energy.box_space import VELOCITY
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

        An energy over velocities begins at the boxes' own. Where one is unknown it begins at standing still, with a
        warning: a fast object is then hardly reached. An energy that is not over them leaves them as they were.

        Args:
            points: [N, 3 + C] x, y, z in the LiDAR frame (x forward, y left, z up, m), reflectance 0..1, and what
                further channels the run was trained with (`config.points.channels`), all of them.
            boxes: `Boxes`, or [M, 7] x, y, z (centre), l, w, h, yaw.
            names: M class names, of boxes that are an array.
            steps: refinement steps T; the run's configuration where None.

        Raises:
            InputError: points or boxes have another shape or numbers that are not finite, a size is not above 0, or
                `steps` is negative; or the energy is told classes, and a box is of none of the run's.
        """
        check_steps(steps)
        given = boxes if isinstance(boxes, Boxes) else Boxes(np.asarray(boxes, np.float64), _names(names))
        _check(given)
        config, energy = self.model.config, self.model.energy
        cloud = checked_points(points, config.points.channels)
        rows = _rows(given, config.box_dimensions)
        sample = Sample("points", cloud, np.zeros((0, rows.shape[1]), np.float32), np.zeros(0, np.int64))
        batch = collate([sample]).to(next(self.model.parameters()).device)
        start = torch.as_tensor(rows, dtype=torch.float32, device=batch.points.device)
        bev = self.model.detector.encode(batch).bev if energy.needs_bev else None
        index = torch.zeros(len(start), dtype=torch.int64, device=start.device)
        kinds = _classes(given, config).to(start.device) if energy.needs_classes else None
        ascent = Refiner.around(energy, batch, bev, start, index, class_index=kinds).refine(steps)
        columns = {"velocity": ascent.y[:, VELOCITY]} if config.energy_dimensions > BOX_SIZE else {}
        refined = given.with_columns(boxes=ascent.y[:, :BOX_SIZE], f=ascent.f, **columns)
        return Refined(refined, ascent.f0.double().cpu().numpy())


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
        points: [N, 3 + C], as `LoadedEnergy.refine` takes them.
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


def _rows(boxes: Boxes, dimensions: int) -> np.ndarray:
    """Boxes [M, D] with their velocities, if D is nine; 0 where there is none, with a warning."""
    if dimensions == BOX_SIZE:
        return boxes.boxes
    velocity = np.full((len(boxes), 2), np.nan) if boxes.velocity is None else boxes.velocity
    unknown = int((~np.isfinite(velocity)).any(axis=1).sum())
    if unknown:
        warnings.warn(
            f"boxes: {unknown} of {len(boxes)} have no velocity, and are taken to stand still; give `velocity`.",
            stacklevel=4,
        )
    known = np.where(np.isfinite(velocity).all(axis=1, keepdims=True), velocity, 0.0)
    return np.concatenate([boxes.boxes, known], axis=1)


def _classes(boxes: Boxes, config: Config) -> Tensor:
    """Class index [M] of each box."""
    index = index_by_name(config.classes)
    for row, name in enumerate(boxes.names.tolist()):
        if name.lower() not in index:
            raise InputError(
                f"boxes: box {row} is a {name!r}, and this energy was trained for {', '.join(config.class_names)}. "
                "Rename it or leave it out."
            )
    return torch.tensor([index[name.lower()] for name in boxes.names], dtype=torch.int64)


def _check(boxes: Boxes) -> None:
    bad = ~np.isfinite(boxes.boxes).all(axis=1) | ~(boxes.boxes[:, 3:6] > 0).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        raise InputError(
            f"boxes: box {row} ({boxes.names[row]}) has a number that is not finite, or a size that is not above 0. "
            "Correct it or leave it out."
        )
