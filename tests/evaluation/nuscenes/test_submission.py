"""Checking and packing result files for nuScenes' server, from the command line."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tests.cli.test_command import run
from tests.nuscenes_material import NuscenesSet


def test_check_ends_with_0_or_1(public_a: NuscenesSet, capsys: pytest.CaptureFixture[str]) -> None:
    cases = [json.loads(line) for line in (public_a.folder / "cases" / "OUTCOMES.jsonl").read_text().splitlines()]
    options = ["--protocol", "nuscenes", "--check", "--root", public_a.root, "--version", "v1.0-mini"]
    for case in cases:
        path = public_a.folder / "cases" / f"{case['case']}.json"
        status = run("submit", path, *options, "--split", case["eval_set"])
        text = capsys.readouterr().out
        if case["outcome"] == "refused":
            assert status == 1, case["case"]
            assert "Refused:" in text
        else:
            assert status in (0, 1)
            assert status == 0 or "the program stops" in text or "use_" in text, case["case"]


def test_samples_are_checked_where_the_tables_are(public_a: NuscenesSet, capsys: pytest.CaptureFixture[str]) -> None:
    path = public_a.folder / "cases" / "missing_sample.json"
    assert run("submit", path, "--protocol", "nuscenes", "--check") == 0
    assert (
        run("submit", path, "--protocol", "nuscenes", "--check", "--root", public_a.root, "--split", "mini_train") == 1
    )
    assert "1 of 10 samples are missing" in capsys.readouterr().out


def test_every_reason_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    boxes = [{"sample_token": "s", "translation": [0, 0], "size": [1, 1, "1"]}] * 9
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"meta": {}, "results": {"s": boxes}}))
    assert run("submit", path, "--protocol", "nuscenes", "--check") == 1
    text = " ".join(capsys.readouterr().out.split())
    for index in range(9):
        for field in ("translation", "size", "rotation", "velocity", "detection_name", "attribute_name"):
            assert f"sample s, box {index}: {field}" in text
    for flag in ("use_camera", "use_lidar", "use_radar", "use_map", "use_external"):
        assert f"meta: {flag}: missing" in text


def test_packing(public_a: NuscenesSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = public_a.prediction("mini_val", "good"), tmp_path / "out.zip"
    assert run("submit", path, "--protocol", "nuscenes", "--out", out) == 0
    with zipfile.ZipFile(out) as archive:
        (name,) = archive.namelist()
        assert archive.read(name) == path.read_bytes()
    assert "34 samples (0 empty) with 140 car" in capsys.readouterr().out
    refused = public_a.folder / "cases" / "class_unknown.json"
    assert run("submit", refused, "--protocol", "nuscenes", "--out", tmp_path / "b.zip") == 2
    assert not (tmp_path / "b.zip").exists()
    assert "is not written" in capsys.readouterr().err


def test_bad_requests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("submit", tmp_path, "--protocol", "nuscenes") == 2
    assert "--out FILE.zip" in capsys.readouterr().err
    assert run("submit", tmp_path, "--protocol", "distance", "--check") == 2
    assert "no server to submit to; choose one of kitti, nuscenes" in capsys.readouterr().err
    assert run("submit", tmp_path / "none.json", "--protocol", "nuscenes", "--check") == 1
    assert "there is no such file" in capsys.readouterr().out


def test_scoring_from_the_command_line(
    public_a: NuscenesSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    options = ["--protocol", "nuscenes", "--version", "v1.0-mini", "--split", "mini_val"]
    path = public_a.prediction("mini_val", "good")
    plots = tmp_path / "plots"
    assert run("score", public_a.root, path, *options, "--json", out, "--plots", plots) == 0
    assert "NDS 68.29 %" in capsys.readouterr().out
    official = json.loads((public_a.official("mini_val", "good") / "metrics_summary.json").read_text())
    assert json.loads(out.read_text())["nd_score"] == pytest.approx(official["nd_score"], abs=1e-9)
    assert {each.name for each in plots.iterdir()} == {"precision_recall.png", "errors.png"}
    other = public_a.prediction("mini_val", "poor")
    picture = tmp_path / "c.png"
    arguments = [public_a.root, path, other, *options, "--resamples", "20", "--plot", picture]
    assert run("compare", *arguments, "--csv", tmp_path / "c.csv") == 0
    assert picture.exists()
    assert "NDS" in (tmp_path / "c.csv").read_text()
