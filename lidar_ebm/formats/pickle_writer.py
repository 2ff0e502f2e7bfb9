"""Pickles of plain containers and NumPy arrays that every NumPy reads.

Python's own pickle names the modules of the NumPy at hand: what NumPy 2 writes, NumPy 1 cannot read, which most
installations of other toolboxes have. The names written here are those that both know.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np


def dump_pickle(value: Any) -> bytes:
    """A pickle of protocol 4 of dictionaries, lists, texts, numbers, None and arrays of numbers or texts.

    Raises:
        TypeError: something else is in it.
    """
    return b"\x80\x04" + _value(value) + b"."


def _value(value: Any) -> bytes:
    if value is None:
        return b"N"
    if isinstance(value, bool | np.bool_):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int | np.integer):
        return _integer(int(value))
    if isinstance(value, float | np.floating):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        return _sized(b"X", str(value).encode())
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, list):
        return b"](" + b"".join(_value(item) for item in value) + b"e"
    if isinstance(value, Mapping):
        return b"}(" + b"".join(_value(part) for pair in value.items() for part in pair) + b"u"
    raise TypeError(f"no pickle of {type(value).__name__} is written")


def _integer(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def _sized(opcode: bytes, content: bytes) -> bytes:
    """Content of fewer than 4 GiB with its length before it."""
    return opcode + struct.pack("<I", len(content)) + content


def _array(array: np.ndarray) -> bytes:
    """Pickle of an array as numpy.ndarray.__reduce__ has it: how to begin an empty one, then its state."""
    kind = array.dtype.newbyteorder("<")
    if kind.kind not in "fiubU":
        raise TypeError(f"no pickle of an array of {array.dtype} is written")
    texts = kind.kind == "U"
    size = kind.itemsize // 4 if texts else kind.itemsize
    order = "|" if kind.itemsize == 1 else "<"
    sizes = (kind.itemsize, 4, 8) if texts else (-1, -1, 0)
    return b"".join(
        (
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n",
            *(_integer(0), b"\x85", b"C\x01b", b"\x87R("),
            *(_integer(1), b"(", *(_integer(length) for length in array.shape), b"t"),
            *(b"cnumpy\ndtype\n", _value(f"{kind.kind}{size}"), b"\x89\x88\x87R("),
            *(_integer(3), _value(order), b"NNN", *(_integer(number) for number in sizes), b"tb"),
            *(b"\x89", _sized(b"B", np.ascontiguousarray(array, kind).tobytes()), b"tb"),
        )
    )
