"""Calibration of an energy's boxes: p(y | x) around detections against the labels there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lidar_ebm.config.config import Config
from lidar_ebm.datasets.collate import collate
from lidar_ebm.datasets.samples import Samples
from lidar_ebm.ebm.calibration import HeldOut, Reliability, fit_temperature
from lidar_ebm.ebm.energy import value
from lidar_ebm.ebm.sampling import WeightedSamples
from lidar_ebm.energy.box_space import BOX_NAMES
from lidar_ebm.energy.uncertainty import expected_iou, flip_probability, knows_flips, sample_boxes
from lidar_ebm.errors import InputError
from lidar_ebm.inference.box_matching import MatchedBoxes, match_boxes
from lidar_ebm.runs.model import Model
from lidar_ebm.system.progress import ProgressBar, progress_bar

BATCH_SIZE = 8
FITS = 2  # of the temperature: the second to samples of the density that the first one found


@dataclass(frozen=True)
class FlipCalibration:
    """Worth of the probabilities of a flipped yaw."""

    mean_probability: float  # to be compared with the share of flipped detections
    log_loss: float  # mean, nats
    brier: float  # mean squared error


@dataclass(frozen=True)
class SplitCalibration:
    """p(y | x) against a split's labels, at one temperature."""

    boxes: Reliability
    expected_iou: float  # mean over the matches, to be compared with that found
    flips: FlipCalibration | None  # None of an energy that was trained without flipped boxes

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        flips = None if self.flips is None else vars(self.flips)
        return self.boxes.as_dict() | {"expected_iou": self.expected_iou, "flips": flips}


@dataclass(frozen=True)
class BoxCalibration:
    """A run's calibration without and with temperature scaling."""

    temperature: float
    before: SplitCalibration  # at temperature 1
    after: SplitCalibration
    mean_iou: float  # of the matched boxes with their labels, 3-D
    flipped_share: float  # of the matches, whose yaw is nearer to the label's + π
    frames: int
    fit_frames: int
    fit_matches: int  # that the temperature was fitted to

    @property
    def matches(self) -> int:
        """Detections that were compared with a label."""
        return self.after.boxes.count

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        names = ("temperature", "frames", "matches", "mean_iou", "flipped_share", "fit_frames", "fit_matches")
        facts = {name: getattr(self, name) for name in names}
        return facts | {"before": self.before.as_dict(), "after": self.after.as_dict()}


def calibrate(
    detector: Model,
    fit_frames: Samples,
    frames: Samples,
    *,
    max_frames: int | None = None,
    steps: int | None = None,
    iou: float = 0.5,
) -> BoxCalibration:
    """Fit one temperature to the labels of one split, and see on another what p(y | x) is worth without and with it.

    A detection counts if it overlaps a label of its class. What is looked at is p(y | x) near the detected box; where
    the detection's heading is the wrong one, the label's yaw is turned by π, and whether the energy expected that is
    a question of its own (`FlipCalibration`).

    Args:
        detector: in evaluation mode; frames are moved to its device.
        fit_frames: the split to fit to, usually what the energy was trained on.
        frames: the split to report on, which it was not.
        max_frames: of each split, taken evenly; None for all.
        steps: refinement steps T; the configuration's where None.
        iou: 3-D IoU with the label from which on a detection counts.

    Raises:
        InputError: no detection in a split matches, or the energy gives values that are no numbers.
    """
    fit_rows, rows = (_spread(len(part), max_frames) for part in (fit_frames, frames))
    config, temperature = detector.config, 1.0
    with progress_bar("Calibrating", FITS * len(fit_rows) + len(rows)) as bar:
        for _ in range(FITS):
            densities, energies = [], []
            for number, match in enumerate(_matches(detector, fit_frames, fit_rows, steps, iou, bar)):
                samples = _sample(match, config, temperature, number)
                # Only f and log q are needed, and y takes most of the memory.
                thin = (samples.y[..., :0].cpu(), samples.f.cpu(), samples.log_q.cpu())
                densities.append(WeightedSamples(*thin, samples.space, temperature))
                energies.append(_energy_at(match).cpu())
            _check(energies, fit_frames, iou)
            temperature = fit_temperature(densities, energies)
        assessed = []
        for number, match in enumerate(_matches(detector, frames, rows, steps, iou, bar)):
            assessments = [_assess(match, config, each, number) for each in (1.0, temperature)]
            assessed.append((assessments, match.flipped.cpu(), match.overlap.cpu()))
    _check([match_overlap for _, _, match_overlap in assessed], frames, iou)
    flipped, overlap = torch.cat([part[1] for part in assessed]), torch.cat([part[2] for part in assessed])
    before, after = (
        _summarise([assessments[k] for assessments, _, _ in assessed], flipped, each, config.energy_dimensions)
        for k, each in enumerate((1.0, temperature))
    )
    return BoxCalibration(
        temperature,
        before,
        after,
        overlap.double().mean().item(),
        flipped.double().mean().item(),
        len(rows),
        len(fit_rows),
        sum(map(len, energies)),
    )


@dataclass(frozen=True, eq=False)
class _Assessment:
    """Statements of p(y | x) at one temperature about the matches of a batch, on the CPU."""

    held_out: HeldOut
    expected_iou: Tensor  # [N]
    flip_probability: Tensor | None  # [N]


def _spread(length: int, max_count: int | None) -> list[int]:
    """At most so many of the indices below `length`, evenly."""
    if max_count is None or max_count >= length:
        return list(range(length))
    return [index * length // max_count for index in range(max_count)]


def _matches(
    detector: Model, frames: Samples, rows: Sequence[int], steps: int | None, iou: float, bar: ProgressBar
) -> Iterator[MatchedBoxes]:
    """Batch by batch; those without a match are left out."""
    device = next(detector.parameters()).device
    for start in range(0, len(rows), BATCH_SIZE):
        chosen = rows[start : start + BATCH_SIZE]
        match = match_boxes(detector, collate([frames[row] for row in chosen]).to(device), steps=steps, iou=iou)
        if len(match.boxes):
            yield match
        bar.advance(len(chosen))


def _sample(match: MatchedBoxes, config: Config, temperature: float, number: int) -> WeightedSamples:
    """Samples around the boxes of batch `number`, the same ones in every call."""
    random = torch.Generator().manual_seed(config.seed + number)
    return sample_boxes(match.energy, match.boxes, config.energy_settings, temperature=temperature, random=random)


def _energy_at(match: MatchedBoxes) -> Tensor:
    """f at the labels [N]."""
    return value(match.energy, match.targets.unsqueeze(1)).squeeze(1)


def _assess(match: MatchedBoxes, config: Config, temperature: float, number: int) -> _Assessment:
    samples = _sample(match, config, temperature, number)
    flips = flip_probability(match.energy, samples).cpu() if knows_flips(config.energy) else None
    overlap = expected_iou(samples, match.boxes).cpu()
    return _Assessment(HeldOut.of(samples, match.targets, _energy_at(match)), overlap, flips)


def _summarise(
    assessments: Sequence[_Assessment], flipped: Tensor, temperature: float, dimensions: int
) -> SplitCalibration:
    names = BOX_NAMES[:dimensions]
    try:
        boxes = Reliability.of(HeldOut.join([each.held_out for each in assessments]), names, temperature=temperature)
    except ValueError as error:
        raise InputError(f"the energy's values are no numbers around some boxes ({error}). Train it anew.") from error
    probabilities = [each.flip_probability for each in assessments if each.flip_probability is not None]
    flips = _summarise_flips(torch.cat(probabilities).double(), flipped.double()) if probabilities else None
    return SplitCalibration(boxes, torch.cat([each.expected_iou for each in assessments]).double().mean().item(), flips)


def _summarise_flips(probability: Tensor, flipped: Tensor) -> FlipCalibration:
    loss = torch.nn.functional.binary_cross_entropy(probability, flipped)  # which bounds its logarithms
    return FlipCalibration(probability.mean().item(), loss.item(), (probability - flipped).square().mean().item())


def _check(parts: Sequence[Tensor], frames: Samples, iou: float) -> None:
    """Raises InputError where there is nothing to calibrate, or what is there are no numbers."""
    if sum(map(len, parts)) == 0:
        raise InputError(
            f"{frames.split_path}: no detection in its frames overlaps a label of its class by {iou:g} or more, so "
            "there is nothing to calibrate. Train the detector for longer, take more frames, or ask for less overlap."
        )
    lost = sum(int((~part.isfinite()).sum()) for part in parts)
    if lost:
        raise InputError(f"{frames.split_path}: at {lost} of its labels the energy is no number. Train it anew.")
