"""Standard output of the command: as wide as it needs, in any encoding, and not silently lost."""

from __future__ import annotations

import errno
import io
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from lidar_ebm.errors import OutputError

_UNLIMITED = 100_000  # columns
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def print_tables(*tables: RenderableType | None) -> None:
    """Print tables one below the other; where a console is too narrow for one its lines are not cut but run over."""
    for table in tables:
        if table is None:
            continue
        console = _console()
        needed = max((_width(console, each) for each in _tables_in(table)), default=0)
        # Rich fits a table to the console, if need be by cutting figures in two: it is told of one that is wide enough.
        (console if needed <= console.width else _console(needed)).print(table)


def print_line(text: str) -> None:
    """Print a line as it stands, however long; `text` may hold Rich's markup."""
    _console().print(text, highlight=False, soft_wrap=True)


def accept_any_text() -> None:
    """Print as a question mark what an encoding such as ASCII has no character for."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors != "backslashreplace":
            stream.reconfigure(errors="replace")


def show_warnings_plainly() -> None:
    """From now on a warning is a line on standard error, without the place in the code that it comes from."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        Console(stderr=True, emoji=False).print(
            f"[yellow]Warning:[/] {escape(str(message))}", highlight=False, soft_wrap=True
        )

    warnings.showwarning = show


@contextmanager
def checked_output() -> Iterator[None]:
    """Make sure that what is printed within arrives; a reader that has seen enough (`| head`) is no error.

    Raises:
        OutputError: standard output takes no more, as on a full disk.
    """
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:  # it is None where it was closed before the program began
                sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
    except OSError as error:
        # Of a named file it would say the name, and files are written by atomic_write, which has its own error.
        if error.errno not in _FULL or error.filename is not None:
            raise
        _discard_output()
        raise OutputError(
            f"standard output: cannot be written ({error.strerror}). Free some space or send it elsewhere."
        ) from error


def _console(width: int | None = None) -> Console:
    return Console(width=width, emoji=False)  # "000000.txt:100: …" would show a picture


def _tables_in(item: RenderableType) -> Iterable[Table]:
    if isinstance(item, Group):
        return [table for each in item.renderables for table in _tables_in(each)]
    return [item] if isinstance(item, Table) else []


def _width(console: Console, table: Table) -> int:
    """Columns that a table takes when none of its cells is broken or cut."""
    return Measurement.get(console, console.options.update(max_width=_UNLIMITED), table).maximum


def _discard_output() -> None:
    """Nothing more is written to standard output, at the interpreter's end neither."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # none, as in a notebook
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
