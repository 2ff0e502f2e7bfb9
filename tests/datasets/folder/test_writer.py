"""A folder of one's own, written from frames of any channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.folder.writer import frame_paths, write_frame, write_splits
from lidar_ebm.datasets.frame import Frame
from lidar_ebm.datasets.opening import open_data_set
from lidar_ebm.errors import InputError

BOXES = Boxes([[8.0, -3.0, 0.2, 2.0, 1.0, 2.2, 0.5]], ["forklift"], points=[12])


def test_a_written_data_set_opens(tmp_path: Path) -> None:
    points = np.random.default_rng(0).uniform(0.0, 1.0, (30, 5)).astype(np.float32)
    write_frame(tmp_path, Frame("a", points, ("ring", "reflectance"), boxes=BOXES))
    write_splits(tmp_path, {"train": ["a"], "test": []})
    assert all(path.exists() for path in frame_paths(tmp_path, "a"))
    data_set = open_data_set(tmp_path)
    assert {split: list(data_set.frame_names(split)) for split in data_set.splits} == {"train": ["a"], "test": []}
    frame = data_set.read("a")
    np.testing.assert_array_equal(frame.points, points[:, [0, 1, 2, 4]])
    assert frame.boxes is not None and frame.boxes.names.tolist() == ["forklift"]
    np.testing.assert_allclose(frame.boxes.boxes, BOXES.boxes)


def test_a_frame_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="frame a: has no labels"):
        write_frame(tmp_path, Frame("a", np.zeros((2, 4), np.float32)))
    assert not list(tmp_path.iterdir())
