"""Simulated data sets in KITTI's layout: splits, resuming, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.datasets.kitti.writer import CAMERA, make_labels
from lidar_ebm.errors import InputError, OutputError
from lidar_ebm.formats.kitti.calibration import SIMULATED
from lidar_ebm.formats.kitti.files import read_calibration, read_labels, read_points
from lidar_ebm.formats.text_lists import read_names
from lidar_ebm.simulation.simulator import SimulationSettings, simulate_frame
from lidar_ebm.workflows.simulate import WRITTEN_CLASSES, simulate, split_frames


def _digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in (root / "training").rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("simulated")
    simulate(root, frames=6, seed=3, workers=1)
    return root


def test_layout_and_splits(data_set: Path) -> None:
    assert read_names(data_set / "ImageSets/train.txt") == ["000000", "000001", "000003", "000004"]
    assert read_names(data_set / "ImageSets/val.txt") == ["000002", "000005"]
    assert read_names(data_set / "ImageSets/trainval.txt") == [f"{index:06d}" for index in range(6)]
    for folder, suffix in (("velodyne", "bin"), ("calib", "txt"), ("label_2", "txt")):
        found = sorted(path.name for path in (data_set / "training" / folder).iterdir())
        assert found == [f"{index:06d}.{suffix}" for index in range(6)]


def test_same_bytes_for_two_workers_and_for_a_frame_alone(data_set: Path, tmp_path: Path) -> None:
    seen = []
    summary = simulate(tmp_path, frames=6, seed=3, workers=2, progress=lambda done, total: seen.append((done, total)))
    assert (summary.made, summary.kept) == (6, 0)
    assert seen == [(done, 6) for done in range(7)]
    assert _digests(tmp_path) == _digests(data_set)
    alone = simulate_frame(SimulationSettings(3, CAMERA), 4)
    np.testing.assert_array_equal(alone.points, read_points(data_set / "training/velodyne/000004.bin"))


def test_interrupted_call_is_resumed_and_a_set_can_grow(data_set: Path, tmp_path: Path) -> None:
    class InterruptionError(Exception):
        pass

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise InterruptionError

    with pytest.raises(InterruptionError):
        simulate(tmp_path, frames=4, seed=3, workers=1, progress=interrupt)
    assert len(list((tmp_path / "training/label_2").iterdir())) == 2
    (tmp_path / "training/label_2/000001.txt").unlink()  # as if killed before a frame's last file
    stamp = (tmp_path / "training/velodyne/000000.bin").stat().st_mtime_ns
    summary = simulate(tmp_path, frames=6, seed=3, workers=1)
    assert (summary.made, summary.kept) == (5, 1)
    assert (tmp_path / "training/velodyne/000000.bin").stat().st_mtime_ns == stamp
    assert _digests(tmp_path) == _digests(data_set)
    again = simulate(tmp_path, frames=6, seed=3, workers=1)
    assert (again.made, again.kept) == (0, 6)


def test_files_read_back_as_what_was_simulated(data_set: Path) -> None:
    for index in range(6):
        frame = simulate_frame(SimulationSettings(3, CAMERA), index)
        labels = read_labels(data_set / f"training/label_2/{index:06d}.txt")
        made_labels = make_labels(frame.boxes, CAMERA)
        calibration = read_calibration(data_set / f"training/calib/{index:06d}.txt")
        assert [label.type for label in labels] == [
            WRITTEN_CLASSES.get(label.type, label.type) for label in made_labels
        ]
        np.testing.assert_allclose(calibration.p2, SIMULATED.p2)
        for read, made in zip(labels, made_labels, strict=True):
            np.testing.assert_allclose(read.bbox, made.bbox, atol=0.006)
            np.testing.assert_allclose(read.location, made.location, atol=0.006)
            assert read.occluded == made.occluded


def test_splits_of_a_longer_set_continue_those_of_a_shorter_one() -> None:
    for fraction in (0.0, 0.2, 1 / 3, 0.5, 1.0):
        train, val = split_frames(300, fraction)
        assert sorted(train + val) == list(range(300))
        assert len(val) == pytest.approx(300 * fraction, abs=1)
        short = split_frames(100, fraction)
        assert short == ([i for i in train if i < 100], [i for i in val if i < 100])


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"frames": 0}, "frames"),
        ({"frames": -3}, "frames"),
        ({"frames": 10**7}, "frames"),
        ({"frames": 1, "seed": -1}, "seed"),
        ({"frames": 1, "workers": 0}, "workers"),
        ({"frames": 1, "val_fraction": 1.5}, "val_fraction"),
    ],
)
def test_arguments_that_make_no_sense_are_named(tmp_path: Path, arguments: dict[str, int], name: str) -> None:
    with pytest.raises(InputError, match=name):
        simulate(tmp_path, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_frames_of_other_settings_are_not_mixed(data_set: Path) -> None:
    before = _digests(data_set)
    with pytest.raises(InputError, match="other settings"):
        simulate(data_set, frames=2, seed=4)
    with pytest.raises(InputError, match="other settings"):
        simulate(data_set, frames=2, seed=3, full=True)
    assert _digests(data_set) == before


def test_a_data_set_from_elsewhere_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "training/velodyne").mkdir(parents=True)
    with pytest.raises(InputError, match="not made by this simulator"):
        simulate(tmp_path, frames=1)


def test_damaged_settings_are_named(tmp_path: Path) -> None:
    (tmp_path / "simulation.json").write_text("{")
    with pytest.raises(InputError, match=r"simulation\.json"):
        simulate(tmp_path, frames=1)


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file"):
        simulate(tmp_path / "file" / "set", frames=1, workers=1)


def test_sitting_people_are_called_as_in_kitti_s_files(tmp_path: Path) -> None:
    """In either layout, and under another name where one is given."""
    assert sorted(WRITTEN_CLASSES.values()) == ["Car", "Cyclist", "Pedestrian", "Person_sitting", "Truck", "Van"]
    index = next(i for i in range(60) if "sitting_person" in _labelled(i))
    for layout in ("kitti", "folder"):
        for names in ({}, {"Person_sitting": "sitter"}):
            root = tmp_path / f"{layout}{len(names)}"
            simulate(root, frames=index + 1, seed=3, workers=1, layout=layout, names=names)
            files = [*root.glob(f"training/label_2/{index:06d}.txt"), *root.glob(f"labels/{index:06d}.json")]
            text = files[0].read_text()
            assert (names.get("Person_sitting", "Person_sitting") in text) and "sitting_person" not in text


def _labelled(index: int) -> set[str]:
    frame = simulate_frame(SimulationSettings(3, CAMERA), index)
    return set(frame.boxes.names[frame.boxes.points > 0].tolist())
