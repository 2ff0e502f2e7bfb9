from __future__ import annotations

import pickle
import pickletools
from typing import Any

import numpy as np
import pytest

from lidar_ebm.formats.pickle_writer import dump_pickle
from lidar_ebm.formats.restricted_pickle import load_pickle

_VALUE: dict[str, Any] = {
    "texts": np.array(["Car", "Fußgänger", ""]),
    "float32": np.arange(14, dtype=np.float32).reshape(2, 7),
    "float64": np.asfortranarray(np.arange(6.0).reshape(2, 3) / 7),
    "big endian": np.arange(4, dtype=">f4"),
    "strided": np.arange(12.0)[::3],
    "integers": np.array([[-1, 2**40]]),
    "truth": np.array([True, False]),
    "bytes": np.array([1, 2], np.uint8),
    "nothing": np.zeros((0, 7)),
    "one": np.array(1.5),
    "list": ["000001", 1, -(2**40), 2.5, None, True, False, [], {}, {"a": [1]}, np.str_("é"), np.float32(0.5)],
}


def _assert_same(found: dict[str, Any]) -> None:
    assert found.keys() == _VALUE.keys()
    for name, value in _VALUE.items():
        if isinstance(value, np.ndarray):
            assert found[name].dtype.kind == value.dtype.kind and found[name].shape == value.shape
            assert found[name].tolist() == value.tolist()
        else:
            assert found[name] == value


def test_python_reads_what_is_written() -> None:
    _assert_same(pickle.loads(dump_pickle(_VALUE)))


def test_the_restricted_reader_reads_what_is_written() -> None:
    _assert_same(load_pickle(dump_pickle(_VALUE), "a.pkl"))


def test_names_are_those_that_numpy_1_has_too() -> None:
    names = {argument for code, argument, _ in pickletools.genops(dump_pickle(_VALUE)) if code.name == "GLOBAL"}
    assert names == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}


@pytest.mark.parametrize("value", [{1}, object(), np.array([None]), np.array([1j])])
def test_nothing_else_is_written(value: Any) -> None:
    with pytest.raises(TypeError):
        dump_pickle([value])
