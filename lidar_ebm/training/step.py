"""One optimiser step: forward and backward over the passes of a batch, clipping, update, schedule, averaged weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, distributed

from lidar_ebm.config.training import StageTrainingConfig
from lidar_ebm.detector.detector import OWN_COUNTS
from lidar_ebm.system.synchronised import synchronise_norms
from lidar_ebm.training.ema import MovingAverage
from lidar_ebm.training.processes import Processes
from lidar_ebm.training.schedule import group_parameters, make_optimizer, make_schedule
from lidar_ebm.training.stages import Stage, Work
from lidar_ebm.training.state import Position, TrainingState, restore_optimizer
from lidar_ebm.types import Batch, LabelBatch, LossCounts


class Stepper:
    """A stage with its optimiser, ready to take steps.

    A step in which a loss or the gradient is not finite changes nothing (in half precision, where gradients overflow
    now and then, the gradient scaler sees to those). That is decided on the device, so the host need not wait for it.
    """

    def __init__(
        self,
        fabric: Fabric,
        processes: Processes,
        stage: Stage,
        settings: StageTrainingConfig,
        total_steps: int,
        state: TrainingState,
        *,
        ema_decay: float,
        keep_buffers: bool,
    ) -> None:
        """Args: keep_buffers: running statistics, too, are as before after a step that is not finite."""
        self.fabric, self.processes, self.stage, self.settings = fabric, processes, stage, settings
        self.terms: tuple[str, ...] = ()  # names of the losses, known after a step
        synchronise_norms(stage)
        stage.to(fabric.device)
        parameters = list(stage.trained())
        stage.requires_grad_(False)
        for parameter in parameters:
            parameter.requires_grad_(True)
        self._precision = fabric.strategy.precision
        self.scaled = getattr(self._precision, "scaler", None) is not None
        # Fused, the optimiser itself leaves a step out where a number on the device says so.
        self._fused = fabric.device.type == "cuda" and not self.scaled
        rates = stage.model.config.training.rates
        groups = group_parameters(stage.named_trained(), rates) if rates else parameters
        self.optimizer = make_optimizer(groups, settings, fused=self._fused)
        restore_optimizer(self.optimizer, state.optimizer)
        self.schedule = make_schedule(self.optimizer, settings, total_steps, done=state.position.step)
        self.module, self._wrapped = fabric.setup(stage, self.optimizer)
        self.module.train()
        if state.scaler:
            self._precision.load_state_dict(dict(state.scaler))
        self.ema = MovingAverage(stage.trained_state(), ema_decay) if ema_decay else None
        if self.ema is not None and state.ema:
            self.ema.restore(state.ema, state.position.averaged)
        self._buffers = [value for value in stage.buffers() if stage.training] if keep_buffers else []

    def take(self, batch: Batch, seeds: Sequence[int]) -> Tensor:
        """Take a step on this process' part of a batch.

        Returns:
            The weighted losses by `terms`, their sum, the gradient's norm before clipping, and 1 where the step was
            left out because something, in whichever process, was not finite: on the device, float64.
        """
        before = [buffer.clone() for buffer in self._buffers]
        self._wrapped.zero_grad()
        losses = self._backward(batch, seeds)
        # Fabric returns the norm wherever a norm is what is clipped.
        norm: Tensor = self.fabric.clip_gradients(
            self.module, self._wrapped, max_norm=self.settings.gradient_clip, error_if_nonfinite=False
        )  # type: ignore[assignment]
        figures = torch.cat([losses, losses.sum(0, keepdim=True), norm.detach().double().reshape(1)])  # [terms + 2]
        bad = ~torch.isfinite(figures[:-1] if self.scaled else figures).all()
        if self.processes.size > 1:
            distributed.all_reduce(anywhere := bad.float())
            bad = anywhere > 0
        self._update(bad)
        for buffer, old in zip(self._buffers, before, strict=True):
            buffer.copy_(torch.where(bad, old, buffer))
        return torch.cat([figures, bad.double().reshape(1)])

    @property
    def rate(self) -> float:
        """The learning rate of the next step; where parts have factors on it, that of the first group."""
        return float(self.optimizer.param_groups[0]["lr"])

    def state(self, position: Position, random: Sequence[dict[str, Tensor]]) -> TrainingState:
        """Contents of a checkpoint beside the weights."""
        averages = {} if self.ema is None else self.ema.averages
        updates = 0 if self.ema is None else self.ema.updates
        scaler = self._precision.state_dict() if self.scaled else {}
        position = replace(position, averaged=updates)
        return TrainingState(position, self.optimizer.state_dict(), averages, scaler, tuple(random))

    def _backward(self, batch: Batch, seeds: Sequence[int]) -> Tensor:
        """Gradients of the whole batch, pass by pass; its losses [terms], float64."""
        parts = split_batch(batch, self.settings.accumulation)
        counts = self._counts(parts)
        sums: Tensor | None = None
        first = 0  # the frame that a part begins with
        for number, part in enumerate(parts):
            with self.fabric.no_backward_sync(self.module, enabled=number + 1 < len(parts)):
                work = Work(part.to(self.fabric.device), seeds[first : first + part.batch_size], counts)
                losses: dict[str, Tensor] = self.module(work)
                self.terms = tuple(losses)
                stacked = torch.stack(list(losses.values()))
                self.fabric.backward(stacked.sum())
            own = stacked.detach().double()
            sums = own if sums is None else sums + own
            first += part.batch_size
        assert sums is not None  # a batch has a part
        return sums

    def _counts(self, parts: Sequence[Batch]) -> LossCounts:
        """Counts that every pass divides its sums by, so that the passes' gradients add up to the whole batch's.

        A single pass counts for itself while it runs; the work of several is counted before any of it is done.
        """
        if len(parts) == 1:
            return OWN_COUNTS
        names = [field.name for field in fields(LossCounts)]
        with self.fabric.autocast():
            each = [self.stage.counts(Work(part.to(self.fabric.device), ())) for part in parts]
        own = [sum(getattr(counts, name) or 0 for counts in each) for name in names]
        shared = [max(total, 1.0) / self.processes.size for total in self.processes.total(own)]
        return LossCounts(**dict(zip(names, shared, strict=True)))

    def _update(self, bad: Tensor) -> None:
        if self._fused:
            self.optimizer.found_inf = bad.float()  # type: ignore[attr-defined]  # torch's own way to say so
        elif not self.scaled and bool(bad):
            self._wrapped.zero_grad()  # without gradients nothing moves
        self._wrapped.step()
        self.schedule.step()
        if self.ema is not None:
            self.ema.update()


def frame_seeds(seed: int, total_step: int, first: int, count: int) -> list[int]:
    """A seed for each of `count` frames from the `first` of a step's whole batch on: of them and nothing else."""
    places = range(first, first + count)
    return [
        int(np.random.SeedSequence((seed, total_step, place)).generate_state(1, np.uint64)[0] >> 1) for place in places
    ]


def split_batch(batch: Batch, count: int) -> list[Batch]:
    """The batch in `count` parts of frames, in order, as even as can be; in fewer where there are fewer frames."""
    count = min(count, batch.batch_size)
    if count == 1:
        return [batch]
    limits = [batch.batch_size * number // count for number in range(count + 1)]
    return [_frames_of(batch, low, high) for low, high in pairwise(limits)]


def _frames_of(batch: Batch, low: int, high: int) -> Batch:
    def inside(index: Tensor) -> Tensor:
        return (index >= low) & (index < high)

    points, boxes = inside(batch.point_batch_index), inside(batch.boxes.batch_index)
    return Batch(
        frame_ids=batch.frame_ids[low:high],
        points=batch.points[points],
        point_batch_index=batch.point_batch_index[points] - low,
        boxes=LabelBatch(
            boxes=batch.boxes.boxes[boxes],
            class_index=batch.boxes.class_index[boxes],
            batch_index=batch.boxes.batch_index[boxes] - low,
            batch_size=high - low,
        ),
        batch_size=high - low,
    )
