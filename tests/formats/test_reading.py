"""`read_boxes` and `write_boxes`: one frame or many, recognised or named."""

from __future__ import annotations

from pathlib import Path

import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats import read_boxes, read_frames, write_boxes
from tests.formats.samples import assert_same, random_boxes

FRAMES = {"000001": random_boxes(1), "000002": random_boxes(2), "first": Boxes.empty()}


def test_many_frames_are_a_dictionary_and_one_is_boxes(tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    assert write_boxes(path, FRAMES, "boxes-json") == [path]
    found = read_boxes(path)
    assert isinstance(found, dict)
    assert list(found) == list(FRAMES)
    chosen = read_boxes(str(path), "boxes_json", "000002")
    assert isinstance(chosen, Boxes)
    assert_same(chosen, FRAMES["000002"], ())
    write_boxes(tmp_path / "one.json", FRAMES["000001"], "sustechpoints")
    one = read_boxes(tmp_path / "one.json")
    assert isinstance(one, Boxes)
    assert list(read_frames(tmp_path / "one.json")) == ["one"]
    write_boxes(tmp_path / "folder", {"000001": FRAMES["000001"]}, "openlabel")
    assert isinstance(read_boxes(tmp_path / "folder"), Boxes)
    assert isinstance(read_boxes(tmp_path / "folder", frame=Path("000001")), Boxes)


def test_frames_that_are_not_there_name_a_close_one(tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    write_boxes(path, FRAMES, "boxes_json")
    with pytest.raises(InputError, match=r"all\.json: there is no frame '00002' \(did you mean '000002'\?\); 3 are"):
        read_boxes(path, frame="00002")
    with pytest.raises(InputError, match="frame: 2 is no name of a frame"):
        read_boxes(path, frame=2)  # type: ignore[arg-type]


def test_several_frames_do_not_go_into_a_file_of_one(tmp_path: Path) -> None:
    for name in ("sustechpoints", "labelcloud", "supervisely"):
        with pytest.raises(InputError, match="3 frames do not go into one file"):
            write_boxes(tmp_path / "all.json", FRAMES, name)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="classes: 'Car' is one text"):
        read_boxes(tmp_path, "kitti", classes="Car")
