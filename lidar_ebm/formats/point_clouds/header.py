"""Text headers of point files, and records of fields: what PCD and PLY have in common.

Numbers of a header are checked as Python's integers, which have no end, before anything is sized by them.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

LONGEST_HEADER = 1 << 18  # bytes
MAX_FIELDS = 512
LONGEST_RECORD = 1 << 16  # bytes


@dataclass(frozen=True)
class Field:
    """One field of a record."""

    name: str
    dtype: str  # numpy's, with its byte order
    repeat: int = 1  # values a point

    @property
    def bytes_per_point(self) -> int:
        """Size in a record."""
        return int(self.dtype[2:]) * self.repeat


def split_header(content: bytes, last: str) -> tuple[list[list[str]], int]:
    """The words of each header line, comments and empty ones left out, and the offset of what follows the header.

    Lines end in LF, CR LF or, in a file that begins so, CR alone.

    Raises:
        ValueError: no line begins with `last`.
    """
    head = content[:LONGEST_HEADER]
    end_of_line = b"\n"
    first_return = head.find(b"\r")
    if first_return >= 0 and head[first_return + 1 : first_return + 2] != b"\n" and b"\n" not in head[:first_return]:
        end_of_line = b"\r"
    lines: list[list[str]] = []
    start = 0
    while start < len(head):
        end = head.find(end_of_line, start)
        end = len(head) if end < 0 else end
        words = head[start:end].decode("latin-1").split()
        start = end + 1
        if words and not words[0].startswith("#"):
            lines.append(words)
            if words[0].lower() == last:
                return lines, min(start, len(content))
    raise ValueError(f"its header has no line {last}")


def parse_count(words: Sequence[str], what: str) -> int:
    """The one whole number, 0 or more, that follows a header's word.

    Raises:
        ValueError: it is something else.
    """
    if len(words) != 1 or not (words[0].isascii() and words[0].isdigit()) or len(words[0]) > 18:
        raise ValueError(f"{what} is {' '.join(words)[:60]!r}, not one whole number")
    return int(words[0])


def check_fields(fields: Sequence[Field]) -> int:
    """The size of a record of fields, in bytes.

    Raises:
        ValueError: there are none, or more or larger ones than any file has.
    """
    size = sum(field.bytes_per_point for field in fields)
    if not 0 < len(fields) <= MAX_FIELDS or not 0 < size <= LONGEST_RECORD:
        raise ValueError(f"{len(fields)} fields of {size} bytes a point")
    return size


def parse_records(body: memoryview, fields: Sequence[Field], count: int) -> dict[str, np.ndarray]:
    """Fields [count] of packed records; views of `body`. Of a field that repeats, padding and others alike, nothing.

    Raises:
        ValueError: the bytes do not suffice.
    """
    size = check_fields(fields)
    if len(body) < count * size:
        raise ValueError(f"{len(body)} bytes follow, but {count} points of {size} bytes need {count * size}")
    starts = np.cumsum([0, *(field.bytes_per_point for field in fields)]).tolist()
    chosen = [(field, start) for field, start in zip(fields, starts, strict=False) if field.repeat == 1]
    record = np.dtype(
        {
            "names": [str(number) for number in range(len(chosen))],
            "formats": [field.dtype for field, _ in chosen],
            "offsets": [start for _, start in chosen],
            "itemsize": size,
        }
    )
    records = np.frombuffer(body, record, count) if count else np.empty(0, record)
    return name_fields([(field.name, records[str(number)]) for number, (field, _) in enumerate(chosen)])


def parse_lines(body: memoryview, fields: Sequence[Field], count: int) -> dict[str, np.ndarray]:
    """Fields [count] of `count` lines of text.

    Raises:
        ValueError: the lines are fewer or not as wide as the header says.
    """
    check_fields(fields)
    width = sum(field.repeat for field in fields)
    if 2 * count * width > len(body) + 1:  # a digit and what parts it from the next
        raise ValueError(f"{len(body)} bytes follow, too few for {count} points of {width} values")
    values = np.empty((0, width))
    if count:
        # [count, width]; float64 holds every number of the types that a field can have, but for 64 bit counters.
        values = np.loadtxt(io.BytesIO(body), ndmin=2, max_rows=count, comments=None, encoding="latin-1")
    if values.shape != (count, width):
        raise ValueError(f"{values.shape[0]} points of {values.shape[1]} values, the header says {count} of {width}")
    columns, start = [], 0
    for field in fields:
        if field.repeat == 1:
            columns.append((field.name, as_type(values[:, start], field.dtype)))
        start += field.repeat
    return name_fields(columns)


def as_type(values: np.ndarray, dtype: str) -> np.ndarray:
    """Numbers read from text, in the type of their field where that is small and says the scale."""
    if dtype[1:] in ("u1", "u2") and len(values) and values.min() >= 0 and values.max() <= np.iinfo(dtype).max:
        return values.astype(dtype)
    return values


def name_fields(columns: Sequence[tuple[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Fields by name; the first of those with one name.

    Raises:
        ValueError: x, y or z stands twice.
    """
    named: dict[str, np.ndarray] = {}
    for name, values in columns:
        if name.lower() in ("x", "y", "z") and any(name.lower() == other.lower() for other in named):
            raise ValueError(f"field {name} stands twice")
        named.setdefault(name, values)
    return named


def describe_repeated(fields: Sequence[Field]) -> list[str]:
    """Notes on fields that are passed over for having several values a point."""
    return [
        f"field {field.name} has {field.repeat} values a point and is passed over"
        for field in fields
        if field.repeat != 1 and field.name != "_"
    ]


def format_lines(columns: Mapping[str, np.ndarray]) -> bytes:
    """Lines of text of equally long columns; nine digits tell any two float32 apart."""
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    return "".join(" ".join(f"{value:.9g}" for value in row) + "\n" for row in rows).encode()
