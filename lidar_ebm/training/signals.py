"""Signals that ask training to end: it does so after the step in hand, with everything saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)  # a cluster's preemption; Ctrl-C


class StopSignals:
    """While entered, notes SIGTERM and SIGINT instead of ending at once; a second SIGINT does end at once."""

    def __init__(self) -> None:
        self.received = 0  # number of the first signal that came; 0 for none
        self._at_once = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def ending_at_once(self) -> Iterator[None]:
        """Within, a signal ends the program where it stands: nothing is there to be saved."""
        self._at_once = True
        try:
            if self.received:
                end(self.received)
            yield
        finally:
            self._at_once = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = self.received == signal.SIGINT and number == signal.SIGINT
        self.received = self.received or number
        if self._at_once or again:
            end(number)


def end(number: int) -> None:
    """End the program as the signal `number` asks, by an exception that cleans up on its way."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
