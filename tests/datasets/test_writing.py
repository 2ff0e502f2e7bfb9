"""The layouts in which data sets are written."""

from __future__ import annotations

import pytest

from lidar_ebm.datasets.writing import data_set_writers, find_scene_writer, find_writer, scene_writers
from lidar_ebm.errors import InputError


def test_every_layout_of_frames_has_the_whole_interface() -> None:
    writers = data_set_writers()
    assert set(writers) == {"folder", "kitti"}
    for name, writer in writers.items():
        assert find_writer(name) is writer
        assert writer.OWN_FILES
        for function in ("frame_paths", "write_frame", "write_splits"):
            assert callable(getattr(writer, function))


def test_every_layout_of_scenes_has_the_whole_interface() -> None:
    writers = scene_writers()
    assert set(writers) == {"nuscenes"}
    for name, writer in writers.items():
        assert find_scene_writer(name) is writer
        assert writer.OWN_FILES
        for function in ("scene_names", "scene_path", "write_scene", "write_tables"):
            assert callable(getattr(writer, function))


def test_an_unknown_layout_names_those_there_are() -> None:
    with pytest.raises(InputError, match="'nuscenes': choose one of folder, kitti"):
        find_writer("nuscenes")
    with pytest.raises(InputError, match="'kitti': has no scenes; choose one of nuscenes"):
        find_scene_writer("kitti")
