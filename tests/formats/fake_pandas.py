"""Pickles as pandas writes them, without pandas: stand-ins under its modules' names, while a pickle is made."""

from __future__ import annotations

import pickle
import sys
import types
from typing import Any
from unittest import mock

import numpy as np


def pickled_frame(columns: dict[str, np.ndarray], *, protocol: int = 3, layout: str = "blocks") -> bytes:
    """A DataFrame's pickle in the layout of pandas below 1.3 ("state") or above ("blocks")."""
    modules: dict[str, types.ModuleType] = {}

    def made(module: str, name: str, *, function: bool = False) -> Any:
        each = modules.setdefault(module, types.ModuleType(module))
        if function:
            value: Any = types.FunctionType((lambda *_: None).__code__, {}, name)
            value.__module__, value.__qualname__ = module, name
        else:
            value = type(name, (_Described,), {"__module__": module, "__qualname__": name})
        setattr(each, name, value)
        return value

    frame = made("pandas.core.frame", "DataFrame")()
    manager = made("pandas.core.internals.managers", "BlockManager")()
    new_index = made("pandas.core.indexes.base", "_new_Index", function=True)
    index = made("pandas.core.indexes.base", "Index")
    numbered = made("pandas.core.indexes.range", "RangeIndex")
    unpickle_block = made("pandas._libs.internals", "_unpickle_block", function=True)

    count = len(next(iter(columns.values()))) if columns else 0
    names = np.array(list(columns), object)
    axes = [
        _Called(new_index, index, {"data": names, "name": None}),
        _Called(new_index, numbered, {"name": None, "start": 0, "stop": count, "step": 1}),
    ]
    blocks = []
    for kind in dict.fromkeys(values.dtype for values in columns.values()):
        places = np.array([place for place, values in enumerate(columns.values()) if values.dtype == kind])
        values = np.stack([columns[names[place]] for place in places])
        step = np.diff(places)
        even = len(step) == 0 or (step == step[0]).all()
        stride = int(step[0]) if len(step) else 1
        where = slice(int(places[0]), int(places[-1]) + 1, stride) if even else places
        blocks.append((values, where))
    if layout == "state":
        items = [names[where] for _, where in blocks]
        stored = [{"values": values, "mgr_locs": where} for values, where in blocks]
        manager.state = (axes, [values for values, _ in blocks], items, {"0.14.1": {"axes": axes, "blocks": stored}})
        frame.state = {"_data": manager, "_typ": "dataframe", "_metadata": [], "attrs": {}}
    else:
        manager.call = (type(manager), (tuple(_Called(unpickle_block, *block, 2) for block in blocks), axes))
        frame.state = {"_mgr": manager, "_typ": "dataframe", "_metadata": [], "attrs": {}, "_flags": {}}
    with mock.patch.dict(sys.modules, {**modules, "pandas": types.ModuleType("pandas")}):
        return pickle.dumps(frame, protocol)


class _Described:
    """An object whose pickle makes it without arguments and gives it `state`, or makes it by `call`."""

    state: Any = None
    call: Any = None

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self.call is not None:
            return self.call
        import copyreg

        return copyreg.__newobj__, (type(self),), self.state  # type: ignore[attr-defined]


class _Called:
    """An object whose pickle calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.parts = (function, arguments)

    def __reduce__(self) -> Any:
        return self.parts
