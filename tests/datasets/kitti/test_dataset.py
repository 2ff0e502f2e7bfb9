"""A data set in KITTI's layout: cropping, classes, and what is said of missing files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from lidar_ebm.config.config import Config
from lidar_ebm.config.detector import ClassConfig
from lidar_ebm.datasets.collate import collate
from lidar_ebm.datasets.frames import Frames
from lidar_ebm.datasets.opening import open_data_set, open_samples
from lidar_ebm.datasets.preparation.prepare import prepare
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.datasets.samples import crop_to_range
from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.calibration import SIMULATED
from lidar_ebm.formats.kitti.conversion import boxes_to_labels
from lidar_ebm.formats.kitti.files import write_calibration, write_labels, write_points, write_split
from lidar_ebm.geometry.boxes import points_in_boxes

CONFIG = Config()
TYPES = ["Car", "Van", "Pedestrian", "Car"]
BOXES = np.array(
    [
        [20.0, 2.0, -1.0, 4.0, 1.6, 1.5, 0.5],
        [30.0, -5.0, -0.8, 5.0, 1.9, 2.0, -1.0],
        [12.0, 0.0, -0.9, 0.8, 0.6, 1.7, 0.0],
        [90.0, 0.0, -1.0, 4.0, 1.6, 1.5, 0.0],  # beyond the range
    ]
)


def make_data(root: Path, names: tuple[str, ...] = ("000000", "000001")) -> Path:
    """Frames with points all around, and labels; the last frame has neither."""
    for number, name in enumerate(names):
        empty = number == len(names) - 1
        points = np.random.default_rng(number).uniform((-80, -50, -4, 0), (80, 50, 2, 1), (0 if empty else 5000, 4))
        write_points(root / "training" / "velodyne" / f"{name}.bin", points)
        write_calibration(root / "training" / "calib" / f"{name}.txt", SIMULATED)
        labels = [] if empty else boxes_to_labels(BOXES, SIMULATED, types=TYPES, image_size=(1242, 375))
        write_labels(root / "training" / "label_2" / f"{name}.txt", labels)
    write_split(root / "ImageSets" / "train.txt", names)
    return root


def test_frames_hold_the_boxes_of_the_class_and_of_what_it_merges(tmp_path: Path) -> None:
    data = open_samples(make_data(tmp_path), "train", CONFIG)
    assert len(data) == 2
    frame = data[0]
    assert frame.frame_id == data.name(0) == "000000"
    np.testing.assert_allclose(frame.boxes, BOXES[:2], atol=0.011)
    np.testing.assert_array_equal(frame.class_index, [0, 0])
    assert frame.boxes.dtype == frame.points.dtype == np.float32
    assert frame.class_index.dtype == np.int64
    assert isinstance(data.frames, Frames)
    assert data.frames.labels(0).names.tolist() == TYPES


def test_classes_have_the_index_of_their_place_and_an_own_name_goes_before_a_merged_one(tmp_path: Path) -> None:
    classes = (ClassConfig(name="pedestrian", merge=()), ClassConfig(name="Car"), ClassConfig(name="Van", merge=()))
    frame = open_samples(make_data(tmp_path), "train", CONFIG.model_copy(update={"classes": classes}))[0]
    np.testing.assert_array_equal(frame.class_index, [1, 2, 0])


def test_points_are_cropped_to_the_view_and_the_range(tmp_path: Path) -> None:
    points = open_samples(make_data(tmp_path), "train", CONFIG)[0].points
    low, high = np.array(CONFIG.voxels.range[:3]), np.array(CONFIG.voxels.range[3:])
    assert len(points) > 100
    assert (points[:, :3] >= low).all()
    assert (points[:, :3] < high).all()
    assert (abs(points[:, 1]) < points[:, 0]).all()  # the camera sees less than 45 degrees to either side


def test_empty_frames_are_frames_like_any_other(tmp_path: Path) -> None:
    data = open_samples(make_data(tmp_path), "train", CONFIG)
    assert data[1].points.shape == (0, 4)
    assert data[1].boxes.shape == (0, 7)
    assert data[1].class_index.shape == (0,)
    batch = collate([data[0], data[1]])
    assert batch.batch_size == 2
    assert (batch.point_batch_index == 0).all()


def test_a_frame_with_no_point_in_range_is_empty(tmp_path: Path) -> None:
    write_points(make_data(tmp_path) / "training" / "velodyne" / "000000.bin", np.full((9, 4), 500.0))
    assert open_samples(tmp_path, "train", CONFIG)[0].points.shape == (0, 4)


def test_without_labels_no_label_file_is_needed(tmp_path: Path) -> None:
    make_data(tmp_path)
    (tmp_path / "training" / "label_2" / "000000.txt").unlink()
    assert open_samples(tmp_path, "train", CONFIG, with_labels=False)[0].boxes.shape == (0, 7)
    with pytest.raises(InputError, match=r"train\.txt:1: .*label_2/000000\.txt.*empty label file"):
        open_samples(tmp_path, "train", CONFIG)


def test_a_split_that_names_files_is_told(tmp_path: Path) -> None:
    make_data(tmp_path)
    (tmp_path / "ImageSets" / "train.txt").write_text("000000.bin\n")
    hint = "Names stand without ending: write 000000."
    with pytest.raises(InputError, match=rf"train\.txt:1: files of 1 of the 1 frames are missing.* {hint}"):
        open_samples(tmp_path, "train", CONFIG)
    report = prepare(open_data_set(tmp_path), workers=1)
    assert any(hint in str(finding) for finding in report.errors)


def test_labels_without_a_box_in_space_are_left_out(tmp_path: Path) -> None:
    path = make_data(tmp_path) / "training" / "label_2" / "000000.txt"
    path.write_text(path.read_text() + "Car -1 -1 -10 5.00 9.00 14.00 67.00 -1 -1 -1 0.00 1.50 20.00 -10\n")
    assert len(open_samples(tmp_path, "train", CONFIG)[0].boxes) == 2


@pytest.mark.parametrize(("folder", "suffix"), [("velodyne", "bin"), ("calib", "txt")])
def test_frames_that_the_split_names_and_the_disk_lacks_are_named(tmp_path: Path, folder: str, suffix: str) -> None:
    names = tuple(f"{number:06d}" for number in range(8))
    make_data(tmp_path, names)
    for name in names[1:]:
        (tmp_path / "training" / folder / f"{name}.{suffix}").unlink()
    message = (
        rf"train\.txt:2: files of 7 of the 8 frames are missing: .*{folder}/000001\.{suffix}, .*000005\.{suffix}, …"
    )
    with pytest.raises(InputError, match=message):
        open_samples(tmp_path, "train", CONFIG)


def test_a_missing_or_empty_split_is_named(tmp_path: Path) -> None:
    make_data(tmp_path)
    with pytest.raises(InputError, match=r"nowhere\.txt: cannot be read"):
        open_samples(tmp_path, "nowhere", CONFIG)
    write_split(tmp_path / "ImageSets" / "none.txt", [])
    with pytest.raises(InputError, match=r"none\.txt: names no frame"):
        open_samples(tmp_path, "none", CONFIG)


def test_the_cache_gives_the_same_frame_without_the_files(tmp_path: Path) -> None:
    data = open_samples(make_data(tmp_path), "train", CONFIG, cache=True)
    first = data[0]
    (tmp_path / "training" / "velodyne" / "000000.bin").unlink()
    assert data[0] is first
    with pytest.raises(InputError, match=r"000000\.bin"):
        open_samples(tmp_path, "train", CONFIG, with_labels=False)


def test_data_loaders_may_use_workers(tmp_path: Path) -> None:
    data = open_samples(make_data(tmp_path), "train", CONFIG)
    (batch,) = DataLoader(data, batch_size=2, num_workers=1, collate_fn=collate)
    np.testing.assert_array_equal(batch.points.numpy(), data[0].points)
    assert batch.frame_ids == ("000000", "000001")


def test_iteration_ends(tmp_path: Path) -> None:
    data = open_samples(make_data(tmp_path), "train", CONFIG)
    assert [data[index].frame_id for index in range(len(data))] == ["000000", "000001"]
    with pytest.raises(IndexError):
        data[2]


def test_cropping_keeps_the_low_bound_and_leaves_out_the_high_one() -> None:
    points = np.array([[0, 0, 0, 1], [1, 1, 1, 1], [0.5, 0.5, 0.5, 1], [-0.1, 0, 0, 1]], np.float32)
    frame = Sample("a", points, np.pad(points[:, :3], ((0, 0), (0, 4))), np.arange(4))
    cropped = crop_to_range(frame, (0, 0, 0, 1, 1, 1))
    np.testing.assert_array_equal(cropped.points, points[[0, 2]])
    np.testing.assert_array_equal(cropped.class_index, [0, 2])


def test_labelled_objects_of_other_classes_take_up_room(tmp_path: Path) -> None:
    data = open_samples(make_data(tmp_path), "train", CONFIG, cropped=False)
    path = tmp_path / "training" / "label_2" / "000000.txt"
    before = data[0]
    line = "Tram 0.00 0 -1.57 0 0 50 50 3.00 2.50 14.00 4.00 1.60 30.00 -1.57\n"
    path.write_text(path.read_text() + line + line.replace("Tram", "DontCare").replace("3.00 2.50 14.00", "-1 -1 -1"))
    after = open_samples(tmp_path, "train", CONFIG, cropped=False)[0]
    np.testing.assert_array_equal(after.boxes, before.boxes)
    assert len(after.others) == len(before.others) + 1
    np.testing.assert_allclose(after.others[-1, 3:6], [14.0, 2.5, 3.0])
    assert len(crop_to_range(after, (0, -1, -3, 1, 1, 1)).others) == 0


def test_real_frames(kitti_frames: Path) -> None:
    data = open_samples(kitti_frames, "all", CONFIG)
    frames = {data.name(index): data[index] for index in range(len(data))}
    assert {name: len(frame.boxes) for name, frame in frames.items()} == {
        **{"000000": 0, "000001": 1, "000002": 1, "000003": 1, "000004": 2, "000008": 6}
    }
    assert isinstance(data.frames, Frames)
    cameras = [data.frames.camera(index) for index in range(len(data))]
    assert [None if camera is None else camera.image_size for camera in (cameras[0], cameras[4])] == [
        (1224, 370),
        (1242, 375),  # without an image: as P2 tells
    ]
    for frame in frames.values():
        assert 5_000 < len(frame.points) < 25_000
        assert (points_in_boxes(frame.points, frame.boxes).sum(axis=0) > 5).all()
