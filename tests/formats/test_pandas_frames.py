from __future__ import annotations

import pickle
import random
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats.pandas_frames import read_data_frame
from tests.formats.fake_pandas import pickled_frame
from tests.formats.samples import shared


def _columns(count: int = 5) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        "x": generator.normal(size=count),
        "label": np.array(["Car", "Van", None, np.nan, "é"][:count], object),
        "i": generator.integers(0, 9, count),
        "y": generator.normal(size=count),
        "ok": generator.uniform(size=count) > 0.5,
        "z": generator.normal(size=count),
        "w": generator.normal(size=count),
    }


@pytest.mark.parametrize("layout", ["state", "blocks"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("count", [5, 1, 0])
def test_columns_come_back_in_their_order(tmp_path: Path, protocol: int, layout: str, count: int) -> None:
    columns = _columns(count)
    path = tmp_path / "a.pkl"
    path.write_bytes(pickled_frame(columns, protocol=protocol, layout=layout))
    found = read_data_frame(path)
    assert list(found) == list(columns)
    for name, values in columns.items():
        assert found[name].dtype == values.dtype and repr(found[name].tolist()) == repr(values.tolist())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_pandas_itself_writes_is_read(tmp_path: Path, protocol: int) -> None:
    pandas = pytest.importorskip("pandas")
    columns = _columns()
    for name in ("a.pkl", "a.pkl.gz"):
        pandas.DataFrame(columns).to_pickle(tmp_path / name, protocol=protocol)
        found = read_data_frame(tmp_path / name)
        assert list(found) == list(columns)
        for column in ("x", "i", "ok", "w"):
            np.testing.assert_array_equal(found[column], columns[column])
        assert found["label"].tolist()[:2] == ["Car", "Van"]


def test_a_published_sweep_has_its_columns() -> None:
    found = read_data_frame(shared("formats", "pandaset", "lidar", "00.pkl.gz"))
    assert {name: (len(values), values.dtype.kind) for name, values in found.items()} == {
        **dict.fromkeys("xyzit", (166768, "f")),
        "d": (166768, "i"),
    }


@pytest.mark.parametrize("value", [[1], {"a": 1}, np.zeros(3), None])
def test_other_pickles_hold_no_frame(tmp_path: Path, value: object) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
    with pytest.raises(InputError, match=r"a\.pkl: holds no data frame"):
        read_data_frame(tmp_path / "a.pkl")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("layout", ["state", "blocks"])
def test_mutations_are_read_or_refused(tmp_path: Path, layout: str) -> None:
    original = pickled_frame(_columns(), layout=layout)
    path = tmp_path / "a.pkl"
    chance = random.Random(4)
    refused = 0
    for _ in range(400):
        data = bytearray(original)
        for _ in range(chance.choice([1, 1, 4])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data)
        try:
            columns = read_data_frame(path)
            assert len({len(values) for values in columns.values()}) == 1
        except InputError as error:
            assert "a.pkl" in str(error)
            refused += 1
    assert refused > 100
