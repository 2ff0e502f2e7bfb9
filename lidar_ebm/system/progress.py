"""Progress bars with an estimate of the time left: live in a terminal, a plain line now and then in a file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 15.0
COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
    TextColumn("ETA"),
    TimeRemainingColumn(),
    TextColumn("{task.fields[note]}"),
)


class ProgressBar:
    """Progress of a piece of work."""

    def __init__(self, title: str, total: int, done: int, console: Console, live: Progress | None) -> None:
        self.title, self.total, self.done = title, total, done
        self._console, self._live = console, live
        self._task = None if live is None else live.add_task(title, total=total, completed=done, note="")
        self._began = self._last = time.monotonic()
        self._first: tuple[int, float] | None = None  # what was done, and when, at the first report

    def advance(self, steps: int = 1, note: str = "") -> None:
        """`steps` more are done."""
        self.reach(self.done + steps, note=note)

    def reach(self, done: int, total: int | None = None, *, note: str = "") -> None:
        """`done` of the total are done."""
        self.done, self.total = done, self.total if total is None else total
        if self._live is not None and self._task is not None:
            self._live.update(self._task, completed=done, total=self.total, note=note)
            return
        now = time.monotonic()
        if self._first is None:
            # Before it came what is not repeated: compilation, workers that start, frames that were there.
            self._first = done, now
        if now - self._last >= SECONDS_BETWEEN_LINES or done == self.total:
            self._last = now
            (first, since), rest = self._first, self.total - done
            has_estimate = done > first or rest == 0
            eta = f"{(now - since) / max(done - first, 1) * rest:.0f} s" if has_estimate else "unknown"
            line = f"{self.title}: {done}/{self.total}, {now - self._began:.0f} s, ETA {eta} {note}"
            self._console.print(line.rstrip(), highlight=False)


@contextmanager
def progress_bar(title: str, total: int, *, done: int = 0) -> Iterator[ProgressBar]:
    """Show a bar for work of `total` steps, of which `done` were done before."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield ProgressBar(title, total, done, console, None)
        return
    with Progress(*COLUMNS, console=console) as live:
        yield ProgressBar(title, total, done, console, live)
