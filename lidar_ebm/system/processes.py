"""One program in several processes that torchrun started: who each of them is, and how they tell one another things.

    with join("cuda") as group:
        mine = [work(item) for item in items[group.rank :: group.size]]
        by_rank = group.gather(mine)

A process that stands alone is a group of one, for which nothing is started. Where one of several meets a user's error,
all of them end: the first with that error, so that it is told once, the others without a word.
"""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from lidar_ebm.errors import InputError, OutputError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")

USER_ERROR = 2  # exit status, as the command's
SECONDS_TO_BE_ENDED = 30.0
LOST = (
    "Error: another process of this group ended before its time. What it said last, or torchrun's report, tells why; "
    "finished work is kept."
)


@dataclass(frozen=True)
class Group:
    """The processes that work together, seen from one of them."""

    rank: int = 0  # of this process
    size: int = 1
    device: str = "cpu"  # where this process computes

    @property
    def is_first(self) -> bool:
        """True in the process that writes files and talks to the user."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """Values that every process gives, by rank; every process gets all of them.

        Every process calls this equally often, and each waits for the slowest, at most half an hour. Values travel
        pickled, among these processes alone. Where one of them has failed, this ends `join`'s block in all.
        """
        return [value] if self.size == 1 else self._exchange(value, None)

    def _exchange(self, value: T, error: Exception | None) -> list[T]:
        """Give a value, or the error for which there is none, and take what the others give."""
        try:
            answers = self._all_gather((value, error))
        except RuntimeError as lost:  # torch.distributed cannot reach one of them any more
            raise SystemExit(LOST if self.is_first else 1) from lost
        for _, failure in answers:
            if failure is not None:
                raise _AllFailedError(failure)
        return [answer[0] for answer in answers]

    def _all_gather(self, item: Any) -> list[Any]:
        from torch import distributed

        items: list[Any] = [None] * self.size
        distributed.all_gather_object(items, item)
        return items


class _AllFailedError(Exception):
    """A user's error that every process knows of; it does not leave `together`."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def is_first_process() -> bool:
    """Tell if this is the process that talks to the user, as known before any `join`."""
    return not _has_torchrun() or os.environ["RANK"] == "0"


@contextmanager
def join(device: str = "cpu") -> Iterator[Group]:
    """Work with the other processes that torchrun started, or alone where it started none.

    Args:
        device: "cpu", or "cuda" for a GPU each; a process that stands alone may name any device.

    Raises:
        InputError, OutputError: the block's own; of several processes, the first raises it whichever met it. InputError
            too where a machine lacks a device for one of its processes, or they cannot be connected.
        SystemExit: the others' end in that case.
    """
    size = int(os.environ["WORLD_SIZE"]) if _has_torchrun() else 1
    if size == 1:
        yield Group(device=device)
        return
    try:
        fabric = start_fabric(device)
    except InputError:
        if os.environ["LOCAL_RANK"] == "0":
            raise
        # The machine is at fault, and its first process says so; when that has ended, torchrun ends this one.
        time.sleep(SECONDS_TO_BE_ENDED)
        raise SystemExit(USER_ERROR) from None
    with together(Group(fabric.global_rank, size, str(fabric.device))) as group:
        yield group


@contextmanager
def together(group: Group) -> Iterator[Group]:
    """End the block in all processes of a group: when all are through, or when one meets a user's error.

    Every exchange is of one kind, so a process that fails anywhere gives its error in the others' next one, be it a
    `gather` of theirs or the end of their block.
    """
    try:
        try:
            yield group
        except (InputError, OutputError) as error:
            group._exchange(None, error)
        else:
            group.gather(None)
    except _AllFailedError as failed:
        if group.is_first:
            raise failed.error from None
        # torchrun ends all processes when it sees one end: let that be the first, which has something to say.
        with suppress(RuntimeError):
            group._all_gather(None)
        raise SystemExit(USER_ERROR) from None


def start_fabric(accelerator: str) -> Fabric:
    """Lightning Fabric over all processes that torchrun started, on as many devices of each machine, connected.

    Raises:
        InputError: a machine lacks a device for one of its processes, or they cannot be connected.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import DDPStrategy
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    if accelerator not in ("cpu", "cuda"):
        raise InputError(f"device {accelerator!r}: with several processes give cpu, or cuda for a GPU each.")
    processes = int(os.environ["LOCAL_WORLD_SIZE"])
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # every process would say that it starts
    # Gradients travel from GPU to GPU, objects from CPU to CPU.
    strategy = DDPStrategy(process_group_backend="gloo" if accelerator == "cpu" else "cpu:gloo,cuda:nccl")
    try:
        fabric = Fabric(
            accelerator=accelerator,
            devices=processes,
            num_nodes=int(os.environ["GROUP_WORLD_SIZE"]),
            strategy=strategy,
        )
        fabric.launch()
        atexit.register(_disconnect)
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"device {accelerator!r}: cannot be used by {processes} processes of a machine ({reason}). Start as many "
            "on each machine as it has devices, or choose cpu."
        ) from error
    return fabric


def _has_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def _disconnect() -> None:
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()
