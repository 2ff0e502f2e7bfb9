"""Stamps of files: what tells cheaply if a file is still the one that was read."""

from __future__ import annotations

import os
import stat as kinds
import zlib
from collections.abc import Iterable
from pathlib import Path

SMALL = 1 << 16  # bytes; up to here the content itself is looked at
_NO_FILE = -1  # the size in the stamp of what is there but no file, such as a folder

Stamp = tuple[int, int, int] | None
"""Size in bytes, time of modification in ns, and of small files the CRC-32 of the content, of others the time in ns at
which the file system last changed the entry; None where there is no file. An archive or a checkout may give a corrected
file the size and time of the old one; the third number tells even then."""
Stamps = tuple[Stamp, ...]
"""The stamps of a frame's files, in their order."""


def is_file(value: Stamp) -> bool:
    """Tell if a stamp is that of a file."""
    return value is not None and value[0] != _NO_FILE


def stamp(path: str | os.PathLike[str]) -> Stamp:
    """The stamp of a file; its size is -1 for what is there but no file."""
    try:
        status = os.stat(path)  # noqa: PTH116  # a Path for each of some ten thousand files takes longer than the disk
        if not kinds.S_ISREG(status.st_mode):
            return _NO_FILE, status.st_mtime_ns, 0
        if status.st_size > SMALL:
            return status.st_size, status.st_mtime_ns, status.st_ctime_ns
        with open(path, "rb") as file:  # noqa: PTH123  # likewise
            return status.st_size, status.st_mtime_ns, zlib.crc32(file.read())
    except OSError:
        return None


def stamps(paths: Iterable[str | Path]) -> Stamps:
    """The stamps of several files."""
    return tuple(stamp(path) for path in paths)
