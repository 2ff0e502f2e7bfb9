from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats.pickle_files import pickle_head, read_pickle


@pytest.mark.parametrize("members", [1, 3])
def test_gzipped_files_are_unpacked(tmp_path: Path, members: int) -> None:
    data = pickle.dumps({"a": np.arange(1000)}, 4)
    parts = np.array_split(np.frombuffer(data, np.uint8), members)
    (tmp_path / "a.pkl.gz").write_bytes(b"".join(gzip.compress(part.tobytes()) for part in parts))
    assert read_pickle(tmp_path / "a.pkl.gz")["a"].tolist() == list(range(1000))


def test_a_file_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pkl.gz"
    path.write_bytes(gzip.compress(bytes(64 << 20)))
    with pytest.raises(InputError, match=r"bomb\.pkl\.gz: unpacks to more than \d+ bytes, over 50 times its size"):
        read_pickle(path)


def test_many_small_members_do_not_add_up_to_a_bomb(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pkl.gz"
    path.write_bytes(gzip.compress(bytes(1 << 20)) * 64)
    with pytest.raises(InputError, match="times its size"):
        read_pickle(path)


def test_damaged_gzip_is_an_input_error(tmp_path: Path) -> None:
    data = gzip.compress(pickle.dumps([1, 2, 3], 4))
    path = tmp_path / "a.pkl.gz"
    for length in range(2, len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"a\.pkl\.gz"):
            read_pickle(path)
    wrong = bytearray(data)
    wrong[-6] ^= 1
    path.write_bytes(wrong)
    with pytest.raises(InputError, match="gzip"):
        read_pickle(path)


def test_a_missing_file_and_a_folder_are_input_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pkl", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_pickle(path)


@pytest.mark.parametrize("protocol", range(6))
def test_heads_of_lists_and_dictionaries_are_those_of_pickles(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "a.pkl"
    for value in ([{"boxes_lidar": 1}], {"metainfo": 1}):
        for pack in (bytes, gzip.compress):
            path.write_bytes(pack(pickle.dumps(value, protocol)))
            assert next(iter(value if isinstance(value, dict) else value[0])).encode() in pickle_head(path)


def test_heads_of_other_files_are_empty(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content in (b"", b"Car 0 0", b'{"a": 1}', b"\x1f\x8b damaged", bytes(range(100))):
        path.write_bytes(content)
        assert pickle_head(path) == b""
    assert pickle_head(tmp_path) == b"" and pickle_head(tmp_path / "none") == b""
