from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lidar_ebm.errors import OutputError
from lidar_ebm.system.files import atomic_write, check_output_file


def test_writes_bytes_and_text_and_makes_the_folder(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "new" / "a.bin") as file:
        file.write(b"\x00\x01")
    with atomic_write(tmp_path / "new" / "a.txt", "w") as file:
        file.write("ü")
    assert (tmp_path / "new" / "a.bin").read_bytes() == b"\x00\x01"
    assert (tmp_path / "new" / "a.txt").read_text(encoding="utf-8") == "ü"


def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(RuntimeError), atomic_write(path, "w") as file:
        file.write("half")
        raise RuntimeError
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    words = r"a\.txt: cannot be written \(No space left on device\).*Free some space"
    with pytest.raises(OutputError, match=words), atomic_write(path, "w") as file:
        file.write("x" * 100)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_the_kernels_own_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.mkstemp", lambda **_: (os.open("/dev/full", os.O_WRONLY), str(tmp_path / ".t")))
    with pytest.raises(OutputError, match="No space left"), atomic_write(tmp_path / "a.bin") as file:
        file.write(b"x" * 100_000)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file/a"), atomic_write(tmp_path / "file" / "a") as file:
        file.write(b"")


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for target in (tmp_path / "there" / "old", tmp_path / "there" / "new"):
        link = tmp_path / f"link_to_{target.name}"
        link.symlink_to(target)
        (tmp_path / "there" / "old").write_text("before")
        with atomic_write(link, "w") as file:
            file.write("after")
        assert link.is_symlink()
        assert target.read_text() == "after"
    assert len(list((tmp_path / "there").iterdir())) == 2


def test_only_files_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    (tmp_path / "circle").symlink_to("circle")
    before = sorted(tmp_path.iterdir())
    for name, words in (
        ("folder", "this is a folder"),
        ("pipe", "no regular file"),
        ("link", "no regular file"),
        ("circle", "circle: cannot be written"),
    ):
        with pytest.raises(OutputError, match=words) as caught, atomic_write(tmp_path / name) as file:
            file.write(b"x")
        assert ("Free some space" in str(caught.value)) is (name == "circle")
    with pytest.raises(OutputError, match="is empty"), atomic_write("") as file:
        file.write(b"x")
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "pipe").is_fifo()


def test_files_have_the_users_permissions(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a") as file:
        file.write(b"")
    (tmp_path / "b").write_bytes(b"")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_what_cannot_be_written_is_known_before(tmp_path: Path) -> None:
    check_output_file(tmp_path / "new" / "folder" / "file")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("x")
    check_output_file(tmp_path / "file")
    with pytest.raises(OutputError, match="this is a folder"):
        check_output_file(tmp_path)
    with pytest.raises(OutputError, match="is a file"):
        check_output_file(tmp_path / "file" / "below")
    if os.name == "posix" and os.geteuid() != 0:
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(OutputError, match="nothing may be written"):
            check_output_file(tmp_path / "closed" / "file")
