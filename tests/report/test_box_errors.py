"""Labels beside what was found there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.datasets.opening import open_source
from lidar_ebm.errors import InputError
from lidar_ebm.report.box_errors import BoxErrors, ComparedFrame, find_errors
from lidar_ebm.report.pictures import plot_errors


def moved(labels: Boxes, forward: float) -> Boxes:
    """The labels as detections, moved along x; the nearest label is not detected."""
    order = np.argsort(labels.boxes[:, 0])[1:]
    boxes = labels.boxes[order] + np.eye(7)[0] * forward
    return Boxes(boxes, labels.names[order], 0.9 - 0.01 * np.arange(len(order)))


def compared(simulated: Path, before: float, after: float) -> list[ComparedFrame]:
    """The training frames' cars, and detections so far from them before and after refinement."""
    frames = []
    source = open_source(simulated, "train")
    for index in range(len(source)):
        frame, labels = source[index], source.labels(index).of_class("Car")
        detections = [moved(labels, forward) for forward in (before, after)]
        frames.append(ComparedFrame(index, frame.name, frame.points, labels, detections[0], detections[1]))
    return frames


def test_labels_meet_their_own_detections(simulated: Path) -> None:
    frames = compared(simulated, 0.4, 0.0)
    errors = find_errors(frames, lambda _: 0.7)
    assert len(errors) == sum(len(frame.labels) for frame in frames)
    met = errors.row >= 0
    assert (~met).sum() == sum(len(frame.labels) > 0 for frame in frames)  # the nearest of each frame
    assert np.allclose(errors.after[met], 1.0, atol=1e-3)
    assert ((errors.before[met] > 0.3) & (errors.before[met] < 0.95)).all()
    assert np.isnan(errors.score[~met]).all()
    assert (errors.after[~met] == 0).all()
    assert np.allclose(errors.distance, np.hypot(errors.box[:, 0], errors.box[:, 1]))
    assert errors.occlusion.tolist() == [
        value for frame in frames if frame.labels.occluded is not None for value in frame.labels.occluded.tolist()
    ]


def test_other_detections_are_refused(simulated: Path) -> None:
    frames = compared(simulated, 0.0, 0.0)
    crowded = max(range(len(frames)), key=lambda k: len(frames[k].after))
    frames[crowded] = replace(frames[crowded], after=frames[crowded].after.select(slice(1, None)))
    with pytest.raises(InputError, match=rf"frame {frames[crowded].name}.*Evaluate"):
        find_errors(frames, lambda _: 0.7)


def test_without_occlusion_errors_are_by_class(tmp_path: Path) -> None:
    labels = Boxes([[10, 0, 0, 4, 2, 1.5, 0.0], [20, 0, 0, 1, 1, 1, 0.0]], ["forklift", "pallet"])
    frame = ComparedFrame(0, "a", np.zeros((0, 4), np.float32), labels, moved(labels, 0.1), moved(labels, 0.0))
    errors = find_errors([frame], lambda _: 0.5)
    assert errors.name.tolist() == ["forklift", "pallet"] and np.isnan(errors.occlusion).all()
    assert plot_errors(errors, tmp_path / "errors.png").stat().st_size > 1000


def test_the_most_improved_and_the_worst() -> None:
    after, before = np.array([0.9, 0.6, 0.65, 0.0, 0.7005]), np.array([0.3, 0.5, 0.65, 0.0, 0.70])
    count = len(after)
    found = BoxErrors(
        frame=np.zeros(count, int),
        row=np.array([0, 1, 2, -1, 3]),
        name=np.full(count, "Car"),
        box=np.zeros((count, 7)),
        score=np.array([0.9, 0.3, 0.8, np.nan, 0.5]),
        before=before,
        after=after,
        needed=np.full(count, 0.7),
        distance=np.zeros(count),
        points=np.zeros(count, int),
        occlusion=np.zeros(count, int),
    )
    assert found.improved(3) == [0, 1]  # the last one gained less than a hundredth
    assert found.worst(3) == [2, 1]  # the surest first; what was not found at all has no box to be shown
