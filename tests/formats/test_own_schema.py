"""The program's own JSON and CSV as people write them by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats import read_boxes, read_frames

BOX = {"class": "forklift", "center": [1, 2, 3.5], "size": [4, 2, 1], "yaw": 4}
TABLE = "class,x,y,z,l,w,h,yaw\nforklift,1,2,3.5,4,2,1,4\n"


def test_minimal_files(tmp_path: Path) -> None:
    texts = {
        "a.json": json.dumps([BOX]),
        "b.json": json.dumps({"boxes": [BOX]}),
        "c.json": json.dumps({"frame": "c", "boxes": [BOX], "comment": "by hand"}),
        "d.json": json.dumps({"frames": {"d": [BOX]}}),
        "e.csv": TABLE,
        "f.csv": TABLE.replace(",", ";").replace("yaw", '"yaw"').replace("\n", "\r\n"),
        "h.csv": TABLE.replace("l,w,h", "length,Width,HEIGHT"),
        "g.csv": "\ufeff" + TABLE.replace(",", " \t "),
    }
    for name, text in texts.items():
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        frames = read_frames(path)
        assert list(frames) == [path.stem]
        boxes = frames[path.stem]
        np.testing.assert_allclose(boxes.boxes, [[1, 2, 3.5, 4, 2, 1, 4 - 2 * np.pi]])
        assert boxes.names.tolist() == ["forklift"]
        assert boxes.columns() == {}


def test_some_boxes_have_what_others_lack(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([BOX, {**BOX, "score": 0.5, "track": 7, "velocity": [1, 2], "points": 3}, BOX]))
    boxes = read_boxes(path)
    assert isinstance(boxes, Boxes)
    np.testing.assert_equal(boxes.scores, [np.nan, 0.5, np.nan])
    np.testing.assert_equal(boxes.velocity, [[np.nan] * 2, [1, 2], [np.nan] * 2])
    assert boxes.track is not None
    assert boxes.track.tolist() == ["", "7", ""]
    assert boxes.points is not None
    assert boxes.points.tolist() == [-1, 3, -1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"center": [1, 2]}, r"\[1\]\.center: expected 3 numbers, got 2"),
        ({"center": None}, r"\[1\]: 'center' is missing"),
        ({"size": [4, -2, 1]}, r"\[1\]\.size: sizes must not be negative"),
        ({"yaw": "4"}, r"\[1\]\.yaw: expected a number, got '4'"),
        ({"yaw": 10**400}, r"\[1\]\.yaw: expected a finite number"),
        ({"class": 1.5}, r"\[1\]\.class: expected a text"),
        ({"class": ""}, r"\[1\]\.class: the name of the class is empty"),
        ({"points": 1.5}, r"\[1\]\.points: expected a whole number"),
        ({"velocity": [1, 2, 3]}, r"\[1\]\.velocity: expected 2 numbers"),
        ({"score": True}, r"\[1\]\.score: expected a number, got True"),
        ({"covariance": [[1, 2], [3]]}, r"\[1\]\.covariance\[1\]: expected 2 numbers, got 1"),
    ],
)
def test_wrong_fields_are_named(change: dict[str, object], said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([BOX, BOX | change]))
    with pytest.raises(InputError, match=rf"a\.json: {said}"):
        read_boxes(path)


def test_unknown_keys_are_warned_of_with_the_closest(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{**BOX, "scores": 0.5}, {**BOX, "scores": 0.7}]))
    with pytest.warns(UserWarning, match=r"'scores' of 2 boxes is not read \(did you mean 'score'\?\)"):
        read_boxes(path)


def test_other_files_and_versions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for head, said in (({"format": "x"}, "this is no file of boxes"), ({"version": 2}, "version 2 is newer")):
        path.write_text(json.dumps({**head, "boxes": [BOX]}))
        with pytest.raises(InputError, match=said):
            read_boxes(path)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (TABLE.replace("yaw", "jaw"), r":1: the header lacks yaw"),
        (TABLE.replace("class,", "class,colour,"), r":1: unknown column 'colour'"),
        (TABLE.replace("class,", "class,class,"), r":1: column 'class' stands there twice"),
        (TABLE.replace("3.5", "three"), r":2: field 'z' is 'three'"),
        (TABLE.replace("3.5", "nan"), r":2: field 'z' is 'nan'"),
        (TABLE.replace("3.5", ""), r":2: field 'z' is ''"),
        (TABLE.replace("3.5,", ""), r":2: 7 cells; the header has 8"),
        (TABLE.replace(",4,2,1", ",4,-2,1"), r":2: sizes must not be negative"),
        (TABLE.replace("forklift", ""), r":2: the cell 'class' is empty"),
        (TABLE.replace("forklift", '"forklift'), r":3?2?: "),
    ],
)
def test_wrong_tables_name_the_line(table: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(table)
    with pytest.raises(InputError, match=rf"a\.csv{said}"):
        read_boxes(path, "boxes_csv")
