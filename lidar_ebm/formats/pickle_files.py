"""Pickle files, gzipped or not, for the restricted reader; an unpacked size that no data file has is refused."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

from lidar_ebm.errors import InputError
from lidar_ebm.formats.restricted_pickle import load_pickle

_UNPACKED = 50  # a compressed file may become this many times as large
_GZIP = b"\x1f\x8b"


def read_pickle(path: str | os.PathLike[str], *, pandas: bool = False) -> Any:
    """Content of a pickle file, gzipped or not: dictionaries, lists, tuples, texts, numbers, arrays.

    Args:
        path: the file.
        pandas: admit the parts of a data frame as `Record`.

    Raises:
        RefusedNameError: it asks for something else by name.
        InputError: it cannot be read, is damaged, or would take far more memory than it is long.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}). Check the name.") from error
    return load_pickle(_unpacked(data, path) if data.startswith(_GZIP) else data, path, pandas=pandas)


def pickle_head(path: Path, size: int = 1 << 18) -> bytes:
    """The first bytes of a file that may be a pickle, unpacked if gzipped; nothing where it is none or unreadable."""
    try:
        with path.open("rb") as file:
            head = file.read(size)
        if head.startswith(_GZIP):
            head = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, size)
    except (OSError, zlib.error):
        return b""
    # Protocol 0 and 1 begin with the first object: a list or a dictionary.
    return head if head[:1] == b"\x80" or head[:2] in (b"(l", b"(d", b"](", b"}(", b"]q", b"}q") else b""


def _unpacked(data: bytes, path: str | os.PathLike[str]) -> bytes:
    limit = _UNPACKED * len(data) + (1 << 20)
    parts: list[bytes] = []
    rest, room = data, limit
    try:
        while rest.startswith(_GZIP):
            stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
            parts.append(stream.decompress(rest, room + 1))
            room -= len(parts[-1])
            if room < 0:
                raise InputError(
                    f"{path}: unpacks to more than {limit} bytes, over {_UNPACKED} times its size, which no data file "
                    "does. Get it again from where it was made."
                )
            if not stream.eof:
                raise zlib.error("the end is missing")
            rest = stream.unused_data
    except zlib.error as error:
        raise InputError(f"{path}: its gzip data are damaged or cut short ({error}). Get it again.") from error
    return b"".join(parts)
