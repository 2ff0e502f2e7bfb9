"""Frames as the network takes them: classes by index, whatever their names and the data's kind."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.config.config import Config
from lidar_ebm.config.detector import ClassConfig
from lidar_ebm.config.loading import load_config
from lidar_ebm.datasets.frame import Frame, four_columns
from lidar_ebm.datasets.opening import open_data_set, open_samples
from lidar_ebm.datasets.preparation.prepare import prepare
from lidar_ebm.datasets.samples import SampleContent, Samples, index_by_name, sample_of, to_sample
from lidar_ebm.errors import InputError
from lidar_ebm.workflows.simulate import simulate

CLASSES = (
    ClassConfig(name="forklift", merge=("Reach truck", "stacker")),
    ClassConfig(name="Person", merge=()),
    ClassConfig(name="stapler", merge=()),
)
NAMES = ["FORKLIFT", "reach truck", "person", "pallet", "Stapler", "stacker"]


class Memory:
    """Frames in memory: the minimum that a source has to be."""

    root = Path("memory")
    split = "all"
    class_names = ("forklift",)

    def __init__(self, frames: list[Frame]) -> None:
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Frame:
        return self.frames[index]

    def name(self, index: int) -> str:
        return self.frames[index].name


def make_frame(channels: tuple[str, ...] = ("reflectance",), seed: int = 0) -> Frame:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-20, 20, (500, 3 + len(channels))).astype(np.float32)
    boxes = np.column_stack((rng.uniform(-15, 15, (len(NAMES), 3)), rng.uniform(1, 4, (len(NAMES), 4))))
    return Frame("a", points, channels, Boxes(boxes, NAMES))


def test_labels_count_whatever_their_case_and_those_of_no_class_are_others() -> None:
    sample = Samples(Memory([make_frame()]), CLASSES)[0]
    np.testing.assert_array_equal(sample.class_index, [0, 0, 1, 2, 0])
    frame = make_frame()
    assert frame.boxes is not None
    np.testing.assert_array_equal(sample.boxes, frame.boxes.boxes[[0, 1, 2, 4, 5]].astype(np.float32))
    np.testing.assert_array_equal(sample.others, frame.boxes.boxes[[3]].astype(np.float32))


def test_a_classs_own_name_goes_before_another_ones_merged_name() -> None:
    classes = (ClassConfig(name="a", merge=("B", "c")), ClassConfig(name="b", merge=("d",)))
    assert index_by_name(classes) == {"a": 0, "c": 0, "b": 1, "d": 1}


@pytest.mark.parametrize("channels", [(), ("reflectance",), ("ring", "reflectance"), ("elongation", "ring")])
def test_four_columns_are_those_by_name_and_0_where_there_is_none(channels: tuple[str, ...]) -> None:
    frame = make_frame(channels)
    expected = frame.channel("reflectance")
    for points in (four_columns(frame.points, channels), Samples(Memory([frame]), CLASSES)[0].points):
        assert points.shape == (500, 4)
        assert points.dtype == np.float32
        np.testing.assert_array_equal(points[:, :3], frame.points[:, :3])
        np.testing.assert_array_equal(points[:, 3], expected)
    assert ("reflectance" in channels) == bool(expected.any())


def test_points_that_do_not_have_their_channels_are_refused() -> None:
    with pytest.raises(InputError, match=r"frame a: points have shape \[5, 4\].*ring.*\[N, 5\]"):
        Frame("a", np.zeros((5, 4), np.float32), ("reflectance", "ring"))
    with pytest.raises(InputError, match=r"\(none\) make \[N, 3\]"):
        Frame("a", np.zeros((4, 100), np.float32), ())


@pytest.mark.parametrize("bounds", [(-10, -10, -10, 10, 10, 10), (0, 0, 0, 1, 1, 1), None])
def test_only_what_lies_within_the_bounds_is_there(bounds: tuple[float, ...] | None) -> None:
    frame = make_frame(seed=3)
    sample = Samples(Memory([frame]), CLASSES, bounds)[0]
    whole = to_sample("a", frame.points, frame.channels, frame.boxes or Boxes.empty(), index_by_name(CLASSES))
    for key in ("points", "boxes", "others"):
        rows = getattr(whole, key)
        if bounds is not None:
            low, high = np.split(np.array(bounds, np.float32), 2)
            rows = rows[((rows[:, :3] >= low) & (rows[:, :3] < high)).all(axis=1)]
        np.testing.assert_array_equal(getattr(sample, key), rows)
    if bounds is not None:
        again = sample_of(frame, CLASSES, bounds)
        for key in ("points", "boxes", "class_index", "others"):
            np.testing.assert_array_equal(getattr(sample, key), getattr(again, key))


def test_a_frame_without_labels_has_no_boxes() -> None:
    frame = make_frame()
    sample = Samples(Memory([Frame("b", frame.points)]), CLASSES)[0]
    assert sample.boxes.shape == sample.others.shape == (0, 7)
    assert sample.class_index.shape == (0,)
    assert sample.frame_id == "b"


def test_the_cache_reads_once() -> None:
    frames = Memory([make_frame()])
    kept, fresh = Samples(frames, CLASSES, cache=True), Samples(frames, CLASSES)
    assert kept[0] is kept[0]
    assert fresh[0] is not fresh[0]
    assert kept.name(0) == "a"
    assert kept.split_path == Path("memory")


@pytest.mark.parametrize("layout", ["kitti", "folder"])
@pytest.mark.parametrize("with_labels", [True, False])
def test_prepared_samples_are_those_of_the_files(tmp_path: Path, layout: str, with_labels: bool) -> None:
    simulate(tmp_path, frames=3, seed=6, workers=1, layout=layout, names={"Car": "forklift"})
    config = Config().model_copy(update={"classes": (ClassConfig(name="Forklift", merge=("Van",)),)})
    raw = open_samples(tmp_path, "train", config, with_labels=with_labels)
    before = [raw[index] for index in range(len(raw))]
    assert any(len(sample.boxes) for sample in before) == with_labels
    prepare(open_data_set(tmp_path), workers=1)
    after = open_samples(open_data_set(tmp_path), "train", config, with_labels=with_labels)
    for index, sample in enumerate(before):
        for key in ("points", "boxes", "class_index", "others"):
            np.testing.assert_array_equal(getattr(after[index], key), getattr(sample, key))


def test_labels_of_classes_of_ones_own_are_trained_on_by_name(simulated: Path, tmp_path: Path) -> None:
    """The same objects by another name are the same samples."""
    renamed = Path(shutil.copytree(simulated, tmp_path / "data"))
    for path in (renamed / "training" / "label_2").iterdir():
        path.write_text(path.read_text().replace("Car ", "forklift-2 "))
    config = load_config(None, ["classes=[{name: Car}]"])
    own = load_config(None, ["classes=[{name: forklift-2}]"])
    for index in range(4):
        one, other = open_samples(simulated, "train", config)[index], open_samples(renamed, "train", own)[index]
        for key in ("points", "boxes", "class_index", "others"):
            np.testing.assert_array_equal(getattr(one, key), getattr(other, key))


def test_newest_sweeps_and_wanted_channels_alone() -> None:
    rng = np.random.default_rng(0)
    lag = np.repeat(np.float32([0.0, 0.05, 0.1]), 4)
    points = np.column_stack((rng.normal(size=(12, 3)), rng.random(12), lag, np.arange(12))).astype(np.float32)
    boxes = Boxes(np.tile([1, 2, 0, 4, 2, 1.5, 0], (2, 1)), ["Car", "tree"], velocity=[[1, 2], [3, 4]])
    content = SampleContent(("reflectance", "time_lag"), 2, True)
    sample = to_sample("a", points, ("reflectance", "time_lag", "ring"), boxes, {"car": 0}, content)
    np.testing.assert_array_equal(sample.points, points[:8, :5])
    np.testing.assert_array_equal(sample.boxes, np.float32([[1, 2, 0, 4, 2, 1.5, 0, 1, 2]]))
    assert sample.others.shape == (1, 7)
    # In any order of the points, and where there is one sweep alone.
    turned = to_sample("a", points[::-1], ("reflectance", "time_lag", "ring"), boxes, {"car": 0}, content)
    np.testing.assert_array_equal(turned.points, points[7::-1, :5])
    plain = to_sample("a", points[:, :4], ("reflectance",), boxes.with_columns(velocity=None), {"car": 0}, content)
    assert not plain.points[:, 4].any()
    assert np.isnan(plain.boxes[:, 7:]).all()


def test_a_channel_that_points_lack_is_an_error_with_the_frame() -> None:
    with pytest.raises(InputError, match=r"frame a: points have no channel 'ring'; they have reflectance"):
        content = SampleContent(("reflectance", "ring"))
        to_sample("a", np.zeros((3, 4), np.float32), ("reflectance",), Boxes.empty(), {}, content)


def test_labels_with_too_few_points_take_up_room_and_are_not_learnt_from() -> None:
    rows = np.tile([1, 2, 0, 4, 2, 1.5, 0], (3, 1))
    boxes = Boxes(rows, ["Car"] * 3, points=[0, 1, -1])
    points = np.zeros((1, 4), np.float32)
    sample = to_sample("a", points, ("reflectance",), boxes, {"car": 0}, SampleContent(minimum_points=1))
    assert (len(sample.boxes), len(sample.others)) == (2, 1)  # of the last nobody counted the points
    uncounted = boxes.with_columns(points=None)
    assert (
        len(to_sample("a", points, ("reflectance",), uncounted, {"car": 0}, SampleContent(minimum_points=9)).boxes) == 3
    )
