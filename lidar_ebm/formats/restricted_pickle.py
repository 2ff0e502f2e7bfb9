"""Pickles of arrays and plain containers, read without running anything of them.

A pickle is a program. This reader carries out the few instructions that lists, dictionaries, texts, numbers and NumPy's
arrays need, in all protocols from 0 to 5, and knows NumPy's (on request pandas') own names as words only: no function
of theirs is called, an array is made from its bytes, a pandas object stays an inert `Record`. Any other name, and any
other instruction, ends the reading before it takes effect. Memory stays within a multiple of the file's size.
"""

from __future__ import annotations

import io
import os
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.formats.pickled_arrays import DamageError, DataType, array_from_state
from lidar_ebm.formats.pickled_names import ARRAYS, CALLS, PANDAS, Name, Record, Unfinished

_MEMORY = 32  # what a pickle makes may take this many times its size
_ALLOWANCE = 16 << 20  # bytes that a pickle may make in any case
_CONTAINER, _MEMO_ENTRY = 72, 48  # bytes, about


class RefusedNameError(InputError):
    """A pickle asks for a name that is not admitted; nothing of it was run."""

    def __init__(self, source: str, refused: Name) -> None:
        self.refused = refused
        shown = f"{refused.module}.{refused.name}"
        super().__init__(
            f"{source}: asks for {shown[:100]!r}, but of a pickle only arrays and plain containers are read. Nothing "
            "of it was run. Get the file again from where it was made, and do not open it with other programs."
        )


def load_pickle(data: bytes, source: str | os.PathLike[str], *, pandas: bool = False) -> Any:
    """Content of a pickle: dictionaries, lists, tuples, texts, numbers, arrays.

    Args:
        data: the pickle's bytes.
        source: name for messages, such as the file's.
        pandas: admit the parts of a data frame as `Record`.

    Raises:
        RefusedNameError: it asks for something else by name.
        InputError: it is damaged, or would take far more memory than it is long.
    """
    return _Reading(data, str(source), ARRAYS | PANDAS if pandas else ARRAYS).run()


class _Reading:
    """One pass over the instructions of one pickle."""

    def __init__(self, data: bytes, source: str, admitted: frozenset[Name]) -> None:
        self.data, self.source, self.admitted = data, source, admitted
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.room = _MEMORY * len(data) + _ALLOWANCE

    def run(self) -> Any:
        """The object that the pickle holds."""
        try:
            for opcode, argument, _ in pickletools.genops(io.BytesIO(self.data)):
                name = opcode.name
                if name == "STOP":
                    result = self.take()
                    if self.stack or self.marked:
                        raise DamageError("something is left over at its end")
                    return result
                action = _ACTIONS.get(name)
                if action is None:
                    raise DamageError(f"it uses the instruction {name}, which arrays and containers do not need")
                action(self, argument)
            raise DamageError("its end is missing")
        except InputError:
            raise
        # UnicodeError and what pickletools raises are ValueErrors; a MemoryError is about one impossible length.
        except (ValueError, OverflowError, IndexError, KeyError, TypeError, MemoryError) as error:
            reason = "an object is missing" if isinstance(error, IndexError | KeyError) else str(error)[:200]
            raise InputError(
                f"{self.source}: is no pickle of arrays and plain containers, or a damaged or truncated one "
                f"({reason}). Get it again from where it was made."
            ) from error

    def charge(self, size: int) -> None:
        """Count memory that is about to be taken."""
        self.room -= size
        if self.room < 0:
            raise DamageError(f"it would take over {_MEMORY} times its size in memory")

    def push(self, value: Any) -> None:
        if type(value) is int and not -(2**63) <= value < 2**64:
            raise DamageError("a number has more than 64 bits")
        if type(value) is str:
            value.encode()  # half a surrogate pair is no text
        self.stack.append(value)

    def take(self) -> Any:
        value = self.stack.pop()
        if isinstance(value, Unfinished):
            raise DamageError("an array without content")
        return value

    def take_marked(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        if any(isinstance(item, Unfinished) for item in items):
            raise DamageError("an array without content")
        return items

    def mark(self, _: Any) -> None:
        self.charge(_CONTAINER)
        self.marked.append(self.stack)
        self.stack = []

    def pop(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.take_marked()

    def drop_marked(self, _: Any) -> None:
        self.take_marked()

    def remember(self, index: int | None) -> None:
        self.charge(_MEMO_ENTRY)
        self.memo[len(self.memo) if index is None else index] = self.stack[-1]

    def recall(self, index: int) -> None:
        self.repeat(self.memo[index])

    def repeat(self, value: Any) -> None:
        if isinstance(value, Unfinished):
            value = value.array
            if value is None:
                raise DamageError("an array that holds itself")
        if isinstance(value, np.ndarray):
            self.charge(value.nbytes)  # whoever reads the file takes a copy each time
        self.stack.append(value)

    def make_tuple(self, items: tuple[Any, ...]) -> None:
        self.charge(_CONTAINER)
        self.stack.append(items)

    def make_small_tuple(self, count: int) -> None:
        items = [self.take() for _ in range(count)]
        self.make_tuple(tuple(reversed(items)))

    def make(self, container: list[Any] | dict[Any, Any]) -> None:
        self.charge(_CONTAINER)
        self.stack.append(container)

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise DamageError("items for something that is no list")
        target.extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise DamageError("entries for something that is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Tuples could take endless time to hash, and large numbers can be chosen to collide.
            if type(key) is not str and not (type(key) is int and abs(key) < 2**31):
                raise DamageError("a dictionary's key is neither a text nor a small number")
            target[key] = value

    def make_dictionary(self, _: Any) -> None:
        items = self.take_marked()
        self.make({})
        self.set_items(items)

    def name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise DamageError("a name is no text")
        named = Name(module, name)
        if named not in self.admitted:
            raise RefusedNameError(self.source, named)
        self.charge(_CONTAINER)
        self.stack.append(named)

    def name_from_stack(self, _: Any) -> None:
        name, module = self.take(), self.take()
        self.name(module, name)

    def call(self, _: Any) -> None:
        arguments, named = self.take(), self.take()
        if not isinstance(named, Name) or type(arguments) is not tuple:
            raise DamageError("a call of something that has no name")
        self.charge(_CONTAINER)
        if named in PANDAS:
            self.stack.append(Record(named.name, arguments))
        else:
            result = CALLS[named.name](arguments)
            self.charge(result.nbytes if isinstance(result, np.ndarray) else 0)
            self.charge(len(result) if isinstance(result, bytes | bytearray) else 0)
            self.push(result)

    def new(self, _: Any) -> None:
        arguments, named = self.take(), self.take()
        if not isinstance(named, Name) or named not in PANDAS or type(arguments) is not tuple:
            raise DamageError("a new object of something that has no class")
        self.charge(_CONTAINER)
        self.stack.append(Record(named.name, arguments))

    def set_state(self, _: Any) -> None:
        state = self.take()
        target = self.stack[-1]
        if isinstance(target, Unfinished) and target.array is None:
            target.array = array_from_state(state)
            self.charge(target.array.nbytes)
            self.stack[-1] = target.array
        elif isinstance(target, DataType):
            target.set_state(state)
        elif isinstance(target, Record) and target.state is None:
            target.state = state
        else:
            raise DamageError("a state for something that has none")


_VALUES = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)
_ACTIONS: dict[str, Callable[[_Reading, Any], None]] = {
    **dict.fromkeys(_VALUES, _Reading.push),
    **dict.fromkeys(("PROTO", "FRAME"), lambda reading, argument: None),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Reading.remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Reading.recall),
    "NONE": lambda reading, _: reading.stack.append(None),
    "NEWTRUE": lambda reading, _: reading.stack.append(True),
    "NEWFALSE": lambda reading, _: reading.stack.append(False),
    "MARK": _Reading.mark,
    "POP": _Reading.pop,
    "POP_MARK": _Reading.drop_marked,
    "DUP": lambda reading, _: reading.repeat(reading.stack[-1]),
    "EMPTY_LIST": lambda reading, _: reading.make([]),
    "EMPTY_DICT": lambda reading, _: reading.make({}),
    "EMPTY_TUPLE": lambda reading, _: reading.make_tuple(()),
    "LIST": lambda reading, _: reading.make(reading.take_marked()),
    "DICT": _Reading.make_dictionary,
    "TUPLE": lambda reading, _: reading.make_tuple(tuple(reading.take_marked())),
    "TUPLE1": lambda reading, _: reading.make_small_tuple(1),
    "TUPLE2": lambda reading, _: reading.make_small_tuple(2),
    "TUPLE3": lambda reading, _: reading.make_small_tuple(3),
    "APPEND": lambda reading, _: reading.extend([reading.take()]),
    "APPENDS": lambda reading, _: reading.extend(reading.take_marked()),
    "SETITEM": lambda reading, _: reading.set_items([reading.take(), reading.take()][::-1]),
    "SETITEMS": lambda reading, _: reading.set_items(reading.take_marked()),
    "GLOBAL": lambda reading, argument: reading.name(*argument.split(" ", 1)),
    "STACK_GLOBAL": _Reading.name_from_stack,
    "REDUCE": _Reading.call,
    "NEWOBJ": _Reading.new,
    "BUILD": _Reading.set_state,
}
