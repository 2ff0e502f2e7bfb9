"""Data without a camera: neither images nor calibrations, from the files to a trained and evaluated run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.config.config import Config
from lidar_ebm.datasets.collate import collate
from lidar_ebm.datasets.frames import Frames
from lidar_ebm.datasets.opening import open_data_set, open_samples
from lidar_ebm.datasets.preparation.label_database import load_label_database
from lidar_ebm.datasets.preparation.prepare import prepare
from lidar_ebm.errors import InputError
from lidar_ebm.formats import write_boxes
from lidar_ebm.formats.kitti.files import write_points, write_split
from lidar_ebm.geometry.boxes import points_in_boxes
from lidar_ebm.inference.detection import detect_batch
from lidar_ebm.runs.run import load_run
from lidar_ebm.workflows.evaluate import evaluate_run
from lidar_ebm.workflows.simulate import simulate
from lidar_ebm.workflows.train import train
from tests.cli.test_command import run as run_command
from tests.datasets.damage import write_png

CONFIG = Config()
GUIDE = Path(__file__).parents[3] / "docs" / "data_sets.md"


@pytest.fixture(scope="module")
def all_round(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Point clouds all around, labels without a 2-D box, and nothing else."""
    root = tmp_path_factory.mktemp("lidar") / "data"
    simulate(root, frames=3, seed=5, full=True, workers=1)
    shutil.rmtree(root / "training" / "calib")
    for path in (root / "training" / "label_2").iterdir():
        lines = [line.split() for line in path.read_text().splitlines() if not line.startswith("DontCare")]
        unknown = ["-1", "-1", "-10", "0", "0", "0", "0"]
        path.write_text("".join(" ".join([line[0], *unknown, *line[8:]]) + "\n" for line in lines))
    return root


def test_points_are_used_all_around(all_round: Path) -> None:
    dataset = open_samples(all_round, "trainval", CONFIG, cropped=False)
    assert isinstance(dataset.frames, Frames)
    assert dataset.frames.camera(0) is None
    assert dataset.frames.data_set.kind == "KITTI's layout, LiDAR alone"
    frame = dataset[0]
    raw = np.fromfile(all_round / "training" / "velodyne" / "000000.bin", "<f4").reshape(-1, 4)
    np.testing.assert_array_equal(frame.points, raw)
    assert (frame.points[:, 0] < -5).any()
    assert len(frame.boxes) > 0
    assert (points_in_boxes(frame.points, frame.boxes).sum(axis=0) > 0).mean() > 0.8


def test_from_the_files_to_a_run(all_round: Path, tiny_config: Config, tmp_path: Path) -> None:
    data = Path(shutil.copytree(all_round, tmp_path / "data"))
    raw = [open_samples(data, "train", CONFIG)[index] for index in range(2)]
    report = prepare(open_data_set(data), workers=1)
    assert report.kind == "KITTI's layout, LiDAR alone"
    assert not report.errors
    assert report.points_kept == report.points_read
    database = load_label_database(open_data_set(data))
    assert set(database.difficulty) > {"easy"}
    prepared = open_samples(data, "train", CONFIG)
    assert isinstance(prepared.frames, Frames) and prepared.frames.is_prepared(0)
    for index, frame in enumerate(raw):
        np.testing.assert_array_equal(prepared[index].points, frame.points)
        np.testing.assert_array_equal(prepared[index].boxes, frame.boxes)
    run = tmp_path / "run"
    train(tiny_config, data, run)
    found = evaluate_run(run, data, split="val", steps=1)
    assert "lidar_only: difficulty by distance and points in the box" in found.after.notes
    assert list((run / "evaluation" / "val" / "results_after" / "data").glob("*.txt"))
    assert len(detect_batch(load_run(run), collate([open_samples(data, "val", tiny_config)[0]])).after()) == 1


def test_a_single_missing_calibration_is_an_error(simulated: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(simulated, tmp_path / "data"))
    (data / "training" / "calib" / "000000.txt").unlink()
    assert [finding.place for finding in prepare(open_data_set(data), workers=1).errors] == [
        "training/calib/000000.txt"
    ]
    with pytest.raises(InputError, match=r"calib/000000\.txt"):
        open_samples(data, "trainval", CONFIG)


def test_images_without_calibrations_are_refused(all_round: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(all_round, tmp_path / "data"))
    write_png(data / "training" / "image_2" / "000000.png", 100, 50)
    for refused in (lambda: open_data_set(data), lambda: open_samples(data, "train", CONFIG)):
        with pytest.raises(InputError, match="calib: no such folder, though there are images"):
            refused()


def test_the_documented_conversion_makes_such_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = re.findall(r"^lidar-ebm (convert labels.json data/mine/training/label_2 .*)$", GUIDE.read_text(), re.M)
    monkeypatch.chdir(tmp_path)
    box = np.array([[12.0, 3.0, -0.9, 3.9, 1.6, 1.5, 0.4]])
    center = np.array([12.0, 3.0, -0.9, 0.5])
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (100, 4)) + center
    write_points(tmp_path / "data" / "mine" / "training" / "velodyne" / "000000.bin", points.astype(np.float32))
    write_boxes("labels.json", {"000000": Boxes(box, ["Car"])}, "boxes_json")
    assert run_command(*line.split()) == 0
    write_split(tmp_path / "data" / "mine" / "ImageSets" / "train.txt", ["000000"])
    report = prepare(open_data_set("data/mine"), workers=1)
    assert not report.errors
    (frame,) = open_samples("data/mine", "train", CONFIG)
    np.testing.assert_allclose(frame.boxes, box, atol=0.01)
    assert report.database == {"Car": (1, 0, 0, 0)}
