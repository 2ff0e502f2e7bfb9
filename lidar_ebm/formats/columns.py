"""Whole columns of numbers and texts out of what a file holds (arrays of pickles, lists of JSON), checked at once.

`where` in the functions is what a message begins with: the file, and the frame or field in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError

_LONGEST_TEXT = 256  # characters of a class name or token; an array of texts is as wide as its longest
_AGAIN = "Get the file again from where it was made, or name another format."


def numbers(value: Any, shape: tuple[int | None, ...], where: str, *, may_be_nan: bool = False) -> np.ndarray:
    """A float64 array of this shape, in which None is any length; of no element at all in any shape.

    Raises:
        InputError: it is no array of numbers, has another shape, or holds NaN or infinity.
    """
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(f"{where}: is no array of numbers. {_AGAIN}") from error
    if array.size == 0 and None in shape:
        return np.zeros([length or 0 for length in shape])
    if array.dtype.kind not in "fiu":
        raise InputError(f"{where}: holds something that is no number. {_AGAIN}")
    wanted = ["any" if length is None else length for length in shape]
    if len(array.shape) != len(shape) or any(a not in (None, b) for a, b in zip(shape, array.shape, strict=True)):
        raise InputError(f"{where}: has shape {list(array.shape)} instead of {wanted}. {_AGAIN}")
    array = array.astype(np.float64)
    if np.isinf(array).any() or (not may_be_nan and np.isnan(array).any()):
        raise InputError(f"{where}: holds NaN or infinity. Remove those objects where the file was made.")
    return array


def text(value: Any, where: str) -> str:
    """A text of some 256 characters at most.

    Raises:
        InputError: it is none, or longer.
    """
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        raise InputError(f"{where}: is no text of at most {_LONGEST_TEXT} characters. {_AGAIN}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{where}: holds half a character (a lone surrogate). {_AGAIN}") from error
    return str(value)


def texts(value: Any, count: int, where: str) -> np.ndarray:
    """Texts [count] of an array or list that has as many; of no element of any kind there are none.

    Raises:
        InputError: there is another number, or something else than a text.
    """
    items = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(items, list | tuple) or len(items) != count:
        length = len(items) if isinstance(items, list | tuple) else type(items).__name__
        raise InputError(f"{where}: {length} for {count} boxes; there is one for each. {_AGAIN}")
    return as_texts([text(item, where) for item in items])


def as_texts(items: Sequence[str]) -> np.ndarray:
    """The texts as an array [N] of texts, also where there are none."""
    return np.array(items, np.str_) if len(items) else np.zeros(0, np.str_)


def entry(mapping: Any, key: str, where: str) -> Any:
    """The value of a key that has to be there.

    Raises:
        InputError: it is not, or this is no mapping.
    """
    if not isinstance(mapping, Mapping):
        raise InputError(f"{where}: is {type(mapping).__name__} instead of a set of named fields. {_AGAIN}")
    if key not in mapping:
        raise InputError(f"{where}: has no {key!r}. {_AGAIN}")
    return mapping[key]


def rows_of_numbers(
    values: Sequence[Any], length: int | None, where: Callable[[int], str], *, may_be_nan: bool = False
) -> np.ndarray:
    """A float64 array [N, length], or [N] for length None, of N values.

    Args:
        values: numbers, or lists of `length` numbers.
        length: of each list; None for plain numbers.
        where: beginning of a message about the value of an index.
        may_be_nan: let NaN through.

    Raises:
        InputError: a value is something else, NaN or infinite; the message is about the first.
    """
    shape = () if length is None else (length,)
    if not values:
        return np.zeros((0, *shape))
    try:
        return numbers(values, (len(values), *shape), where(0), may_be_nan=may_be_nan)
    except InputError:
        for index, value in enumerate(values):
            numbers(value, shape, where(index), may_be_nan=may_be_nan)
        raise


def index_column(value: Any, count: int, where: str) -> np.ndarray:
    """Whole numbers [count], int64.

    Raises:
        InputError: it is no column of whole numbers from -2^31 on to 2^31.
    """
    array = numbers(value, (count,), where)
    if (array != np.floor(array)).any() or (np.abs(array) > 2**31).any():
        raise InputError(f"{where}: holds numbers that are not whole. {_AGAIN}")
    return array.astype(np.int64)


def check_scores(frames: Mapping[str, Boxes], path: Any) -> None:
    """Refuse scores that no evaluation could rank, before anything is written.

    Raises:
        InputError: a score is NaN.
    """
    for frame, boxes in frames.items():
        if boxes.scores is not None and np.isnan(boxes.scores).any():
            index = int(np.flatnonzero(np.isnan(boxes.scores))[0])
            raise InputError(
                f"{path}: box {index} of frame {frame!r} has no score (NaN); nothing was written. Remove it, or write "
                "all boxes without scores."
            )
