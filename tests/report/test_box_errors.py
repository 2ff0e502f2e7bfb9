"""Labels beside what was found there."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.datasets.samples import Samples
from lidar_ebm.config.config import Config
from lidar_ebm.datasets.opening import open_samples
from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.files import write_labels
from lidar_ebm.report.box_errors import BoxErrors, find_errors


def write_moved(frames: Samples, folder: Path, forward: float) -> Path:
    """Result files that hold the labels, moved along the camera's axis; the nearest label is not found."""
    for index in range(len(frames)):
        cars = [label for label in frames.labels(index) if label.type == "Car"]
        cars.sort(key=lambda label: label.location[2])
        moved = [
            replace(label, location=(*label.location[:2], label.location[2] + forward), score=0.9 - 0.1 * k)
            for k, label in enumerate(cars[1:])
        ]
        write_labels(folder / f"{frames.frame_id(index)}.txt", moved)
    return folder


def test_labels_meet_their_own_detections(simulated: Path, tiny_config: Config, tmp_path: Path) -> None:
    frames = open_samples(simulated, "train", tiny_config)
    before = write_moved(frames, tmp_path / "before", 0.4)
    after = write_moved(frames, tmp_path / "after", 0.0)
    found = find_errors(frames, before, after, class_names=["Car"], most=100)
    cars = [[label for label in frames.labels(k) if label.type == "Car"] for k in range(len(frames))]
    assert len(found) == sum(map(len, cars))
    met = found.row >= 0
    assert (~met).sum() == sum(bool(each) for each in cars)  # the nearest of each frame
    assert np.allclose(found.after[met], 1.0, atol=1e-3)
    assert ((found.before[met] > 0.3) & (found.before[met] < 0.95)).all()
    assert np.isnan(found.score[~met]).all()
    assert (found.after[~met] == 0).all()
    assert np.allclose(found.distance, np.hypot(found.box[:, 0], found.box[:, 1]))
    assert found.occlusion.tolist() == [label.occluded for each in cars for label in each]


def test_some_frames_stand_for_all(simulated: Path, tiny_config: Config, tmp_path: Path) -> None:
    frames = open_samples(simulated, "train", tiny_config)
    folder = write_moved(frames, tmp_path / "found", 0.0)
    found = find_errors(frames, folder, folder, class_names=["Car"], most=2)
    assert set(found.frame) <= {0, len(frames) - 1}


def test_other_detections_are_refused(simulated: Path, tiny_config: Config, tmp_path: Path) -> None:
    frames = open_samples(simulated, "train", tiny_config)
    before = write_moved(frames, tmp_path / "before", 0.0)
    after = Path(shutil.copytree(before, tmp_path / "after"))
    crowded = max(after.glob("*.txt"), key=lambda path: len(path.read_text()))
    crowded.write_text("".join(crowded.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(InputError, match=rf"{crowded.name}.*Evaluate"):
        find_errors(frames, before, after, class_names=["Car"], most=100)


def test_the_most_improved_and_the_worst() -> None:
    after, before = np.array([0.9, 0.6, 0.65, 0.0, 0.7005]), np.array([0.3, 0.5, 0.65, 0.0, 0.70])
    count = len(after)
    found = BoxErrors(
        frame=np.zeros(count, int),
        row=np.array([0, 1, 2, -1, 3]),
        box=np.zeros((count, 7)),
        score=np.array([0.9, 0.3, 0.8, np.nan, 0.5]),
        before=before,
        after=after,
        needed=np.full(count, 0.7),
        distance=np.zeros(count),
        points=np.zeros(count, int),
        occlusion=np.zeros(count, int),
    )
    assert found.most_improved(3) == [0, 1]  # the last one gained less than a hundredth
    assert found.worst(3) == [2, 1]  # the surest first; what was not found at all has no box to be shown
