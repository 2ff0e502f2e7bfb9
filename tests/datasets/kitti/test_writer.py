"""KITTI's layout, written from frames with a camera."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.frame import Frame
from lidar_ebm.datasets.kitti.writer import (
    CAMERA,
    LABEL_RANGE,
    MAX_TRUNCATION,
    frame_paths,
    make_labels,
    write_frame,
    write_splits,
)
from lidar_ebm.datasets.opening import open_data_set
from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.calibration import SIMULATED
from lidar_ebm.formats.kitti.conversion import boxes_to_labels
from lidar_ebm.formats.kitti.files import read_calibration, read_labels
from lidar_ebm.formats.text_lists import read_names

CAR = (15.0, 2.0, -1.0, 4.0, 1.7, 1.5, 0.4)
FAR = (LABEL_RANGE + 4.0, 2.0, -1.0, 4.0, 1.7, 1.5, 0.4)


def _boxes(*rows: tuple[float, ...], **columns: object) -> Boxes:
    count = len(rows)
    given = {
        "image_rectangle": [[100.0 + i, 120.0, 180.0, 200.0] for i in range(count)],
        "truncated": [0.25] * count,
        "occluded": [1] * count,
        "points": [20] * count,
        **columns,
    }
    return Boxes(np.array(rows).reshape(-1, 7), ["Car"] * count, **given)


def _frame(boxes: Boxes | None) -> Frame:
    in_image = (10.0, -1.0, -1.0, 0.0), (20.0, 1.0, 0.5, 1.0)
    points = np.random.default_rng(0).uniform(*in_image, (30, 4)).astype(np.float32)
    return Frame("000007", points, boxes=boxes, camera=CAMERA)


def test_a_label_says_what_the_boxes_do() -> None:
    (label,) = make_labels(_boxes(CAR), CAMERA)
    (plain,) = boxes_to_labels(np.array([CAR]), SIMULATED, types=["Car"], image_size=CAMERA.image_size)
    assert label == replace(plain, truncated=0.25, occluded=1, bbox=(100.0, 120.0, 180.0, 200.0))


@pytest.mark.parametrize(
    ("row", "columns"),
    [(CAR, {"points": [0]}), (FAR, {}), (CAR, {"truncated": [MAX_TRUNCATION + 0.01]})],
    ids=["without a point", "far", "outside the image"],
)
def test_what_kitti_would_not_label_is_a_region(row: tuple[float, ...], columns: dict[str, list[float]]) -> None:
    (label,) = make_labels(_boxes(row, **columns), CAMERA)
    assert (label.type, label.bbox) == ("DontCare", (100.0, 120.0, 180.0, 200.0))
    assert (label.truncated, label.occluded, label.alpha, label.rotation_y) == (-1, -1, -10, -10)
    assert label.dimensions == (-1, -1, -1)
    assert label.location == (-1000, -1000, -1000)


def test_regions_come_last_and_what_is_not_in_the_image_has_no_line() -> None:
    boxes = _boxes(FAR, CAR, CAR, image_rectangle=[[1, 2, 3, 4], [5, 6, 7, 8], [np.nan] * 4])
    assert [(label.type, label.bbox[0]) for label in make_labels(boxes, CAMERA)] == [("Car", 5.0), ("DontCare", 1.0)]


def test_unknown_truncation_occlusion_and_points_are_no_reason_to_leave_a_label_out() -> None:
    (label,) = make_labels(_boxes(CAR, truncated=[np.nan], occluded=[np.nan], points=[-1]), CAMERA)
    assert (label.type, label.truncated, label.occluded) == ("Car", -1, -1)


def test_a_written_data_set_opens(tmp_path: Path) -> None:
    frame = _frame(_boxes(CAR, FAR))
    write_frame(tmp_path, frame)
    write_splits(tmp_path, {"train": ["000007"], "val": []})
    assert all(path.exists() for path in frame_paths(tmp_path, "000007"))
    np.testing.assert_array_equal(read_calibration(frame_paths(tmp_path, "000007")[0]).p2, SIMULATED.p2)
    assert [label.type for label in read_labels(frame_paths(tmp_path, "000007")[-1])] == ["Car", "DontCare"]
    assert read_names(tmp_path / "ImageSets" / "trainval.txt") == ["000007"]
    read = open_data_set(tmp_path).read("000007")
    np.testing.assert_array_equal(read.points, frame.points)
    assert read.boxes is not None
    np.testing.assert_allclose(read.boxes.boxes[0], CAR, atol=0.01)


@pytest.mark.parametrize("name", ["image_rectangle", "truncated", "occluded", "points"])
def test_a_missing_column_is_named_and_nothing_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=name):
        write_frame(tmp_path, _frame(_boxes(CAR, **{name: None})))
    assert not list(tmp_path.iterdir())


def test_a_frame_without_labels_or_camera_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="000007: has no labels"):
        write_frame(tmp_path, _frame(None))
    with pytest.raises(InputError, match="000007: has no camera"):
        write_frame(tmp_path, replace(_frame(_boxes(CAR)), camera=None))
    assert not list(tmp_path.iterdir())
