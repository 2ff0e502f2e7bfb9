"""The label database holds what lies in the train split's boxes, and nothing else."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.datasets.opening import open_data_set
from lidar_ebm.datasets.preparation.label_database import LabelDatabase, load_label_database
from lidar_ebm.datasets.preparation.prepare import prepare
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.kitti.matching import VALID
from lidar_ebm.evaluation.kitti.objects import pack_objects
from lidar_ebm.evaluation.kitti.rules import DIFFICULTIES, label_states
from lidar_ebm.formats.kitti.conversion import labels_to_boxes
from lidar_ebm.formats.kitti.difficulty import DIFFICULTY_NAMES, difficulties
from lidar_ebm.formats.kitti.files import read_calibration, read_labels, read_points
from lidar_ebm.formats.kitti.label import Label
from lidar_ebm.formats.text_lists import read_names
from lidar_ebm.geometry.boxes import points_in_boxes


@pytest.fixture(scope="module")
def prepared(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("prepared") / "data"
    shutil.copytree(simulated, root)
    prepare(open_data_set(root), workers=1)
    return root


@pytest.fixture
def data(prepared: Path, tmp_path: Path) -> Path:
    """A copy, which is prepared anew: a file system tells copies from what they are copies of."""
    root = Path(shutil.copytree(prepared, tmp_path / "data"))
    prepare(open_data_set(root), workers=1)
    return root


def test_every_object_of_the_train_split_is_there_with_its_points(prepared: Path) -> None:
    database = load_label_database(open_data_set(prepared))
    index = 0
    for name in read_names(prepared / "ImageSets" / "train.txt"):
        calibration = read_calibration(prepared / "training" / "calib" / f"{name}.txt")
        labels = [x for x in read_labels(prepared / "training" / "label_2" / f"{name}.txt") if x.type != "DontCare"]
        points = read_points(prepared / "training" / "velodyne" / f"{name}.bin")  # simulated: all are in view
        boxes = labels_to_boxes(labels, calibration)
        inside = points_in_boxes(points, boxes)
        for row, label in enumerate(labels):
            assert database.types[index] == label.type
            assert database.frame_ids[index] == name
            np.testing.assert_array_equal(database.boxes[index], boxes[row].astype(np.float32))
            np.testing.assert_array_equal(database.points(index), points[inside[:, row]])
            assert database.point_counts[index] == inside[:, row].sum()
            index += 1
    assert len(database) == index > 10
    assert database.boxes.dtype == database.points(0).dtype == np.float32
    assert database.difficulties == DIFFICULTY_NAMES
    assert set(database.difficulty) <= set(DIFFICULTY_NAMES)
    assert database.point_counts.dtype == np.int64


def test_difficulties_are_those_of_the_evaluation() -> None:
    rng = np.random.default_rng(0)
    labels = [
        Label(
            type="Car",
            truncated=float(rng.choice([0, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6])),
            occluded=int(rng.integers(0, 4)),
            alpha=0.0,
            bbox=(0.0, 10.0, 50.0, 10.0 + float(rng.choice([20, 24.99, 25, 30, 39.5, 40, 60]))),
            dimensions=(1.5, 1.6, 4.0),
            location=(0.0, 1.5, 20.0),
            rotation_y=0.0,
        )
        for _ in range(500)
    ]
    found = difficulties(labels, np.zeros((500, 7)), np.zeros(500))
    objects = pack_objects([labels], need_scores=False)
    for level, difficulty in enumerate(DIFFICULTIES):
        np.testing.assert_array_equal(found <= level, label_states(objects, "Car", difficulty) == VALID)
    assert set(found) == {0, 1, 2, 3}


def test_without_a_2d_box_difficulty_goes_by_distance_and_points() -> None:
    label = Label("Car", -1, -1, -10, (0, 0, 0, 0), (1.5, 1.6, 4.0), (0, 0, 0), 0.0)
    boxes = np.zeros((5, 7))
    boxes[:, 0] = [10, 10, 40, 79, 90]
    np.testing.assert_array_equal(difficulties([label] * 5, boxes, np.array([50, 49, 500, 5, 500])), [0, 1, 1, 2, 3])


def test_it_may_be_sent_to_a_worker(prepared: Path) -> None:
    database = load_label_database(open_data_set(prepared))
    sent = pickle.dumps(database)
    assert len(sent) < 1000
    there = pickle.loads(sent)
    np.testing.assert_array_equal(there.boxes, database.boxes)
    for index in range(len(database)):
        np.testing.assert_array_equal(there.points(index), database.points(index))


def test_points_are_copies(prepared: Path) -> None:
    database = load_label_database(open_data_set(prepared))
    points = database.points(0)
    before = points.copy()
    points += 1
    np.testing.assert_array_equal(database.points(0), before)


def test_a_missing_one_says_how_to_make_it(simulated: Path) -> None:
    with pytest.raises(InputError, match=r"label_database\.safetensors: .*lidar-ebm prepare"):
        load_label_database(open_data_set(simulated))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.3, 0.9])
@pytest.mark.parametrize("cut", [True, False])
def test_a_damaged_one_is_refused_and_mended(data: Path, share: float, cut: bool) -> None:
    path = data / "prepared" / "label_database.safetensors"
    content = bytearray(path.read_bytes())
    at = int(share * len(content))
    if cut:
        del content[at:]
    else:
        content[at] ^= 64
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"label_database\.safetensors: .*lidar-ebm prepare"):
        load_label_database(open_data_set(data))
    prepare(open_data_set(data), workers=1)
    load_label_database(open_data_set(data))


def test_an_outdated_one_is_refused_and_mended(data: Path) -> None:
    frame = read_names(data / "ImageSets" / "train.txt")[0]
    path = data / "training" / "label_2" / f"{frame}.txt"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[1:]))
    with pytest.raises(InputError, match=r"were changed after it was made.*lidar-ebm prepare"):
        load_label_database(open_data_set(data))
    prepare(open_data_set(data), workers=1)
    load_label_database(open_data_set(data))
    (data / "ImageSets" / "train.txt").write_text(f"{frame}\n")
    with pytest.raises(InputError, match="were changed after it was made"):
        load_label_database(open_data_set(data))
    prepare(open_data_set(data), workers=1)
    assert set(load_label_database(open_data_set(data)).frame_ids) == {frame}


def test_the_val_split_does_not_matter(data: Path) -> None:
    before = (data / "prepared" / "label_database.safetensors").stat().st_mtime_ns
    frame = read_names(data / "ImageSets" / "val.txt")[0]
    (data / "training" / "label_2" / f"{frame}.txt").write_text("")
    load_label_database(open_data_set(data))
    prepare(open_data_set(data), workers=1)
    assert (data / "prepared" / "label_database.safetensors").stat().st_mtime_ns == before
    assert frame not in load_label_database(open_data_set(data)).frame_ids


def test_a_train_split_without_objects_gives_an_empty_one(data: Path) -> None:
    for path in (data / "training" / "label_2").iterdir():
        path.write_text("")
    assert prepare(open_data_set(data), workers=1).database == {}
    database = load_label_database(open_data_set(data))
    assert len(database) == 0
    assert database.boxes.shape == (0, 7)
    assert isinstance(database, LabelDatabase)
