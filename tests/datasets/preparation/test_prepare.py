"""Preparing a data set: what is read from it is what its own files say, and nothing is done twice."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import lidar_ebm
from lidar_ebm.config.config import Config
from lidar_ebm.config.detector import ClassConfig
from lidar_ebm.datasets.kitti.layout import INPUTS
from lidar_ebm.datasets.opening import open_data_set, open_samples, open_source
from lidar_ebm.datasets.preparation.index import read_index
from lidar_ebm.datasets.preparation.prepare import prepare
from lidar_ebm.datasets.preparation.report import report_table, report_text
from lidar_ebm.datasets.preparation.tensor_files import FORMAT
from lidar_ebm.datasets.sample import Sample
from lidar_ebm.datasets.stamps import stamp
from lidar_ebm.errors import InputError
from lidar_ebm.workflows.simulate import simulate

CONFIG = Config(classes=(ClassConfig(merge=("Van",)), ClassConfig(name="Pedestrian", merge=("Person_sitting",))))


@pytest.fixture
def data(simulated: Path, tmp_path: Path) -> Path:
    root = tmp_path / "data"
    shutil.copytree(simulated, root)
    return root


def frames(root: Path, split: str = "trainval", **settings: bool) -> list[Sample]:
    dataset = open_samples(root, split, CONFIG, **settings)
    return [dataset[index] for index in range(len(dataset))]


def assert_same(first: list[Sample], second: list[Sample]) -> None:
    for one, other in zip(first, second, strict=True):
        assert one.frame_id == other.frame_id
        for key in ("points", "boxes", "class_index"):
            np.testing.assert_array_equal(getattr(one, key), getattr(other, key))
            assert getattr(one, key).dtype == getattr(other, key).dtype


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of change of every file."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("settings", [{}, {"cropped": False}, {"with_labels": False}])
def test_prepared_frames_are_those_of_the_files(data: Path, settings: dict[str, bool]) -> None:
    raw = frames(data, **settings)
    report = prepare(open_data_set(data), workers=1)
    assert (report.made, report.kept, report.failed, report.findings) == (6, 0, 0, ())
    assert all(open_source(data, "trainval").is_prepared(index) for index in range(6))
    assert_same(raw, frames(data, **settings))


def test_real_frames_are_cropped_to_their_own_image(kitti_frames: Path, tmp_path: Path) -> None:
    shutil.copytree(kitti_frames / "training", tmp_path / "training", copy_function=shutil.copyfile)
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets" / "trainval.txt").write_text((kitti_frames / "ImageSets" / "all.txt").read_text())
    raw = frames(tmp_path)
    report = prepare(open_data_set(tmp_path), workers=1, splits=["trainval"])
    assert not report.errors
    assert {finding.kind for finding in report.warnings} <= {"small point clouds", "missing images"}
    assert_same(raw, frames(tmp_path))
    assert report.points_kept < report.points_read / 4


@pytest.mark.parametrize(
    ("factor", "kind", "words"),
    [
        ([-1, -1, 1, 1], "no point in the camera's view", "are the calibration and the image's size this camera's"),
        ([np.nan, 1, 1, 1], "no finite point", "points is finite"),
    ],
)
def test_a_frame_that_loses_all_of_its_points_is_an_error(
    data: Path, factor: list[float], kind: str, words: str
) -> None:
    path = data / "training" / "velodyne" / "000001.bin"
    points = np.fromfile(path, "<f4").reshape(-1, 4)
    (points * np.array(factor, np.float32)).tofile(path)
    (data / "training" / "velodyne" / "000002.bin").write_bytes(b"")  # has none to lose
    report = prepare(open_data_set(data), workers=1)
    (finding,) = report.errors
    assert (finding.kind, finding.place, report.failed) == (kind, "training/velodyne/000001.bin", 1)
    assert f"none of {len(points)} points" in finding.message and words in finding.message
    with pytest.raises(InputError, match=r"000001\.bin: none of"):
        frames(data)


def test_the_index_says_who_wrote_it_and_what_of(data: Path) -> None:
    prepare(open_data_set(data), workers=1)
    index = read_index(data / "prepared", data)
    assert index.version == lidar_ebm.__version__
    assert sorted(index.frames) == [f"{number:06d}" for number in range(6)]
    record = index.frames["000002"]
    path = data / "training" / "velodyne" / "000002.bin"
    assert record.inputs[INPUTS.index("velodyne")] == stamp(path)
    assert record.inputs[INPUTS.index("image_2")] is None
    assert record.points_read == path.stat().st_size // 16
    lines = (data / "training" / "label_2" / "000002.txt").read_text().splitlines()
    assert sum(record.objects.values()) == len(lines)


def test_a_second_call_changes_nothing(data: Path) -> None:
    prepare(open_data_set(data), workers=1)
    before = contents(data / "prepared")
    reached: list[tuple[int, int]] = []
    report = prepare(open_data_set(data), workers=1, progress=lambda done, total: reached.append((done, total)))
    assert (report.made, report.kept) == (0, 6)
    assert contents(data / "prepared") == before
    assert reached[0] == (0, 6)
    assert reached[-1] == (6, 6)
    assert prepare(open_data_set(data), workers=1, force=True).made == 6


def test_only_what_was_changed_is_made_anew(data: Path) -> None:
    prepare(open_data_set(data), workers=1)
    before = contents(data / "prepared" / "frames")
    path = data / "training" / "velodyne" / "000001.bin"
    path.write_bytes(path.read_bytes()[: 16 * 9000])
    with pytest.warns(UserWarning, match=r"trainval\.txt: 1 of the 6 frames are not prepared.*lidar-ebm prepare"):
        raw = frames(data)
    report = prepare(open_data_set(data), workers=1)
    assert (report.made, report.kept) == (1, 5)
    after = contents(data / "prepared" / "frames")
    assert [name for name in after if after[name] != before[name]] == ["000001.safetensors"]
    assert_same(raw, frames(data))


def test_an_interrupted_call_is_gone_on_with(data: Path) -> None:
    raw = frames(data)

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(open_data_set(data), workers=1, progress=stop)
    with pytest.warns(UserWarning, match=r"index\.json: cannot be used \(No such file.*lidar-ebm prepare"):
        assert_same(raw, frames(data))
    report = prepare(open_data_set(data), workers=1)
    assert (report.made, report.kept) == (3, 3)
    assert_same(raw, frames(data))


def test_processes_make_the_same_and_a_killed_one_is_gone_on_with(tmp_path: Path) -> None:
    """In a process of its own, with two workers, killed as soon as the first frames are there."""
    root = tmp_path / "data"
    simulate(root, frames=24, seed=2, workers=1)
    script = f"""
from lidar_ebm.datasets.opening import open_data_set
from lidar_ebm.datasets.preparation.prepare import prepare
if __name__ == "__main__":
    prepare(open_data_set({str(root)!r}), workers=2)
"""
    (tmp_path / "run.py").write_text(script)
    # A group of its own, so that the workers are killed with it.
    process = subprocess.Popen([sys.executable, tmp_path / "run.py"], start_new_session=True)
    folder = root / "prepared" / "frames"
    while process.poll() is None and not list(folder.glob("*.safetensors")):
        time.sleep(0.001)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    first = prepare(open_data_set(root), workers=1)
    assert first.kept > 0
    assert first.kept + first.made == 24
    kept = contents(folder)
    shutil.rmtree(root / "prepared")
    assert prepare(open_data_set(root), workers=1).made == 24
    for name, (content, _) in contents(folder).items():
        assert kept[name][0] == content


def change_index(path: Path) -> None:
    path.write_text(path.read_text().replace(f'"format": {FORMAT}', '"format": 0'))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:500]),
        lambda path: path.write_bytes(b"\x93" * 100),
        lambda path: path.write_text("[]"),
        change_index,
    ],
)
def test_a_damaged_or_foreign_index_is_said_and_mended(data: Path, damage: object) -> None:
    raw = frames(data)
    prepare(open_data_set(data), workers=1)
    damage(data / "prepared" / "index.json")  # type: ignore[operator]
    with pytest.warns(UserWarning, match=r"index\.json: cannot be used.*lidar-ebm prepare"):
        assert_same(raw, frames(data))
    assert prepare(open_data_set(data), workers=1).kept == 6
    assert_same(raw, frames(data))


@pytest.mark.parametrize("at", [0, 4, 60, 700, 5000, -1, None])
def test_a_damaged_prepared_frame_is_never_used(data: Path, at: int | None) -> None:
    raw = frames(data)
    prepare(open_data_set(data), workers=1)
    path = data / "prepared" / "frames" / "000003.safetensors"
    content = bytearray(path.read_bytes())
    if at is None:
        del content[len(content) // 2 :]
    else:
        content[at] ^= 16
    path.write_bytes(content)
    try:
        assert_same(raw, frames(data))  # what is not read of it may be damaged
    except InputError as error:
        assert "000003.safetensors" in str(error)
        assert "lidar-ebm prepare" in str(error)
    assert prepare(open_data_set(data), workers=1).kept >= 5
    assert_same(raw, frames(data))


def test_a_prepared_frame_that_is_gone_is_read_from_its_own_files(data: Path) -> None:
    raw = frames(data)
    prepare(open_data_set(data), workers=1)
    (data / "prepared" / "frames" / "000003.safetensors").unlink()
    with pytest.warns(UserWarning, match="1 of the 6 frames are not prepared"):
        assert_same(raw, frames(data))


def test_without_a_preparation_nothing_is_said(data: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frames(data)


def test_errors_that_were_found_are_said_before_the_first_frame_is_read(data: Path) -> None:
    path = data / "training" / "label_2" / "000004.txt"
    path.write_text(path.read_text() + "Car 1 2 3\n\nBoat 1 2 3\n")
    report = prepare(open_data_set(data), workers=1)
    assert [finding.kind for finding in report.errors] == ["malformed label lines"] * 2
    number = len(path.read_text().splitlines())
    assert [finding.place for finding in report.errors] == [
        f"training/label_2/000004.txt:{number - 2}",
        f"training/label_2/000004.txt:{number}",
    ]
    split = "train" if "000004" in (data / "ImageSets" / "train.txt").read_text() else "val"
    with pytest.raises(InputError, match=rf"2 errors in files of its frames: .*000004\.txt:{number - 2}: 4 fields"):
        open_samples(data, split, CONFIG)
    with pytest.warns(UserWarning, match="1 of the"):
        open_samples(data, split, CONFIG, with_labels=False)
    path.write_text("")
    assert not prepare(open_data_set(data), workers=1).errors
    open_samples(data, split, CONFIG)


def test_all_that_is_wrong_is_in_one_report(data: Path) -> None:
    training = data / "training"
    (training / "velodyne" / "000000.bin").unlink()
    (training / "velodyne" / "000001.bin").write_bytes(b"123")
    (training / "calib" / "000001.txt").unlink()
    (training / "calib" / "000002.txt").write_text("P2: 1\n")
    (training / "label_2" / "000003.txt").write_text("Car\nVan\n")
    (data / "ImageSets" / "val.txt").write_text("000000\n000000\nwhat is this\n000004\n")
    report = prepare(open_data_set(data), workers=1)
    assert {(finding.kind, finding.place) for finding in report.errors} == {
        ("missing files in velodyne", "training/velodyne/000000.bin"),
        ("unreadable point clouds", "training/velodyne/000001.bin"),
        ("missing files in calib", "training/calib/000001.txt"),
        ("unusable calibrations", "training/calib/000002.txt"),
        ("malformed label lines", "training/label_2/000003.txt:1"),
        ("malformed label lines", "training/label_2/000003.txt:2"),
        ("frames named twice", "ImageSets/val.txt:2"),
        ("malformed split lines", "ImageSets/val.txt:3"),
    }
    text = (data / "prepared" / "report.txt").read_text()
    assert text == report_text(report)
    console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    console.print(report_table(report, shown=1))
    shown = console.export_text()
    for finding in report.errors:
        assert str(finding) in text
        assert finding.kind in shown
    assert "… and 1 more in" in shown
    assert (report.failed, report.made) == (4, 2)


def test_one_error_is_one(data: Path) -> None:
    def shown() -> str:
        console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
        console.print(report_table(prepare(open_data_set(data), workers=1)))
        return console.export_text()

    labels = data / "training" / "label_2" / "000003.txt"
    kept = labels.read_text()
    labels.write_text("Car\n")
    assert "1 error, 0 warnings." in shown()
    labels.write_text(kept)
    text = shown()
    assert "1 frame prepared, 5 already" in text
    assert "Nothing wrong was found." in text
    labels.write_text(kept.rstrip("\n"))  # no end of the last line
    assert "No errors, 1 warning." in shown()


def test_frames_in_two_splits_and_in_none_are_said(data: Path) -> None:
    (data / "ImageSets" / "trainval.txt").unlink()
    (data / "ImageSets" / "train.txt").write_text("000000\n000001\n")
    (data / "ImageSets" / "val.txt").write_text("000001\n")
    found = {(finding.kind, finding.place) for finding in prepare(open_data_set(data), workers=1).warnings}
    assert ("frames in two splits", "ImageSets/val.txt") in found
    assert ("files that no split names", "training/velodyne") in found


def test_kittis_own_test_split_is_left_out_unless_it_is_named(data: Path) -> None:
    (data / "ImageSets" / "test.txt").write_text("000000\n007000\n")
    report = prepare(open_data_set(data), workers=1)
    assert [finding.kind for finding in report.findings] == ["splits left out"]
    assert "test" not in report.splits
    report = prepare(open_data_set(data), workers=1, splits=["test"])
    assert report.splits == {"test": 2}
    assert [finding.place for finding in report.errors if finding.kind == "missing files in velodyne"] == [
        "training/velodyne/007000.bin"
    ]


def test_one_split_alone_leaves_the_others_as_they_are(data: Path) -> None:
    raw = frames(data)
    prepare(open_data_set(data), workers=1)
    report = prepare(open_data_set(data), workers=1, splits=["val"], force=True)
    assert report.made == 2
    assert_same(raw, frames(data))
    assert len(read_index(data / "prepared", data).frames) == 6


def test_without_splits_every_point_cloud_is_prepared(data: Path) -> None:
    shutil.rmtree(data / "ImageSets")
    report = prepare(open_data_set(data), workers=1)
    assert report.made == 6
    assert [finding.kind for finding in report.errors] == ["missing splits"]


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no data set: neither a dataset\.yaml nor KITTI"):
        open_data_set(tmp_path)
    (tmp_path / "training").mkdir()
    with pytest.raises(InputError, match="workers is 0"):
        prepare(open_data_set(tmp_path), workers=0)
    with pytest.raises(InputError, match=r"missing: no such folder"):
        prepare(open_data_set(tmp_path / "missing"))
    assert not (tmp_path / "missing").exists()


def test_a_data_set_may_be_sent_to_a_worker(data: Path) -> None:
    prepare(open_data_set(data), workers=1)
    dataset = open_samples(data, "train", CONFIG)
    assert_same([pickle.loads(pickle.dumps(dataset))[1]], [dataset[1]])
