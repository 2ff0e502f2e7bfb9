"""Names that pickles of arrays and data frames mention, and what stands here for the functions among them.

Nothing of NumPy's or pandas' own is called: each function here makes a plain value, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lidar_ebm.formats.pickled_arrays import DamageError, DataType, array_from_buffer, scalar


class Name(NamedTuple):
    """A name of a module that a pickle mentions: nothing but a word here."""

    module: str
    name: str


_CORE = ("numpy.core", "numpy._core")
ARRAYS = frozenset(
    {Name(f"{core}.multiarray", name) for core in _CORE for name in ("_reconstruct", "scalar")}
    | {Name(f"{core}.numeric", "_frombuffer") for core in _CORE}
    | {Name("numpy", "ndarray"), Name("numpy", "dtype"), Name("_codecs", "encode")}
    | {Name(module, name) for module in ("builtins", "__builtin__") for name in ("bytes", "bytearray")}
    | {Name("collections", "OrderedDict")}
)
PANDAS = frozenset(
    {
        Name("pandas", "StringDtype"),
        Name("pandas", "Index"),
        Name("pandas", "RangeIndex"),
        Name("pandas", "DataFrame"),
        Name("pandas.core.frame", "DataFrame"),
        Name("pandas.core.internals.managers", "BlockManager"),
        Name("pandas._libs.internals", "_unpickle_block"),
        Name("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked"),
        Name("pandas.arrays", "StringArray"),
        Name("pandas.core.arrays.string_", "StringArray"),
        Name("pandas.core.arrays.string_", "StringDtype"),
        Name("pandas.core.indexes.base", "_new_Index"),
        Name("pandas.core.indexes.base", "Index"),
        Name("pandas.core.indexes.range", "RangeIndex"),
        Name("pandas.core.indexes.numeric", "Int64Index"),
        Name("builtins", "slice"),
        Name("__builtin__", "slice"),
    }
)


@dataclass(eq=False, slots=True)
class Record:
    """A pandas object as its pickle describes it: its kind, what it is made of, and the state it is given."""

    kind: str
    arguments: tuple[Any, ...]
    state: Any = None


class Unfinished:
    """An array that the pickle has announced; `array` once its state has come."""

    __slots__ = ("array",)

    def __init__(self) -> None:
        self.array: np.ndarray | None = None


def _announce(arguments: tuple[Any, ...]) -> Unfinished:
    if not arguments or arguments[0] != Name("numpy", "ndarray"):
        raise DamageError("an array of a class that is not NumPy's")
    return Unfinished()


def _data_type(arguments: tuple[Any, ...]) -> DataType:
    if not 1 <= len(arguments) <= 3:
        raise DamageError("an array's type has a form that NumPy does not write")
    return DataType(arguments[0])


def _bytes(arguments: tuple[Any, ...]) -> bytes:
    match arguments:
        case ():
            return b""
        case (bytes() as content,):
            return bytes(content)
        case (str() as text, "latin1" | "latin-1"):
            return text.encode("latin1")
    raise DamageError("bytes in a form that pickles do not have")


def _ordered(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    if arguments:
        raise DamageError("a dictionary in a form that pickles do not have")
    return {}


CALLS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "_reconstruct": _announce,
    "_frombuffer": array_from_buffer,
    "scalar": scalar,
    "dtype": _data_type,
    "encode": _bytes,
    "bytes": _bytes,
    "bytearray": _bytes,
    "OrderedDict": _ordered,
}
