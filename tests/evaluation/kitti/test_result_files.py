"""Places where result files are looked for, and messages where there are none."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.kitti.result_files import find_result_files
from lidar_ebm.formats.kitti.files import read_labels


def put(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("")
    return folder


@pytest.mark.parametrize("nested", [False, True])
def test_files_directly_or_in_data(tmp_path: Path, nested: bool) -> None:
    place = put(tmp_path / "data" if nested else tmp_path, "000003.txt", "000001.txt", "notes.md")
    put(tmp_path, "settings.yaml")
    assert find_result_files(str(tmp_path)) == {name: place / f"{name}.txt" for name in ("000001", "000003")}
    assert list(find_result_files(tmp_path)) == ["000001", "000003"]


def test_data_comes_first_but_only_with_files(tmp_path: Path) -> None:
    put(tmp_path, "log.txt")
    put(tmp_path / "data")
    assert list(find_result_files(tmp_path)) == ["log"]
    put(tmp_path / "data", "000000.txt")
    assert list(find_result_files(tmp_path)) == ["000000"]


def test_hidden_files_are_no_results(tmp_path: Path) -> None:
    put(tmp_path, "._000000.txt", "000000.txt")
    assert list(find_result_files(tmp_path)) == ["000000"]


@pytest.mark.parametrize(("make", "what"), [(Path.mkdir, "folder"), (os.mkfifo, "pipe")])
def test_what_is_called_like_a_result_file_and_is_none_is_refused(
    tmp_path: Path, make: Callable[[Path], None], what: str
) -> None:
    put(tmp_path, "000000.txt")
    make(tmp_path / "000001.txt")
    with pytest.raises(InputError, match=rf"000001\.txt: this is a .*{what}"):
        find_result_files(tmp_path)
    (tmp_path / "000001.txt").rename(tmp_path / "elsewhere")
    (tmp_path / "000001.txt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=rf"000001\.txt: this is a .*{what}"):
        find_result_files(tmp_path)


def test_a_link_that_leads_nowhere_is_no_frame_without_results(tmp_path: Path) -> None:
    put(tmp_path, "000000.txt")
    (tmp_path / "000001.txt").symlink_to(tmp_path / "gone.txt")
    found = find_result_files(tmp_path)
    assert list(found) == ["000000", "000001"]
    with pytest.raises(InputError, match=r"000001\.txt: cannot be read"):
        read_labels(found["000001"])
    (tmp_path / "000002.txt").symlink_to("000002.txt")
    with pytest.raises(InputError, match=r"000002\.txt: cannot be looked at"):
        find_result_files(tmp_path)


def test_a_folder_that_cannot_be_looked_at_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "circle").symlink_to("circle")
    for name in ("circle", "long" * 100):
        with pytest.raises(InputError, match=f"{name}: cannot be looked at"):
            find_result_files(tmp_path / name)
    (tmp_path / "data").symlink_to("data")
    with pytest.raises(InputError, match="data: cannot be looked at"):
        find_result_files(tmp_path)

    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(InputError, match=r"cannot be looked at \(Permission denied\)\. Ask"):
        find_result_files(tmp_path)


def test_a_linked_file_counts(tmp_path: Path) -> None:
    target = put(tmp_path / "elsewhere", "a.txt") / "a.txt"
    results = put(tmp_path / "results")
    (results / "000000.txt").symlink_to(target)
    assert list(find_result_files(results)) == ["000000"]


def test_the_folder_probably_meant_is_named(tmp_path: Path) -> None:
    meant = put(tmp_path / "second" / "data", "000000.txt")
    put(tmp_path / "second" / "plots", "recall.png")
    with pytest.raises(InputError, match=r"no result files .* There are some in") as caught:
        find_result_files(tmp_path)
    assert f"{meant}:" in str(caught.value)


def test_several_folders_that_may_be_meant_are_counted(tmp_path: Path) -> None:
    for number in range(7):
        put(tmp_path / f"epoch_{number}", "000000.txt")
    with pytest.raises(InputError, match=r"in 7 folders below it .*epoch_4, …"):
        find_result_files(tmp_path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such folder"),
        (lambda path: path.write_text("Car"), "this is a file, not a folder"),
        (lambda path: put(path), "the folder is empty"),
        (lambda path: put(path, "000000.json"), r"no result files \(FRAME.txt\) here or in its folder 'data'. Give"),
        (lambda path: put(path / "a" / "b" / "c" / "d", "000000.txt"), "Give the folder with them"),  # too far down
    ],
)
def test_each_wrong_folder_has_its_message(tmp_path: Path, make: object, message: str) -> None:
    path = tmp_path / "results"
    make(path)  # type: ignore[operator]
    with pytest.raises(InputError, match=message) as caught:
        find_result_files(path)
    assert str(path) in str(caught.value)
