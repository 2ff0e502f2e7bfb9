"""The verbs that read result files, as a user calls them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from lidar_ebm import cli_options
from lidar_ebm.cli import main
from lidar_ebm.data.kitti_files import read_labels, write_labels, write_split
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation import evaluate
from tests.evaluation.random_frames import random_frames

FRAMES = 8


def run(*arguments: object) -> int:
    """Exit status of the command."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return int(caught.value.code or 0)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Label and result files of some frames."""
    labels, results = random_frames(FRAMES, 80, empty_share=0.0)
    for index in range(FRAMES):
        write_labels(tmp_path / "label_2" / f"{index:06d}.txt", labels[index])
        write_labels(tmp_path / "results" / f"{index:06d}.txt", results[index])
    return tmp_path / "label_2", tmp_path / "results"


def test_score_prints_and_writes(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    files = ("--json", out / "ap.json", "--csv", out / "ap.csv", "--plots", out / "curves")
    assert run("score", *folders, "--recall", 11, "--distance", "0,30,60", *files) == 0
    shown = capsys.readouterr().out
    for words in ("Average precision, R11, 8 frames", "0–30 m", "best F1", "Mean errors", "Cyclist"):
        assert words in shown
    content = json.loads((out / "ap.json").read_text())
    expected = evaluate(*folders)
    assert {item["recall"] for item in content["ap"]} == {"R40", "R11", "mean41"}
    for item in content["ap"]:
        key = (item["class"], item["metric"], item["difficulty"], item["iou"], item["recall"])
        assert item["ap"] == expected.ap(*key)
    assert {(item["from"], item["to"]) for item in content["distance"]} == {(0.0, 30.0), (30.0, 60.0)}
    assert (out / "ap.csv").read_text().startswith("class,metric,iou,difficulty,recall,ap")
    pictures = sorted(path.name for path in (out / "curves").iterdir())
    assert {"car_precision_recall.png", "car_orientation.png", "car_distance.png"} <= set(pictures)


def test_options_that_depart_from_the_rules_are_named_in_the_output(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_split(tmp_path / "split.txt", [f"{index:06d}" for index in range(FRAMES)])
    (folders[1] / "000002.txt").unlink()
    limits = ("--difficulty", "near=distance:30,occluded:1", "--difficulty", "all=height:0")
    assert run("score", *folders, "--iou", "loose", "--split", tmp_path / "split.txt", *limits) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in ("split: 1 frames", "iou: ", "near: occluded ≤ 1, distance < 30 m", "all: no limits", "0.25", "Near"):
        assert words in shown
    assert run("score", *folders, "--lidar-only", "--classes", "car") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "--lidar-only: difficulty by distance alone" in shown
    assert "not scored" in shown  # the label file without results
    assert "2-D" not in shown


def test_compare_prints_and_writes(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, results = folders
    for path in results.iterdir():
        kept = [item for item in read_labels(path) if item.score is not None and item.score > 0.3]
        write_labels(tmp_path / "fewer" / "data" / path.name, kept)
    out = tmp_path / "out"
    files = ("--json", out / "pair.json", "--csv", out / "pair.csv", "--plot", out / "pair.png")
    assert run("compare", labels, results, tmp_path / "fewer", "--resamples", 20, "--confidence", 90, *files) == 0
    shown = capsys.readouterr().out
    for words in ("90 % interval", "B − A", str(tmp_path / "fewer")[:20]):
        assert words in shown
    content = json.loads((out / "pair.json").read_text())
    assert content["resamples"] == 20
    assert (out / "pair.csv").exists()
    assert (out / "pair.png").read_bytes().startswith(b"\x89PNG")


def test_submit_lists_what_is_wrong_and_writes_the_zip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results"
    results.mkdir()
    line = "Car -1 -1 0.50 100 100 200 180 1.5 1.6 4.0 2.0 1.6 20.0 0.60 0.9\n"
    for index in range(7518):
        (results / f"{index:06d}.txt").write_text(line if index % 7 else "")
    (results / "000007.txt").unlink()
    (results / "000008.txt").write_text(line + line.replace("4.0", "long"))
    assert run("submit", results, "--out", tmp_path / "out.zip") == 2
    message = capsys.readouterr().err
    assert "000007" in message
    assert "000008.txt:2" in message
    assert not (tmp_path / "out.zip").exists()
    (results / "000007.txt").write_text("")
    (results / "000008.txt").write_text(line)
    assert run("submit", results, "--out", tmp_path / "out.zip") == 0
    assert "7,518 frames (1,074 empty) with 6,444 Car" in capsys.readouterr().out
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.namelist() == [f"{index:06d}.txt" for index in range(7518)]
        assert archive.read("000008.txt").decode() == line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["score", "LABELS", "NOWHERE"], ["NOWHERE", "no such folder"]),
        (["score", "NOWHERE", "RESULTS"], ["NOWHERE", "label"]),
        (["score", "LABELS", "EMPTY"], ["EMPTY", "empty"]),
        (["score", "LABELS", "RESULTS", "--classes", "Buss"], ["Buss", "Known are Car"]),
        (["score", "LABELS", "RESULTS", "--classes", ","], ["--classes"]),
        (["score", "LABELS", "RESULTS", "--distance", "5"], ["distances", "rising"]),
        (["score", "LABELS", "RESULTS", "--iou", "1.5"], ["overlaps", "between 0 and 1"]),
        (["score", "LABELS", "RESULTS", "--difficulty", "near=far:3"], ["far:3", "distance"]),
        (["score", "LABELS", "RESULTS", "--difficulty", "near=points:few"], ["points", "few"]),
        (["score", "LABELS", "RESULTS", "--split", "NOWHERE"], ["NOWHERE"]),
        (["score", "LABELS", "RESULTS", "--project"], ["calib"]),
        (["compare", "LABELS", "RESULTS", "EMPTY"], ["EMPTY"]),
        (["submit", "EMPTY", "--out", "NOWHERE"], ["EMPTY"]),
        (["compare", "LABELS", "RESULTS", "RESULTS", "--resamples", "0"], ["resamples"]),
    ],
)
def test_bad_input_ends_in_one_message(
    arguments: list[str],
    words: list[str],
    folders: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "EMPTY").mkdir()
    places = {"LABELS": str(folders[0]), "RESULTS": str(folders[1])}
    places |= {name: str(tmp_path / name) for name in ("EMPTY", "NOWHERE")}
    assert run(*(places.get(item, item) for item in arguments)) == 2
    message = capsys.readouterr().err
    assert message.startswith("Error:")
    assert "Traceback" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Car -1 -1 0 1 2 3 4 1 1 1 1 1 1 0", "score is missing"),
        ("Car -1 -1 0 1 2 3 4 1 1 1 1 1 1 0 nan", "'nan'"),
        ("Car -1 -1 0 1 2 3 4 1 1 1 1 1 1 0 inf", "'inf'"),
        ("Car -1 -1 0 1 2 3 4 1 1 1 1 1 1 left 0.5", "rotation_y"),
        ("Cat -1 -1 0 1 2 3 4 1 1 1 1 1 1 0 0.5", "unknown class 'Cat'"),
        ("Car 1 2", "3 fields"),
    ],
)
def test_a_bad_line_is_named(
    line: str, words: str, folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = folders[1] / "000003.txt"
    path.write_text(f"Car -1 -1 0 1 2 3 4 1 1 1 1 1 1 0 0.5\n\n{line}\n")
    assert run("score", *folders) == 2
    message = capsys.readouterr().err
    assert "000003.txt:3" in message
    assert words in message


def test_difficulties_are_read() -> None:
    read = cli_options.read_difficulty("near=occluded:1,truncated:0.3,height:25,distance:30,points:20")
    assert (read.max_occluded, read.max_truncated, read.min_height) == (1.0, 0.3, 25.0)
    assert (read.name, read.max_distance, read.min_points) == ("near", 30.0, 20)
    with pytest.raises(InputError, match="near: given twice"):
        cli_options.read_rules("Car", None, ["near=points:1", "near=points:2"])
    assert cli_options.read_rules("car, Cyclist,Forklift,CAR", None, None)["classes"] == ["Car", "Cyclist", "Forklift"]
