"""A data set of one's own, from simulated files with a class by another name to a calibrated run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.config.config import Config
from lidar_ebm.config.loading import save_config
from lidar_ebm.datasets.folder.data_set import FolderDataSet
from lidar_ebm.formats import read_frames
from lidar_ebm.formats.text_lists import read_names
from tests.cli.test_command import run as command

SETTINGS = (
    "detection.score_threshold=0.0",
    "part_score.score_threshold=0.0",
    "detection.max_detections=30",
    "voxels.range=[-20.0,-20.0,-3.0,20.0,20.0,1.0]",
    "training.detector.epochs=1",
    "training.energy.epochs=1",
    "uncertainty.samples=16",
    "classes=[{name: forklift, merge: [], anchor_size: [3.9, 1.6, 1.56]}]",
)


def test_own_class_and_own_folder_from_end_to_end(
    tiny_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out, away = tmp_path / "data", tmp_path / "run", tmp_path / "prepared"
    layout = ("--layout", "folder", "--full", "--rename", "Car=forklift")
    assert command("simulate", data, "--frames", 6, "--seed", 3, "--workers", 1, *layout) == 0
    names = {str(name) for boxes in read_frames(data / "labels").values() for name in boxes.names}
    assert "forklift" in names
    assert "Car" not in names
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}

    assert command("prepare", data, "--prepared", away, "--workers", 1) == 0
    assert "forklift" in capsys.readouterr().out

    def unprepared(*_: object, **__: object) -> None:
        raise AssertionError("a frame was read from its own files")

    read = FolderDataSet.read
    monkeypatch.setattr(FolderDataSet, "labels", lambda data_set, name: read(data_set, name).boxes)  # to be scored
    monkeypatch.setattr(FolderDataSet, "read", unprepared)
    save_config(tiny_config, tmp_path / "tiny.yaml")
    common = ("--data", data, "--prepared", away)
    assert command("train", tmp_path / "tiny.yaml", *SETTINGS, "--out", out, *common) == 0
    assert "of forklift in the range" in capsys.readouterr().out

    iou = ("--iou", "0.01,0.05")
    assert command("evaluate", out, *common, "--steps", 1, *iou) == 0
    assert "forklift" in capsys.readouterr().out
    folder = out / "evaluation" / "val"
    own = json.loads((folder / "ap.json").read_text())
    val = read_names(data / "val.txt")
    assert sorted(read_frames(folder / "results_after" / "data")) == val
    assert own["frames"] == len(val)

    labels = tmp_path / "val_labels"
    labels.mkdir()
    for name in val:
        (labels / f"{name}.json").write_bytes((data / "labels" / f"{name}.json").read_bytes())
    scored = tmp_path / "score.json"
    results = folder / "results_after"
    assert command("score", labels, results, "--classes", "forklift", "--json", scored) == 0
    capsys.readouterr()
    again = json.loads(scored.read_text())
    assert len(again["ap"]) == len(own["ap"]) > 0
    for one, other in zip(own["ap"], again["ap"], strict=True):
        assert one.keys() == other.keys()
        for key, value in one.items():
            if isinstance(value, float):
                np.testing.assert_allclose(other[key], value, atol=1e-6, err_msg=key)
            else:
                assert other[key] == value, key

    points = data / "points" / f"{val[0]}.bin"
    assert command("detect", out, points, "--out", tmp_path / "found", "--steps", 1) == 0
    shown = capsys.readouterr()
    assert "points are in x -20…20" in shown.err
    lines = (tmp_path / "found" / f"{val[0]}.txt").read_text().splitlines()
    assert lines
    assert all(line.startswith("forklift ") for line in lines)

    assert command("calibrate", out, *common, "--iou", 0.01, "--steps", 0) == 0
    assert "all together" in capsys.readouterr().out
    assert (out / "temperature.json").is_file()
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before
