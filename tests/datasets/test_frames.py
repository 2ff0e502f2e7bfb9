"""A split as frames: prepared ones are those of the files, and never older than these."""

from __future__ import annotations

import os
import shutil
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lidar_ebm.datasets.frame import Frame
from lidar_ebm.datasets.frames import Frames
from lidar_ebm.datasets.opening import open_data_set, open_source
from lidar_ebm.datasets.preparation.label_database import load_label_database
from lidar_ebm.datasets.preparation.prepare import prepare
from lidar_ebm.datasets.source import FrameSource
from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.calibration import SIMULATED
from lidar_ebm.workflows.simulate import simulate

LONG_AGO = 1_577_836_800_000_000_000  # ns


@pytest.fixture(params=["kitti", "folder"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Four simulated frames in either layout, three of them for training."""
    root = tmp_path / "data"
    simulate(root, frames=4, seed=4, workers=1, layout=request.param, val_fraction=0.25)
    return root


def assert_same(one: Frame, other: Frame) -> None:
    assert (one.name, one.channels) == (other.name, other.channels)
    np.testing.assert_array_equal(one.points, other.points)
    assert (one.boxes is None) == (other.boxes is None)
    if one.boxes is not None and other.boxes is not None:
        np.testing.assert_array_equal(one.boxes.boxes, other.boxes.boxes)
        assert one.boxes.columns().keys() == other.boxes.columns().keys()
        for column in ("names", "points", "difficulty"):
            assert getattr(one.boxes, column).tolist() == getattr(other.boxes, column).tolist()
    assert (one.camera is None) == (other.camera is None)
    if one.camera is not None and other.camera is not None:
        assert one.camera.image_size == other.camera.image_size
        np.testing.assert_array_equal(one.camera.lidar_to_image, other.camera.lidar_to_image)


def frames_of(source: Frames) -> list[Frame]:
    return [source[index] for index in range(len(source))]


@pytest.mark.parametrize("with_labels", [True, False])
def test_prepared_frames_are_those_of_the_files(data: Path, with_labels: bool) -> None:
    raw = frames_of(open_source(data, "train", with_labels=with_labels))
    assert not prepare(open_data_set(data), workers=1).findings
    source = open_source(data, "train", with_labels=with_labels)
    assert isinstance(source, FrameSource)
    assert all(source.is_prepared(index) for index in range(3))
    for index, frame in enumerate(raw):
        assert_same(source[index], frame)
        assert source.name(index) == source.names[index] == frame.name
        assert (frame.boxes is None) != with_labels
        points, channels, boxes = source.points_and_boxes(index)
        np.testing.assert_array_equal(points, frame.points)
        assert channels == frame.channels
        assert len(boxes) == (0 if frame.boxes is None else len(frame.boxes))


def change_label(path: Path) -> None:
    """The first object 2 m elsewhere, in a file of the same size and time."""
    text = path.read_text()
    if path.suffix == ".json":
        start = text.index('"center"')
        place = next(index for index in range(start, len(text)) if text[index].isdigit())
    else:
        first = text.splitlines()[0]
        place = len(first) - len(first.split(maxsplit=13)[13])
        place += first[place] == "-"
    changed = text[:place] + ("1" if text[place] != "1" else "2") + text[place + 1 :]
    path.write_text(changed)


def label_path(data: Path, name: str) -> Path:
    own = data / "labels" / f"{name}.json"
    return own if own.exists() else data / "training" / "label_2" / f"{name}.txt"


def points_path(data: Path, name: str) -> Path:
    own = data / "points" / f"{name}.bin"
    return own if own.exists() else data / "training" / "velodyne" / f"{name}.bin"


@pytest.mark.parametrize("what", ["labels", "points"])
def test_a_corrected_file_of_the_same_size_and_time_is_what_is_read(data: Path, what: str) -> None:
    """As archives, checkouts and rsync leave them: the times say nothing."""
    files = [path for path in data.rglob("*") if path.is_file()]
    for path in files:
        os.utime(path, ns=(LONG_AGO, LONG_AGO))
    prepare(open_data_set(data), workers=1)
    old = open_source(data, "train")[1]
    path = (label_path if what == "labels" else points_path)(data, old.name)
    size = path.stat().st_size
    if what == "labels":
        change_label(path)
    else:
        points = np.fromfile(path, "<f4").reshape(-1, 4)
        points[: len(points) // 2, 0] += 0.5
        points.tofile(path)
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (size, LONG_AGO)

    with pytest.warns(UserWarning, match="1 of the 3 frames are not prepared, or were changed since"):
        source = open_source(data, "train")
    assert not source.is_prepared(1)
    new = source[1]
    if what == "labels":
        assert old.boxes is not None and new.boxes is not None
        assert not np.array_equal(new.boxes.boxes, old.boxes.boxes)
    else:
        assert not np.array_equal(new.points, old.points)
    with pytest.raises(InputError, match="were changed after it was made"):
        load_label_database(open_data_set(data))
    report = prepare(open_data_set(data), workers=1)
    assert (report.made, report.kept) == (1, 3)
    source = open_source(data, "train")
    assert source.is_prepared(1)
    assert_same(source[1], new)
    load_label_database(open_data_set(data))


def test_another_sensor_in_dataset_yaml_makes_all_frames_anew(tmp_path: Path) -> None:
    simulate(tmp_path, frames=2, seed=4, workers=1, layout="folder", val_fraction=0.5)
    prepare(open_data_set(tmp_path), workers=1)
    path = tmp_path / "dataset.yaml"
    path.write_text(path.read_text().replace("height: 1.73 ", "height: 2.73 "))
    with pytest.warns(UserWarning, match="1 of the 1 frames are not prepared"):
        raw = open_source(tmp_path, "train")[0]
    assert prepare(open_data_set(tmp_path), workers=1).made == 2
    assert_same(open_source(tmp_path, "train")[0], raw)


@pytest.fixture
def read_only(data: Path) -> Iterator[Path]:
    """The data set with no folder that can be written to."""
    folders = [data, *(path for path in data.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    yield data
    for folder in folders:
        folder.chmod(stat.S_IRWXU)


def test_read_only_data_are_prepared_elsewhere(read_only: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "disk" / "prepared"
    before = {path: path.stat().st_mtime_ns for path in read_only.rglob("*")}
    raw = frames_of(open_source(read_only, "train"))
    report = prepare(open_data_set(read_only, elsewhere), workers=1)
    assert report.prepared == elsewhere
    assert (elsewhere / "report.txt").is_file()
    assert {path: path.stat().st_mtime_ns for path in read_only.rglob("*")} == before
    source = open_source(read_only, "train", prepared=elsewhere)
    assert all(source.is_prepared(index) for index in range(len(source)))
    for index, frame in enumerate(raw):
        assert_same(source[index], frame)
    assert len(load_label_database(open_data_set(read_only, elsewhere))) > 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not open_source(read_only, "train").is_prepared(0)


def test_frames_prepared_as_another_kind_are_not_used(simulated: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(simulated, tmp_path / "data"))
    prepare(open_data_set(data), workers=1)
    shutil.rmtree(data / "training" / "calib")
    with pytest.warns(UserWarning, match="4 of the 4 frames are not prepared"):
        source = open_source(data, "train")
    assert source.camera(0) is None
    assert source[0].camera is None


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_the_view_is_that_of_the_image_whatever_its_kind_and_size(simulated: Path, tmp_path: Path, suffix: str) -> None:
    data = Path(shutil.copytree(simulated, tmp_path / "data"))
    whole = open_source(data, "train")[0]
    assert whole.camera is not None
    assert whole.camera.image_size == SIMULATED.camera().image_size  # as P2 tells
    (data / "training" / "image_2").mkdir()
    Image.new("RGB", (700, 300)).save(data / "training" / "image_2" / f"{whole.name}{suffix}")
    frame = open_source(data, "train")[0]
    assert frame.camera is not None
    assert frame.camera.image_size == (700, 300)
    homogeneous = np.column_stack((whole.points[:, :3].astype(np.float64), np.ones(len(whole.points))))
    u, v, depth = frame.camera.lidar_to_image @ homogeneous.T
    seen = (depth > 0) & (u / depth >= 0) & (u / depth < 700) & (v / depth >= 0) & (v / depth < 300)
    assert 0 < seen.sum() < len(whole.points)
    np.testing.assert_array_equal(frame.points, whole.points[seen])


@pytest.mark.parametrize("image", [False, True])
def test_a_made_up_calibration_is_refused_and_named(simulated: Path, tmp_path: Path, image: bool) -> None:
    data = Path(shutil.copytree(simulated, tmp_path / "data"))
    if image:
        for path in (data / "training" / "velodyne").iterdir():
            (data / "training" / "image_2").mkdir(exist_ok=True)
            Image.new("RGB", (1242, 375)).save(data / "training" / "image_2" / f"{path.stem}.jpg")
    for path in (data / "training" / "calib").iterdir():
        lines = path.read_text().splitlines()
        path.write_text("\n".join("P2: 1 0 0 0 0 1 0 0 0 0 1 0" if line.startswith("P2") else line for line in lines))
    with pytest.raises(InputError, match=r"calib/000000\.txt: P2 has its principal point at .* of no camera"):
        open_source(data, "train")[0]
    report = prepare(open_data_set(data), workers=1)
    assert {finding.kind for finding in report.errors} == {"unusable calibrations"}
    assert report.failed == 6


def test_a_split_in_utf16_is_read(data: Path) -> None:
    source = open_source(data, "train")
    path = source.split_path
    path.write_text(path.read_text(), encoding="utf-16")
    assert open_source(data, "train").names == source.names
    report = prepare(open_data_set(data), workers=1)
    assert not report.errors
    assert open_source(data, "train").is_prepared(0)


def test_classes_of_any_name_are_prepared(tmp_path: Path) -> None:
    for layout in ("kitti", "folder"):
        root = tmp_path / layout
        names = {"Car": "forklift", "Pedestrian": "Fußgänger"}
        simulate(root, frames=3, seed=4, workers=1, layout=layout, names=names)
        report = prepare(open_data_set(root), workers=1)
        assert not report.findings
        assert report.objects["forklift"] > 0
        assert "Car" not in report.objects
        assert "forklift" in report.database
        database = load_label_database(open_data_set(root))
        assert "forklift" in set(database.types.tolist())
