"""Stamps of files: the same as long as a file is, another as soon as its content is, whatever its time says."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.datasets.stamps import SMALL, is_file, stamp, stamps

LENGTHS = (1, 100, SMALL, SMALL + 1, 3 * SMALL)


@pytest.mark.parametrize("length", LENGTHS)
def test_a_file_that_nobody_touches_keeps_its_stamp(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(length))
    found = stamp(path)
    assert found is not None
    assert (found[0], found[1]) == (length, path.stat().st_mtime_ns)
    assert is_file(found)
    path.read_bytes()
    assert stamp(path) == found == stamp(str(path))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("place", ["first", "last", "middle"])
@pytest.mark.parametrize("replaced", [False, True])
def test_other_content_of_the_same_size_and_time_is_told(
    tmp_path: Path, length: int, place: str, replaced: bool
) -> None:
    path = tmp_path / "a"
    content = bytearray(np.random.default_rng(0).bytes(length))
    path.write_bytes(content)
    os.utime(path, ns=(0, 1_577_836_800_000_000_000))
    before = stamp(path)
    content[{"first": 0, "last": length - 1, "middle": length // 2}[place]] ^= 1
    if replaced:
        (tmp_path / "b").write_bytes(content)
        (tmp_path / "b").replace(path)
    else:
        path.write_bytes(content)
    os.utime(path, ns=(0, 1_577_836_800_000_000_000))
    after = stamp(path)
    assert after is not None and before is not None
    assert after[:2] == before[:2]
    assert after != before


def test_a_small_file_that_was_copied_with_its_time_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"label")
    (tmp_path / "b").write_bytes(b"label")
    for name in "ab":
        os.utime(tmp_path / name, ns=(0, 10**18))
    assert stamp(tmp_path / "a") == stamp(tmp_path / "b")


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert stamp(tmp_path / "none") is None
    assert stamp(tmp_path / "link") is None
    assert not is_file(None)
    folder = stamp(tmp_path)
    assert folder is not None and folder[0] == -1
    assert not is_file(folder)
    (tmp_path / "empty").write_bytes(b"")
    assert is_file(stamp(tmp_path / "empty"))
    assert stamps([tmp_path / "none", tmp_path / "empty"]) == (None, stamp(tmp_path / "empty"))


def test_a_link_has_the_stamp_of_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert stamp(tmp_path / "link") == stamp(tmp_path / "a")
