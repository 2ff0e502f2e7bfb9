"""Lists of frame names, one a line, in any encoding that an editor or a shell writes."""

from __future__ import annotations

import codecs
import os
import re

from lidar_ebm.errors import InputError
from lidar_ebm.system.files import read_bytes

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


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
    """Text in UTF-8, with a mark or without, or in UTF-16 with one, as PowerShell's `>` writes it.

    Raises:
        InputError: it is in another encoding, or no text.
    """
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: this is no text in UTF-8 (byte {error.start}). Save it as UTF-8.") from error


def is_name(text: str) -> bool:
    """Tell if a text can be the name of a frame: one word that leaves no folder."""
    return re.fullmatch(r"\w[\w.+-]*", text) is not None
