from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError, OutputError
from lidar_ebm.formats.kitti.calibration import SIMULATED
from lidar_ebm.formats.kitti.conversion import boxes_to_labels, labels_to_boxes
from lidar_ebm.formats.kitti.files import read_calibration, read_labels, read_points
from lidar_ebm.formats.text_lists import read_names
from lidar_ebm.geometry.boxes import points_in_boxes
from lidar_ebm.geometry.projection import crop_to_camera_view
from lidar_ebm.simulation.simulator import SimulationSettings, simulate, simulate_frame, split_frames


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
    alone = simulate_frame(SimulationSettings(seed=3), 4)
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
        frame = simulate_frame(SimulationSettings(seed=3), index)
        labels = read_labels(data_set / f"training/label_2/{index:06d}.txt")
        calibration = read_calibration(data_set / f"training/calib/{index:06d}.txt")
        assert [label.type for label in labels] == [label.type for label in frame.labels]
        np.testing.assert_allclose(calibration.p2, SIMULATED.p2)
        for read, made in zip(labels, frame.labels, strict=True):
            np.testing.assert_allclose(read.bbox, made.bbox, atol=0.006)
            np.testing.assert_allclose(read.location, made.location, atol=0.006)
            assert read.occluded == made.occluded


def test_points_are_in_the_image_and_as_many_as_in_kitti() -> None:
    frames = [simulate_frame(SimulationSettings(seed=11), index) for index in range(12)]
    for frame in frames:
        assert frame.points.dtype == np.float32
        assert crop_to_camera_view(frame.points, frame.camera).all()
    assert 15_000 < np.mean([len(frame.points) for frame in frames]) < 21_000


def test_labelled_things_have_points_and_those_lie_within_the_box() -> None:
    for index in range(10):
        frame = simulate_frame(SimulationSettings(seed=12), index)
        labels = [label for label in frame.labels if label.type != "DontCare"]
        boxes = labels_to_boxes(labels, SIMULATED).reshape(-1, 7)
        grown = boxes + np.array([0, 0, 0, 0.16, 0.16, 0.16, 0])  # four standard deviations of noise
        assert points_in_boxes(frame.points, grown).any(axis=0).all()
        # In a box nothing but its own thing may stand, so counting points by box and by body must agree.
        for box in boxes:
            inside = points_in_boxes(frame.points, box[None] - np.array([0, 0, 0, 0.1, 0.1, 0.3, 0]))[:, 0]
            actor = min(frame.scene.actors, key=lambda a, box=box: np.abs(a.box[:3] - box[:3]).sum())
            planes, starts = actor.solid.planes, actor.solid.plane_starts
            distance = frame.points[inside, :3].astype(np.float64) @ planes[:, :3].T - planes[:, 3]  # [N, P]
            to_piece = np.stack([distance[:, a:b].max(axis=1) for a, b in pairwise(starts)])
            near = to_piece.min(axis=0, initial=np.inf) < 0.1
            assert near.mean() > 0.95 if near.size > 20 else True


def test_cars_have_as_many_points_as_in_kitti_at_each_distance() -> None:
    counts: dict[int, list[int]] = {10: [], 20: [], 40: []}
    for index in range(60):
        frame = simulate_frame(SimulationSettings(seed=13), index)
        cars = [
            label for label in frame.labels if label.type == "Car" and label.occluded == 0 and label.truncated < 0.05
        ]
        boxes = labels_to_boxes(cars, SIMULATED).reshape(-1, 7)
        for box, count in zip(boxes, points_in_boxes(frame.points, boxes).sum(axis=0), strict=True):
            for distance, found in counts.items():
                if abs(np.hypot(*box[:2]) - distance) < 0.15 * distance:
                    found.append(int(count))
    assert 700 < np.median(counts[10]) < 2200
    assert 180 < np.median(counts[20]) < 550
    assert 35 < np.median(counts[40]) < 120


def test_full_view_has_points_all_around_and_the_same_labelled_boxes(tmp_path: Path) -> None:
    whole = simulate_frame(SimulationSettings(seed=3, full=True), 1)
    part = simulate_frame(SimulationSettings(seed=3), 1)
    assert len(whole.points) > 3 * len(part.points)
    assert (whole.points[:, 0] < 0).mean() > 0.3
    shared = {label.location for label in whole.labels} & {label.location for label in part.labels}
    assert len(shared) >= 0.9 * len({label.location for label in part.labels})


def test_bbox_agrees_with_the_box_it_belongs_to() -> None:
    frame = simulate_frame(SimulationSettings(seed=14), 0)
    labels = [label for label in frame.labels if label.type != "DontCare"]
    boxes = labels_to_boxes(labels, SIMULATED)
    again = boxes_to_labels(
        boxes, SIMULATED, types=[label.type for label in labels], image_size=frame.camera.image_size
    )
    for label, loose in zip(labels, again, strict=True):
        assert label.alpha == pytest.approx(loose.alpha)
        assert label.rotation_y == pytest.approx(loose.rotation_y)
        outer, inner = np.array(loose.bbox), np.array(label.bbox)
        assert (inner[:2] >= outer[:2] - 1e-6).all()  # the body's outline lies within that of its box
        assert (inner[2:] <= outer[2:] + 1e-6).all()


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
