"""Sources that may be given to the evaluation, and messages on those that may not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.kitti.objects import pack_objects
from lidar_ebm.evaluation.result import Evaluation
from lidar_ebm.evaluation.scoring import evaluate
from lidar_ebm.formats.kitti.calibration import SIMULATED, SIMULATED_IMAGE_SIZE
from lidar_ebm.formats.kitti.conversion import boxes_to_labels, labels_to_boxes
from lidar_ebm.formats.kitti.files import read_labels, write_calibration, write_labels, write_points, write_split
from lidar_ebm.formats.kitti.label import Label
from tests.evaluation.kitti.random_frames import random_frames

BOXES = np.array([[12.0, 1.0, -1.0, 4.0, 1.6, 1.5, 0.3], [25.0, -4.0, -1.0, 4.2, 1.7, 1.5, 1.5]])


def figures(evaluation: Evaluation) -> list[float]:
    return [curve.ap() for curve in evaluation.curves]


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """Eight frames in KITTI's layout whose cars are all labelled and found, the results without 2-D boxes."""
    training = tmp_path / "training"
    generator = np.random.default_rng(0)
    for index in range(8):
        name = f"{index:06d}"
        boxes = BOXES + generator.normal(0, 0.05, BOXES.shape)
        items = boxes_to_labels(boxes, SIMULATED, types=["Car"] * 2, scores=[0.9, 0.8], image_size=SIMULATED_IMAGE_SIZE)
        items = [replace(item, truncated=0.0, occluded=0) for item in items]
        write_labels(training / "label_2" / f"{name}.txt", [replace(item, score=None) for item in items])
        flat = [replace(item, bbox=(-1, -1, -1, -1), alpha=-10) for item in items]
        write_labels(tmp_path / "results" / "data" / f"{name}.txt", flat)
        write_calibration(training / "calib" / f"{name}.txt", SIMULATED)
        kept = labels_to_boxes(read_labels(training / "label_2" / f"{name}.txt"), SIMULATED)
        inside = kept[:, None, :3] + generator.uniform(-0.5, 0.5, (2, 60, 3)) * 0.9 * kept[:, None, 5:6]
        points = np.column_stack((inside[:, : 60 - index].reshape(-1, 3), np.zeros(2 * (60 - index))))
        write_points(training / "velodyne" / f"{name}.bin", points.astype(np.float32))
    return tmp_path


def test_objects_labels_and_folders_agree(tmp_path: Path) -> None:
    labels, results = random_frames(8, 70)
    kept: list[list[list[Label]]] = [[], []]
    for index, frames in enumerate(zip(labels, results, strict=True)):
        for side, folder in enumerate(("label_2", "results")):
            path = tmp_path / folder / f"{index:06d}.txt"
            write_labels(path, frames[side])
            kept[side].append(read_labels(path))
    expected = figures(evaluate(tmp_path / "label_2", str(tmp_path / "results")))
    assert figures(evaluate(*kept)) == expected
    packed = pack_objects(kept[0], need_scores=False), pack_objects(kept[1], need_scores=True)
    assert figures(evaluate(*packed)) == expected


def test_results_without_2d_boxes_are_projected_where_asked(layout: Path) -> None:
    arguments = (layout / "training" / "label_2", layout / "results")
    plain = evaluate(*arguments, classes=("Car",))
    assert plain.ap("Car", "3d", "moderate") == 0.0  # KITTI ignores detections that are lower than 25 pixels
    assert "Car is not scored in 2d, aos: the results have no box for it" in plain.notes
    assert any(note.startswith("16 of 16 Car results have no 2-D box") for note in plain.notes)
    projected = evaluate(*arguments, classes=("Car",), project=True)
    assert "project: 16 results without a 2-D box: that of the 3-D box is taken" in projected.notes
    for metric in ("2d", "aos", "bev", "3d"):
        best = projected.curve("Car", metric, "moderate").best  # type: ignore[union-attr]
        assert best is not None
        assert (best.true_positives, best.false_positives, best.false_negatives) == (16, 0, 0)
    (layout / "training" / "calib").rename(layout / "calibrations")
    with pytest.raises(InputError, match=r"calib: no such folder"):
        evaluate(*arguments, project=True)
    elsewhere = evaluate(*arguments, classes=("Car",), project=True, calib=layout / "calibrations")
    assert figures(elsewhere) == figures(projected)


def test_lidar_only_counts_points(layout: Path) -> None:
    arguments = (layout / "training" / "label_2", layout / "results")
    evaluation = evaluate(*arguments, classes=("Car",), lidar_only=True)
    assert {curve.metric for curve in evaluation.curves} == {"bev", "3d"}
    assert any(note == "lidar_only: difficulty by distance and points in the box" for note in evaluation.notes)
    easy, moderate, _ = evaluation.curves[:3]
    assert (easy.label_count, moderate.label_count) == (16, 16)  # at least 53 points in each, within 30 m
    (layout / "training" / "velodyne").rename(layout / "clouds")
    without = evaluate(*arguments, classes=("Car",), lidar_only=True)
    assert any("distance alone" in note for note in without.notes)
    given = evaluate(*arguments, classes=("Car",), lidar_only=True, point_folder=layout / "clouds")
    assert figures(given) == figures(evaluation)


def test_label_files_without_results_are_mentioned(layout: Path) -> None:
    (layout / "results" / "data" / "000003.txt").unlink()
    arguments = (layout / "training" / "label_2", layout / "results")
    evaluation = evaluate(*arguments, lidar_only=True)
    assert evaluation.frame_count == 7
    assert evaluation.notes[0].startswith("1 label file without a result file: not scored")
    write_split(layout / "val.txt", ["000002", "000003"])
    of_split = evaluate(*arguments, lidar_only=True, split=layout / "val.txt")
    assert of_split.frame_count == 2
    assert of_split.notes[0].startswith("split: 1 frame without a result file")


def test_classes_of_ones_own_are_scored(tmp_path: Path) -> None:
    line = "Forklift 0.00 0 0.10 100.00 100.00 200.00 180.00 1.50 1.60 4.00 2.00 1.60 20.00 0.50"
    for folder, end in (("label_2", ""), ("results", " 0.9")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "000000.txt").write_text(line + end + "\n")
    arguments = (tmp_path / "label_2", tmp_path / "results")
    passed = evaluate(*arguments)
    assert "passed over: 1 forklift labels; 1 forklift results" in passed.notes
    assert passed.curves == ()
    with pytest.raises(InputError, match="no overlap for class Forklift"):
        evaluate(*arguments, classes=("Forklift",))
    assert evaluate(*arguments, classes=("forklift",), iou=0.5).ap("Forklift", "3d", "easy", recall="R11") > 0
    with pytest.raises(InputError, match=r"class 'Folklift': neither in the labels .* mean 'forklift'\?"):
        evaluate(*arguments, classes=("Forklift", "Folklift"), iou=0.5)
    (tmp_path / "label_2" / "000000.txt").write_text(line.replace("Forklift", "Forklif") + "\n")
    misspelt = evaluate(*arguments, classes=("forklift",), iou=0.5)
    assert "no label is a forklift, so every result of it is a false alarm" in misspelt.notes
    assert "the labels have no forklift, but 1 'forklif': are these meant?" in misspelt.notes


def test_other_names_leave_the_figures_as_they_are(tmp_path: Path) -> None:
    labels, results = random_frames(12, 71)
    for side, frames in (("label_2", labels), ("results", results)):
        for index, frame in enumerate(frames):
            write_labels(tmp_path / side / f"{index:06d}.txt", frame)
    expected = evaluate(tmp_path / "label_2", tmp_path / "results")
    for path in (tmp_path / "label_2").glob("*.txt"):
        path.write_text(
            "rider 0 0 0 5 5 9 99 1 1 1 5 1 9 0\n" + path.read_text() + "moped_scooter 0 0 0 5 5 9 99 1 1 1 5 1 9 0\n"
        )
    found = evaluate(tmp_path / "label_2", tmp_path / "results")
    assert figures(found) == figures(expected)
    assert found.notes == ("passed over: 12 rider, 12 moped_scooter labels", *expected.notes)


def test_labels_without_2d_boxes_are_said_and_projected(layout: Path) -> None:
    for path in (layout / "training" / "label_2").glob("*.txt"):
        flat = [replace(item, bbox=(0.0, 0.0, 0.0, 0.0), score=None) for item in read_labels(path)]
        write_labels(path, flat)
    arguments = (layout / "training" / "label_2", layout / "results")
    plain = evaluate(*arguments, classes=("Car",))
    assert any(note.startswith("16 of 16 Car labels have no 2-D box") for note in plain.notes)
    projected = evaluate(*arguments, classes=("Car",), project=True)
    assert "project: 16 labels without a 2-D box: that of the 3-D box is taken" in projected.notes
    best = projected.curve("Car", "3d", "moderate").best  # type: ignore[union-attr]
    assert best is not None
    assert (best.true_positives, best.false_positives, best.false_negatives) == (16, 0, 0)


def test_nothing_within_the_limits_is_said(layout: Path) -> None:
    for path in (layout / "training" / "label_2").glob("*.txt"):
        write_labels(path, [replace(item, occluded=3) for item in read_labels(path)])
    notes = evaluate(layout / "training" / "label_2", layout / "results", classes=("Car",)).notes
    assert "no Car label (of 16) is within the limits of any difficulty, so all figures of it are 0" in notes


def test_results_of_other_frames_are_refused(layout: Path) -> None:
    write_labels(layout / "training" / "label_2" / "000042.txt", [])
    with pytest.raises(InputError, match=r"none of the 1 frames to score has a result file here.*000000"):
        evaluate(layout / "training" / "label_2", layout / "results", split=["000042"])


def test_mixtures_are_refused(layout: Path) -> None:
    labels, results = layout / "training" / "label_2", [[]] * 8
    with pytest.raises(InputError, match="two folders, or both in memory"):
        evaluate(labels, results)
    with pytest.raises(InputError, match="are for folders"):
        evaluate(results, results, split=["000000"])
    with pytest.raises(InputError, match="calib is read with"):
        evaluate(labels, layout / "results", calib=layout)
    with pytest.raises(InputError, match="point_folder is read with"):
        evaluate(labels, layout / "results", point_folder=layout)
    with pytest.raises(InputError, match="names no frame"):
        evaluate(labels, layout / "results", split=[])
    with pytest.raises(InputError, match=r"nowhere: cannot be read \(No such file"):
        evaluate(layout / "nowhere", layout / "results")
