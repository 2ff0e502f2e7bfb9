"""nuScenes as a data set: sweeps, labels, splits, versions, preparation, results."""

from __future__ import annotations

import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.nuscenes import NuScenesSource
from lidar_ebm.datasets.nuscenes.data_set import NuScenesDataSet
from lidar_ebm.datasets.opening import open_data_set
from lidar_ebm.datasets.preparation.label_database import load_label_database
from lidar_ebm.datasets.preparation.prepare import prepare
from lidar_ebm.datasets.source import FrameSource
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.nuscenes.outcome import NuscenesEvaluation
from lidar_ebm.formats.nuscenes.classes import CLASSES
from lidar_ebm.formats.nuscenes.rotations import pose_of
from lidar_ebm.geometry.boxes import points_in_boxes
from lidar_ebm.workflows.scoring import SplitScoring
from lidar_ebm.workflows.sources import read_results
from tests.datasets.nuscenes.tiny import Object, lidar_pose, make_database, two_objects

LAST = "scene-0061-sample2"  # has a whole second behind it


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_database().write(tmp_path_factory.mktemp("tiny"))


def test_a_folder_is_recognised_and_its_splits_are_by_scene_names(tiny: Path) -> None:
    data = open_data_set(tiny)
    assert isinstance(data, NuScenesDataSet)
    assert data.class_names == CLASSES
    assert data.splits == ("train", "val")  # scene-0061 and scene-0103
    assert data.frame_names("train") == [f"scene-0061-sample{index}" for index in range(3)]
    assert data.frame_names("mini_val") == [f"scene-0103-sample{index}" for index in range(3)]
    assert data.protocol == data.result_format == "nuscenes"
    source = NuScenesSource(tiny, "v1.0-mini", "mini_train")
    assert isinstance(source, FrameSource)
    assert (len(source), source.name(1), source.split) == (3, "scene-0061-sample1", "mini_train")


def test_of_several_versions_one_is_preferred_and_a_path_names_another(tmp_path: Path) -> None:
    for version in ("v1.0-test", "v1.0-mini"):
        make_database(version=version).write(tmp_path)
    assert open_data_set(tmp_path).kind.startswith("nuScenes v1.0-mini")
    make_database(version="v1.0-trainval").write(tmp_path)
    assert open_data_set(tmp_path).kind.startswith("nuScenes v1.0-trainval")
    named = open_data_set(tmp_path / "v1.0-test")
    assert named.kind.startswith("nuScenes v1.0-test")
    assert named.root == tmp_path
    assert named.prepared != open_data_set(tmp_path).prepared


def test_a_version_without_labels_has_frames_all_the_same(tmp_path: Path) -> None:
    made = make_database({"scene-0077": two_objects()}, version="v1.0-test")
    made.tables["sample_annotation"], made.tables["instance"] = [], []
    made.write(tmp_path)
    data = open_data_set(tmp_path)
    assert data.splits == ("test",)
    labelled, bare = (NuScenesSource(tmp_path, "v1.0-test", "test", with_labels=each)[2] for each in (True, False))
    assert labelled.boxes is not None and len(labelled.boxes) == 0
    assert bare.boxes is None
    assert len(bare.points) > 100
    for name in ("sample_annotation", "instance", "category", "attribute"):
        (tmp_path / "v1.0-test" / f"{name}.json").unlink()
    assert len(NuScenesSource(tmp_path, "v1.0-test", "test")[2].points) == len(bare.points)


@pytest.mark.parametrize("version", ["v1.0-mini", "v1.0-trainval", "v1.0-test", "v1.0-own"])
def test_own_splits_work_with_every_version(tmp_path: Path, version: str) -> None:
    make_database(version=version).write(tmp_path)
    (tmp_path / version / "splits.json").write_text(json.dumps({"mine": ["scene-0103", "scene-0061", "scene-9999"]}))
    assert NuScenesSource(tmp_path, version, "mine").name(0) == "scene-0061-sample0"
    report = prepare(open_data_set(tmp_path), splits=["mine"])
    assert [finding.kind for finding in report.findings] == ["splits with unknown scenes"]
    assert "scene-9999" in report.findings[0].message


@pytest.mark.parametrize(
    ("version", "split"),
    [("v1.0-mini", "test"), ("v1.0-trainval", "mini_val"), ("v1.0-test", "val"), ("v1.0-mini", "nothing")],
)
def test_a_split_of_another_version_is_refused(tmp_path: Path, version: str, split: str) -> None:
    make_database(version=version).write(tmp_path)
    with pytest.raises(InputError, match=split):
        NuScenesSource(tmp_path, version, split)
    (finding,) = prepare(open_data_set(tmp_path), splits=[split]).errors
    assert finding.kind == "unreadable splits"
    assert split in finding.message


@pytest.mark.parametrize("sweeps", [1, 2, 10, 20])
def test_there_are_as_many_sweeps_as_asked_for_and_there(tiny: Path, sweeps: int) -> None:
    source = NuScenesSource(tiny, "v1.0-mini", "train", sweeps=sweeps)
    for index in range(3):
        lags = np.unique(source[index].channel("time_lag"))
        there = min(sweeps, 10 * index + 1)
        np.testing.assert_allclose(lags, 0.05 * np.arange(there), atol=1e-6)


@pytest.mark.parametrize("sweeps", [0, -1])
def test_no_sweep_at_all_is_refused(tiny: Path, sweeps: int) -> None:
    with pytest.raises(InputError, match="sweeps"):
        NuScenesSource(tiny, "v1.0-mini", "train", sweeps=sweeps)


def test_points_of_an_object_lie_where_it_was(tiny: Path) -> None:
    """The car drives 10 m/s: its points of a lag lie in its box moved back by as much; the pedestrian's in place."""
    frame = open_data_set(tiny).read(LAST)
    boxes = frame.boxes
    assert boxes is not None and boxes.velocity is not None
    assert boxes.names.tolist() == ["car", "pedestrian"]
    assert boxes.attribute is not None and boxes.track is not None and boxes.points is not None
    assert boxes.attribute.tolist() == ["vehicle.moving", "pedestrian.standing"]
    assert boxes.track.tolist() == ["scene-0061-instance0", "scene-0061-instance1"]
    assert boxes.points.tolist() == [30, 12]
    ring, lags = frame.channel("ring"), frame.channel("time_lag")
    for number, count in enumerate((30, 12)):
        mine = np.flatnonzero(ring == number)
        assert len(mine) == 10 * count
        assert points_in_boxes(frame.points[mine[lags[mine] == 0]], boxes.boxes[number : number + 1]).all()
        back = frame.points[mine, :3].copy()
        back[:, :2] += lags[mine, None] * boxes.velocity[number].astype(np.float32)
        assert points_in_boxes(back, boxes.boxes[number : number + 1]).all()
    car = np.flatnonzero(ring == 0)
    assert not points_in_boxes(frame.points[car], boxes.boxes[:1]).all()
    np.testing.assert_allclose(np.linalg.norm(boxes.velocity[0]), np.hypot(9, 4), rtol=1e-3)  # seen from above


def test_points_near_the_ego_vehicle_are_gone(tiny: Path) -> None:
    frame = open_data_set(tiny).read(LAST)
    key = frame.points[frame.channel("time_lag") == 0]
    assert not ((np.abs(key[:, 0]) < 1) & (np.abs(key[:, 1]) < 1)).any()
    assert len(key) == 30 + 12 + 80  # not the twenty on the vehicle


def test_a_sensors_pose_leads_to_the_global_frame(tiny: Path) -> None:
    data = open_data_set(tiny)
    assert isinstance(data, NuScenesDataSet)
    own = lidar_pose(1.0)
    x_ahead = data.sensor_pose_of(LAST)
    np.testing.assert_allclose(x_ahead[:3, 3], own[:3, 3], atol=1e-9)
    np.testing.assert_allclose(x_ahead[:3, 0], own[:3, 1], atol=1e-12)  # x of ours is y of LIDAR_TOP
    np.testing.assert_allclose(x_ahead[:3, 1], -own[:3, 0], atol=1e-12)
    ego = data.ego_pose_of(LAST)
    np.testing.assert_allclose(ego[:3, 3], (406, 1102, 0), atol=1e-9)
    with pytest.raises(InputError, match="there is no sample 'x'"):
        data.sensor_pose_of("x")
    assert np.allclose(pose_of(np.zeros(3), np.array([1.0, 0, 0, 0]), ""), np.eye(4))


def test_boxes_between_samples_go_straight(tiny: Path) -> None:
    data = open_data_set(tiny)
    assert isinstance(data, NuScenesDataSet)
    for index in (11, 13, 19):  # files between the second sample and the third
        boxes = data.boxes_at(f"scene-0061-file{index}")
        pose = lidar_pose(index * 0.05)
        car = two_objects()[0].center(index * 0.05)
        seen = np.linalg.inv(pose) @ (*car, 1)
        np.testing.assert_allclose(boxes.boxes[0, :3], (seen[1], -seen[0], seen[2]), atol=1e-6)
    key = data.boxes_at("scene-0061-file20")
    np.testing.assert_array_equal(key.boxes, data.labels(LAST).boxes)
    with pytest.raises(InputError, match="no file with the token 'x'"):
        data.boxes_at("x")


def test_it_can_be_sent_to_another_process(tiny: Path) -> None:
    source = NuScenesSource(tiny, "v1.0-mini", "train")
    data = pickle.dumps(source.data_set)
    assert len(data) < 2000  # without the tables
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(again[1].points, source[1].points)


def test_changed_tables_are_read_anew(tmp_path: Path) -> None:
    made = make_database()
    made.write(tmp_path)
    assert len(open_data_set(tmp_path).labels(LAST)) == 2
    kept = [record for record in made.tables["sample_annotation"] if "instance0" in record["instance_token"]]
    made.tables["sample_annotation"] = kept
    made.write(tmp_path)
    assert len(open_data_set(tmp_path).labels(LAST)) == 1


def test_prepared_frames_are_the_same(tmp_path: Path) -> None:
    make_database().write(tmp_path)
    raw = [open_data_set(tmp_path).read(f"scene-0061-sample{index}") for index in range(3)]
    report = prepare(open_data_set(tmp_path))
    assert report.errors == ()
    assert (report.made, report.splits) == (6, {"train": 3, "val": 3})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = NuScenesSource(tmp_path, "v1.0-mini", "train")
    for index, frame in enumerate(raw):
        assert source.is_prepared(index)
        same = source[index]
        np.testing.assert_array_equal(same.points, frame.points)
        assert same.channels == frame.channels
        assert same.boxes is not None and frame.boxes is not None
        assert same.boxes.columns().keys() == frame.boxes.columns().keys()
        np.testing.assert_array_equal(same.boxes.boxes, frame.boxes.boxes)
        for name, values in frame.boxes.columns().items():
            np.testing.assert_array_equal(same.boxes.columns()[name], values)
        np.testing.assert_array_equal(source.boxes(index).velocity, frame.boxes.velocity)
    assert prepare(open_data_set(tmp_path)).kept == 6
    with pytest.warns(UserWarning, match="not prepared"):  # of another number of sweeps
        assert len(NuScenesSource(tmp_path, "v1.0-mini", "train", sweeps=2)[2].points) < len(raw[2].points)


def test_the_label_database_has_objects_with_points_of_all_lags(tmp_path: Path) -> None:
    make_database().write(tmp_path)
    data = open_data_set(tmp_path)
    prepare(data)
    database = load_label_database(data)
    assert database.velocity is not None
    rows = np.flatnonzero(database.frame_ids == LAST)
    assert database.types[rows].tolist() == ["car", "pedestrian"]
    assert database.point_counts[rows].tolist() == [300, 120]
    labels = data.labels(LAST)
    np.testing.assert_array_equal(database.velocity[rows], np.asarray(labels.velocity, np.float32))
    points = database.points(int(rows[0]), ("reflectance", "time_lag"))
    assert points.shape == (300, 5)
    assert (np.unique(points[:, 4], return_counts=True)[1] == 30).all()
    for sweeps in (1, 3, 10, 99):
        fewer = load_label_database(data, sweeps)
        assert len(fewer.points(int(rows[0]), ("reflectance", "time_lag"))) == 30 * min(sweeps, 10)
        assert len(pickle.loads(pickle.dumps(fewer)).points(int(rows[1]))) == 12 * min(sweeps, 10)


def test_other_categories_keep_their_names(tmp_path: Path) -> None:
    rack = Object("static_object.bicycle_rack", (410, 1110, 0.5), points=3)
    bus = Object("vehicle.bus.rigid", (420, 1090, 1.5), size=(2.5, 11, 3.2))
    make_database({"scene-0061": [rack, bus]}).write(tmp_path)
    boxes = open_data_set(tmp_path).labels("scene-0061-sample1")
    assert boxes.names.tolist() == ["static_object.bicycle_rack", "bus"]
    assert boxes.attribute is not None and boxes.attribute.tolist() == ["", ""]


def test_results_of_a_split_are_one_submission_and_come_back(tiny: Path, tmp_path: Path) -> None:
    data = open_data_set(tiny)
    rng = np.random.default_rng(0)
    results = {}
    for name in data.frame_names("train")[:2]:
        boxes = rng.uniform(-40, 40, (20, 7))
        boxes[:, 3:6] = rng.uniform(0.5, 5, (20, 3))
        boxes[:, 6] = rng.uniform(-np.pi, np.pi, 20)
        names, scores = rng.choice(CLASSES, 20), rng.uniform(0, 1, 20)
        results[name] = Boxes(boxes, names, scores, velocity=rng.normal(0, 3, (20, 2)))
    results["scene-0061-sample2"] = Boxes.empty(scores=True)
    data.write_results(tmp_path, results)
    (path,) = (tmp_path / "data").glob("*")
    content = json.loads(path.read_text())
    assert set(content["meta"]) == {"use_camera", "use_lidar", "use_radar", "use_map", "use_external"}
    assert list(content["results"]) == list(results)
    assert content["results"]["scene-0061-sample2"] == []
    source = NuScenesSource(tiny, "v1.0-mini", "train")
    for folder in (tmp_path, tmp_path / "data", path):
        for index, (name, boxes) in enumerate(results.items()):
            again = data.read_results(folder, name)
            assert again is not None
            np.testing.assert_allclose(again.boxes, boxes.boxes, atol=1e-9)
            assert again.names.tolist() == boxes.names.tolist()
            np.testing.assert_allclose(again.scores, boxes.scores)
            if boxes.velocity is not None:
                np.testing.assert_allclose(again.velocity, boxes.velocity, atol=1e-9)
            drawn = read_results(folder, source[index], source)
            assert drawn is not None
            np.testing.assert_array_equal(drawn.boxes, again.boxes)
    assert data.read_results(tmp_path, "other") is None
    assert data.read_results(tmp_path / "nothing", LAST) is None


def test_of_too_many_boxes_the_best_500_are_written(tiny: Path, tmp_path: Path) -> None:
    data = open_data_set(tiny)
    rng = np.random.default_rng(1)
    boxes = rng.uniform(1, 2, (700, 7))
    scores = rng.uniform(0, 1, 700)
    data.write_results(tmp_path, {LAST: Boxes(boxes, ["car"] * 700, scores)})
    again = data.read_results(tmp_path, LAST)
    assert again is not None and again.scores is not None
    assert len(again) == 500
    assert again.scores.tolist() == [score for score in scores if score >= np.sort(scores)[200]]


def test_attributes_that_nobody_gave_are_chosen_by_speed(tiny: Path, tmp_path: Path) -> None:
    data = open_data_set(tiny)
    names = ["car", "car", "bus", "pedestrian", "pedestrian", "bicycle", "bicycle", "barrier", "truck", "car"]
    speeds = [5, 0.1, 0, 1, np.nan, 3, 0, 2, np.nan, 0]
    given = [""] * 9 + ["vehicle.stopped"]
    boxes = Boxes(
        np.tile([5.0, 5, 0, 1, 1, 1, 0], (10, 1)),
        names,
        np.ones(10),
        velocity=np.column_stack((speeds, np.zeros(10))),
        attribute=given,
    )
    data.write_results(tmp_path, {LAST: boxes})
    again = data.read_results(tmp_path, LAST)
    assert again is not None and again.attribute is not None
    assert again.attribute.tolist() == [
        *("vehicle.moving", "vehicle.parked", "vehicle.stopped", "pedestrian.moving", "pedestrian.standing"),
        *("cycle.with_rider", "cycle.without_rider", "", "vehicle.parked", "vehicle.stopped"),
    ]


def test_figures_in_memory_are_those_of_the_file(tiny: Path, tmp_path: Path) -> None:
    """Attributes that nobody gave and boxes over the limit are treated alike, whichever is scored."""
    source = NuScenesSource(tiny, "v1.0-mini", "train")
    rng = np.random.default_rng(2)
    results = {}
    for name in source.names:
        labels = source.data_set.labels(name)
        boxes = np.concatenate([labels.boxes, rng.uniform(5, 20, (600, 7))])
        boxes[:2, :2] += rng.normal(0, 0.3, (2, 2))
        velocity = np.concatenate([np.asarray(labels.velocity), rng.normal(0, 1, (600, 2))])
        names = [*labels.names.tolist(), *rng.choice(CLASSES, 600)]
        scores = np.concatenate([rng.uniform(0.9, 1, 2), rng.uniform(0, 0.9, 600)])
        results[name] = Boxes(boxes, names, scores, velocity=velocity)
    scoring = SplitScoring.of(source, CLASSES)
    in_memory = scoring.score(results)
    source.data_set.write_results(tmp_path, results)
    from_file = scoring.score_files(tmp_path)
    assert isinstance(in_memory, NuscenesEvaluation)
    assert isinstance(from_file, NuscenesEvaluation)
    assert in_memory.mean_ap > 0
    np.testing.assert_allclose(from_file.nd_score, in_memory.nd_score, atol=1e-9)


def test_boxes_of_other_classes_are_warned_of(tiny: Path, tmp_path: Path) -> None:
    boxes = Boxes(np.ones((1, 7)), ["forklift"], np.ones(1))
    with pytest.warns(UserWarning, match="1 forklift"):
        open_data_set(tiny).write_results(tmp_path, {LAST: boxes})


def test_several_result_files_in_a_folder_are_refused(tiny: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        open_data_set(tiny).write_results(tmp_path / name, {LAST: Boxes.empty(scores=True)})
        (tmp_path / name / "data" / "results_nusc.json").rename(tmp_path / f"{name}.json")
    with pytest.raises(InputError, match=r"several result files: a\.json, b\.json"):
        open_data_set(tiny).read_results(tmp_path, LAST)
