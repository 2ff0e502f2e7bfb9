"""Using a trained run: `load_detector(run).detect(points)`, and point-cloud files to result files and pictures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from lidar_ebm.datasets.collate import collate
from lidar_ebm.datasets.kitti.dataset import crop_to_range
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.errors import InputError
from lidar_ebm.runs.model import Detector
from lidar_ebm.runs.run import load_run
from lidar_ebm.runs.temperature import temperature_of
from lidar_ebm.types import Batch, Detections, to_device


@dataclass(frozen=True, eq=False)
class Climb:
    """The detections of one frame, and how refinement came to them."""

    found: Detections  # M of them, on the CPU
    boxes: np.ndarray  # [1 + T, M, 7] float32 where each would be after 0..T steps; the last are those of `found`
    f: np.ndarray  # [1 + T, M] float32 their f


class LoadedDetector:
    """A trained detector, ready for point clouds of any source.

    Attributes:
        config: the run's configuration.
        model: the network, in evaluation mode.
    """

    def __init__(self, model: Detector, run: str | Path) -> None:
        """Args: model: the run's network; run: its folder, where calibration may have left a temperature."""
        self.model = model.eval()
        self.config = model.config
        self.run = Path(run)

    @cached_property
    def temperature(self) -> float:
        """What f is divided by where uncertainty is asked for: as configured, or as calibration found it.

        Raises:
            InputError: the run's temperature.json is damaged.
        """
        return temperature_of(self.run, self.model, self.config.uncertainty)

    def detect(
        self, points: np.ndarray | Tensor, *, steps: int | None = None, uncertainty: bool | None = None
    ) -> Detections:
        """Find the objects of one frame.

        Args:
            points: [N, 4] x, y, z in the LiDAR frame (x forward, y left, z up, m) and reflectance 0..1. Points outside
                the configured range are not looked at.
            steps: refinement steps T; the configuration's where None, 0 for the detector's own boxes.
            uncertainty: whether to find out how sure the energy is of each box; as configured where None.

        Returns:
            Boxes with the detector's scores in falling order, class indices into `config.class_names`, and f, on the
            CPU; with uncertainty also covariance, expected IoU, and what else `Detections` can hold.

        Raises:
            InputError: the points have another shape, or a NaN or infinite value; or `steps` is negative.
        """
        return self.detect_before_after(points, steps=steps, uncertainty=uncertainty)[1]

    @torch.inference_mode(False)  # what is made in a caller's inference mode cannot take part in the climb
    def detect_before_after(
        self, points: np.ndarray | Tensor, *, steps: int | None = None, uncertainty: bool | None = None
    ) -> tuple[Detections, Detections]:
        """What `detect` finds without and with refinement, row for row; the latter with uncertainty, if wanted."""
        check_steps(steps)
        wanted = self.config.uncertainty.enabled if uncertainty is None else uncertainty
        before, after = self.model.detect_before_after(
            self.to_batch(points), steps, temperature=self.temperature if wanted else None
        )
        return to_device(before[0], "cpu"), to_device(after[0], "cpu")

    @torch.inference_mode(False)
    @torch.no_grad()
    def climb(self, points: ArrayLike | Tensor, *, steps: int | None = None) -> Climb:
        """What `detect` finds, with the way that every box took there; arguments and errors as there."""
        check_steps(steps)
        batch = self.to_batch(points)
        features = self.model.encode(batch)
        proposals = self.model.propose(features)
        ascent = self.model.refine(batch, features, proposals, steps, record=True)
        assert ascent.trajectory is not None
        context = self.model.energy.context(batch, features.bev, proposals.boxes, proposals.batch_index)
        f = self.model.energy(context, ascent.trajectory.transpose(0, 1)).T  # [1 + T, M]
        found = Detections(ascent.y, proposals.scores, proposals.labels, ascent.f)
        return Climb(to_device(found, "cpu"), ascent.trajectory.cpu().numpy(), f.cpu().numpy())

    def to_batch(self, points: ArrayLike | Tensor) -> Batch:
        """Points [N, 4] of one frame as the model takes them, cropped to the configured range, on its device.

        Raises:
            InputError: they have another shape, or a NaN or infinite value.
        """
        array = np.asarray(points.detach().cpu() if isinstance(points, Tensor) else points, dtype=np.float32)
        if array.ndim != 2 or array.shape[1] != 4:
            raise InputError(f"points: expected an array [N, 4] (x, y, z, reflectance), got shape {list(array.shape)}.")
        bad = int((~np.isfinite(array)).any(axis=1).sum())
        if bad:
            raise InputError(f"points: {bad} of {len(array)} rows hold NaN or infinite values. Drop these rows first.")
        frame = Sample("points", array, np.zeros((0, 7), np.float32), np.zeros(0, np.int64))
        batch = collate([crop_to_range(frame, self.config.voxels.range)])
        return batch.to(next(self.model.parameters()).device)


def check_steps(steps: int | None) -> None:
    """Refuse a number of refinement steps below 0.

    Raises:
        InputError: it is.
    """
    if steps is not None and steps < 0:
        raise InputError(f"steps: {steps} refinement steps cannot be taken; give 0 or more.")


def load_detector(run: str | Path, device: str = "cpu", *, weights: str = "model.safetensors") -> LoadedDetector:
    """Load a trained run; the folder is all that it needs.

    Args:
        weights: which of the folder's files: the finished run's, or a checkpoint (`checkpoints/best.safetensors`).

    Raises:
        InputError: the folder holds no finished run, or its weights do not fit its configuration.
    """
    return LoadedDetector(load_run(run, device, weights=weights), run)
