from __future__ import annotations

from itertools import pairwise

import numpy as np

from lidar_ebm.boxes import Boxes
from lidar_ebm.formats.kitti.calibration import SIMULATED_CAMERA
from lidar_ebm.geometry.boxes import points_in_boxes
from lidar_ebm.geometry.projection import clip_to_image, crop_to_camera_view, project_boxes
from lidar_ebm.simulation.simulator import SimulatedFrame, SimulationSettings, simulate_frame


def _frame(seed: int, index: int, *, full: bool = False) -> SimulatedFrame:
    return simulate_frame(SimulationSettings(seed, SIMULATED_CAMERA, full), index)


def _with_points(frame: SimulatedFrame) -> Boxes:
    assert frame.boxes.points is not None
    return frame.boxes.select(frame.boxes.points > 0)


def test_points_are_in_the_image_and_as_many_as_in_kitti() -> None:
    frames = [_frame(11, index) for index in range(12)]
    for frame in frames:
        assert frame.points.dtype == np.float32
        assert crop_to_camera_view(frame.points, frame.camera).all()
    assert 15_000 < np.mean([len(frame.points) for frame in frames]) < 21_000


def test_labelled_things_have_points_and_those_lie_within_the_box() -> None:
    for index in range(10):
        frame = _frame(12, index)
        boxes = _with_points(frame).boxes
        grown = boxes + np.array([0, 0, 0, 0.16, 0.16, 0.16, 0])  # four standard deviations of noise
        assert points_in_boxes(frame.points, grown).any(axis=0).all()
        # In a box nothing but its own thing may stand, so counting points by box and by body must agree.
        for box in boxes:
            inside = points_in_boxes(frame.points, box[None] - np.array([0, 0, 0, 0.1, 0.1, 0.3, 0]))[:, 0]
            actor = min(frame.scene.actors, key=lambda a, box=box: np.abs(a.box[:3] - box[:3]).sum())
            planes, starts = actor.solid.planes, actor.solid.plane_starts
            distance = frame.points[inside, :3].astype(np.float64) @ planes[:, :3].T - planes[:, 3]  # [N, P]
            to_piece = np.stack([distance[:, a:b].max(axis=1) for a, b in pairwise(starts)])
            near = to_piece.min(axis=0, initial=np.inf) < 0.1
            assert near.mean() > 0.95 if near.size > 20 else True


def test_cars_have_as_many_points_as_in_kitti_at_each_distance() -> None:
    counts: dict[int, list[int]] = {10: [], 20: [], 40: []}
    for index in range(60):
        frame = _frame(13, index)
        cars = _with_points(frame).of_class("Car")
        boxes = cars.boxes[(cars.occluded == 0) & (cars.truncated < 0.05)]
        for box, count in zip(boxes, points_in_boxes(frame.points, boxes).sum(axis=0), strict=True):
            for distance, found in counts.items():
                if abs(np.hypot(*box[:2]) - distance) < 0.15 * distance:
                    found.append(int(count))
    assert 700 < np.median(counts[10]) < 2200
    assert 180 < np.median(counts[20]) < 550
    assert 35 < np.median(counts[40]) < 120


def test_full_view_has_points_all_around_and_the_same_labelled_boxes() -> None:
    whole = _frame(3, 1, full=True)
    part = _frame(3, 1)
    assert len(whole.points) > 3 * len(part.points)
    assert (whole.points[:, 0] < 0).mean() > 0.3
    shared = {tuple(box) for box in whole.boxes.boxes} & {tuple(box) for box in part.boxes.boxes}
    assert len(shared) >= 0.9 * len(part.boxes)


def test_rectangle_lies_within_that_of_the_box() -> None:
    """A body's outline is no larger than that of its box."""
    frame = _frame(3, 1)
    outer = clip_to_image(project_boxes(frame.boxes.boxes, SIMULATED_CAMERA), SIMULATED_CAMERA.image_size)
    inner = frame.boxes.image_rectangle
    assert inner is not None and len(inner) > 3
    assert (inner[:, :2] >= outer[:, :2] - 1e-6).all()
    assert (inner[:, 2:] <= outer[:, 2:] + 1e-6).all()


def test_all_around_without_a_camera() -> None:
    around = simulate_frame(SimulationSettings(3), 1)
    whole = _frame(3, 1, full=True)
    assert around.camera is None
    np.testing.assert_array_equal(around.points, whole.points)
    assert set(around.boxes.columns()) == {"points"}
    assert around.boxes.points is not None and around.boxes.points.min() > 0
