"""The training frames in batches: augmented, in another order in every epoch, loaded by as many processes as wanted."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lidar_ebm.config.config import Config
from lidar_ebm.datasets.collate import collate
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.datasets.samples import Samples, crop_to_range
from lidar_ebm.errors import InputError
from lidar_ebm.training.augmentation.augment import augment
from lidar_ebm.training.augmentation.sampling import ObjectDatabase
from lidar_ebm.types import Batch

T = TypeVar("T")

STAGES = ("detector", "energy")  # their places are part of every seed


class TrainingLoader:
    """One process' part of the batches of a stage's training.

    The order of the frames follows from (config.seed, stage, epoch), what augmentation does to a frame from these and
    its index: neither the number of workers, nor how the batches are divided among processes, nor where an epoch is
    taken up changes anything. `config.training.workers` processes read and augment; they live until `close`.

    Args:
        frames: the training split, not cropped: augmentation may move points into the voxel range.
        config: seed, classes, voxel range, augmentation and number of workers are used.
        batch_size: frames of a whole batch, over all processes.
        stage: "detector" or "energy".
        rank: this process among those that train; it gets rows [rank * b, (rank + 1) * b) of every whole batch,
            b = batch_size / size.
        size: number of these processes.
        pin_memory: put batches into memory that a GPU can read while the host works on.
        database: labelled objects for augmentation to put into frames.
        order: indices of the frames of an epoch before they are shuffled, some of them several times perhaps; None for
            each frame once.

    Raises:
        InputError: the batch cannot be divided among the processes.
    """

    def __init__(
        self,
        frames: Samples,
        config: Config,
        *,
        batch_size: int,
        stage: str,
        rank: int = 0,
        size: int = 1,
        pin_memory: bool = False,
        database: ObjectDatabase | None = None,
        order: Sequence[int] | None = None,
    ) -> None:
        if batch_size % size:
            raise InputError(
                f"batch_size {batch_size} cannot be divided among {size} processes. Choose a multiple of {size}."
            )
        share = batch_size // size
        order = range(len(frames)) if order is None else order
        if len(order) <= (size - 1) * share:
            raise InputError(
                f"{len(order)} training frames are too few for {size} processes with {share} frames each in a step. "
                "Train with fewer processes, or with a smaller batch_size."
            )
        seed = (config.seed, STAGES.index(stage))
        self.steps = max(len(order) // batch_size, 1)
        self._rows = _Rows(seed, len(order), self.steps, batch_size, slice(rank * share, (rank + 1) * share))
        self._loader: DataLoader[Any] | None = DataLoader(
            _AugmentedFrames(frames, config, stage, seed, database, order),
            batch_sampler=self._rows,
            collate_fn=_collate,
            num_workers=config.training.workers,
            persistent_workers=config.training.workers > 0,
            pin_memory=pin_memory and torch.cuda.is_available(),
            worker_init_fn=_begin_worker,
            generator=torch.Generator(),  # or every epoch would draw from the generator that everyone shares
        )
        self._running: Generator[Batch, None, None] | None = None

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """This process' part of the batches `start` … `steps - 1` of an epoch, in order.

        An epoch that was left in its middle ends where another one begins.

        Raises:
            InputError: a frame's file cannot be used, or a worker came to an end by itself.
        """
        self._stop()
        self._rows.epoch, self._rows.start = epoch, start
        self._running = self._batches()
        return self._running

    def close(self) -> None:
        """End the workers."""
        self._stop()
        self._loader = None  # its end is theirs

    def _stop(self) -> None:
        if self._running is not None:
            self._running.close()
        self._running = None

    def _batches(self) -> Generator[Batch, None, None]:
        assert self._loader is not None, "the loader was closed"
        try:
            # No name for the loader here: the traceback of an error would keep its workers alive after `close`.
            for loaded in self._loader:
                if loaded.error is not None:
                    raise loaded.error
                yield loaded.batch
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise InputError(
                f"a process that loads frames came to an end by itself ({error}). Most often memory is short, or "
                "shared memory (/dev/shm) is: lower training.workers, or set it to 0."
            ) from error


@dataclass(frozen=True)
class _Loaded:
    """A batch, or why there is none: raised in a worker, the error's message would come wrapped in a traceback."""

    batch: Batch | None
    error: InputError | None = None

    def pin_memory(self) -> _Loaded:
        """The same in pinned memory; torch's loader calls this."""
        return replace(self, batch=_pinned(self.batch)) if self.batch is not None else self


class _Rows(Sampler[list[tuple[int, int]]]):
    """For every batch of an epoch, (epoch, place in the order) of the frames in this process' part of it.

    The epoch comes to the workers with each frame, so they need not be started anew for it.
    """

    def __init__(self, seed: tuple[int, ...], frames: int, steps: int, batch_size: int, part: slice) -> None:
        self.seed, self.frames, self.steps, self.batch_size, self.part = seed, frames, steps, batch_size, part
        self.epoch = self.start = 0

    def __len__(self) -> int:
        return self.steps - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        # The last number is none of a frame's, whose random numbers these would otherwise be.
        order = np.random.default_rng((*self.seed, self.epoch, self.frames)).permutation(self.frames)
        for step in range(self.start, self.steps):
            whole = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield [(self.epoch, int(place)) for place in whole[self.part]]


class _AugmentedFrames(Dataset[Sample | InputError]):
    """The training frames as each epoch sees them."""

    def __init__(
        self,
        frames: Samples,
        config: Config,
        stage: str,
        seed: tuple[int, ...],
        database: ObjectDatabase | None,
        order: Sequence[int],
    ) -> None:
        self.frames, self.config, self.seed, self.database, self.order = frames, config, seed, database, order
        self.settings = config.stage_augmentation(stage)

    def __getitem__(self, key: tuple[int, int]) -> Sample | InputError:
        epoch, place = key
        # Of the place, not of the frame, which augmentation changes otherwise each time that it comes in an epoch.
        rng = np.random.default_rng((*self.seed, epoch, place))
        try:
            config = self.config
            frame = self.frames[self.order[place]]
            frame = augment(frame, rng, self.settings, self.database, config.classes, config.points.channels)
        except InputError as error:
            return error
        return crop_to_range(frame, self.config.voxels.range)


def _collate(frames: list[Sample | InputError]) -> _Loaded:
    error = next((frame for frame in frames if isinstance(frame, InputError)), None)
    if error is not None:
        return _Loaded(None, error)
    return _Loaded(collate([frame for frame in frames if isinstance(frame, Sample)]))


def _begin_worker(_: int) -> None:
    """One thread each, and no mind of its own: a signal to the whole group of processes is the parent's to answer."""
    torch.set_num_threads(1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _pinned(value: T) -> T:
    """A copy of a dataclass with every tensor in it, nested ones too, in pinned memory."""
    changed: dict[str, Any] = {}
    for field in fields(value):  # type: ignore[arg-type]
        item = getattr(value, field.name)
        if isinstance(item, Tensor):
            changed[field.name] = item.pin_memory()
        elif hasattr(item, "__dataclass_fields__"):
            changed[field.name] = _pinned(item)
    return replace(value, **changed)  # type: ignore[type-var]
