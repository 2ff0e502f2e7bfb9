"""The verbs that read result files, as a user calls them."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from lidar_ebm.cli import options
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation import evaluate
from lidar_ebm.evaluation.options import ScoringOptions
from lidar_ebm.formats.kitti.files import read_labels, write_labels, write_split
from tests.cli.test_command import run
from tests.evaluation.kitti.random_frames import random_frames

FRAMES = 8


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
    for words in ("Average precision in percent, R11, 8 frames", "0–30 m", "best F1", "Mean errors", "Cyclist"):
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
    for words in ("split: 1 frame", "iou: ", "near: occluded ≤ 1, distance < 30 m", "all: no limits", "0.25", "near"):
        assert words in shown
    assert run("score", *folders, "--lidar-only", "--classes", "car") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "lidar_only: difficulty by distance alone" in shown
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


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")


@pytest.mark.usefixtures("narrow")
def test_no_figure_is_cut_however_narrow_the_terminal(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"a_difficulty_of_a_long_name_{index}" for index in range(4)]
    limits = [part for name in names for part in ("--difficulty", f"{name}=distance:50")]
    assert run("score", *folders, *limits, "--classes", "Car", "--distance", "0,10,20,30,40,50,60,70,80,90") == 0
    shown = capsys.readouterr().out
    assert "…" not in shown
    for word in (*names, "80–90 m", "Precision", "Flipped %"):
        assert word in shown
    evaluation = evaluate(*folders, classes=["Car"], difficulties=[options.read_difficulty(limits[1])])
    assert shown.count(f" {evaluation.curves[-1].ap():.2f}") >= 4
    assert run("compare", *folders, folders[1], *limits, "--classes", "Car", "--resamples", 2) == 0
    shown = capsys.readouterr().out
    assert shown.replace("+0.00 … +0.00", "").count("…") == 0
    assert all(word in shown for word in (*names, "+0.00 … +0.00"))


def test_output_in_ascii_is_no_error(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(content, encoding="ascii"))
    assert run("score", *folders, "--distance", "0,30") == 0
    assert b"0?30 m" in content.getvalue()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
@pytest.mark.parametrize("verb", [["score", "LABELS", "RESULTS"], ["score", "--help"], ["--version"]])
def test_output_that_does_not_arrive_is_an_error(
    verb: list[str], folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"LABELS": str(folders[0]), "RESULTS": str(folders[1])}
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert run(*(places.get(item, item) for item in verb)) == 2
    assert capsys.readouterr().err.startswith("Error: standard output: cannot be written (No space left on device)")


def test_a_reader_that_has_seen_enough_is_no_error(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        monkeypatch.setattr("sys.stdout", closed)
        assert run("score", *folders) in (0, 1)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stdout", None)  # as Python has it where there was none from the beginning
    assert run("score", *folders) == 0


def test_a_line_number_is_no_picture(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    (folders[1] / "000003.txt").write_text("\n" * 99 + "Car 1 2\n")
    assert run("score", *folders) == 2
    assert "000003.txt:100: 3 fields" in capsys.readouterr().err


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
        (["score", "LABELS", "RESULTS", "--classes", "Buss"], ["Buss", "There are"]),
        (["score", "LABELS", "RESULTS", "--classes", ","], ["--classes"]),
        (["score", "LABELS", "RESULTS", "--distance", "5"], ["distances", "rising"]),
        (["score", "LABELS", "RESULTS", "--iou", "1.5"], ["overlaps", "between 0 and 1"]),
        (["score", "LABELS", "RESULTS", "--difficulty", "near=far:3"], ["far:3", "distance"]),
        (["score", "LABELS", "RESULTS", "--difficulty", "near=points:few"], ["points", "few"]),
        (["score", "LABELS", "RESULTS", "--json", "NOWHERE", "--csv", "NOWHERE"], ["--json and --csv: both"]),
        (["score", "LABELS", "RESULTS", "--json", "EMPTY"], ["EMPTY", "this is a folder"]),
        (["compare", "LABELS", "RESULTS", "RESULTS", "--plot", "NOWHERE"], ["--plot", ".png"]),
        (["compare", "LABELS", "RESULTS", "RESULTS", "--confidence", "0.95"], ["--confidence", "mean 95?"]),
        (["compare", "LABELS", "RESULTS", "RESULTS", "--confidence", "100"], ["--confidence 100", "below 100"]),
        (["compare", "LABELS", "RESULTS", "RESULTS", "--confidence", "nan"], ["--confidence nan", "below 100"]),
        (["compare", "LABELS", "RESULTS", "RESULTS", "--seed", "-1"], ["--seed -1"]),
        (["score", "LABELS", "RESULTS", "--split", "NOWHERE"], ["NOWHERE"]),
        (["score", "LABELS", "RESULTS", "--project"], ["calib"]),
        (["compare", "LABELS", "RESULTS", "EMPTY"], ["EMPTY"]),
        (["submit", "EMPTY", "--out", "NOWHERE"], ["EMPTY"]),
        (["compare", "LABELS", "RESULTS", "RESULTS", "--resamples", "0"], ["--resamples 0"]),
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
        ("7 -1 -1 0 1 2 3 4 1 1 1 1 1 1 0 0.5", "the class is '7'"),
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


@pytest.mark.parametrize("option", ["--json", "--csv", "--plots"])
def test_an_empty_name_is_refused(option: str, folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("score", *folders, option, "") == 2
    message = capsys.readouterr().err
    assert option in message
    assert "is empty" in message


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ("height:nan", "height is 'nan', which is not a number"),
        ("height:inf", "height is 'inf', which no label reaches"),
        ("points:inf", "points is 'inf', which no label reaches"),
        ("points:2.5", "points is '2.5', which is not a whole number"),
        ("distance:-5", "distance is '-5': give a number above 0"),
        ("distance:0", "distance is '0': give a number above 0"),
        ("points:-1", "points is '-1': give 0 or more"),
        ("height:-0.5", "height is '-0.5': give 0 or more"),
        ("truncated:1_0", "truncated is '1_0', which is not a number"),
        ("occluded:\N{ARABIC-INDIC DIGIT ONE}", "which is not a number"),
        ("points:5,distance:3,points:5", "points is given twice"),
    ],
)
def test_limits_without_sense_are_refused(limits: str, words: str) -> None:
    with pytest.raises(InputError, match=f"--difficulty 'a={limits}': .*{words}"):
        options.read_difficulty(f"a={limits}")


def test_difficulties_are_read() -> None:
    read = options.read_difficulty("near=occluded:1,truncated:0.3,height:25,distance:30,points:20")
    assert (read.max_occluded, read.max_truncated, read.min_height) == (1.0, 0.3, 25.0)
    assert (read.name, read.max_distance, read.min_points) == ("near", 30.0, 20)
    with pytest.raises(InputError, match="near: given twice"):
        read_options(classes="Car", difficulties=["near=points:1", "near=points:2"])
    assert read_options(classes="car, Cyclist,Forklift,CAR").classes == ("Car", "Cyclist", "Forklift")
    assert read_options(classes="car,Forklift", protocol="distance").classes == ("car", "Forklift")
    assert read_options().classes is None


def read_options(**given: Any) -> ScoringOptions:
    texts = dict.fromkeys(("protocol", "classes", "iou", "center", "difficulties", "split", "calib", "point_folder"))
    return options.read_scoring_options(**{**texts, "project": False, "lidar_only": False, **given})
