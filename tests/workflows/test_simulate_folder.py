"""Simulated data as a folder of one's own: labels all around, and the same streets as in KITTI's layout."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from lidar_ebm.datasets.folder.data_set import FolderDataSet
from lidar_ebm.datasets.opening import open_data_set
from lidar_ebm.datasets.preparation.prepare import prepare
from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.calibration import SIMULATED_CAMERA
from lidar_ebm.simulation.labels import LABEL_RANGE
from lidar_ebm.simulation.simulator import SimulationSettings, simulate_frame
from lidar_ebm.workflows.simulate import WRITTEN_CLASSES, simulate
from tests.formats.samples import count_points


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("folder") / "data"
    simulate(root, frames=3, seed=3, workers=1, layout="folder", names={"Car": "forklift", "Cyclist": "two wheels"})
    return root


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.name != "simulation.json")
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_files_are_those_of_the_layout(folder: Path) -> None:
    names = ["000000", "000001", "000002"]
    assert sorted(path.name for path in (folder / "points").iterdir()) == [f"{name}.bin" for name in names]
    assert sorted(path.name for path in (folder / "labels").iterdir()) == [f"{name}.json" for name in names]
    assert yaml.safe_load((folder / "dataset.yaml").read_text())["sensor"]["height"] == 1.73
    data_set = open_data_set(folder)
    assert isinstance(data_set, FolderDataSet)
    assert {split: data_set.frame_names(split) for split in data_set.splits} == {
        "train": ["000000", "000001"],
        "val": ["000002"],
    }


def test_the_data_set_reads_what_was_simulated(folder: Path) -> None:
    called = {**WRITTEN_CLASSES, "Car": "forklift", "Cyclist": "two wheels"}
    for index in range(3):
        made = simulate_frame(SimulationSettings(seed=3), index)
        frame = open_data_set(folder).read(f"{index:06d}")
        np.testing.assert_array_equal(frame.points, made.points)
        assert frame.boxes is not None
        np.testing.assert_allclose(frame.boxes.boxes, made.boxes.boxes, atol=1e-6)
        assert frame.boxes.names.tolist() == [called[name] for name in made.boxes.names.tolist()]
        assert frame.camera is None


def test_labels_are_all_around_of_what_has_points(folder: Path) -> None:
    behind = 0
    for index in range(3):
        frame = simulate_frame(SimulationSettings(seed=3), index)
        boxes = frame.boxes
        assert boxes.points is not None
        assert min(boxes.points) > 0
        assert np.hypot(boxes.boxes[:, 0], boxes.boxes[:, 1]).max() <= LABEL_RANGE
        behind += int((boxes.boxes[:, 0] < -5).sum())
        grown = boxes.boxes + np.array([0, 0, 0, 0.3, 0.3, 0.3, 0])
        assert (np.array(count_points(frame.points, grown)) >= boxes.points).all()
        seen = {actor.type for actor in frame.scene.actors}
        assert set(boxes.names.tolist()) <= seen
    assert behind > 0


def test_what_the_camera_sees_is_labelled_in_both_layouts() -> None:
    """The street of a seed does not hang on the layout."""
    for index in range(3):
        around = simulate_frame(SimulationSettings(seed=3), index)
        ahead = simulate_frame(SimulationSettings(3, SIMULATED_CAMERA), index)
        for one, other in zip(around.scene.actors, ahead.scene.actors, strict=True):
            np.testing.assert_array_equal(one.box, other.box)
        assert ahead.boxes.points is not None
        labelled = ahead.boxes.boxes[ahead.boxes.points > 0]
        labelled = labelled[np.hypot(labelled[:, 0], labelled[:, 1]) <= LABEL_RANGE]
        offsets = np.abs(labelled[:, None, :3] - around.boxes.boxes[None, :, :3]).max(axis=2)
        assert (offsets.min(axis=1) < 1e-6).mean() > 0.9  # a thing with a single point may have none in another draw


def test_preparing_it_finds_nothing_odd(folder: Path, tmp_path: Path) -> None:
    report = prepare(open_data_set(folder, tmp_path / "prepared"), workers=1)
    assert not report.errors
    assert {finding.kind for finding in report.warnings} <= {"boxes without points"}
    assert report.objects["forklift"] > 0
    assert "Car" not in report.objects


def test_it_is_resumed_and_grows_byte_for_byte(folder: Path, tmp_path: Path) -> None:
    names = {"Car": "forklift", "Cyclist": "two wheels"}
    simulate(tmp_path, frames=2, seed=3, workers=1, layout="folder", names=names)
    (tmp_path / "labels" / "000001.json").unlink()  # as if killed before a frame's last file
    summary = simulate(tmp_path, frames=3, seed=3, workers=1, layout="folder", names=names)
    assert (summary.made, summary.kept) == (2, 1)
    assert digests(tmp_path) == digests(folder)


def test_layouts_and_names_are_not_mixed(folder: Path) -> None:
    before = digests(folder)
    for other in ({}, {"layout": "folder"}, {"layout": "folder", "names": {"Car": "truck"}}):
        with pytest.raises(InputError, match="other settings"):
            simulate(folder, frames=1, seed=3, workers=1, **other)  # type: ignore[arg-type]
    assert digests(folder) == before


def test_a_note_of_before_there_were_layouts_still_holds(tmp_path: Path) -> None:
    simulate(tmp_path, frames=1, seed=3, workers=1)
    assert json.loads((tmp_path / "simulation.json").read_text()) == {"seed": 3, "full": False, "version": 1}
    assert simulate(tmp_path, frames=1, seed=3, workers=1).kept == 1


def test_a_folder_with_a_dataset_yaml_from_elsewhere_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "dataset.yaml").write_text("points: scans\n")
    with pytest.raises(InputError, match="not made by this simulator"):
        simulate(tmp_path, frames=1, seed=0, workers=1, layout="folder")
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.yaml"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"layout": "nuscenes"}, "layout 'nuscenes': choose one of folder, kitti"),
        ({"names": {"Bus": "coach"}}, "'Bus'"),
    ],
)
def test_arguments_that_make_no_sense_are_named(tmp_path: Path, arguments: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        simulate(tmp_path, frames=1, workers=1, **arguments)  # type: ignore[arg-type]
