"""A stage of training from where it stands to its end: epochs, rows of figures, checkpoints, validation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from lidar_ebm.config.config import Config
from lidar_ebm.config.training import StageTrainingConfig
from lidar_ebm.datasets.preparation.label_database import LabelDatabase
from lidar_ebm.datasets.samples import Samples
from lidar_ebm.errors import InputError
from lidar_ebm.runs.model import Model
from lidar_ebm.system.processes import Group
from lidar_ebm.system.progress import ProgressBar, progress_bar
from lidar_ebm.training.checkpoints import Checkpoints
from lidar_ebm.training.failures import NonFinite, StepOnHand, memory_advice
from lidar_ebm.training.loader import TrainingLoader
from lidar_ebm.training.metrics import MetricsLog, memory_mb
from lidar_ebm.training.processes import Processes
from lidar_ebm.training.random_states import random_states
from lidar_ebm.training.signals import StopSignals, end
from lidar_ebm.training.stages import Stage
from lidar_ebm.training.state import Position, TrainingState
from lidar_ebm.training.step import Stepper, frame_seeds
from lidar_ebm.types import Batch


@dataclass(frozen=True)
class Run:
    """Things that all stages of a run share."""

    config: Config
    fabric: Fabric
    processes: Processes
    detector: Model
    frames: Samples  # of the training split
    validate: Callable[[Model, Group], tuple[float, float]] | None  # AP without and with refinement
    database: LabelDatabase | None
    checkpoints: Checkpoints
    log: MetricsLog | None  # in the process that writes
    nonfinite: NonFinite
    signals: StopSignals
    skip_nonfinite: bool
    order: Sequence[int] | None = None  # of the frames of an epoch, some several times; None: each once


class StageRun:
    """One stage of a run."""

    def __init__(self, run: Run, stage: Stage, settings: StageTrainingConfig, state: TrainingState) -> None:
        self.run, self.settings, self.position = run, settings, state.position
        config, processes = run.config, run.processes
        if len(run.frames) < settings.batch_size and processes.size * settings.accumulation > 1:
            raise InputError(
                f"training.{self.name}.batch_size is {settings.batch_size}, and the split has {len(run.frames)} "
                "frames: too few to be shared by processes or passes. Lower it, or train in one process and one pass."
            )
        self.loader = TrainingLoader(
            run.frames,
            config,
            batch_size=settings.batch_size,
            stage=self.name,
            rank=processes.rank,
            size=processes.size,
            pin_memory=run.fabric.device.type == "cuda",
            database=run.database,
            order=run.order,
        )
        self.stepper = Stepper(
            run.fabric,
            processes,
            stage,
            settings,
            settings.epochs * self.loader.steps,
            state,
            ema_decay=config.training.ema_decay,
            keep_buffers=run.skip_nonfinite,
        )
        # A GPU works while the host prepares the next steps, so its figures are read when a row of them is due.
        self._read_at_once = run.fabric.device.type != "cuda"
        self._unread: list[tuple[Tensor, StepOnHand]] = []
        self._row = _Row(self.stepper.rate)
        self._loss = float("nan")  # the last one known of the whole batch, or of a row of them
        self._saved_at = time.monotonic()

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.position.stage

    def to_the_end(self) -> Position:
        """Train; returns where training then stands."""
        steps = self.loader.steps
        done = self.position.step
        # An epoch that is done and whose end was not seen to (a validation was interrupted) is entered once more.
        first = max(done - 1, 0) // steps
        try:
            with self._bar(self.settings.epochs * steps, done) as bar:
                for epoch in range(first, self.settings.epochs):
                    start = max(self.position.step - epoch * steps, 0)
                    if start < steps:
                        self._train_epoch(epoch, start, bar)
                    self._end_epoch(epoch)
        finally:
            self.loader.close()
        if self.stepper.ema is not None:
            self.stepper.ema.take_over()
        return self.position

    def _train_epoch(self, epoch: int, start: int, bar: ProgressBar | None) -> None:
        log_every = self.run.config.training.log_every
        batches = self.loader.epoch(epoch, start)
        for place in range(start, self.loader.steps):
            batch, signal, late = self._next(batches)
            self._take_step(batch, epoch)
            ended = place + 1 == self.loader.steps
            row_due = ended or (place + 1) % log_every == 0
            save = signal or late or self._save_due(ended)
            if self._read_at_once or row_due or save:
                self._read()
            if row_due:
                self._write_row(epoch)
            if bar is not None:
                bar.advance(note=f"loss {self._loss:.3f}")
            if save:
                self._save()
            if signal:
                end(signal)

    def _next(self, batches: Iterator[Batch]) -> tuple[Batch, int, bool]:
        """The next batch; and, as all processes agree, the signal that asks to end and whether a save is overdue."""
        began, error, batch = time.perf_counter(), None, None
        try:
            batch = next(batches)
        except InputError as met:
            error = met
        self._row.waited += time.perf_counter() - began
        minutes = self.run.config.training.checkpoints.every_minutes
        due = bool(minutes) and time.monotonic() - self._saved_at >= 60 * minutes
        signal, late, failed = self.run.processes.largest([self.run.signals.received, due, error is not None])
        if failed:
            self.run.processes.fail_together(error)
        assert batch is not None  # or there was an error
        return batch, int(signal), bool(late)

    def _take_step(self, batch: Batch, epoch: int) -> None:
        run, total_step = self.run, self.position.total_step
        first = run.processes.rank * (self.settings.batch_size // run.processes.size)
        seeds = frame_seeds(run.config.seed, total_step, first, batch.batch_size)
        self._row.rate = self.stepper.rate
        with memory_advice(self.name, self.settings, run.processes.size):
            figures = self.stepper.take(batch, seeds)
        self._unread.append((figures, StepOnHand(batch, seeds, self.name, epoch, total_step)))
        self.position = replace(self.position, step=self.position.step + 1, total_step=total_step + 1)

    def _end_epoch(self, epoch: int) -> None:
        every = self.run.config.training.validate_every
        last = epoch + 1 == self.settings.epochs
        if every == 0 or self.position.validated > epoch or not ((epoch + 1) % every == 0 or last):
            return
        self._save()
        began = time.perf_counter()
        before, after = self._validate()
        best = after > self.position.best_ap
        self.position = replace(self.position, validated=epoch + 1, best_ap=max(after, self.position.best_ap))
        if self.run.log is not None:
            values = {"ap_before": before, "ap_after": after}
            self.run.log.write(self.position.total_step, epoch, self.name, values)
        self._save(best=best)
        self._row.began += time.perf_counter() - began

    def _validate(self) -> tuple[float, float]:
        """AP without and with refinement, the same in all processes."""
        assert self.run.validate is not None  # it is there where the configuration asks for validation
        averaged = nullcontext() if self.stepper.ema is None else self.stepper.ema.taken_over()
        with averaged, self.run.signals.ending_at_once():
            group = self.run.processes.group(self.run.fabric.device)
            metrics = self.run.validate(self.run.detector, group)
        self.stepper.module.train()
        return metrics

    def _read(self) -> None:
        """Bring the figures of the steps since the last time to the host, and see whether they are finite."""
        unread, self._unread = self._unread, []
        if not unread:
            return
        rows = torch.stack([figures for figures, _ in unread]).cpu().numpy()
        names = (*self.stepper.terms, "loss", "gradient_norm")
        for (*values, bad), (_, step) in zip(rows, unread, strict=True):
            if bad:
                self.run.nonfinite.met(step, dict(zip(names, values, strict=True)))
            self._row.add(values, left_out=bool(bad))
            if self.run.processes.size == 1:
                self._loss = values[-2]

    def _write_row(self, epoch: int) -> None:
        row, processes = self._row, self.run.processes
        names = (*self.stepper.terms, "loss", "gradient_norm", "seconds_per_step", "data_seconds")
        own = row.means(len(self.stepper.terms) + 2)
        # A process without a finite value for a figure does not count for it.
        finite = np.isfinite(own)
        sums = processes.total([*np.where(finite, own, 0.0).tolist(), *finite.astype(float).tolist()])
        means = [total / count for total, count in zip(sums[: len(own)], sums[len(own) :], strict=True) if count]
        present = [name for name, count in zip(names, sums[len(own) :], strict=True) if count]
        memory = processes.largest([memory_mb(self.run.fabric.device)])[0]
        if self.run.log is not None:
            values = dict(zip(present, means, strict=True))
            values |= {"learning_rate": row.rate, "memory_mb": memory, "skipped": float(self.run.nonfinite.count)}
            self.run.log.write(self.position.total_step, epoch, self.name, values)
        self._loss = dict(zip(present, means, strict=True)).get("loss", self._loss)
        self._row = _Row(self.stepper.rate)

    def _save_due(self, epoch_ended: bool) -> bool:
        when, step, steps = self.run.config.training.checkpoints, self.position.step, self.loader.steps
        if step == self.settings.epochs * steps:
            return True
        if epoch_ended and when.every_epochs and (step // steps) % when.every_epochs == 0:
            return True
        return bool(when.every_steps) and step % when.every_steps == 0

    def _save(self, *, best: bool = False) -> None:
        began = time.monotonic()
        states = self.run.processes.gather(random_states())
        self.position = replace(self.position, skipped=self.run.nonfinite.count)
        if self.run.processes.first:
            self.run.checkpoints.save(self.run.detector, self.stepper.state(self.position, states), best=best)
        self._saved_at = time.monotonic()
        self._row.began += self._saved_at - began

    @contextmanager
    def _bar(self, total: int, done: int) -> Iterator[ProgressBar | None]:
        if not self.run.processes.first:
            yield None
            return
        with progress_bar(f"Training the {self.name}", total, done=done) as bar:
            yield bar


class _Row:
    """The figures of the steps since the last row."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.began, self.waited = time.perf_counter(), 0.0
        self._values: list[list[float]] = []
        self._steps = 0

    def add(self, values: list[float], *, left_out: bool) -> None:
        """Take in a step's losses, their sum and the gradient's norm."""
        self._steps += 1
        if not left_out:
            self._values.append(values)

    def means(self, count: int) -> np.ndarray:
        """Means of the finite ones of the `count` values of each step, and seconds a step: all of it, and waiting."""
        values = np.array(self._values, dtype=float).reshape(-1, count)
        finite = np.isfinite(values)
        sums = np.where(finite, values, 0.0).sum(0)
        with np.errstate(invalid="ignore"):
            means = sums / finite.sum(0)
        seconds = np.array([time.perf_counter() - self.began, self.waited]) / max(self._steps, 1)
        return np.concatenate([means, seconds])
