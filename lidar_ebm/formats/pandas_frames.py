"""Columns of a pandas DataFrame out of its pickle, without pandas: its blocks are found in the inert records.

Understood are frames of numbers, truth values and texts as pandas 0.2x to 3 pickle them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.formats.pickle_files import read_pickle
from lidar_ebm.formats.pickled_names import Record

_LAYOUT = "0.14.1"  # the key under which pandas keeps a manager's state since that version


def read_data_frame(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Columns [N] of the data frame that a pickle file holds, by name, in their order.

    Raises:
        InputError: the file cannot be used, or holds something else.
    """
    content = read_pickle(path, pandas=True)
    try:
        return _columns(content)
    except _NoFrameError as error:
        raise InputError(
            f"{path}: holds no data frame of numbers and texts ({error}). Get the file again, or write it anew with "
            "pandas' to_pickle from plain columns."
        ) from error


class _NoFrameError(Exception):
    """Records that make no data frame."""


def _columns(content: Any) -> dict[str, np.ndarray]:
    if not isinstance(content, Record) or content.kind != "DataFrame" or not isinstance(content.state, dict):
        raise _NoFrameError("another object")
    manager = content.state.get("_mgr", content.state.get("_data"))
    if not isinstance(manager, Record) or manager.kind != "BlockManager":
        raise _NoFrameError("no block manager")
    axes, blocks = _state_of(manager)
    if not isinstance(axes, list | tuple) or len(axes) != 2:
        raise _NoFrameError("other than two axes")
    names = list(_index(axes[0]))
    if not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise _NoFrameError("columns without names of their own")
    columns: dict[str, np.ndarray] = {}
    length: int | None = None
    for values, places in blocks:
        array = _array(values)
        rows = array[None] if array.ndim == 1 else array
        positions = _places(places, len(names))
        if rows.ndim != 2 or len(rows) != len(positions):
            raise _NoFrameError("a block of another size than its place")
        if length is None:
            length = rows.shape[1]
        if rows.shape[1] != length:
            raise _NoFrameError("columns of different lengths")
        for row, position in zip(rows, positions, strict=True):
            if names[position] in columns:
                raise _NoFrameError("two blocks for one column")
            columns[names[position]] = row
    if len(columns) != len(names):
        raise _NoFrameError("a column without content")
    return {name: columns[name] for name in names}


def _state_of(manager: Record) -> tuple[Any, Iterator[tuple[Any, Any]]]:
    """The axes, and values and place of each block: (blocks, axes) to make it of, or a state of layout 0.14.1."""
    if len(manager.arguments) == 2 and isinstance(manager.arguments[0], tuple):
        blocks, axes = manager.arguments
        return axes, (_made_block(block) for block in blocks)
    state = manager.state
    if isinstance(state, tuple) and len(state) >= 4 and isinstance(state[3], dict):
        layout = state[3].get(_LAYOUT)
        if isinstance(layout, dict) and isinstance(layout.get("blocks"), list):
            return layout.get("axes"), (_stored_block(block) for block in layout["blocks"])
    raise _NoFrameError("a layout of another version")


def _made_block(block: Any) -> tuple[Any, Any]:
    if not isinstance(block, Record) or block.kind != "_unpickle_block" or len(block.arguments) < 2:
        raise _NoFrameError("an unknown kind of block")
    return block.arguments[0], block.arguments[1]


def _stored_block(block: Any) -> tuple[Any, Any]:
    if not isinstance(block, dict) or not {"values", "mgr_locs"} <= block.keys():
        raise _NoFrameError("an unknown kind of block")
    return block["values"], block["mgr_locs"]


def _array(values: Any) -> np.ndarray:
    """The array behind a block's or an index's values; pandas' array of texts keeps it in its state."""
    if isinstance(values, Record) and isinstance(values.state, tuple):
        arrays = [part for part in values.state if isinstance(part, np.ndarray)]
        values = arrays[0] if len(arrays) == 1 else None
    if not isinstance(values, np.ndarray):
        raise _NoFrameError("values of another kind than numbers and texts")
    return values


def _index(index: Any) -> np.ndarray:
    if not isinstance(index, Record) or len(index.arguments) != 2 or not isinstance(index.arguments[1], dict):
        raise _NoFrameError("an unknown kind of index")
    names = _array(index.arguments[1].get("data"))
    if names.ndim != 1:
        raise _NoFrameError("an unknown kind of index")
    return names


def _places(places: Any, count: int) -> list[int]:
    if isinstance(places, Record) and places.kind == "slice" and len(places.arguments) == 3:
        numbers = places.arguments
        if all(number is None or type(number) is int for number in numbers) and numbers[2] != 0:
            return list(range(count))[slice(*numbers)]
    if isinstance(places, np.ndarray) and places.dtype.kind in "iu" and places.ndim == 1:
        positions = [int(place) for place in places]
        if all(0 <= position < count for position in positions):
            return positions
    raise _NoFrameError("a block without a place")
