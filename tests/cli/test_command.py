from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm import __version__
from lidar_ebm.cli import main
from lidar_ebm.config.config import Config
from lidar_ebm.config.loading import save_config
from lidar_ebm.formats.kitti.files import read_labels

VERBS = (
    "simulate",
    "prepare",
    "train",
    "config",
    "evaluate",
    "calibrate",
    "detect",
    "convert",
    "score",
    "compare",
    "submit",
    "plot",
    "landscape",
    "view",
    "report",
)


def run(*arguments: object) -> int:
    """Exit status of the command."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return int(caught.value.code or 0)


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(verb, "--help") == 0
    assert f"Example: lidar-ebm {verb}" in " ".join(capsys.readouterr().out.split())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert __version__ in capsys.readouterr().out


def test_from_nothing_to_pictures(
    tiny_config: Config, simulated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "data", tmp_path / "run"
    assert run("simulate", data, "--frames", 6, "--seed", 1, "--workers", 1) == 0
    same = [(root / "training" / "velodyne" / "000003.bin").read_bytes() for root in (simulated, data)]
    assert same[0] == same[1]

    save_config(tiny_config, tmp_path / "tiny.yaml")
    settings = ("detection.score_threshold=0.0", "part_score.score_threshold=0.0")  # something is always found
    assert run("train", tmp_path / "tiny.yaml", *settings, "--data", data, "--out", out) == 0
    assert run("evaluate", out, "--data", data, "--steps", 2, "--iou", "0.3,0.5", "--recall", 11) == 0
    shown = capsys.readouterr().out
    assert "R11, before → after" in shown
    assert "0.30" in shown
    folder = out / "evaluation" / "val"
    figures = json.loads((folder / "ap.json").read_text())
    assert {(item["metric"], item["recall"]) for item in figures["ap"]} == {
        (metric, recall) for metric in ("2d", "aos", "bev", "3d") for recall in ("R40", "R11", "mean41")
    }
    names = (data / "ImageSets" / "val.txt").read_text().split()
    for part in ("results_before", "results_after"):
        assert sorted(path.stem for path in (folder / part / "data").iterdir()) == names

    assert run("score", data / "training" / "label_2", folder / "results_after", "--csv", tmp_path / "s.csv") == 0
    assert (tmp_path / "s.csv").read_text().startswith("class,metric,iou")

    assert run("plot", out, "--data", data, "--frames", 1) == 0
    pictures = [Path(line) for line in capsys.readouterr().out.splitlines() if line.endswith(".png")]
    assert {path.name for path in pictures} >= {"losses.png", "ap_before_after.png", "ap_against_steps.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)

    points = data / "training" / "velodyne" / "000000.bin"
    np.save(tmp_path / "cloud.npy", np.fromfile(points, np.float32).reshape(-1, 4))
    assert run("detect", out, points, tmp_path / "cloud.npy", "--out", tmp_path / "found", "--steps", 0) == 0
    with_calibration, without = (read_labels(tmp_path / "found" / f"{n}.txt") for n in ("000000", "cloud"))
    assert len(with_calibration) > 0
    assert all(label.bbox == (-1, -1, -1, -1) and label.alpha == -10 for label in without)
    assert all(label.bbox != (-1, -1, -1, -1) for label in with_calibration)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "demo", "--data", "a", "--out", "b"], "--resume goes on"),
        (["evaluate", "a", "--data", "b"], "from the last batch"),
        (["plot", "a"], "half-written"),
    ],
)
def test_an_interruption_says_how_to_go_on(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for name in ("runs.run.load_config", "config.loading.load_config"):  # by which all of them begin
        monkeypatch.setattr(f"lidar_ebm.{name}", interrupt)
    monkeypatch.setattr("pathlib.Path.is_file", lambda path: True)
    assert run(*arguments) == 130
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "demo", "voxels.sizes=1", "--data", "DATA", "--out", "OUT"], ["voxels.sizes", "did you mean"]),
        (["train", "nothing", "--data", "DATA", "--out", "OUT"], ["nothing", "presets"]),
        (["train", "demo", "--data", "NOWHERE", "--out", "OUT"], ["NOWHERE", "train.txt"]),
        (["evaluate", "NOWHERE", "--data", "DATA"], ["NOWHERE", "holds no run"]),
        (["calibrate", "NOWHERE", "--data", "DATA"], ["NOWHERE", "holds no run"]),
        (["detect", "NOWHERE", "a.bin", "--out", "OUT"], ["NOWHERE", "holds no run"]),
        (
            ["detect", "NOWHERE", "a/x.bin", "b/x.bin", "--out", "OUT"],
            ["a/x.bin and b/x.bin", "two of the given files"],
        ),
        (["score", "NOWHERE", "NOWHERE"], ["NOWHERE"]),
        (["score", "DATA", "DATA", "--iou", "high"], ["--iou", "numbers"]),
        (["score", "DATA", "DATA", "--recall", "12"], ["--recall", "41"]),
        (["plot", "NOWHERE"], ["NOWHERE", "holds no run"]),
        (["simulate", "OUT", "--frames", "0"], ["frames"]),
    ],
)
def test_bad_input_ends_in_one_message(
    arguments: list[str], words: list[str], simulated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"DATA": str(simulated), "OUT": str(tmp_path / "out"), "NOWHERE": str(tmp_path / "NOWHERE")}
    assert run(*(places.get(item, item) for item in arguments)) == 2
    message = capsys.readouterr().err
    assert message.startswith("Error:")
    assert "Traceback" not in message
    for word in words:
        assert word in message
