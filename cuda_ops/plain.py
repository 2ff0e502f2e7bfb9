"""Computing with the references on purpose: plain PyTorch, which can be differentiated as often as one likes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_wanted: ContextVar[bool] = ContextVar("plain_torch", default=False)


@contextmanager
def plain_torch() -> Iterator[None]:
    """Within, every operation that this thread calls is its reference: slower, but differentiable more than once.

    What counts is where an operation is called; its derivatives may be asked for later.
    """
    before = _wanted.set(True)
    try:
        yield
    finally:
        _wanted.reset(before)


def is_plain() -> bool:
    """Tell if this is within `plain_torch`."""
    return _wanted.get()
