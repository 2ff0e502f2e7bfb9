"""Converting boxes between files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats import read_boxes, read_frames, write_boxes
from lidar_ebm.workflows.convert import convert
from tests.cli.test_command import run
from tests.formats.samples import CAMERA, assert_same, random_boxes

FRAMES = {"000001": random_boxes(1, ["velocity", "track"]), "000002": random_boxes(2, ["velocity", "track"])}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file of two frames with tracks and velocities."""
    path = tmp_path / "source.json"
    write_boxes(path, FRAMES, "boxes_json")
    return path


def test_what_is_read_written_and_not_held_is_said(source: Path, tmp_path: Path) -> None:
    done = convert(source, tmp_path / "labels", target_format="sustechpoints")
    assert done.frames == 2
    assert sum(done.names.values()) == 24
    assert done.left_out == {"velocity": 24}
    read, wrote, lost = done.lines()
    assert read.startswith(f"read 2 frames from {source} as boxes_json: ")
    assert wrote == f"wrote 2 files to {tmp_path / 'labels'} as sustechpoints"
    assert lost == "not held by sustechpoints: velocity (24 boxes)"
    found = read_frames(tmp_path / "labels")
    for name, boxes in FRAMES.items():
        assert_same(found[name], boxes, ["track"])
    lines = convert(source, tmp_path / "b.csv", target_format="boxes-csv").lines()
    assert lines[1:] == [f"wrote 1 file to {tmp_path / 'b.csv'} as boxes_csv"]


def test_the_source_is_never_written_to(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    convert(source, folder, target_format="sustechpoints")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.json")}
    link = tmp_path / "link"
    link.symlink_to(folder)
    one = folder / "000001.json"
    for start, end in ((source, source), (folder, folder), (folder, link), (one, folder), (folder, one), (one, link)):
        with pytest.raises(InputError, match="could be overwritten"):
            convert(start, end, target_format="labelcloud")
    assert all(file.read_bytes() == content for file, content in before.items())


def test_errors_come_before_anything_is_written(source: Path, tmp_path: Path) -> None:
    cases = (
        ({"target_format": "kitti"}, "there is no calibration for frame 000001"),
        ({"target_format": "nothing"}, "unknown format 'nothing'"),
        ({"target_format": "cvat", "source_format": "openlabel"}, "'openlabel' is missing"),
    )
    for options, said in cases:
        with pytest.raises(InputError, match=said):
            convert(source, tmp_path / "out", **options)
        assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="no such file"):
        convert(tmp_path / "none", tmp_path / "out", target_format="cvat")


def test_command(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run("convert", source, out, "--to", "openlabel") == 0
    shown = capsys.readouterr().out
    assert "read 2 frames from" in shown
    assert "not held by openlabel: velocity (24 boxes)" in shown
    assert run("convert", out, tmp_path / "b.json", "--from", "openlabel", "--to", "boxes-json") == 0
    assert_same(read_frames(tmp_path / "b.json")["000002"], FRAMES["000002"], ["track"])
    capsys.readouterr()
    assert run("convert", source, out, "--to", "opnlabel") == 2
    assert "did you mean 'openlabel'?" in capsys.readouterr().err


def test_command_computes_rectangles_of_an_image_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, calib = tmp_path / "a.json", tmp_path / "calib.txt"
    box = {"class": "Car", "center": [15, 1, -1], "size": [4, 2, 1.5], "yaw": 0.3}
    source.write_text(json.dumps([box]))
    rows = {"P2": CAMERA.p2, "R0_rect": CAMERA.r0_rect, "Tr_velo_to_cam": CAMERA.tr_velo_to_cam}
    calib.write_text("".join(f"{key}: {' '.join(map(str, matrix.ravel()))}\n" for key, matrix in rows.items()))
    common = ("convert", source, tmp_path / "out", "--to", "kitti", "--calib", calib)
    assert run(*common) == 0
    assert " 0.00 0.00 0.00 0.00 " in (tmp_path / "out" / "a.txt").read_text()
    assert run(*common, "--image-size", "1242,375") == 0
    found = read_boxes(tmp_path / "out", calib=calib)
    assert not isinstance(found, dict)
    assert found.image_rectangle is not None
    assert (found.image_rectangle[0, :2] > 0).all()
    capsys.readouterr()
    assert run(*common, "--image-size", "big") == 2
    assert "give width and height in pixels" in capsys.readouterr().err
