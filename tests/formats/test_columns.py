from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats.columns import as_texts, entry, index_column, numbers, rows_of_numbers, text, texts


def test_numbers_of_lists_and_arrays() -> None:
    for value in ([[1, 2], [3, 4.5]], np.array([[1, 2], [3, 4.5]], np.float32), ((1, 2), (3, 4.5))):
        array = numbers(value, (None, 2), "a")
        assert array.dtype == np.float64 and array.tolist() == [[1, 2], [3, 4.5]]
    assert numbers([], (None, 7), "a").shape == numbers(np.zeros(0), (None, 7), "a").shape == (0, 7)
    assert numbers(3, (), "a") == 3 and numbers([], (0,), "a").shape == (0,)
    assert np.isnan(numbers([np.nan], (1,), "a", may_be_nan=True)).all()


@pytest.mark.parametrize(
    "value",
    [
        None,
        "1",
        ["1"],
        [[1], [2, 3]],
        [True],
        [None],
        {"a": 1},
        {1.0},
        [1j],
        [10**400],
        object(),
        np.array(["a"]),
        [[[1]]],
        [1, 2],
    ],
)
def test_what_is_no_row_of_one_number_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match="here: "):
        numbers(value, (1,), "here")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_are_finite(value: float) -> None:
    with pytest.raises(InputError, match="NaN or infinity"):
        numbers([value], (1,), "here")
    if not np.isnan(value):
        with pytest.raises(InputError, match="NaN or infinity"):
            numbers([value], (1,), "here", may_be_nan=True)


def test_rows_name_the_first_that_is_wrong() -> None:
    assert rows_of_numbers([[1, 2], [3, 4]], 2, str).shape == (2, 2)
    assert rows_of_numbers([1, 2], None, str).shape == (2,)
    assert rows_of_numbers([], 3, str).shape == (0, 3) and rows_of_numbers([], None, str).shape == (0,)
    for wrong in ([3], "ab", None, [3, np.nan], [3, None]):
        with pytest.raises(InputError, match=r"^1: "):
            rows_of_numbers([[1, 2], wrong], 2, str)


def test_texts_of_lists_and_arrays() -> None:
    for value in (["a", "é"], ("a", "é"), np.array(["a", "é"]), np.array(["a", "é"], object)):
        assert texts(value, 2, "here").tolist() == ["a", "é"]
    assert texts(np.zeros(0), 0, "here").dtype.kind == as_texts([]).dtype.kind == "U"
    for wrong in (["a"], [1, 2], "ab", None, ["a", None], ["a", "\ud800"], ["a", "b" * 1000], np.zeros((2, 1))):
        with pytest.raises(InputError, match="here: "):
            texts(wrong, 2, "here")
    with pytest.raises(InputError, match="here: "):
        text(b"a", "here")


def test_entries_and_whole_numbers() -> None:
    assert entry({"a": 1}, "a", "here") == 1
    for wrong in ({}, [], None, 3):
        with pytest.raises(InputError, match="here: "):
            entry(wrong, "a", "here")
    assert index_column([1.0, 2], 2, "here").tolist() == [1, 2]
    for column in ([0.5, 1], [2.0**40, 1], [1]):
        with pytest.raises(InputError, match="here: "):
            index_column(column, 2, "here")
