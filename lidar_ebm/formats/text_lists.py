"""Text in any encoding that an editor or a shell writes, and lists of frame names, one a line."""

from __future__ import annotations

import codecs
import math
import os
import re
from collections.abc import Callable
from pathlib import Path

from lidar_ebm.errors import InputError
from lidar_ebm.system.files import read_bytes

_MARKS = (  # UTF-32 first, as its mark begins with that of UTF-16
    *((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF8, "utf-8-sig")),
    *((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")),
)


def read_names(path: str | os.PathLike[str]) -> list[str]:
    """Read the names in a list; blank lines are passed over.

    Raises:
        InputError: the file is missing, a line is not one name, or a name stands there twice. The message names file
            and line.
    """
    lines: dict[str, int] = {}
    for number, line in enumerate(decode_text(read_bytes(path), path).splitlines(), start=1):
        name = line.strip()
        if not name:
            continue
        if not is_name(name):
            raise InputError(f"{path}:{number}: {name!r} is not the name of a frame; give one a line, such as 000012.")
        if name in lines:
            raise InputError(f"{path}:{number}: frame {name} stands already in line {lines[name]}; remove one of them.")
        lines[name] = number
    return list(lines)


def decode_text(content: bytes, path: str | os.PathLike[str]) -> str:
    """Text in UTF-8, with a byte order mark or without, or in UTF-16 or UTF-32 with one, as PowerShell's `>` writes it.

    Raises:
        InputError: it is in another encoding, or no text.
    """
    encoding = marked_encoding(content) or "utf-8"
    if lacks_mark(content):
        raise InputError(
            f"{path}: holds NUL bytes, so it looks like UTF-16 or UTF-32 without a mark: save it as UTF-8. Copy it "
            "again if it is damaged."
        )
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        kind = encoding.removesuffix("-sig").upper()
        raise InputError(
            f"{path}: this is no text file in {kind} (byte {error.start}). Save it as UTF-8, or copy it again."
        ) from error


def marked_encoding(content: bytes) -> str | None:
    """The encoding that a text's byte order mark tells; None where it has none."""
    return next((name for mark, name in _MARKS if content.startswith(mark)), None)


def lacks_mark(content: bytes) -> bool:
    """Tell if a text looks like UTF-16 or UTF-32 whose byte order mark is missing: half of every other byte is NUL."""
    halves = (content[start:1024:2] for start in (0, 1))
    return marked_encoding(content) is None and any(half and 2 * half.count(0) >= len(half) for half in halves)


def parse_or_nan(text: str) -> float:
    """A number as files write it; NaN where the text is none."""
    try:
        # 1_0 and digits of other scripts are numbers to Python alone.
        return float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        return math.nan


def is_name(text: str) -> bool:
    """Tell if a text can be the name of a frame: one word that leaves no folder."""
    return re.fullmatch(r"\w[\w.+-]*", text) is not None


def hint_at_ending(name: str, is_there: Callable[[str], bool]) -> str:
    """A sentence, after a space, for a name that would be there without its ending; else empty."""
    stem = Path(name).stem
    return f" Names stand without ending: write {stem}." if stem != name and is_there(stem) else ""
