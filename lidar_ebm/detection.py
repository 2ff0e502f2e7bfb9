"""Using a trained run: `load_detector(run).detect(points)`, and point-cloud files to result files and pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from lidar_ebm.config import Config
from lidar_ebm.data.batch import collate
from lidar_ebm.data.dataset import crop_to_range
from lidar_ebm.data.frame_file import check_names, read_frame_file
from lidar_ebm.data.kitti_files import write_labels
from lidar_ebm.errors import InputError
from lidar_ebm.files import atomic_write
from lidar_ebm.geometry.calibration import Calibration
from lidar_ebm.geometry.frames import boxes_to_labels
from lidar_ebm.model.box_space import BOX_NAMES
from lidar_ebm.model.detector import Detector
from lidar_ebm.progress import progress_bar
from lidar_ebm.training.checkpoint import load_run
from lidar_ebm.training.temperature import temperature_of
from lidar_ebm.types import Batch, Detections, Frame, Label, to_device
from lidar_ebm.visualization.bev_plot import after_layer, before_layer, plot_bev
from lidar_ebm.visualization.uncertainty_plot import plot_uncertainty


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
        frame = Frame("points", array, np.zeros((0, 7), np.float32), np.zeros(0, np.int64))
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


def detect_files(
    run: str | Path,
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    calibration: str | Path | None = None,
    steps: int | None = None,
    uncertainty: bool | None = None,
    device: str = "cpu",
) -> list[Path]:
    """Detect in point-cloud files; write NAME.txt (a KITTI result file) and NAME.png (a bird's-eye view) into `out`.

    With uncertainty also NAME.json: for each line of NAME.txt the box in the LiDAR frame with its covariance, expected
    IoU, and the probability that its yaw is flipped (null where the energy cannot know); the picture then shows it.

    Where a frame's calibration is known, only what the camera sees is looked at, as in KITTI's labels (the image's size
    is that of ../image_2/NAME.png where it is there). Without one the
    whole cloud is, positions are written with KITTI's nominal calibration, and the 2-D box (-1) and alpha (-10) say
    "unknown".

    Args:
        paths: .bin, .npy, .pcd or .ply files.
        calibration: a KITTI calibration file for all of them, or a folder with NAME.txt for each; where None,
            ../calib/NAME.txt beside a file's folder is used if it is there.
        uncertainty: as configured where None.

    Returns:
        The result files.

    Raises:
        InputError: a file, the calibration or the run cannot be used.
        OutputError: a result cannot be written.
    """
    check_names(paths)
    detector = load_detector(run, device)
    low_x, low_y, _, high_x, high_y, _ = detector.config.voxels.range
    written = []
    with progress_bar("Detecting", len(paths)) as bar:
        for path in paths:
            frame = read_frame_file(path, calibration=calibration)
            name = frame.name
            points = frame.points_in_view()
            before, after = detector.detect_before_after(points, steps=steps, uncertainty=uncertainty)
            result = Path(out) / f"{name}.txt"
            write_labels(result, _result_labels(after, detector.config, frame.calibration, frame.image_size()))
            picture, title = result.with_suffix(".png"), f"{name}: {len(after.boxes)} detections"
            view = (low_x, low_y, high_x, high_y)
            if after.covariance is None:
                layers = [before_layer(before.boxes), after_layer(after.boxes, after.scores)]
                plot_bev(points, picture, layers=layers, view=view, title=title)
            else:
                _write_uncertainty(result.with_suffix(".json"), after, detector)
                plot_uncertainty(points, before.boxes, after, picture, view=view, title=title)
            written.append(result)
            bar.advance()
    return written


def _result_labels(
    detections: Detections, config: Config, calibration: Calibration | None, image_size: tuple[int, int]
) -> list[Label]:
    types = [config.class_names[k] for k in detections.labels.tolist()]
    nominal = Calibration.nominal() if calibration is None else calibration
    labels = boxes_to_labels(detections.boxes, nominal, types=types, scores=detections.scores, image_size=image_size)
    if calibration is None:
        labels = [replace(label, bbox=(-1.0, -1.0, -1.0, -1.0), alpha=-10.0) for label in labels]
    return labels


def _write_uncertainty(path: Path, found: Detections, detector: LoadedDetector) -> None:
    """Write what is known of the boxes as JSON: numbers in m and rad, LiDAR frame, rows in the order of `found`."""
    rows: list[dict[str, Any]] = [
        {"type": detector.config.class_names[k], "score": score, "box": box}
        for k, score, box in zip(found.labels.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True)
    ]
    for name in ("covariance", "flip_probability", "expected_iou", "effective_samples"):
        values = getattr(found, name)
        for row, value in zip(rows, [None] * len(rows) if values is None else values.tolist(), strict=True):
            row[name] = value
    content = {"dimensions": BOX_NAMES, "temperature": detector.temperature, "detections": rows}
    with atomic_write(path, "w") as file:
        json.dump(content, file, indent=1)
        file.write("\n")
