from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lidar_ebm.config.config import Config
from lidar_ebm.config.loading import save_config
from lidar_ebm.datasets.frames import Frames
from lidar_ebm.datasets.kitti.data_set import KittiDataSet
from lidar_ebm.datasets.opening import open_samples
from lidar_ebm.detector.detector import Detector
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.scoring import evaluate
from lidar_ebm.formats.kitti.conversion import labels_to_boxes
from lidar_ebm.formats.kitti.files import (
    read_calibration,
    read_labels,
    read_points,
    write_labels,
    write_points,
    write_split,
)
from lidar_ebm.formats.text_lists import read_names
from lidar_ebm.runs.model import Model
from lidar_ebm.runs.run import load_run, save_weights
from lidar_ebm.runs.temperature import weights_digest
from lidar_ebm.system.processes import Group
from lidar_ebm.workflows.evaluate import evaluate_run
from lidar_ebm.workflows.plot import plot_run
from lidar_ebm.workflows.scoring import SplitScoring
from lidar_ebm.workflows.validate import Validation
from tests.cli.test_command import run as command
from tests.inference.test_predict import assert_same_predictions

METRICS = "step,epoch,stage,loss,anchor_box\n10,0,detector,2.0,1.0\n20,1,detector,1.0,0.5\n"


def make_run(config: Config, folder: Path) -> Path:
    """A run that has learnt nothing."""
    save_config(config, folder / "config.yaml")
    save_weights(Model(config), config, folder / "model.safetensors")
    (folder / "metrics.csv").write_text(METRICS)
    return folder


@pytest.fixture
def hollow(simulated: Path, tmp_path: Path) -> Path:
    """A data set whose last validation frame has no points and no labels."""
    data = tmp_path / "hollow"
    shutil.copytree(simulated, data)
    name = read_names(data / "ImageSets" / "val.txt")[-1]
    (data / "training" / "velodyne" / f"{name}.bin").write_bytes(b"")
    (data / "training" / "label_2" / f"{name}.txt").write_text("")
    return data


def test_empty_frames_are_evaluated_and_drawn(eager_config: Config, hollow: Path, tmp_path: Path) -> None:
    run = make_run(eager_config, tmp_path / "run")
    found = evaluate_run(run, hollow, steps=2, curve_steps=(1,))
    assert [len(items) > 0 for items in found.predictions.results[2]] == [True, False]
    assert found.after.frame_count == 2
    assert [steps for steps, iou, _ in found.refinement.against_steps if iou == 0.7] == [0, 1, 2]
    pictures = plot_run(run, data=hollow, frames=5)
    assert sum(path.name.startswith("frame_") for path in pictures) == 1  # only frames with labels are drawn


def test_a_detector_that_finds_nothing_is_zero_everywhere(tiny_config: Config, hollow: Path, tmp_path: Path) -> None:
    blind = tiny_config.model_copy(
        update={"detection": tiny_config.detection.model_copy(update={"score_threshold": 1.0})}
    )
    run = make_run(blind, tmp_path / "run")
    found = evaluate_run(run, hollow, steps=1)
    assert all(change.before == change.after == 0.0 for change in found.comparisons[0].changes)
    with (run / "evaluation" / "val" / "ap_against_steps.csv").open(newline="") as file:
        assert {float(row["ap"]) for row in csv.DictReader(file)} == {0.0}
    assert all(path.exists() for path in plot_run(run, data=hollow))


def test_labels_without_2d_boxes_are_scored_by_distance_and_points(
    tiny_config: Config, simulated: Path, tmp_path: Path
) -> None:
    data = tmp_path / "flat"
    shutil.copytree(simulated, data)
    for path in (data / "training" / "label_2").glob("*.txt"):
        write_labels(path, [replace(item, bbox=(0.0, 0.0, 0.0, 0.0)) for item in read_labels(path)])
    run = make_run(tiny_config, tmp_path / "run")
    found = evaluate_run(run, data, steps=1)
    assert "labels have no 2-D box, so difficulty is by distance and points" in found.after.notes[0]
    samples = open_samples(data, "val", tiny_config)
    assert isinstance(samples.frames, Frames)
    labels = SplitScoring.of(samples.frames, tiny_config.class_names).labels
    assert labels.points is not None
    assert labels.points.max() > 5
    with pytest.warns(UserWarning, match="validation: .* have no 2-D box"):
        Validation(samples)(Model(tiny_config), Group())
    shown = evaluate_run(run, simulated, steps=1).after
    assert not any("2-D box, so" in note for note in shown.notes)


def test_rules_and_headline_are_of_one_protocol_without_a_camera_too(
    tiny_config: Config, simulated: Path, tmp_path: Path
) -> None:
    data = tmp_path / "lidar"
    shutil.copytree(simulated, data, ignore=shutil.ignore_patterns("calib", "image_2", "prepared"))
    samples = open_samples(data, "val", tiny_config)
    assert isinstance(samples.frames, Frames)
    scoring = SplitScoring.of(samples.frames, tiny_config.class_names)
    own = {name: samples.frames.data_set.labels(name).of_class("Car") for name in samples.frames.names}
    generator = np.random.default_rng(0)
    perfect = {name: boxes.with_columns(scores=generator.random(len(boxes))) for name, boxes in own.items()}
    evaluation = scoring.score(perfect)
    assert evaluation.protocol == scoring.facts
    assert scoring.facts.headline in {curve.difficulty for curve in evaluation.curves}
    assert evaluation.ap("Car", "3d", scoring.facts.headline) > 10  # six labels fill six of forty recalls


def test_labels_outside_the_range_are_told(
    tiny_config: Config, simulated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tiny_config, tmp_path / "run")
    (note,) = (note for note in evaluate_run(run, simulated, steps=0).after.notes if "outside" in note)
    centers = []
    for name in read_names(simulated / "ImageSets" / "val.txt"):
        training = simulated / "training"
        labels = [item for item in read_labels(training / "label_2" / f"{name}.txt") if item.type == "Car"]
        calibration = read_calibration(training / "calib" / f"{name}.txt")
        centers += [box[:3] for box in labels_to_boxes(labels, calibration)]
    low, high = np.split(np.array(tiny_config.voxels.range), 2)
    outside = sum(not bool(np.all((center >= low) & (center < high))) for center in centers)
    assert 0 < outside < len(centers)
    assert note.startswith(f"{outside} of {len(centers)} labels of Car lie outside voxels.range (x from ")
    assert command("evaluate", run, "--data", simulated, "--steps", 0) == 0
    assert f"{outside} of {len(centers)} labels of Car lie outside" in " ".join(capsys.readouterr().out.split())

    wide = tiny_config.voxels.model_copy(update={"range": (0.0, -80.0, -5.0, 160.0, 80.0, 5.0)})
    far = make_run(tiny_config.model_copy(update={"voxels": wide}), tmp_path / "far")
    assert not any("outside" in note for note in evaluate_run(far, simulated, steps=0).after.notes)


def test_frames_that_lose_all_of_their_points_are_told(
    tiny_config: Config, simulated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tiny_config, tmp_path / "run")
    names = read_names(simulated / "ImageSets" / "val.txt")

    def notes(folder: Path) -> list[str]:
        found = evaluate_run(run, folder, steps=0)
        samples = open_samples(folder, "val", tiny_config)
        assert found.predictions.point_counts == tuple(len(samples[i].points) for i in range(len(samples)))
        return [note for note in found.after.notes if "no point" in note]

    assert notes(simulated) == []
    views, ranges, empty = (Path(shutil.copytree(simulated, tmp_path / kind)) for kind in ("view", "range", "empty"))
    behind = read_points(views / "training" / "velodyne" / f"{names[1]}.bin") * np.array([-1, 1, 1, 1], np.float32)
    write_points(views / "training" / "velodyne" / f"{names[1]}.bin", behind)
    (note,) = notes(views)
    assert note.startswith(
        f"1 of {len(names)} frames have no point in the camera's view ({names[1]} the first of them)"
    )
    assert command("evaluate", run, "--data", views, "--steps", 0) == 0
    assert "no point in the camera's view" in " ".join(capsys.readouterr().out.split())

    shutil.rmtree(ranges / "training" / "calib")  # without a camera, nothing but the range crops
    for name in names:
        path = ranges / "training" / "velodyne" / f"{name}.bin"
        write_points(path, read_points(path) - np.array([300, 0, 0, 0], np.float32))
    (note,) = notes(ranges)
    assert note.startswith(f"{len(names)} of {len(names)} frames have no point in voxels.range ({names[0]} the first")
    clouds = np.concatenate([read_points(ranges / "training" / "velodyne" / f"{name}.bin") for name in names])
    low, high = clouds[:, 0].min(), clouds[:, 0].max()
    assert f"their points go from x {low:.1f} to {high:.1f} m, the range from 0 to 40 m" in note
    assert command("prepare", ranges, "--workers", 1) == 0
    assert notes(ranges) == [note]

    (empty / "training" / "velodyne" / f"{names[0]}.bin").write_bytes(b"")  # has none to lose
    assert notes(empty) == []


def test_frames_are_read_from_where_they_were_prepared(
    eager_config: Config, simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, away = make_run(eager_config, tmp_path / "run"), tmp_path / "away"
    plain = evaluate_run(run, simulated, steps=1)
    assert command("prepare", simulated, "--prepared", away, "--workers", 1) == 0
    assert not (simulated / "prepared").exists()

    def unprepared(*_: object, **__: object) -> None:
        raise AssertionError("a frame was read from its own files")

    monkeypatch.setattr(KittiDataSet, "read", unprepared)
    assert_same_predictions(evaluate_run(run, simulated, prepared=away, steps=1).predictions, plain.predictions)
    assert command("evaluate", run, "--data", simulated, "--prepared", away, "--steps", 1) == 0
    assert command("calibrate", run, "--data", simulated, "--prepared", away, "--steps", 0, "--iou", 0.02) == 0


def test_pictures_of_a_split_that_was_not_evaluated_are_refused(
    tiny_config: Config, simulated: Path, tmp_path: Path
) -> None:
    run = make_run(tiny_config, tmp_path / "run")
    with pytest.raises(InputError, match="lidar-ebm evaluate"):
        plot_run(run, data=simulated)


def every_file(folder: Path) -> dict[str, bytes]:
    """Content of all files in a folder but that which says when they were made, by their names in it."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "about.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


# Evaluates until its sixth frame, for which it waits for ever: the second batch is never done.
KILLED = """
import sys, threading
from lidar_ebm.datasets.samples import Samples
from lidar_ebm.workflows.evaluate import evaluate_run

read = Samples.__getitem__
Samples.__getitem__ = lambda self, index: threading.Event().wait() if index == 5 else read(self, index)
evaluate_run(sys.argv[1], sys.argv[2], split="six", steps=2)
"""


def test_a_killed_evaluation_goes_on_to_the_same_files(
    eager_config: Config, simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    shutil.copytree(simulated, data)
    write_split(data / "ImageSets" / "six.txt", [f"{index:06d}" for index in range(6)])
    run = make_run(eager_config, tmp_path / "run")
    folder = run / "evaluation" / "six"
    undisturbed = evaluate_run(run, data, split="six", steps=2)
    files = every_file(folder)
    shutil.rmtree(folder)

    # With other threads sums are added in another order, and digits differ.
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(run), str(data)], env=environment)
    while not list(folder.glob("partial/*.safetensors")):
        assert child.poll() is None
        time.sleep(0.05)
    child.kill()
    child.wait()
    assert set(every_file(folder)) == {str(path.relative_to(folder)) for path in folder.glob("partial/*.safetensors")}

    seen: list[tuple[str, ...]] = []
    encode = Detector.encode
    monkeypatch.setattr(Detector, "encode", lambda self, batch: (seen.append(batch.frame_ids), encode(self, batch))[1])
    found = evaluate_run(run, data, split="six", steps=2)
    assert seen == [("000004", "000005")]  # the rest was there
    assert_same_predictions(found.predictions, undisturbed.predictions)
    assert every_file(folder) == files


def test_scoring_the_result_files_gives_the_evaluations_own_figures(
    eager_config: Config, simulated: Path, tmp_path: Path
) -> None:
    run = make_run(eager_config, tmp_path / "run")
    found = evaluate_run(run, simulated, steps=2, ious=(0.01, 0.02, 0.05))
    labels, folder = simulated / "training" / "label_2", run / "evaluation" / "val"
    for part, side in (("results_before", "before"), ("results_after", "after")):
        scored = evaluate(labels, folder / part, classes=("Car",), iou=(0.01, 0.02, 0.05), metrics=("3d", "bev"))
        for change in found.comparisons[0].changes:
            own = getattr(change, side)
            assert scored.ap("Car", change.metric, change.difficulty, change.iou) == pytest.approx(own, abs=1e-9)
    assert any(change.after > 0 for change in found.comparisons[0].changes)


def test_what_was_evaluated_is_recorded(eager_config: Config, simulated: Path, tmp_path: Path) -> None:
    run = make_run(eager_config, tmp_path / "run")
    evaluate_run(run, simulated, steps=2, curve_steps=(1,))
    about = json.loads((run / "evaluation" / "val" / "about.json").read_text())
    assert (about["data"], about["split"], about["frames"]) == (str(simulated.resolve()), "val", 2)
    assert (about["steps"], about["all_steps"]) == (2, [0, 1, 2])
    assert about["weights_sha256"] == weights_digest(load_run(run))
    assert about["environment"]["torch"] == torch.__version__
