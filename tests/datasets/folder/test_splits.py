"""Splits by files and by fractions: no frame twice, none lost, evenly taken."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest

from lidar_ebm.datasets.folder.splits import read_folder_splits
from lidar_ebm.errors import InputError

NAMES = [f"{index:06d}" for index in range(100)]


def read(folder: Path, splits: dict[str, str | float], names: list[str] = NAMES) -> dict[str, tuple[str, ...]]:
    return read_folder_splits(folder, folder / "dataset.yaml", splits, names)


@pytest.mark.parametrize("seed", range(20))
def test_fractions_are_apart_evenly_spread_and_leave_train_the_rest(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    names = NAMES[: rng.randrange(20, 100)]
    shares = {"val": rng.uniform(0.1, 0.45), "test": rng.uniform(0.1, 0.45)}
    found = read(tmp_path, dict(shares), names)
    assert sorted(frame for frames in found.values() for frame in frames) == names  # each once
    for split, share in shares.items():
        assert len(found[split]) == round(share * len(names))
        assert list(found[split]) == sorted(found[split])
    places = [names.index(frame) for frame in found["val"]]
    gaps = [after - before for before, after in pairwise(places)]
    assert max(gaps, default=0) - min(gaps, default=0) <= 1
    assert read(tmp_path, dict(shares), names) == found


def test_files_have_their_own_order_and_fractions_take_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("000007\n000003\n")
    found = read(tmp_path, {"val": "val.txt", "test": 0.5})
    assert found["val"] == ("000007", "000003")
    assert len(found["test"]) == 49
    assert not set(found["val"]) & set(found["test"])
    assert len(found["train"]) == 49


def test_a_split_in_utf16_is_read(tmp_path: Path) -> None:
    for encoding in ("utf-16", "utf-8-sig", "utf-8"):
        (tmp_path / "val.txt").write_text("000007\r\n000003\r\n", encoding=encoding)
        assert read(tmp_path, {"val": "val.txt"})["val"] == ("000007", "000003")


def test_one_fraction_may_be_all(tmp_path: Path) -> None:
    assert read(tmp_path, {"val": 1.0}) == {"val": tuple(NAMES)}
    assert read(tmp_path, {}) == {"train": tuple(NAMES)}


def test_a_fraction_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"dataset\.yaml: splits: val would have none of 3 frames \(0\.1 of them\)"):
        read(tmp_path, {"val": 0.1}, NAMES[:3])


def test_a_missing_or_malformed_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"val\.txt"):
        read(tmp_path, {"val": "val.txt"})
    (tmp_path / "val.txt").write_text("000001\n../000002\n")
    with pytest.raises(InputError, match=r"val\.txt:2"):
        read(tmp_path, {"val": "val.txt"})
