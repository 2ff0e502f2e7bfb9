"""Boxes in memory score as the files that they would be written to."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.kitti.frame_boxes import FrameBoxes, pack_frame_boxes
from lidar_ebm.evaluation.scoring import evaluate
from lidar_ebm.formats.kitti.calibration import SIMULATED, SIMULATED_IMAGE_SIZE, Calibration
from lidar_ebm.formats.kitti.conversion import boxes_to_labels

TILTED = Calibration(
    p2=SIMULATED.p2,
    r0_rect=np.array([[math.cos(0.02), 0, math.sin(0.02)], [0, 1, 0], [-math.sin(0.02), 0, math.cos(0.02)]]),
    tr_velo_to_cam=np.array([[0.01, -1, 0, 0.1], [0, 0.02, -1, -0.08], [1, 0.01, 0.02, -0.27]]),
)


def random_boxes(generator: np.random.Generator, count: int) -> np.ndarray:
    """[N, 7] cars within sight, LiDAR frame."""
    low, high = (8, -10, -1.5, 3.5, 1.5, 1.4, -math.pi), (45, 10, -0.5, 4.5, 1.8, 1.7, math.pi)
    return generator.uniform(low, high, (count, 7))


def test_tensors_arrays_and_labels_score_alike() -> None:
    generator = np.random.default_rng(0)
    frames: dict[str, tuple[list, list]] = {"labels": ([], []), "arrays": ([], []), "tensors": ([], [])}
    for index in range(25):
        boxes = random_boxes(generator, index % 6)
        found = boxes + generator.normal(0, 0.05, boxes.shape)
        scores = generator.random(len(boxes))
        calibration = TILTED if index % 2 else None
        types = ["Car"] * len(boxes)
        for side, values, confidence in ((0, boxes, None), (1, found, scores)):
            written = boxes_to_labels(
                values, calibration or SIMULATED, types=types, scores=confidence, image_size=SIMULATED_IMAGE_SIZE
            )
            written = [replace(item, truncated=0.0, occluded=0) for item in written]
            frames["labels"][side].append(written)
            bbox = np.array([item.bbox for item in written]).reshape(-1, 4)
            alpha = [item.alpha for item in written]
            frame = FrameBoxes(values, types, confidence, bbox, alpha, calibration=calibration)
            frames["arrays"][side].append(frame)
            frames["tensors"][side].append(
                replace(
                    frame,
                    boxes=torch.tensor(values, requires_grad=True),
                    bbox=torch.tensor(bbox),
                    scores=None if confidence is None else torch.tensor(confidence),
                )
            )
    expected = evaluate(*frames["labels"], classes=("Car",))
    assert expected.ap("Car", "3d", "moderate") > 30.0
    for kind in ("arrays", "tensors"):
        evaluation = evaluate(*frames[kind], classes=("Car",))
        for curve, other in zip(evaluation.curves, expected.curves, strict=True):
            assert curve.precision == pytest.approx(other.precision, abs=1e-12)


def test_boxes_without_images_score_by_distance_and_points() -> None:
    boxes = np.array([[10, 0, -1, 4, 1.6, 1.5, 0.3], [20, 5, -1, 4, 1.6, 1.5, 0.0], [60, 0, -1, 4, 1.6, 1.5, 0.0]])
    labels = FrameBoxes(boxes, ["Car"] * 3, points=[100, 30, 6])
    found = FrameBoxes(torch.tensor(boxes, dtype=torch.float32), ["car"] * 3, scores=torch.ones(3))
    evaluation = evaluate([labels], [found], classes=("Car",), lidar_only=True)
    counts = [(curve.metric, curve.label_count, curve.true_positives.max()) for curve in evaluation.curves]
    assert counts == [(metric, count, count) for metric in ("bev", "3d") for count in (1, 2, 3)]

    by_distance = evaluate([replace(labels, points=None)], [found], classes=("Car",), lidar_only=True)
    assert [curve.label_count for curve in by_distance.curves] == [2, 2, 3] * 2


def test_what_does_not_fit_is_named() -> None:
    boxes = np.zeros((2, 7))
    with pytest.raises(InputError, match=r"frame 0: boxes: expected shape \[1, 7\].*got \[2, 7\]"):
        pack_frame_boxes([FrameBoxes(boxes, ["Car"])], need_scores=False)
    with pytest.raises(InputError, match=r"frame 1: scores: expected shape \[2\]"):
        pack_frame_boxes([FrameBoxes(boxes, ["Car"] * 2), FrameBoxes(boxes, ["Car"] * 2, [0.5])], need_scores=True)
    with pytest.raises(InputError, match="frame 0: object 1 has no score"):
        pack_frame_boxes([FrameBoxes(boxes, ["Car"] * 2)], need_scores=True)
    with pytest.raises(InputError, match="points: given for some frames only"):
        pack_frame_boxes(
            [FrameBoxes(boxes, ["Car"] * 2, points=[1, 2]), FrameBoxes(boxes, ["Car"] * 2)], need_scores=False
        )
    with pytest.raises(InputError, match="FrameBoxes for every frame"):
        evaluate([FrameBoxes(boxes, ["Car"] * 2), []], [[], []])  # type: ignore[list-item]
    assert pack_frame_boxes([FrameBoxes(np.zeros((0, 7)), [])] * 3, need_scores=True).frame_count == 3
