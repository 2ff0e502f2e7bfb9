"""Formats are found without a list, by name and by content."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats.box_format import box_formats, columns_left_out, find_format, recognise_format
from tests.formats.samples import random_boxes

WANTED = (
    *("boxes_csv", "boxes_json", "cvat", "kitti", "kitti_raw", "kitti_tracking", "labelcloud"),
    *("labelcloud_relative", "labelcloud_vertices", "openlabel", "supervisely", "sustechpoints", "view_of_delft"),
)


def test_every_format_has_the_interface() -> None:
    formats = box_formats()
    assert set(WANTED) <= set(formats)
    for name, module in formats.items():
        assert module.TITLE, name
        assert set(Boxes.column_names()) >= module.COLUMNS, name
        assert callable(module.recognise), name
        assert callable(module.read), name


def test_names_are_found_in_any_spelling() -> None:
    assert find_format(" KITTI-tracking ") is find_format("kitti_tracking")
    with pytest.raises(InputError, match=r"unknown format 'sustech' .*there are .*boxes_csv, .*view_of_delft"):
        find_format("sustech")
    with pytest.raises(InputError, match=r"unknown format 'opnlabel' \(did you mean 'openlabel'\?\)"):
        find_format("opnlabel")


def test_what_fits_nothing_or_several_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"weather": "fine"}')
    with pytest.raises(InputError, match=r"a\.json: fits no format of boxes.*boxes_json"):
        recognise_format(path)
    with pytest.raises(InputError, match="no such file"):
        recognise_format(tmp_path / "b.json")
    label = '{"folder": "", "filename": "", "objects": [{"name": "a", "centroid": {"x": 0, "y": 0, "z": 0}, '
    label += '"dimensions": {"length": 1, "width": 1, "height": 1}, "rotations": {"x": 0, "y": 0, "z": 1.5}}]}'
    path.write_text(label)  # 1.5 degrees or radians?
    with pytest.raises(InputError, match="fits several formats: labelcloud, labelcloud_relative"):
        recognise_format(path)


def test_columns_that_a_format_cannot_hold_are_counted() -> None:
    frames = [random_boxes(0, ["track", "velocity"], count=3), random_boxes(1, ["velocity"], count=2), Boxes.empty()]
    assert columns_left_out(find_format("sustechpoints"), frames) == {"velocity": 5}
    assert columns_left_out(find_format("boxes_json"), frames) == {}


def test_formats_need_no_torch() -> None:
    program = "import sys; from lidar_ebm.formats import box_formats; box_formats(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
