"""Where result files are looked for, and what is said where there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.result_files import find_result_files


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


def test_hidden_files_and_folders_are_no_results(tmp_path: Path) -> None:
    put(tmp_path, "._000000.txt", "000000.txt")
    put(tmp_path / "000001.txt")
    assert list(find_result_files(tmp_path)) == ["000000"]


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
