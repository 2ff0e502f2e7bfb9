"""Every text format gives back what was written to it, and is recognised by what it looks like."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats import find_format
from lidar_ebm.formats.box_format import recognise_format
from tests.formats.samples import assert_same
from tests.formats.text_formats import CASES, CONTEXT, IDS, Case

EMPTY = Boxes.empty()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_what_was_written_is_read(case: Case, seed: int, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        target, frames, written = case.write(tmp_path, 10 * seed)
        read = find_format(case.name).read(target, CONTEXT)
    assert set(written) == {file for file in tmp_path.rglob("*") if file.is_file()}
    assert list(read) == list(frames)
    for name, boxes in frames.items():
        # A tracklet's track is its place in the file.
        columns = find_format(case.name).COLUMNS - ({"track"} if case.name == "kitti_raw" else set())
        assert_same(read[name], boxes, columns, tolerance=case.tolerance, computed=case.computed)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_written_files_are_recognised_as_this_format_alone(case: Case, tmp_path: Path) -> None:
    target, _, _ = case.write(tmp_path, 3)
    if case.name == "view_of_delft":
        (target / "more.txt").write_text("rider 3 0 -10 0 0 0 0 1.7 0.6 0.6 1 2 9 0.1 1\n")
    assert recognise_format(target) == case.name


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_numbers_that_are_not_finite_are_not_written(case: Case, tmp_path: Path) -> None:
    frames = case.boxes(1)
    name = next(iter(frames))
    frames[name].boxes[2, 1] = np.inf
    with pytest.raises(InputError, match=r"box 2 of frame .* is not finite"):
        find_format(case.name).write(tmp_path / case.target, frames, CONTEXT)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_frames_cannot_lead_out_of_the_folder(case: Case, tmp_path: Path) -> None:
    if case.target != "out" or case.name in ("boxes_csv", "cvat", "kitti_raw", "kitti_tracking"):
        pytest.skip("does not name files by frames")
    for name in ("../up", "a/b", "", ".hidden", "nul\0"):
        with pytest.raises(InputError, match="cannot be the name of a file"):
            find_format(case.name).write(tmp_path / "out", {name: EMPTY}, CONTEXT)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
