"""Failures in a step, as errors that say what to look at and which setting to change."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from lidar_ebm.config.training import StageTrainingConfig
from lidar_ebm.errors import InputError
from lidar_ebm.runs.tensor_file import write_tensors
from lidar_ebm.training.processes import Processes
from lidar_ebm.types import Batch

MAX_SAVED = 10  # batches of steps that were left out, a run
TOTALS = ("loss", "gradient_norm")  # which are not finite where a term is not


@dataclass(frozen=True)
class StepOnHand:
    """Batch that a step was taken on, kept until its figures have been read."""

    batch: Batch
    seeds: Sequence[int]
    stage: str
    epoch: int
    total_step: int


class NonFinite:
    """Handling of steps in which a loss or the gradient is not finite: the run stops, or goes on and counts."""

    def __init__(self, run: Path, processes: Processes, *, skip: bool, count: int = 0) -> None:
        """Args: count: of steps left out before, in a run that goes on."""
        self.count = count
        self._folder, self._processes, self._skip = run / "nonfinite", processes, skip

    def met(self, step: StepOnHand, figures: dict[str, float]) -> None:
        """A step was left out; `figures` are its losses and its gradient's norm in this process.

        Raises:
            InputError: the run is to stop.
        """
        self.count += 1
        path = self._folder / self._name(step.total_step)
        terms = [name for name, value in figures.items() if not math.isfinite(value)]
        own = [name for name in terms if name not in TOTALS]
        if not self._skip or self.count <= MAX_SAVED:
            self._save(path, step, ", ".join(own or terms))
        frames = ", ".join(step.batch.frame_ids)
        met = self._processes.gather((own, terms, f"on frames {frames} (the batch is in {path})"))
        # Where one process' loss is no number, no gradient is one either: the loss is what to look at.
        culprits = [(names, where) for names, _, where in met if names]
        culprits = culprits or [(["gradient"], where) for _, names, where in met if names]
        what = "; ".join(f"{', '.join(names)} is not finite in epoch {step.epoch} {where}" for names, where in culprits)
        if not self._skip:
            self._processes.fail_together(
                InputError(
                    f"{what}. Look at these frames' points and labels and go on with --resume, leave such steps out "
                    "with --skip-nonfinite, or train anew with a lower learning rate."
                )
            )
        if self.count <= MAX_SAVED and self._processes.first:
            warnings.warn(f"{what}; the step is left out.", stacklevel=2)

    def _name(self, total_step: int) -> str:
        rank = f"_process{self._processes.rank}" if self._processes.size > 1 else ""
        return f"step_{total_step:010d}{rank}.safetensors"

    def _save(self, path: Path, step: StepOnHand, names: str) -> None:
        batch = step.batch
        tensors = {
            "points": batch.points,
            "point_batch_index": batch.point_batch_index,
            "boxes": batch.boxes.boxes,
            "labels": batch.boxes.class_index,
            "box_batch_index": batch.boxes.batch_index,
            "seeds": torch.tensor(step.seeds, dtype=torch.int64),
        }
        metadata = {
            "frame_ids": json.dumps(batch.frame_ids),
            "not_finite": names,
            "stage": step.stage,
            "epoch": str(step.epoch),
            "step": str(step.total_step),
        }
        write_tensors(path, tensors, metadata)


@contextmanager
def memory_advice(stage: str, settings: StageTrainingConfig, processes: int) -> Iterator[None]:
    """A GPU that runs out of memory within becomes an error that says which setting to change."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        frames = -(-settings.batch_size // processes // settings.accumulation)
        key = f"training.{stage}"
        if frames > 1:
            remedy = (
                f"Set {key}.accumulation={min(2 * settings.accumulation, settings.batch_size // processes)}, which "
                f"takes the same steps in smaller passes, or a smaller {key}.batch_size"
            )
        else:
            remedy = "Set a smaller voxels.max_voxels, or training.precision=bf16-mixed"
        samples = ", or a smaller energy.samples" if stage == "energy" else ""
        raise InputError(
            f"{key}: the GPU's memory does not hold {frames} {'frame' if frames == 1 else 'frames'} at a time "
            f"({str(error).splitlines()[0].rstrip('.')}). {remedy}{samples}; then go on with --resume."
        ) from error
