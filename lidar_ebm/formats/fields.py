"""JSON and text files read with care: every value knows its file and field, and what it is not is said with both."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from lidar_ebm.errors import InputError
from lidar_ebm.formats.text_lists import decode_text, lacks_mark, marked_encoding
from lidar_ebm.system.files import atomic_write

PathLike = str | os.PathLike[str]
_HEAD, _TAIL = 1 << 18, 1 << 14  # bytes that recognising a file may read
_SHOWN = 60  # characters of a wrong value that a message repeats


@dataclass(frozen=True)
class Node:
    """A value of a JSON file with the file and the field that it stands in.

    Every method raises InputError, with file and field, where the value is something else than asked for.
    """

    value: Any
    path: PathLike
    field: str = ""

    def fail(self, problem: str) -> NoReturn:
        """Refuse the value.

        Raises:
            InputError: always.
        """
        raise InputError(f"{self.path}: {self.field or 'the whole file'}: {problem}")

    def __getitem__(self, key: str) -> Node:
        """The value of a key that must be there."""
        field = self.optional(key)
        if field is None:
            self.fail(f"{key!r} is missing. Add it or remove the entry.")
        return field

    def optional(self, key: str) -> Node | None:
        """The value of a key; None where it is missing or null."""
        value = self.entries_raw().get(key)
        return None if value is None else Node(value, self.path, f"{self.field}.{key}" if self.field else key)

    def entries_raw(self) -> dict[str, Any]:
        """The keys and values of an object."""
        if not isinstance(self.value, dict):
            self.fail(f"expected an object {{…}}, got {self.shown()}.")
        return self.value

    def entries(self) -> dict[str, Node]:
        """The values of an object by key."""
        prefix = f"{self.field}." if self.field else ""
        return {key: Node(value, self.path, f"{prefix}{key}") for key, value in self.entries_raw().items()}

    def elements(self) -> list[Node]:
        """The values of a list."""
        if not isinstance(self.value, list):
            self.fail(f"expected a list […], got {self.shown()}.")
        return [Node(value, self.path, f"{self.field}[{index}]") for index, value in enumerate(self.value)]

    def number(self) -> float:
        """A finite number."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fail(f"expected a number, got {self.shown()}.")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            self.fail(f"expected a finite number, got {self.shown()}.")
        return number

    def numbers(self, count: int) -> list[float]:
        """A list of so many finite numbers."""
        elements = self.elements()
        if len(elements) != count:
            self.fail(f"expected {count} numbers, got {len(elements)}.")
        return [element.number() for element in elements]

    def named_numbers(self, *keys: str) -> list[float]:
        """Finite numbers of an object's keys, all of which must be there."""
        return [self[key].number() for key in keys]

    def whole(self) -> int:
        """A whole number."""
        number = self.number()
        if not number.is_integer() or abs(number) > 2**53:
            self.fail(f"expected a whole number, got {self.shown()}.")
        return int(number)

    def text(self) -> str:
        """A text; a whole number, such as an id, is taken as one."""
        if isinstance(self.value, int) and not isinstance(self.value, bool):
            self.number()  # no endless digits
            return str(self.value)
        if not isinstance(self.value, str):
            self.fail(f"expected a text, got {self.shown()}.")
        return self.value

    def size(self, *values: float) -> list[float]:
        """Length, width, height: numbers that are not below 0."""
        if min(values) < 0:
            self.fail(f"sizes must not be negative, got {list(values)}.")
        return list(values)

    def shown(self) -> str:
        """The value for a message, cut short."""
        if isinstance(self.value, dict | list):
            return f"{'an object' if isinstance(self.value, dict) else 'a list'} of {len(self.value)}"
        try:
            text = repr(self.value)
        except ValueError:  # an integer of more digits than Python prints
            text = "a number of thousands of digits"
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def read_text(path: PathLike) -> str:
    """Text of a file in UTF-8, or in UTF-16 or UTF-32 with a mark.

    Raises:
        InputError: it cannot be read or is no text.
    """
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read ({reason}). Check the name and the permissions.") from error
    return decode_text(content, path)


def read_json(path: PathLike) -> Node:
    """Content of a JSON file.

    Raises:
        InputError: it cannot be read, is no JSON, or is nested too deeply.
    """
    text = read_text(path)
    try:
        return Node(json.loads(text), path)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}:{error.lineno}: this is no JSON ({error.msg}, column {error.colno}); cut short or damaged. "
            "Copy it again."
        ) from error
    except RecursionError as error:
        raise InputError(f"{path}: nested too deeply to be a file of boxes.") from error
    except ValueError as error:  # a number of more digits than Python reads
        raise InputError(f"{path}: holds something that cannot be read ({error}).") from error


def write_json(path: PathLike, data: Any) -> None:
    """Write data as JSON.

    Raises:
        InputError: it holds NaN or infinity.
        OutputError: the file cannot be written.
    """
    try:
        text = json.dumps(data, ensure_ascii=False, indent=1, allow_nan=False)
        text.encode()
    except ValueError as error:
        raise InputError(f"{path}: cannot be written as JSON ({error}).") from error
    with atomic_write(path, "w") as file:
        file.write(text + "\n")


def glimpse(path: Path) -> str:
    """Beginning and end of a file as text, for recognising it; empty where it cannot be read or is no text."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            content = file.read(_HEAD)
            file.seek(0, os.SEEK_END)
            if file.tell() > _HEAD:
                file.seek(max(_HEAD, file.tell() - _TAIL))
                content += file.read(_TAIL)
    except (OSError, ValueError):
        return ""
    encoding = marked_encoding(content)
    if lacks_mark(content):
        content = content.replace(b"\x00", b"")  # recognised, so that reading it tells of the mark
    elif encoding is None and b"\x00" in content[:1024]:
        return ""
    return content.decode(encoding or "utf-8", errors="replace")


def has_keys(text: str, *keys: str) -> bool:
    """Tell if text looks like JSON with these keys."""
    return text.lstrip()[:1] in ("{", "[") and all(f'"{key}"' in text for key in keys)
