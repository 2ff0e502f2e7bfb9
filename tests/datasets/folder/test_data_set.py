"""Folders of one's own: whatever the sensor's axes, unit and height, frames come out in the convention."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.boxes.difficulty import BEYOND, LIMITS
from lidar_ebm.datasets.data_set import DataSet
from lidar_ebm.datasets.folder.clouds import CloudFiles
from lidar_ebm.datasets.folder.data_set import FolderDataSet
from lidar_ebm.datasets.frames import Frames
from lidar_ebm.datasets.opening import open_data_set
from lidar_ebm.datasets.preparation.prepare import prepare
from lidar_ebm.datasets.preparation.prepared_frame import prepared_path, read_prepared_boxes
from lidar_ebm.datasets.stamps import stamps
from lidar_ebm.errors import InputError
from lidar_ebm.formats.reading import read_frames, write_boxes
from tests.datasets.folder.scenes import RIGHT_HANDED, UPRIGHT, axes_text, draw_scene, write_frame, write_settings
from tests.formats.samples import count_points, shared

NAMES = ["forklift", "pallet", "reach truck", "forklift", "person", "pallet", "forklift", "reach truck"]


def off_the_faces(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The points [N, 4] that no rounding brings into a box, or out of one."""
    kept = np.ones(len(points), bool)
    for box in boxes:
        cosine, sine = np.cos(box[6]), np.sin(box[6])
        local = (points[:, :3] - box[:3]) @ np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
        outside = (np.abs(local) - box[3:6] / 2).max(axis=1)
        kept &= np.abs(outside) > 2e-3
    return points[kept]


def make_data(
    root: Path,
    *,
    words: tuple[str, ...] = ("forward", "left", "up"),
    unit: float = 1.0,
    seed: int = 0,
    **settings: object,
) -> tuple[np.ndarray, np.ndarray]:
    """A data set of two frames; points and boxes of the first, x forward, y left, z up, sensor at the origin."""
    first: tuple[np.ndarray, np.ndarray] | None = None
    for number in range(2):
        points, boxes = draw_scene(10 * seed + number)
        points = off_the_faces(points, boxes)
        write_frame(root, f"{number:06d}", points, boxes, NAMES, words=words, unit=unit)
        first = first or (points, boxes)
    write_settings(root, splits={"val": 0.5}, **settings)
    assert first is not None
    return first


@pytest.mark.parametrize("words", UPRIGHT, ids=axes_text)
@pytest.mark.parametrize(("unit", "height"), [(1.0, None), (0.001, 2.4), (0.3048, 0.0)])
def test_frames_of_any_sensor_come_out_in_the_convention(
    tmp_path: Path, words: tuple[str, ...], unit: float, height: float | None
) -> None:
    sensor = {"axes": axes_text(words), "unit": unit, **({} if height is None else {"height": height})}
    points, boxes = make_data(tmp_path, words=words, unit=unit, sensor=sensor)
    data_set = open_data_set(tmp_path)
    frame = data_set.read("000000")
    lift = np.array([0, 0, 0.0 if height is None else height - 1.73])
    np.testing.assert_allclose(frame.points[:, :3], points[:, :3] + lift, atol=2e-5)
    np.testing.assert_array_equal(frame.channel("reflectance"), points[:, 3])
    assert frame.boxes is not None
    np.testing.assert_allclose(frame.boxes.boxes[:, :6], boxes[:, :6] + [*lift, 0, 0, 0], atol=1e-9)
    np.testing.assert_allclose(np.angle(np.exp(1j * (frame.boxes.boxes[:, 6] - boxes[:, 6]))), 0, atol=1e-9)
    counts = count_points(points, boxes)
    assert min(counts) > 5
    assert frame.boxes.points is not None
    assert frame.boxes.points.tolist() == counts == count_points(frame.points, frame.boxes.boxes)


@pytest.mark.parametrize("words", [each for each in RIGHT_HANDED if each not in UPRIGHT], ids=axes_text)
def test_axes_without_an_upright_z_are_refused_for_boxes(tmp_path: Path, words: tuple[str, ...]) -> None:
    make_data(tmp_path, sensor={"axes": axes_text(words)})
    with pytest.raises(InputError, match=r"dataset\.yaml: sensor\.axes .* do not have z along the vertical"):
        open_data_set(tmp_path).read("000000")


def test_left_handed_axes_are_refused_at_once(tmp_path: Path) -> None:
    make_data(tmp_path, sensor={"axes": "x forward, y right, z up"})
    with pytest.raises(InputError, match=r"dataset\.yaml: sensor\.axes .*no right-handed axes"):
        open_data_set(tmp_path)


@pytest.mark.parametrize("words", UPRIGHT, ids=axes_text)
def test_boxes_go_to_files_and_back(tmp_path: Path, words: tuple[str, ...]) -> None:
    make_data(tmp_path, sensor={"axes": axes_text(words), "unit": 0.01, "height": 3.0})
    data_set = open_data_set(tmp_path)
    assert isinstance(data_set, FolderDataSet)
    rng = np.random.default_rng(0)
    rows = np.column_stack((draw_scene(3, 40)[1][:, :6], rng.uniform(-np.pi, np.pi, 40)))
    boxes = Boxes(
        rows, ["a", "b"] * 20, rng.random(40), velocity=rng.normal(size=(40, 2)), track=np.arange(40).astype(str)
    )
    for there, back in ((data_set.to_files, data_set.from_files), (data_set.from_files, data_set.to_files)):
        again = back(there(boxes))
        np.testing.assert_allclose(again.boxes, boxes.boxes, atol=1e-9)
        np.testing.assert_allclose(again.velocity, boxes.velocity, atol=1e-12)
        np.testing.assert_array_equal(again.scores, boxes.scores)
        assert again.names.tolist() == boxes.names.tolist()
        assert again.track is not None and again.track.tolist() == [str(index) for index in range(40)]


def test_an_object_moves_along_its_heading_in_any_axes(tmp_path: Path) -> None:
    for number, words in enumerate(UPRIGHT):
        root = tmp_path / str(number)
        make_data(root, sensor={"axes": axes_text(words), "unit": 0.5})
        data_set = open_data_set(root)
        assert isinstance(data_set, FolderDataSet)
        yaw = np.linspace(-3, 3, 9)
        rows = np.column_stack((np.zeros((9, 3)), np.ones((9, 3)), yaw))
        moved = data_set.from_files(Boxes(rows, ["a"] * 9, velocity=4 * np.column_stack((np.cos(yaw), np.sin(yaw)))))
        turned = moved.boxes[:, 6]
        np.testing.assert_allclose(moved.velocity, 2 * np.column_stack((np.cos(turned), np.sin(turned))), atol=1e-12)


def test_results_are_written_in_the_files_own_frame_and_read_again(tmp_path: Path) -> None:
    make_data(
        tmp_path, words=("right", "forward", "up"), unit=0.01, sensor={"axes": "x right, y forward, z up", "unit": 0.01}
    )
    data_set = open_data_set(tmp_path)
    labels = data_set.labels("000000")
    found = Boxes(labels.boxes, labels.names, np.linspace(0, 1, len(labels)))
    data_set.write_results(tmp_path / "results", {"000000": found})
    written = json.loads((tmp_path / "labels" / "000000.json").read_text())["boxes"]
    again = json.loads((tmp_path / "results" / "data" / "000000.json").read_text())
    centers = [box["center"] for box in (again["boxes"] if "boxes" in again else next(iter(again["frames"].values())))]
    np.testing.assert_allclose(centers, [box["center"] for box in written], atol=1e-3)
    read = data_set.read_results(tmp_path / "results", "000000")
    assert read is not None and read.scores is not None
    np.testing.assert_allclose(read.boxes, found.boxes, atol=1e-6)
    np.testing.assert_allclose(read.scores, found.scores)
    assert data_set.read_results(tmp_path / "results", "000001") is None


def test_classes_are_chosen_and_merged_and_the_rest_is_said(tmp_path: Path) -> None:
    make_data(tmp_path, classes=["forklift", "person"], merge={"reach truck": "forklift"})
    data_set = open_data_set(tmp_path)
    assert data_set.class_names == ("forklift", "person")
    labels = data_set.labels("000000")
    assert labels.names.tolist() == [{"reach truck": "forklift"}.get(name, name) for name in NAMES if name != "pallet"]
    report = prepare(data_set, workers=1)
    assert not report.errors
    said = [finding for finding in report.warnings if finding.kind == "labels that are left out"]
    assert sorted(finding.place for finding in said) == ["labels/000000.json", "labels/000001.json"]
    assert said[0].message.startswith("2 of 8 labels are of other classes")


def test_without_classes_every_name_is_one(tmp_path: Path) -> None:
    make_data(tmp_path)
    assert open_data_set(tmp_path).labels("000000").names.tolist() == NAMES
    report = prepare(open_data_set(tmp_path), workers=1)
    assert set(report.database) == set(NAMES)
    assert not report.errors


def test_a_misspelt_class_names_the_closest_one_that_is_there(tmp_path: Path) -> None:
    make_data(tmp_path, classes=["fork-lift", "pallet"])
    report = prepare(open_data_set(tmp_path), workers=1)
    (said,) = [finding for finding in report.findings if finding.kind == "classes without labels"]
    assert said.place == "dataset.yaml"
    assert "'fork-lift'" in said.message and "did you mean 'forklift'?" in said.message


def test_beyond_the_range_are_neither_points_nor_labels(tmp_path: Path) -> None:
    points, boxes = make_data(tmp_path, sensor={"range": 30})
    frame = open_data_set(tmp_path).read("000000")
    near = np.hypot(boxes[:, 0], boxes[:, 1]) <= 30
    assert 0 < near.sum() < len(boxes)
    assert frame.boxes is not None
    np.testing.assert_allclose(frame.boxes.boxes[:, :6], boxes[near, :6], atol=1e-9)
    assert len(frame.points) == (np.hypot(points[:, 0], points[:, 1]) <= 30).sum() < len(points)


def test_difficulty_goes_by_distance_and_points(tmp_path: Path) -> None:
    make_data(tmp_path)
    labels = open_data_set(tmp_path).labels("000000")
    assert labels.difficulty is not None and labels.points is not None
    for box, count, word in zip(labels.boxes, labels.points, labels.difficulty, strict=True):
        distance = np.hypot(box[0], box[1])
        expected = [name for name, farthest, fewest in LIMITS if distance < farthest and count >= fewest]
        assert word == (expected[0] if expected else BEYOND)
    assert len(set(labels.difficulty.tolist())) > 1


def test_prepared_frames_are_those_of_the_files(tmp_path: Path) -> None:
    make_data(tmp_path, words=("right", "forward", "up"), sensor={"axes": "x right, y forward, z up", "height": 2.0})
    data_set = open_data_set(tmp_path)
    raw = {split: Frames(data_set, split)[0] for split in ("train", "val")}
    assert not prepare(data_set, workers=1).errors
    for split, frame in raw.items():
        frames = Frames(open_data_set(tmp_path), split)
        assert frames.is_prepared(0)
        again = frames[0]
        np.testing.assert_array_equal(again.points, frame.points)
        assert again.channels == frame.channels
        assert frame.boxes is not None and again.boxes is not None
        np.testing.assert_array_equal(again.boxes.boxes, frame.boxes.boxes)
        for column in ("names", "points", "difficulty"):
            assert getattr(again.boxes, column).tolist() == getattr(frame.boxes, column).tolist()


def test_labels_of_a_prepared_frame_are_those_of_its_files_and_need_no_point_cloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_data(
        tmp_path,
        words=("right", "forward", "up"),
        classes=["forklift", "person"],
        sensor={"axes": "x right, y forward, z up", "height": 2.0, "range": 40, "reflectance": 1},
    )
    for name in ("000000", "000001"):
        path = tmp_path / "labels" / f"{name}.json"
        entries = json.loads(path.read_text())["boxes"]
        entries = [{**entry, "velocity": [1.0, k]} for k, entry in enumerate(entries)]
        path.write_text(json.dumps({"boxes": entries}))
    names = ("000000", "000001")
    raw = {name: open_data_set(tmp_path).labels(name) for name in names}
    assert not prepare(open_data_set(tmp_path), workers=1).errors

    read: list[str] = []
    read_raw = CloudFiles.read_raw
    monkeypatch.setattr(CloudFiles, "read_raw", lambda files, name: read.append(name) or read_raw(files, name))

    def check(name: str) -> None:
        labels, expected = open_data_set(tmp_path).labels(name).columns(), raw[name].columns()
        assert labels.keys() == expected.keys() >= {"velocity", "points", "difficulty"}
        for key, column in expected.items():
            np.testing.assert_array_equal(labels[key], column, err_msg=key)

    for name in names:
        check(name)
    assert read == []

    def changes_of(path: Path, content: bytes) -> set[str]:
        """Frames whose point clouds are read where a file has another content."""
        before, times = path.read_bytes(), path.stat()
        path.write_bytes(content)
        read.clear()
        for name in names:
            open_data_set(tmp_path).labels(name)
        path.write_bytes(before)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        return set(read)

    cloud, frame = tmp_path / "points" / "000000.bin", prepared_path(tmp_path / "prepared", "000001")
    label, settings = tmp_path / "labels" / "000001.json", tmp_path / "dataset.yaml"
    assert changes_of(label, label.read_bytes() + b"\n") == {"000001"}
    assert changes_of(settings, settings.read_bytes() + b"\n") == {*names}
    assert changes_of(frame, frame.read_bytes()[:-100]) == {"000001"}
    assert changes_of(cloud, cloud.read_bytes()[:-16]) == {"000000"}
    read.clear()
    for name in names:
        check(name)
    assert read == []


def test_counts_that_do_not_fit_the_points_that_were_cut_out_are_not_taken(tmp_path: Path) -> None:
    make_data(tmp_path)
    data_set = open_data_set(tmp_path)
    raw = data_set.labels("000000")
    prepare(data_set, workers=1)
    path = prepared_path(tmp_path / "prepared", "000000")
    assert raw.points is not None
    content, counts = path.read_bytes(), np.asarray(raw.points, np.int64)
    assert content.count(counts.tobytes()) == 1
    path.write_bytes(content.replace(counts.tobytes(), (counts + 1).tobytes()))
    with pytest.raises(InputError, match="its content was changed"):
        read_prepared_boxes(tmp_path / "prepared", "000000")
    labels = data_set.labels("000000")
    assert labels.points is not None and labels.points.tolist() == counts.tolist()


def test_a_data_set_goes_to_other_processes(tmp_path: Path) -> None:
    make_data(tmp_path)
    data_set = open_data_set(tmp_path)
    for _ in range(2):  # before and after all is looked up
        again = pickle.loads(pickle.dumps(data_set))
        np.testing.assert_array_equal(again.labels("000000").boxes, data_set.labels("000000").boxes)
        checked = again.check("000000", stamps(again.input_paths("000000")))
        assert checked.frame is not None and not [each for each in checked.findings if each.is_error]


def test_a_frame_without_objects_is_a_frame_like_any_other(tmp_path: Path) -> None:
    make_data(tmp_path)
    for text in ('{"boxes": []}', "[]"):
        (tmp_path / "labels" / "000000.json").write_text(text)
        assert len(open_data_set(tmp_path).labels("000000")) == 0
        assert len(open_data_set(tmp_path).labels("000001")) == len(NAMES)
        assert not prepare(open_data_set(tmp_path), workers=1).errors


def test_data_without_labels_have_none(tmp_path: Path) -> None:
    points, _ = make_data(tmp_path, labels=None)
    shutil.rmtree(tmp_path / "labels")
    frame = open_data_set(tmp_path).read("000000")
    assert frame.boxes is None
    assert len(frame.points) == len(points)
    assert not prepare(open_data_set(tmp_path), workers=1).errors


def test_labels_may_stand_in_one_table(tmp_path: Path) -> None:
    points, boxes = make_data(tmp_path, labels={"folder": "labels.csv", "format": "csv"})
    shutil.rmtree(tmp_path / "labels")
    lines = [",".join(map(repr, row)) for row in boxes.tolist()]
    table = [f"000000,{name},{line}" for name, line in zip(NAMES, lines, strict=True)]
    (tmp_path / "labels.csv").write_text("frame,class,x,y,z,l,w,h,yaw\n" + "\n".join(table) + "\n")
    data_set = open_data_set(tmp_path)
    labels = data_set.labels("000000")
    np.testing.assert_allclose(labels.boxes, boxes, atol=1e-9)
    assert labels.names.tolist() == NAMES
    assert labels.points is not None
    assert labels.points.tolist() == count_points(points, boxes)
    assert len(data_set.labels("000001")) == 0


@pytest.mark.parametrize(
    ("path", "content", "kind"),
    [
        ("points/000001.bin", b"1234567", "unreadable point clouds"),
        ("labels/000001.json", b'{"boxes": [{"class": "x"', "unreadable labels"),
        ("labels/000001.json", b"\xff\xfe\x00", "unreadable labels"),
        ("labels/000001.json", None, "unreadable labels"),
        (
            "labels/000001.json",
            b'[{"class": "a", "center": [1e9, 0, 0], "size": [1, 1, 1], "yaw": 0}]',
            "unreadable labels",
        ),
    ],
)
def test_damaged_files_are_findings(tmp_path: Path, path: str, content: bytes | None, kind: str) -> None:
    make_data(tmp_path)
    if content is None:
        (tmp_path / path).unlink()
    else:
        (tmp_path / path).write_bytes(content)
    report = prepare(open_data_set(tmp_path), workers=1)
    assert [(finding.kind, finding.place) for finding in report.errors] == [(kind, path)]
    assert (report.failed, report.made) == (1, 1)
    assert path in (tmp_path / "prepared" / "report.txt").read_text()
    (split,) = [name for name in ("train", "val") if "000001" in open_data_set(tmp_path).frame_names(name)]
    with pytest.raises(InputError, match=path.split("/")[1].replace(".", r"\.")):
        Frames(open_data_set(tmp_path), split)[0]


@pytest.mark.parametrize(("written", "said"), [(0.001, 1.0), (1.0, 30.0)], ids=["millimetres", "too large"])
def test_a_wrong_unit_is_said(tmp_path: Path, written: float, said: float) -> None:
    make_data(tmp_path, unit=written, sensor={"unit": said})
    report = prepare(open_data_set(tmp_path), workers=1)
    assert {finding.kind for finding in report.warnings} & {"units and axes", "boxes out of range"}


def test_a_point_cloud_in_no_split_is_said(tmp_path: Path) -> None:
    make_data(tmp_path)
    (tmp_path / "train.txt").write_text("000000\n")
    write_settings(tmp_path, splits={"train": "train.txt"})
    report = prepare(open_data_set(tmp_path), workers=1)
    assert [(each.kind, each.place) for each in report.findings if "no split" in each.kind] == [
        ("files that no split names", "points")
    ]


def test_a_split_names_frames_that_are_not_there(tmp_path: Path) -> None:
    make_data(tmp_path)
    (tmp_path / "train.txt").write_text("000000\n000009\n")
    write_settings(tmp_path, splits={"train": "train.txt"})
    with pytest.raises(InputError, match=r"train\.txt:2: files of 1 of the 2 frames are missing"):
        Frames(open_data_set(tmp_path), "train")
    report = prepare(open_data_set(tmp_path), workers=1)
    assert any(finding.is_error and "000009" in str(finding) for finding in report.findings)
    (tmp_path / "train.txt").write_text("000000.bin\n")
    report = prepare(open_data_set(tmp_path), workers=1)
    hint = "Names stand without ending: write 000000."
    assert any(hint in str(finding) for finding in report.findings)
    with pytest.raises(InputError, match=rf"train\.txt:1: files of 1 of the 1 frames are missing.* {hint}"):
        Frames(open_data_set(tmp_path), "train")
    with pytest.raises(InputError, match=r"splits has no 'trian'.*did you mean 'train'"):
        open_data_set(tmp_path).frame_names("trian")


def test_layouts_of_raw_files_are_named_or_refused(tmp_path: Path) -> None:
    """Five columns, float64, and arrays [4, N]: what is not said is refused or found out, never read as noise."""
    points, boxes = make_data(tmp_path)
    path = tmp_path / "points" / "000000.bin"
    five = np.column_stack((points, np.full(len(points), 7)))
    for array, columns, dtype in (
        (five.astype("<f4"), "x,y,z,reflectance,ring", None),
        (points.astype("<f8"), "x,y,z,reflectance", "float64"),
    ):
        array.tofile(path)
        (tmp_path / "points" / "000001.bin").write_bytes(path.read_bytes())
        write_settings(tmp_path)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                guessed = open_data_set(tmp_path).read("000000").points
        except InputError as error:
            assert "000000.bin" in str(error)
        else:
            np.testing.assert_allclose(guessed[:, :3], points[:, :3], atol=1e-6)
        settings = {"folder": "points", "columns": columns, **({} if dtype is None else {"dtype": dtype})}
        write_settings(tmp_path, points=settings)
        labels = open_data_set(tmp_path).labels("000000")
        assert labels.points is not None
        assert labels.points.tolist() == count_points(points, boxes)
    for old in (tmp_path / "points").iterdir():
        old.unlink()
    np.save(tmp_path / "points" / "000000.npy", np.ascontiguousarray(points.T))
    write_settings(tmp_path)
    try:
        transposed = open_data_set(tmp_path).read("000000").points
    except InputError as error:
        assert "000000.npy" in str(error)
    else:
        np.testing.assert_array_equal(transposed, points)


def test_two_point_clouds_of_one_name_are_refused(tmp_path: Path) -> None:
    points, _ = make_data(tmp_path)
    np.save(tmp_path / "points" / "000000.npy", points)
    with pytest.raises(InputError, match=r"frame 000000 has another point cloud"):
        open_data_set(tmp_path)


def test_a_folder_with_nothing_is_refused(tmp_path: Path) -> None:
    write_settings(tmp_path)
    with pytest.raises(InputError, match=r"points\.folder: there is no folder"):
        open_data_set(tmp_path)
    (tmp_path / "points").mkdir()
    with pytest.raises(InputError, match=r"points: holds no point clouds \(.*\.bin"):
        open_data_set(tmp_path)
    write_settings(tmp_path, points={"folder": "points", "format": "sustechpoints"})
    with pytest.raises(InputError, match=r"points\.format: 'sustechpoints' is no format of point clouds"):
        open_data_set(tmp_path)


# Real frames of other tools


def check_prepared(data_set: DataSet, name: str, names: set[str]) -> np.ndarray:
    """Prepare, and compare the points in each labelled box with a count one box at a time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = prepare(data_set, workers=1)
        frame = Frames(data_set, data_set.splits[0])[0]
    assert not report.errors
    assert frame.name == name and frame.boxes is not None and frame.boxes.points is not None
    assert set(frame.boxes.names.tolist()) == names
    counts = count_points(frame.points.astype(np.float64), frame.boxes.boxes)
    assert frame.boxes.points.tolist() == counts
    return np.array(counts)


@pytest.mark.parametrize("form", ["sustechpoints", "json", "csv", None])
def test_a_real_frame_of_sustechpoints(tmp_path: Path, form: str | None) -> None:
    source = shared("formats", "sustechpoints")
    (tmp_path / "labels").mkdir()
    shutil.copytree(source / "lidar", tmp_path / "points")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its boxes are tilted a little
        frames = read_frames(source / "label")
    if form in ("json", "csv"):
        write_boxes(tmp_path / "labels" / f"000965.{form}", frames, f"boxes_{form}")
    else:
        shutil.copy(source / "label" / "000965.json", tmp_path / "labels")
    write_settings(tmp_path, splits={"train": 1.0}, labels={"folder": "labels", **({"format": form} if form else {})})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counts = check_prepared(
            open_data_set(tmp_path), "000965", {"Car", "Pedestrian", "Rider", "Bus", "Truck", "Motor"}
        )
    assert len(counts) == 21
    assert (counts > 0).mean() > 0.9


def test_a_real_sweep_of_pandaset(tmp_path: Path) -> None:
    source = shared("formats", "pandaset")
    for folder in ("annotations", "lidar"):
        (tmp_path / folder).symlink_to(source / folder)
    write_settings(
        tmp_path,
        points={"folder": "lidar", "format": "pandaset"},
        labels={"folder": "annotations/cuboids", "format": "pandaset"},
        classes=["Car", "Pedestrian"],
        merge={"Pickup Truck": "Car"},
        splits={"train": 1.0},
        sensor={"height": 0.36, "range": 75},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counts = check_prepared(open_data_set(tmp_path), "00", {"Car", "Pedestrian"})
    assert len(counts) > 20
    assert (counts > 0).mean() > 0.8
