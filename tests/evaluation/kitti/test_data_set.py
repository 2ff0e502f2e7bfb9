"""Labels of a data set, and when they are scored by distance and points."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from lidar_ebm.evaluation.kitti.data_set import labels_to_score, lack_rectangles
from lidar_ebm.formats.kitti.calibration import SIMULATED
from lidar_ebm.formats.kitti.conversion import labels_to_boxes
from lidar_ebm.formats.kitti.files import write_calibration, write_points
from lidar_ebm.formats.kitti.label import Label

CAR = Label("Car", 0.0, 0, 0.3, (100, 100, 200, 180), (1.5, 1.6, 4.0), (0.0, 1.6, 20.0), 0.5)
FLAT = replace(CAR, bbox=(-1, -1, -1, -1))


def test_most_labels_of_the_classes_decide() -> None:
    assert lack_rectangles([[CAR, FLAT]], ["Car"]) == ""
    assert lack_rectangles([[CAR, FLAT], [FLAT]], ["car"]).startswith("2 of 3 labels have no 2-D box")
    assert lack_rectangles([[CAR, replace(FLAT, type="Forklift")]], ["Car"]) == ""
    regions = [replace(FLAT, type="DontCare", dimensions=(-1.0,) * 3, location=(-1000.0,) * 3)] * 5
    assert lack_rectangles([[CAR, *regions]], ["Car", "DontCare"]) == ""
    assert lack_rectangles([[], []], ["Car"]) == ""


def test_points_are_counted_where_they_are_needed(tmp_path: Path) -> None:
    write_calibration(tmp_path / "calib" / "a.txt", SIMULATED)
    center = labels_to_boxes([FLAT], SIMULATED)[0, :3]
    write_points(tmp_path / "velodyne" / "a.bin", np.array([[*center, 0.1]] * 7, dtype=np.float32))
    counted = labels_to_score([[FLAT]], ["a"], tmp_path, classes=["Car"], lidar_only=False)
    assert counted.lidar_only
    assert counted.labels.points is not None
    assert counted.labels.points.tolist() == [7]
    assert len(counted.notes) == 1
    plain = labels_to_score([[CAR]], ["b"], tmp_path, classes=["Car"], lidar_only=False)
    assert (plain.lidar_only, plain.labels.points, plain.notes) == (False, None, ())
