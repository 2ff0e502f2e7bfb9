"""Writing files so that nobody ever meets half of one, and asking what is where without surprises."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from lidar_ebm.errors import InputError, OutputError


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; on success flush it to disk and rename it to `path`, on failure remove it.

    The folder is made where it is missing. Of a symbolic link what it points to is written; the link stays. `mode` is
    "wb" (default) or "w" (UTF-8 text).

    Raises:
        OutputError: the file cannot be written (a full disk, no permission), or `path` is something else than a file;
            it is then as it was before.
    """
    temporary: str | None = None
    try:
        target = _written_file(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(descriptor, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files for the owner only; results are as public as the user's umask says.
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(target)
        temporary = None
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}). Free some space or choose a folder that you may "
            "write to; nothing that stood there was changed."
        ) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def check_output_file(path: str | os.PathLike[str]) -> None:
    """Refuse what `atomic_write` would, before long work rather than after it.

    Raises:
        OutputError: `path` cannot be a file, or stands where nothing may be written.
    """
    try:
        folder = _written_file(path).absolute().parent
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}). Choose another name.") from error
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise OutputError(f"{path}: {folder} is a file. Choose another name.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: nothing may be written to {folder}. Choose a folder that you may write to.")


def _written_file(path: str | os.PathLike[str]) -> Path:
    """The file that `path` stands for, which may be yet to be made.

    Raises:
        OutputError: it cannot be a file.
        OSError: that cannot be found out.
    """
    if not os.fspath(path):
        raise OutputError("the name of the file to write is empty. Give one.")
    # Unlike Path.resolve of older Pythons this says of links in a circle what it says of other trouble.
    target = Path(path)
    try:
        kind = target.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        kind = stat.S_IFREG
    if stat.S_ISDIR(kind):
        raise OutputError(f"{path}: this is a folder. Give the name of a file to write.")
    if not stat.S_ISREG(kind):
        raise OutputError(f"{path}: this is no regular file but a device, pipe or socket. Give the name of a file.")
    return target.resolve() if target.is_symlink() else target


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The content of a file.

    Raises:
        InputError: it cannot be read, or is no regular file (reading a pipe or device may never end).
    """
    with open_regular(path) as file:
        return file.read()


@contextmanager
def open_regular(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file for reading bytes.

    Raises:
        InputError: it cannot be opened or read, or is no regular file.
    """
    # A pipe would be waited for until somebody writes to it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(f"{path}: this is no regular file but a device, pipe or socket. Give a file's name.")
            yield file
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        advice = "Check the name and that the data set is whole."
        raise InputError(f"{path}: cannot be read ({reason}). {advice}") from error


def file_kind(path: str | os.PathLike[str]) -> int | None:
    """Kind of what a path leads to, as the module `stat` tells it from `st_mode`; None where there is nothing.

    Raises:
        InputError: it cannot be found out: no permission, a name that is too long, links in a circle.
    """
    try:
        return Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        advice = "Ask for permission to read it." if error.errno == errno.EACCES else "Check the name."
        raise InputError(f"{path}: cannot be looked at ({error.strerror}). {advice}") from error
