"""NumPy arrays from what pickles say of them: shapes are checked against the bytes before anything is made."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

_CODE = re.compile(r"([<>=|]?)(?:([fiu])([1248])|(b)1|([US])(\d{1,6})|(O)[48]?)")
_LARGEST_CODE_POINT = 0x10FFFF


class DamageError(ValueError):
    """Something in a pickle that does not fit together; the message says what."""


class DataType:
    """Type of an array's elements in a pickle: numbers, truth values, texts, bytes or objects.

    Raises:
        DamageError: it is of another kind.
    """

    __slots__ = ("kind", "order", "size")

    def __init__(self, code: Any) -> None:
        match = _CODE.fullmatch(code) if isinstance(code, str) else None
        if match is None or match.group(0).endswith(("f1", "O4")):
            shown = code if isinstance(code, str) and len(code) < 40 else type(code).__name__
            raise DamageError(f"arrays of type {shown!r} are not read, only numbers, truth values and texts")
        order, number, digits, truth, text, length, _ = match.groups()
        self.kind: str = number or truth or text or "O"
        self.size = int(digits or length or 1) * (4 if text == "U" else 1)
        self.order: str = order or "="

    def set_state(self, state: Any) -> None:
        """Take over the byte order from numpy.dtype's state, which may say nothing else."""
        if not (isinstance(state, tuple) and len(state) in (8, 9) and state[1] in ("<", ">", "|", "=")):
            raise DamageError("an array's type has a state that NumPy does not write")
        if state[2:5] != (None, None, None) or (len(state) == 9 and state[8] is not None):
            raise DamageError("arrays of records or with metadata are not read")
        self.order = state[1]

    def numpy(self) -> np.dtype:
        """The type as NumPy's, for all but objects."""
        order = "=" if self.order == "|" else self.order
        # Texts of length 0 would make arrays of any size out of no bytes; the caller lets them be empty only.
        size = max(self.size // 4, 1) if self.kind == "U" else max(self.size, 1)
        return np.dtype("?" if self.kind == "b" else f"{order}{self.kind}{size}")


def array_from_state(state: Any) -> np.ndarray:
    """The array that numpy.ndarray's state describes: ([version,] shape, type, Fortran order, bytes or list).

    Raises:
        DamageError: the parts do not fit.
    """
    if not isinstance(state, tuple) or len(state) not in (4, 5):
        raise DamageError("an array has a state that NumPy does not write")
    shape, kind, fortran, content = state[-4:]
    if not isinstance(fortran, bool | int):
        raise DamageError("an array does not say in which order its elements stand")
    return _array(content, kind, shape, "F" if fortran else "C")


def array_from_buffer(arguments: tuple[Any, ...]) -> np.ndarray:
    """The array of protocol 5: (bytes, type, shape, order[, order of the axes]).

    Raises:
        DamageError: the parts do not fit.
    """
    if len(arguments) not in (4, 5) or arguments[3] not in ("C", "F", "K"):
        raise DamageError("an array has a form that NumPy does not write")
    content, kind, shape, order = arguments[:4]
    axes = arguments[4] if len(arguments) == 5 else None
    array = _array(content, kind, shape, "F" if order == "F" else "C")
    if axes is None:
        return array
    if not isinstance(axes, tuple) or not all(type(axis) is int for axis in axes):
        raise DamageError("an array's axes are not numbered")
    if sorted(axes) != list(range(array.ndim)):
        raise DamageError("an array's axes are not numbered")
    return array.transpose(axes)


def scalar(arguments: tuple[Any, ...]) -> Any:
    """The number, truth value or text of numpy's scalar(type, bytes) as Python's own.

    Raises:
        DamageError: the parts do not fit.
    """
    if len(arguments) != 2:
        raise DamageError("a number has a form that NumPy does not write")
    return _array(arguments[1], arguments[0], (1,), "C").item()


def _array(content: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    if not isinstance(kind, DataType):
        raise DamageError("an array has no type")
    if isinstance(shape, int) and not isinstance(shape, bool):
        shape = (shape,)
    if not isinstance(shape, tuple) or len(shape) > 16 or not all(type(n) is int and 0 <= n < 2**40 for n in shape):
        raise DamageError("an array's shape is none")
    count = math.prod(shape)
    if isinstance(content, str):  # Python 2 wrote bytes so
        try:
            content = content.encode("latin1")
        except UnicodeEncodeError as error:
            raise DamageError("an array's bytes are a text") from error
    if kind.kind == "O":
        return _objects(content, shape, count, order)
    if not isinstance(content, bytes | bytearray):
        raise DamageError("an array has no bytes")
    if len(content) != count * kind.size or (count and not kind.size):
        raise DamageError(f"an array of shape {list(shape)} needs {count * kind.size} bytes, there are {len(content)}")
    if count == 0:
        if max(shape, default=0) >= 2**31:
            raise DamageError("an array's shape is none")
        return np.zeros(shape, kind.numpy())
    if kind.kind == "b":
        return (np.frombuffer(content, np.uint8) != 0).reshape(shape, order=order)
    array = np.frombuffer(content, kind.numpy())
    if kind.kind == "U":
        codes = array.view(np.dtype("u4").newbyteorder(array.dtype.byteorder))
        if codes.max() > _LARGEST_CODE_POINT or ((codes >= 0xD800) & (codes < 0xE000)).any():
            raise DamageError("an array of texts holds what is no character")
    return array.reshape(shape, order=order)


def _objects(content: Any, shape: tuple[int, ...], count: int, order: Any) -> np.ndarray:
    if not isinstance(content, list) or len(content) != count:
        raise DamageError(f"an array of {count} objects does not come with as many")
    array = np.empty(count, object)
    for index, item in enumerate(content):
        array[index] = item
    return array.reshape(shape, order=order)
