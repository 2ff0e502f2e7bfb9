"""Label and result files from bytes to numbers in one pass over many files (numba, CPU).

What is read here is plain: lines of a known class and 14 or 15 numbers, in ASCII. Of a file that holds anything else,
wrong or merely unusual, only that is said, for a slower parser that knows every spelling to decide.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

ODD = -1  # in place of a file's number of objects: it has to be read by other means
NUMBERS = 15  # behind the class, the last being the score
_REQUIRED = 14
_OCCLUDED = 1
# Where the numbers of a line go: truncated, occluded, alpha, bbox, then height, width, length behind x, y, z.
_COLUMNS = np.array([0, 1, 2, 3, 4, 5, 6, 10, 11, 12, 7, 8, 9, 13, 14])
_MIN_BYTES = 2 * (1 + _REQUIRED)  # of a line: a character and a separator for each field
_MIN_BYTES_LATER = 5  # of a number that is left to the caller, with its separator: 1e23 is as short as they get

_TAB, _NEWLINE, _RETURN, _SPACE = 9, 10, 13, 32
_PLUS, _MINUS, _POINT, _ZERO, _NINE, _LOWER_E = 43, 45, 46, 48, 57, 101
_CAPITAL_A, _CAPITAL_Z, _TO_LOWER = 65, 90, 32

# A whole number below 2^53 and a power of ten up to 10^22 are doubles without error, so that one multiplication or
# division of the two rounds once: correctly, as strtod does.
_EXACT_INTEGERS = 1 << 53
_POWERS = np.array([float(10**exponent) for exponent in range(23)])
_COUNTED_DIGITS = 18  # as many fit an int64
_LARGEST_EXPONENT = 9999
_FINITE_BELOW = 300  # a number below 10^300 is no infinity
_READ, _LATER, _NONE = 0, 1, 2


@njit(cache=True, nogil=True)
def parse_files(
    text: np.ndarray, starts: np.ndarray, names: np.ndarray, name_starts: np.ndarray, need_scores: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Read the objects of files that stand one behind the other.

    Args:
        text: `[B]` uint8, the files' bytes, each file followed by a newline.
        starts: `[F + 1]` int64: file i is bytes starts[i] to starts[i + 1], the newline included.
        names: uint8, the known classes in lower case, one behind the other; class i is names[name_starts[i]] to
            names[name_starts[i + 1]].
        name_starts: `[C + 1]` int64.
        need_scores: a line without a score makes its file odd.

    Returns:
        counts `[F]` int64, objects of each file, ODD where the file has to be read by other means; index of the class
        `[N]` int32 and numbers `[N, 15]` float64 of the other files' objects, in the order of `Objects`: truncated,
        occluded, alpha, bbox, x, y, z, height, width, length, rotation_y, score (NaN without); and `[M, 4]` int64, row,
        column, first byte and end of the numbers that have too many digits to be read here: those are left to the
        caller.
    """
    counts = np.empty(len(starts) - 1, dtype=np.int64)
    capacity = len(text) // _MIN_BYTES + 1
    kinds = np.empty(capacity, dtype=np.int32)
    numbers = np.empty((capacity, NUMBERS), dtype=np.float64)
    later = np.empty((len(text) // _MIN_BYTES_LATER + 1, 4), dtype=np.int64)
    rows, left = 0, 0
    for file in range(len(starts) - 1):
        first_row, first_left = rows, left
        at, end = starts[file], starts[file + 1]
        if end - at > 3 and text[at] == 0xEF and text[at + 1] == 0xBB and text[at + 2] == 0xBF:
            at += 3  # the mark that some editors put at the head of a UTF-8 file
        odd = False
        while not odd:
            while at < end and (_is_gap(text[at]) or _ends_line(text[at])):
                at += 1
            if at == end:
                break
            kinds[rows], at = _read_name(text, at, names, name_starts)
            odd = kinds[rows] < 0
            numbers[rows, NUMBERS - 1] = math.nan
            given = 0
            while not odd:
                while _is_gap(text[at]):
                    at += 1
                if given == NUMBERS or _ends_line(text[at]):
                    break
                value, stop, state = _read_number(text, at)
                if given == _OCCLUDED:
                    odd = state != _READ or value != np.floor(value)
                    value += 0.0  # a whole number has no negative zero
                odd = odd or state == _NONE or not (_is_gap(text[stop]) or _ends_line(text[stop]))
                if state == _LATER and not odd:
                    later[left, 0], later[left, 1], later[left, 2], later[left, 3] = rows, _COLUMNS[given], at, stop
                    left += 1
                numbers[rows, _COLUMNS[given]] = value
                given += 1
                at = stop
            odd = odd or given < (NUMBERS if need_scores else _REQUIRED) or not _ends_line(text[at])
            rows += 1
        counts[file] = rows - first_row
        if odd:
            counts[file], rows, left = ODD, first_row, first_left
    return counts, kinds[:rows], numbers[:rows], later[:left]


@njit(cache=True, nogil=True)
def _is_gap(byte: int) -> bool:
    return byte in (_SPACE, _TAB)


@njit(cache=True, nogil=True)
def _ends_line(byte: int) -> bool:
    return byte in (_NEWLINE, _RETURN)


@njit(cache=True, nogil=True)
def _read_name(text: np.ndarray, at: int, names: np.ndarray, name_starts: np.ndarray) -> tuple[int, int]:
    """Index of the class that stands at `at`, whatever its case (-1: none that is known), and where it ends."""
    for name in range(len(name_starts) - 1):
        first, length = name_starts[name], name_starts[name + 1] - name_starts[name]
        same = 0
        # A line's end is in no name, so this stops within the text.
        while same < length:
            byte = text[at + same]
            if _CAPITAL_A <= byte <= _CAPITAL_Z:
                byte += _TO_LOWER
            if byte != names[first + same]:
                break
            same += 1
        if same == length and _is_gap(text[at + length]):
            return name, at + length
    return -1, at


@njit(cache=True, nogil=True)
def _read_number(text: np.ndarray, at: int) -> tuple[float, int, int]:
    """The decimal number that stands at `at`, where it ends, and whether it was read.

    _LATER: this is a finite number, but to round it takes more than is done here; _NONE: perhaps it is none.
    """
    negative = text[at] == _MINUS
    if negative or text[at] == _PLUS:
        at += 1
    mantissa, significant, written, exponent = np.int64(0), 0, 0, 0
    fraction = False
    while True:
        byte = np.int64(text[at])
        if _ZERO <= byte <= _NINE:
            written += 1
            if mantissa > 0 or byte > _ZERO:
                significant += 1
                if significant <= _COUNTED_DIGITS:
                    mantissa = 10 * mantissa + (byte - _ZERO)
            if fraction:
                exponent -= 1
        elif byte == _POINT and not fraction:
            fraction = True
        else:
            break
        at += 1
    if written == 0:
        return math.nan, at, _NONE
    if text[at] | _TO_LOWER == _LOWER_E:
        at += 1
        down = text[at] == _MINUS
        if down or text[at] == _PLUS:
            at += 1
        first, power = at, 0
        while _ZERO <= text[at] <= _NINE:
            power = 10 * power + (np.int64(text[at]) - _ZERO)
            if power > _LARGEST_EXPONENT:
                return math.nan, at, _NONE
            at += 1
        if at == first:
            return math.nan, at, _NONE
        exponent += -power if down else power
    if significant + exponent > _FINITE_BELOW and mantissa > 0:
        return math.nan, at, _NONE
    if mantissa == 0:
        value = 0.0
    elif significant > _COUNTED_DIGITS or mantissa >= _EXACT_INTEGERS or abs(exponent) >= len(_POWERS):
        return math.nan, at, _LATER
    elif exponent < 0:
        value = mantissa / _POWERS[-exponent]
    else:
        value = mantissa * _POWERS[exponent]
    return -value if negative else value, at, _READ
