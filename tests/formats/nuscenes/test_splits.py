"""Splits of nuScenes: their sizes, what excludes what, and the shared lists."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats.nuscenes.splits import OFFICIAL_SPLITS, is_own_split, official_scenes, split_scenes
from tests.nuscenes_material import find_shared_nuscenes

SIZES = {
    "train": 700,
    "val": 150,
    "test": 150,
    "mini_train": 8,
    "mini_val": 2,
    "train_detect": 350,
    "train_track": 350,
}


def test_sizes() -> None:
    assert {split: len(official_scenes(split)) for split in OFFICIAL_SPLITS} == SIZES


def test_splits_exclude_each_other() -> None:
    for a, b in combinations(("train", "val", "test"), 2):
        assert not official_scenes(a) & official_scenes(b)
    assert official_scenes("train_detect") | official_scenes("train_track") == official_scenes("train")


def test_lists_are_the_shared_ones() -> None:
    shared = find_shared_nuscenes()
    if shared is None:
        pytest.skip("no nuscenes_splits.json here")
    ranges = json.loads((shared / "nuscenes_splits.json").read_text())
    for split in OFFICIAL_SPLITS:
        numbers = [number for first, last in ranges[split] for number in range(first, last + 1)]
        assert official_scenes(split) == {f"scene-{number:04d}" for number in numbers}


@pytest.mark.parametrize(
    ("version", "split"),
    [("v1.0-mini", "val"), ("v1.0-trainval", "mini_val"), ("v1.0-trainval", "test"), ("v1.0-test", "train")],
)
def test_version_must_suit(version: str, split: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"split '{split}' belongs to a version that ends in"):
        split_scenes(tmp_path, version, split)


def test_own_splits_work_with_every_version(tmp_path: Path) -> None:
    (tmp_path / "splits.json").write_text('{"mine": ["scene-0001"], "val": ["scene-0002"]}')
    for version in ("v1.0-mini", "v1.0-trainval", "v1.0-test"):
        assert split_scenes(tmp_path, version, "mine") == {"scene-0001"}
    assert split_scenes(tmp_path, "v1.0-trainval", "val") == official_scenes("val")
    assert is_own_split("mine")
    assert not is_own_split("val")
    with pytest.raises(InputError, match=r"no split 'other'.*mini_train, mini_val, mine"):
        split_scenes(tmp_path, "v1.0-mini", "other")
