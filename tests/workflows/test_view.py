"""Frames to look at, from folders, files, labels, results and runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.frame import Frame
from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.conversion import labels_to_boxes
from lidar_ebm.formats.kitti.files import read_calibration, read_labels, read_points, write_labels
from lidar_ebm.inference.detection import RefinementPath
from lidar_ebm.visualization import palette
from lidar_ebm.visualization.box_arrays import arrow_segments
from lidar_ebm.visualization.scene_pictures import write_pictures
from lidar_ebm.workflows.view import SceneFrames, open_frames, result_titles
from tests.nuscenes_material import NuscenesSet
from tests.visualization.conftest import open3d  # noqa: F401 (a fixture)


def results_of(simulated: Path, name: str, folder: Path) -> Path:
    """The labels of a frame as another program's results."""
    labels = read_labels(simulated / "training" / "label_2" / f"{name}.txt")
    scored = [type(label)(**{**vars(label), "score": 0.1 * i}) for i, label in enumerate(labels)]
    write_labels(folder / f"{name}.txt", scored)
    return folder


def test_a_folder_shows_points_labels_and_results(simulated: Path, tmp_path: Path) -> None:
    frames = open_frames([simulated])
    name = next(n for n in frames.names if read_labels(simulated / "training" / "label_2" / f"{n}.txt"))
    theirs, ours = (
        results_of(simulated, name, tmp_path / "theirs"),
        results_of(simulated, name, tmp_path / "o" / "data"),
    )
    frames = open_frames([simulated], results=[theirs, ours.parent])
    frame = frames[frames.index_of(name)]
    np.testing.assert_array_equal(
        frame.points[:, :3], read_points(simulated / "training" / "velodyne" / f"{name}.bin")[:, :3]
    )
    assert [each.name for each in frame.sets] == ["label", "theirs", "o"]
    assert frame.camera is not None and frame.sets[0].color == palette.LABEL
    assert len({each.color for each in frame.sets}) == 3
    file = simulated / "training" / "label_2" / f"{name}.txt"
    calibration = read_calibration(simulated / "training" / "calib" / f"{name}.txt")
    boxes = labels_to_boxes([label for label in read_labels(file) if label.type != "DontCare"], calibration)
    for each in frame.sets:
        np.testing.assert_allclose(each.boxes, boxes, atol=0.02)  # result files have two decimals
    assert frame.sets[0].scores is None and frame.sets[1].scores is not None
    np.testing.assert_allclose(frame.sets[1].scores, 0.1 * np.arange(len(boxes)), atol=1e-6)
    assert frames[frames.index_of(name)] is frame  # kept


def test_a_split_files_and_slices(simulated: Path) -> None:
    val = open_frames([simulated], split="val", labels=False)
    assert val.names == (simulated / "ImageSets" / "val.txt").read_text().split()
    assert not val[0].sets
    assert [frame.name for frame in val[:2]] == val.names[:2] and val[-1].name == val.names[-1]
    assert val.subset([-1, 0]).names == [val.names[-1], val.names[0]]
    files = open_frames([simulated / "training" / "velodyne" / f"{val.names[0]}.bin"])
    assert files.names == val.names[:1] and files[0].sets[0].name == "label"


def test_a_bare_cloud_has_nothing_but_points(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    np.save(tmp_path / "cloud.npy", points)
    frame = open_frames([tmp_path / "cloud.npy"])[0]
    assert (frame.name, frame.camera, frame.image, frame.sets) == ("cloud", None, None, ())
    assert len(frame.points) == 20


def test_a_frame_without_a_result_file_has_no_result(simulated: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    frame = open_frames([simulated], labels=False, results=[tmp_path / "empty"])[0]
    assert frame.sets[0].boxes.shape == (0, 7)


def test_what_is_missing_is_named(simulated: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no data set"):
        open_frames([tmp_path])
    with pytest.raises(InputError, match=r"nothing\.bin: no such folder or point cloud"):
        open_frames([tmp_path / "nothing.bin"])
    with pytest.raises(InputError, match=r"gone: no such file or folder of results"):
        open_frames([simulated], results=[tmp_path / "gone"])
    with pytest.raises(InputError, match=r"one folder"):
        open_frames([simulated, tmp_path])
    with pytest.raises(InputError, match=r"split val"):
        open_frames([simulated / "training" / "velodyne" / "000000.bin"], split="val")
    with pytest.raises(InputError, match=r"'nobody' is none of"):
        open_frames([simulated]).index_of("nobody")


def test_result_sets_are_told_apart() -> None:
    runs = [Path(f"runs/{name}/evaluation/val/results_after/data") for name in "ab"]
    assert result_titles(runs) == ["a/…/results_after", "b/…/results_after"]
    assert result_titles([Path("x/one"), Path("y/two")]) == ["one", "two"]
    assert result_titles([Path("x/one"), Path("y/one")]) == ["x/one", "y/one"]
    assert result_titles([Path("x/label")]) == ["label (results)"]  # not the labels
    for paths in (runs * 3, [Path("x/a/r"), Path("x/b/r"), Path("y/a/r"), Path("y/b/r")]):
        assert len(set(result_titles(paths))) == len(paths)


def test_files_of_one_name_are_both_named(tmp_path: Path) -> None:
    paths = [tmp_path / folder / "x.bin" for folder in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        path.touch()
    open_frames(paths[:1]).check_names()
    with pytest.raises(InputError) as caught:
        open_frames(paths).check_names()
    assert str(caught.value).startswith(f"{paths[0]} and {paths[1]}: two of the given files")


class Yard:
    """Frames of own classes, points with a ring and a time lag, and no camera."""

    root, split, class_names = Path("yard"), "", ("forklift", "pallet")

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Frame:
        points = np.random.default_rng(index).uniform(-40, 40, (200, 6)).astype(np.float32)
        boxes = Boxes(np.array([[-20.0, 3, 0, 3, 1, 2, 0.3], [5.0, 8, 0, 1, 1, 1, 0]]), ["forklift", "pallet"])
        return Frame(self.name(index), points, ("reflectance", "time_lag", "ring"), boxes)

    def name(self, index: int) -> str:
        return f"yard{index}"


def test_any_source_of_frames_is_shown() -> None:
    frames = SceneFrames(Yard(), range(2), images=True)
    frame = frames[frames.index_of("yard1")]
    assert (frame.camera, frame.image, frame.channels) == (None, None, ("reflectance", "time_lag", "ring"))
    (labels,) = frame.sets
    assert labels.types == ("forklift", "pallet") and labels.legend() == "label (1 forklift, 1 pallet)"
    assert [each.legend() for each in frame.by_class(palette.LIGHT).sets] == [
        "label: forklift (1)",
        "label: pallet (1)",
    ]


class Street(Yard):
    """The same with velocities, of which one is not known."""

    def __getitem__(self, index: int) -> Frame:
        frame = super().__getitem__(index)
        assert frame.boxes is not None
        return replace(frame, boxes=frame.boxes.with_columns(velocity=[[4.0, -1.0], [np.nan, np.nan]]))


class Moves:
    """A detector of one box that refinement makes slower, step by step."""

    config = SimpleNamespace(points=SimpleNamespace(channels=("reflectance", "time_lag")), class_names=("forklift",))

    def __init__(self) -> None:
        self.path = np.zeros((4, 1, 9), np.float32) + np.array([10, 0, 0, 3, 1, 2, 0, 8, 0], np.float32)
        self.path[:, 0, 7] -= np.arange(4)

    def refinement_path(self, points: np.ndarray) -> RefinementPath:
        assert points.shape[1] == 5  # x, y, z and the channels that it was trained on
        boxes = Boxes(self.path[-1, :, :7], ["forklift"], [0.5], velocity=self.path[-1, :, 7:])
        return RefinementPath(boxes, self.path, np.zeros((4, 1)))


def test_velocities_become_arrows_before_and_after_refinement() -> None:
    frames = SceneFrames(Street(), range(2), run=Path("run"))
    frames.__dict__["_detector"] = detector = Moves()
    label, before, after = frames[0].sets
    np.testing.assert_array_equal(label.boxes[:, 7:], [[4, -1], [np.nan, np.nan]])
    arrows = [arrow_segments(each.boxes)[0] for each in (label, before, after)]
    np.testing.assert_allclose([tip[:2] for _, tip in arrows], [[-16, 2], [18, 0], [15, 0]])
    for step in range(4):
        (_, _, shown) = frames[0].at_step(step).sets
        np.testing.assert_array_equal(shown.boxes, detector.path[step])
        assert arrow_segments(shown.boxes)[0, 1, 0] == 18 - step
    assert frames.class_names == frames[0].class_names == ("forklift", "pallet")


def test_classes_are_the_run_s_where_the_frames_declare_none() -> None:
    class Bare(Street):
        class_names = ()

    frames = SceneFrames(Bare(), range(2), run=Path("run"))
    frames.__dict__["_detector"] = Moves()
    assert frames.class_names == ("forklift",)
    assert SceneFrames(Bare(), range(2))[0].class_names == ()


@pytest.mark.parametrize("seen", ["bev", "behind", "above"])
def test_sweeps_of_a_benchmark_s_folder_are_seen(
    public_a: NuscenesSet, tmp_path: Path, seen: str, request: pytest.FixtureRequest
) -> None:
    if seen != "bev":
        request.getfixturevalue("open3d")
    frames = open_frames([public_a.root])
    last = frames[len(frames) - 1]
    lags = last.points[:, 3 + last.channels.index("time_lag")]
    assert len(np.unique(lags)) > 1 and last.camera is None and len(last.class_names) == 10
    assert last.has_arrows()
    (path,) = write_pictures([last], tmp_path, seen=seen, color="time_lag", by_class=True)
    assert path.stat().st_size > 5000
