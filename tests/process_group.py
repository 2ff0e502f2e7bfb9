"""Threads that meet as processes do: what several processes agree on, without starting any."""

from __future__ import annotations

import pickle
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lidar_ebm.system.processes import Group, together


class Meeting:
    """Place at which threads exchange things."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.rounds: dict[int, dict[int, bytes]] = defaultdict(dict)  # round -> rank -> what it gave
        self.given = [0] * size  # by rank, in how many rounds
        self.gone: set[int] = set()
        self.changed = threading.Condition()

    def exchange(self, rank: int, item: Any) -> list[Any]:
        """All of a round's items, by rank; a RuntimeError, as torch's, where one is gone that gave none."""
        with self.changed:
            items = self.rounds[self.given[rank]]
            items[rank] = pickle.dumps(item)
            self.given[rank] += 1
            self.changed.notify_all()
            self.changed.wait_for(lambda: len(items) == self.size or self.gone - items.keys(), timeout=60)
            if len(items) < self.size:
                raise RuntimeError("connection closed by peer")
            return [pickle.loads(items[other]) for other in range(self.size)]

    def leave(self, rank: int) -> None:
        """No one can reach this rank any more."""
        with self.changed:
            self.gone.add(rank)
            self.changed.notify_all()


@dataclass(frozen=True)
class GroupOfThreads(Group):
    meeting: Meeting = field(default_factory=lambda: Meeting(1))

    def _all_gather(self, item: Any) -> list[Any]:
        return self.meeting.exchange(self.rank, item)


def run_together(size: int, work: Callable[[Group], Any]) -> list[Any]:
    """Results of `work`, or the exception in which it ends, for each of `size` processes."""
    meeting = Meeting(size)
    ends: list[Any] = [None] * size

    def process(rank: int) -> None:
        try:
            with together(GroupOfThreads(rank, size, meeting=meeting)) as group:
                ends[rank] = work(group)
        except BaseException as error:  # noqa: BLE001  # its end is what is asked for
            ends[rank] = error
        meeting.leave(rank)

    threads = [threading.Thread(target=process, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ends
