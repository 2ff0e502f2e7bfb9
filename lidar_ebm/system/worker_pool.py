"""Work on many frames in several processes."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TypeVar

import torch

from lidar_ebm.errors import OutputError

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Task], Result], tasks: Iterable[Task], processes: int, *, root: Path
) -> Iterator[Result]:
    """Results of `work` for each task, in the order in which they are done.

    Where the caller stops early (an error, Ctrl-C), the tasks at hand are finished and the others left.

    Args:
        work: can be pickled, as tasks and results.
        processes: that work at a time, each with one thread.
        root: of the data set, for the message.

    Raises:
        OutputError: a process ended unexpectedly.
    """
    # Spawned, not forked: a fork of a process with torch's or numba's threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_begin_worker) as pool:
        try:
            for future in as_completed([pool.submit(work, task) for task in tasks]):
                yield future.result()
        except BrokenProcessPool as error:
            raise OutputError(
                f"{root}: a worker process ended unexpectedly: killed, out of memory, or the calling script lacks "
                "`if __name__ == '__main__':`. Call again to go on; workers=1 starts no processes."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker() -> None:
    torch.set_num_threads(1)  # the processes are the parallelism
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent lets the tasks at hand be finished
