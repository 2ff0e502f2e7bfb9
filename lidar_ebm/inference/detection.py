"""From a batch to refined boxes, spelled out once, and `load_detector(run).detect(points)`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from lidar_ebm.boxes import Boxes
from lidar_ebm.boxes.boxes import BOX_SIZE
from lidar_ebm.datasets.collate import collate
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.datasets.samples import crop_to_range
from lidar_ebm.ebm.ascent import Ascent
from lidar_ebm.energy.uncertainty import BoxUncertainty
from lidar_ebm.errors import InputError
from lidar_ebm.inference.points import checked_points
from lidar_ebm.inference.refiner import Refiner
from lidar_ebm.runs.model import Model
from lidar_ebm.runs.run import load_run
from lidar_ebm.runs.temperature import temperature_of
from lidar_ebm.types import Batch, Proposals


@dataclass(frozen=True, eq=False)
class DetectedBatch:
    """The boxes of a batch before and after refinement, row for row."""

    class_names: tuple[str, ...]
    proposals: Proposals  # N boxes, frame by frame, by falling score within
    refiner: Refiner  # f around them
    ascent: Ascent  # of f, from them

    def before(self) -> list[Boxes]:
        """The detector's own boxes of each frame, with their f."""
        return self._by_frame(self.proposals.boxes, self.ascent.f0, None)

    def after(self, uncertainty: BoxUncertainty | None = None) -> list[Boxes]:
        """The refined boxes of each frame, with their f and, where it was estimated, their uncertainty."""
        return self._by_frame(self.ascent.y, self.ascent.f, uncertainty)

    def uncertainty(self, temperature: float) -> BoxUncertainty:
        """p(y | x) around the refined boxes, with f divided by `temperature`."""
        return self.refiner.uncertainty(self.ascent.y, temperature)

    def _by_frame(self, boxes: Tensor, f: Tensor, uncertainty: BoxUncertainty | None) -> list[Boxes]:
        proposals, names = self.proposals, np.array(self.class_names)
        columns = {} if uncertainty is None else uncertainty.columns()
        whole = to_boxes(boxes, names[proposals.class_index.cpu().numpy()], proposals.scores, f=f, **columns)
        frame = proposals.batch_index.cpu().numpy()
        return [whole.select(frame == index) for index in range(proposals.batch_size)]


def to_boxes(rows: Tensor, names: np.ndarray, scores: Tensor, **columns: Tensor) -> Boxes:
    """`Boxes` of rows [N, D] as the network has them, seven numbers or nine with a velocity."""
    if rows.shape[1] > BOX_SIZE:
        columns["velocity"] = rows[:, BOX_SIZE:]
    return Boxes(rows[:, :BOX_SIZE], names, scores, **columns)


@torch.inference_mode(False)  # an ascent needs gradients, and a caller's inference mode would forbid them
@torch.no_grad()
def detect_batch(model: Model, batch: Batch, steps: int | None = None, *, record: bool = False) -> DetectedBatch:
    """Take a batch through the detector, and refine what it proposes.

    Args:
        model: in evaluation mode, on the batch's device.
        steps: refinement steps T; the configuration's where None, 0 for the detector's own boxes.
        record: keep the boxes as they would be after every number of steps.
    """
    features = model.detector.encode(batch)
    proposals = model.detector.propose(features, model.detector.encode_mirrored(batch))
    refiner = Refiner.around(
        model.energy,
        batch,
        features.bev,
        proposals.boxes,
        proposals.batch_index,
        class_index=proposals.class_index,
        seed=model.config.seed,
    )
    return DetectedBatch(model.config.class_names, proposals, refiner, refiner.refine(steps, record=record))


@dataclass(frozen=True, eq=False)
class RefinementPath:
    """The detections of one frame, and how refinement came to them."""

    boxes: Boxes  # M of them
    path: np.ndarray  # [1 + T, M, D] float32 where each would be after 0..T steps; the last are those of `boxes`
    f: np.ndarray  # [1 + T, M] float32 their f


class LoadedDetector:
    """A trained detector, ready for point clouds of any source.

    Attributes:
        config: the run's configuration.
        model: the network, in evaluation mode.
    """

    def __init__(self, model: Model, run: str | Path) -> None:
        """Args: model: the run's network; run: its folder, where calibration may have left a temperature."""
        self.model = model.eval()
        self.config = model.config
        self.run = Path(run)

    @cached_property
    def temperature(self) -> float:
        """Divisor of f where uncertainty is asked for: as configured, or as calibration fitted it.

        Raises:
            InputError: the run's temperature.json is damaged.
        """
        return temperature_of(self.run, self.model, self.config.uncertainty)

    def detect(self, points: ArrayLike | Tensor, *, steps: int | None = None, uncertainty: bool | None = None) -> Boxes:
        """Detect the objects of one frame.

        Args:
            points: [N, 3 + C] x, y, z in the LiDAR frame (x forward, y left, z up, m), reflectance 0..1, and what
                further channels the run was trained with (`config.points.channels`). Points outside the configured
                range are not used.
            steps: refinement steps T; the configuration's where None, 0 for the detector's own boxes.
            uncertainty: estimate how sure the energy is of each box; as configured where None.

        Returns:
            Boxes with their class names, the detector's scores in falling order, and f; with uncertainty also
            covariance, expected IoU, samples, effective samples and, where the energy can know, the flip probability.
            With velocities (m/s over ground) where the run was trained with them.

        Raises:
            InputError: the points have another shape, or a NaN or infinite place; or `steps` is negative.
        """
        return self.detect_before_after(points, steps=steps, uncertainty=uncertainty)[1]

    def detect_before_after(
        self, points: ArrayLike | Tensor, *, steps: int | None = None, uncertainty: bool | None = None
    ) -> tuple[Boxes, Boxes]:
        """`detect` without and with refinement, row for row; the latter with uncertainty, if wanted."""
        check_steps(steps)
        wanted = self.config.uncertainty.enabled if uncertainty is None else uncertainty
        detected = detect_batch(self.model, self.to_batch(points), steps)
        estimate = detected.uncertainty(self.temperature) if wanted else None
        return detected.before()[0], detected.after(estimate)[0]

    @torch.inference_mode(False)
    @torch.no_grad()
    def refinement_path(self, points: ArrayLike | Tensor, *, steps: int | None = None) -> RefinementPath:
        """`detect` with the way that every box took there; arguments and errors as there."""
        check_steps(steps)
        detected = detect_batch(self.model, self.to_batch(points), steps, record=True)
        trajectory = detected.ascent.trajectory
        assert trajectory is not None
        f = detected.refiner.f(trajectory.transpose(0, 1)).T  # [1 + T, M]
        return RefinementPath(detected.after()[0], trajectory.cpu().numpy(), f.cpu().numpy())

    def to_batch(self, points: ArrayLike | Tensor) -> Batch:
        """Points [N, 3 + C] of one frame as the model takes them, cropped to the configured range, on its device.

        Reflectances of 0..255 or 0..65535 are brought to 0..1, with a warning; those that are not finite become 0.

        Raises:
            InputError: they have another shape, or a place that is NaN or infinite.
        """
        array = checked_points(points, self.config.points.channels)
        nothing = np.zeros((0, self.config.box_dimensions), np.float32)
        sample = Sample("points", array, nothing, np.zeros(0, np.int64))
        batch = collate([crop_to_range(sample, self.config.voxels.range)])
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
