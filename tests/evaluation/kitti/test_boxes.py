"""`Boxes` with a camera score as the label files that they came from."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.evaluation import evaluate
from lidar_ebm.evaluation.kitti.boxes import to_kitti_boxes
from lidar_ebm.formats.kitti.calibration import SIMULATED, Calibration
from lidar_ebm.formats.kitti.conversion import boxes_to_camera, boxes_to_labels, labels_to_boxes
from lidar_ebm.formats.kitti.label import Label
from tests.evaluation.kitti.random_frames import random_frames

TILTED = Calibration(
    p2=SIMULATED.p2,
    r0_rect=np.array([[math.cos(0.02), 0, math.sin(0.02)], [0, 1, 0], [-math.sin(0.02), 0, math.cos(0.02)]]),
    tr_velo_to_cam=np.array([[0.01, -1, 0, 0.1], [0, 0.02, -1, -0.08], [1, 0.01, 0.02, -0.27]]),
)


def as_boxes(labels: list[Label], calibration: Calibration) -> Boxes:
    """Labels with all that their lines say; those without a box in space have NaN for one."""
    boxes = labels_to_boxes(labels, calibration)
    boxes[[item.location == (-1000.0,) * 3 or item.dimensions == (-1.0,) * 3 for item in labels]] = np.nan
    return Boxes(
        boxes,
        [item.type for item in labels],
        None if all(item.score is None for item in labels) else [item.score for item in labels],
        image_rectangle=np.array([item.bbox for item in labels]).reshape(-1, 4),
        alpha=[item.alpha for item in labels],
        truncated=[item.truncated for item in labels],
        occluded=[item.occluded for item in labels],
    )


def test_boxes_score_as_their_lines_do() -> None:
    labels, results = random_frames(40, 90)
    calibrations = [TILTED if index % 2 else SIMULATED for index in range(40)]
    expected = evaluate(labels, results, iou={"Car": (0.5, 0.7), "Pedestrian": 0.5, "Cyclist": 0.25})
    cameras = [each.camera((1242, 375)) for each in calibrations]
    sides = [[as_boxes(*pair) for pair in zip(side, calibrations, strict=True)] for side in (labels, results)]
    sides[1] = [side if side.scores is not None else Boxes.empty(scores=True) for side in sides[1]]
    options = {"iou": {"Car": (0.5, 0.7), "Pedestrian": 0.5, "Cyclist": 0.25}, "cameras": cameras}
    found = evaluate(*sides, **options)
    assert found.protocol.name == "kitti"
    assert len(found.curves) == len(expected.curves) > 20
    for curve, other in zip(found.curves, expected.curves, strict=True):
        assert (curve.class_name, curve.metric, curve.difficulty) == (other.class_name, other.metric, other.difficulty)
        np.testing.assert_allclose(curve.precision, other.precision, atol=1e-12)
        assert curve.label_count == other.label_count
    named = [{f"{index:06d}": frame for index, frame in enumerate(side)} for side in sides]
    assert [c.ap() for c in evaluate(*named, protocol="kitti", **options).curves] == [c.ap() for c in found.curves]


def test_the_camera_frame_is_that_of_the_formats() -> None:
    generator = np.random.default_rng(0)
    boxes = generator.uniform((5, -20, -2, 1, 1, 1, -math.pi), (60, 20, 1, 6, 3, 3, math.pi), (50, 7))
    for calibration in (TILTED, SIMULATED):
        np.testing.assert_allclose(
            to_kitti_boxes(boxes, calibration.lidar_to_rect), boxes_to_camera(boxes, calibration), atol=1e-9
        )


def test_boxes_without_cameras_are_no_kitti() -> None:
    boxes = Boxes(np.array([[10, 0, -1, 4, 2, 1.5, 0.0]]), ["Car"], image_rectangle=[[0, 0, 9, 50]])
    found = boxes.with_columns(scores=[0.5])
    assert evaluate([boxes], [found]).protocol.name == "distance"
    with pytest.raises(InputError, match="cameras: KITTI's rules are about what a camera sees"):
        evaluate([boxes], [found], protocol="kitti")
    with pytest.raises(InputError, match="cameras: 2 for 1 frames"):
        evaluate([boxes], [found], cameras=[SIMULATED.camera()] * 2)


def test_results_without_rectangles_are_projected_where_asked() -> None:
    generator = np.random.default_rng(1)
    camera = SIMULATED.camera()
    labels, results, written = [], [], []
    for _ in range(20):
        boxes = generator.uniform((8, -8, -1.5, 3.5, 1.5, 1.4, -3), (40, 8, -0.5, 4.5, 1.8, 1.7, 3), (4, 7))
        lines = boxes_to_labels(boxes, SIMULATED, types=["Car"] * 4, image_size=camera.image_size)
        rectangles, alpha = np.array([item.bbox for item in lines]), [item.alpha for item in lines]
        labels.append(Boxes(boxes, ["Car"] * 4, image_rectangle=rectangles, alpha=alpha))
        scores = generator.random(4)
        results.append(Boxes(boxes, ["Car"] * 4, scores))
        written.append(Boxes(boxes, ["Car"] * 4, scores, image_rectangle=rectangles, alpha=alpha))
    cameras = [camera] * 20
    found = evaluate(labels, results, cameras=cameras, project=True)
    expected = evaluate(labels, written, cameras=cameras)
    assert len(found.curves) == len(expected.curves) == 12
    for curve, other in zip(found.curves, expected.curves, strict=True):
        np.testing.assert_allclose(curve.precision, other.precision, atol=1e-9)
    plain = evaluate(labels, results, cameras=cameras)
    assert any("80 of 80 Car results have no 2-D box" in note for note in plain.notes)
    bare = [each.with_columns(image_rectangle=None) for each in labels]
    assert evaluate(bare, results, cameras=cameras).protocol.name == "distance"
    with pytest.raises(InputError, match="project: boxes are projected by cameras"):
        evaluate(labels, results, protocol="kitti", project=True)
