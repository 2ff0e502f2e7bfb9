"""Boxes against brute force, shapely and finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from shapely.geometry import Point, Polygon, box
from torch.autograd import gradcheck

from lidar_ebm.geometry.boxes import (
    corners_3d,
    corners_bev,
    decode_boxes,
    encode_boxes,
    nearest_axis_aligned_iou,
    points_in_boxes,
    wrap_angle,
)


def random_boxes(count: int, seed: int = 0, spread: float = 8.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack(
        (
            rng.uniform(-spread, spread, (count, 3)),
            rng.uniform(0.3, 6.0, (count, 3)),
            rng.uniform(-math.pi, math.pi, count),
        )
    )


def rotation(yaw: float) -> np.ndarray:
    return np.array([[math.cos(yaw), -math.sin(yaw), 0], [math.sin(yaw), math.cos(yaw), 0], [0, 0, 1]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_wrapped_angles_lie_in_the_half_open_range_and_differ_by_whole_turns(dtype: type) -> None:
    turns = np.arange(-7, 8)[:, None] * math.pi
    seam = [turns + step for step in (0.0, 1e-7, -1e-7, 1e-9, -1e-9, 0.5)]
    angles: np.ndarray = np.concatenate([*seam, np.random.default_rng(0).uniform(-30, 30, (99, 1))]).astype(dtype)
    near_pi: np.ndarray = np.array([math.pi], dtype)
    for _ in range(5):  # the nearest neighbours of the seam, bit by bit
        angles = np.concatenate((angles, near_pi[:, None], -near_pi[:, None]))
        near_pi = np.nextafter(near_pi, dtype(0))
    wrapped = wrap_angle(angles)
    assert wrapped.dtype == dtype
    assert (wrapped >= dtype(-math.pi)).all()
    assert (wrapped < dtype(math.pi)).all()
    np.testing.assert_allclose(np.cos(wrapped), np.cos(angles), atol=1e-5)
    np.testing.assert_allclose(np.sin(wrapped), np.sin(angles), atol=1e-5)


def test_wrapping_leaves_wrapped_angles_as_they_are() -> None:
    angles = np.random.default_rng(0).uniform(-math.pi, math.pi, 1000).astype(np.float32)
    np.testing.assert_array_equal(wrap_angle(angles), angles)


def test_corners_are_the_turned_and_shifted_corners_of_the_box() -> None:
    for item, bev, corners in zip(boxes := random_boxes(50), corners_bev(boxes), corners_3d(boxes), strict=True):
        x, y, z, length, width, height, yaw = item
        signs = [(1, 1), (-1, 1), (-1, -1), (1, -1)]
        expected = [
            rotation(yaw) @ [s * length / 2, t * width / 2, u * height / 2] + [x, y, z]
            for u in (-1, 1)
            for s, t in signs
        ]
        np.testing.assert_allclose(corners, expected, atol=1e-12)
        np.testing.assert_allclose(bev, np.array(expected)[:4, :2], atol=1e-12)
        assert Polygon(bev).exterior.is_ccw
        assert Polygon(bev).area == pytest.approx(length * width)


def test_points_in_boxes_agrees_with_shapely_and_brute_force() -> None:
    boxes = random_boxes(12, spread=3.0)
    points = np.random.default_rng(1).uniform(-5, 5, (400, 4))
    inside = points_in_boxes(points, boxes)
    assert inside.shape == (400, 12)
    assert inside.any()
    for column, (item, corners) in enumerate(zip(boxes, corners_bev(boxes), strict=True)):
        polygon = Polygon(corners)
        expected = [polygon.contains(Point(point[:2])) and abs(point[2] - item[2]) <= item[5] / 2 for point in points]
        np.testing.assert_array_equal(inside[:, column], expected)


def test_faces_belong_to_the_box() -> None:
    item = np.array([[1.0, 2.0, 3.0, 4.0, 2.0, 1.0, 0.0]])
    faces = np.array([[3, 2, 3], [-1, 2, 3], [1, 3, 3], [1, 1, 3], [1, 2, 3.5], [1, 2, 2.5], [3, 3, 3.5]])
    assert points_in_boxes(faces, item).all()
    assert not points_in_boxes(item[:, :3] + (faces - item[:, :3]) * 1.001, item).any()


def test_decoding_undoes_encoding() -> None:
    boxes, anchors = random_boxes(200, seed=1), random_boxes(200, seed=2)
    decoded = decode_boxes(encode_boxes(boxes, anchors), anchors)
    np.testing.assert_allclose(decoded, boxes, atol=1e-9)
    np.testing.assert_allclose(encode_boxes(anchors, anchors), 0, atol=1e-12)


def test_encoding_follows_its_formula() -> None:
    anchor = np.array([[10.0, -4.0, -1.0, 3.9, 1.6, 1.56, math.pi / 2]])
    item = np.array([[10.5, -3.0, -0.8, 4.2, 1.5, 1.7, 1.0]])
    diagonal = math.hypot(3.9, 1.6)
    expected = [
        0.5 / diagonal,
        1 / diagonal,
        0.2 / 1.56,
        math.log(4.2 / 3.9),
        math.log(1.5 / 1.6),
        math.log(1.7 / 1.56),
    ]
    np.testing.assert_allclose(encode_boxes(item, anchor)[0], [*expected, 1.0 - math.pi / 2], atol=1e-12)


@pytest.mark.parametrize("function", [encode_boxes, decode_boxes])
def test_gradients_of_the_coding(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
    values = torch.from_numpy(random_boxes(5, seed=3, spread=1.0)).requires_grad_()
    anchors = torch.from_numpy(random_boxes(5, seed=4)).requires_grad_()
    assert gradcheck(function, (values, anchors))


def test_gradients_of_the_corners() -> None:
    assert gradcheck(corners_3d, (torch.from_numpy(random_boxes(4)).requires_grad_(),))


def test_nearest_axis_aligned_iou_agrees_with_shapely() -> None:
    first, second = random_boxes(20, seed=5, spread=3.0), random_boxes(15, seed=6, spread=3.0)

    def rounded(item: np.ndarray) -> Polygon:
        quarter_turns = round(item[6] / (math.pi / 2))
        along_x, along_y = (item[3], item[4]) if quarter_turns % 2 == 0 else (item[4], item[3])
        return box(item[0] - along_x / 2, item[1] - along_y / 2, item[0] + along_x / 2, item[1] + along_y / 2)

    expected = [
        [rounded(a).intersection(rounded(b)).area / rounded(a).union(rounded(b)).area for b in second] for a in first
    ]
    np.testing.assert_allclose(nearest_axis_aligned_iou(first, second), expected, atol=1e-12)


def test_boxes_without_extent_overlap_nothing() -> None:
    flat = np.zeros((1, 7), np.float32)
    np.testing.assert_array_equal(nearest_axis_aligned_iou(flat, flat), [[0.0]])


def test_tensors_give_the_same_as_arrays() -> None:
    boxes, anchors = random_boxes(9, seed=7), random_boxes(9, seed=8)
    points = np.random.default_rng(1).uniform(-8, 8, (101, 3))
    for function, arrays in (
        (wrap_angle, (boxes,)),
        (corners_bev, (boxes,)),
        (corners_3d, (boxes,)),
        (points_in_boxes, (points, boxes)),
        (encode_boxes, (boxes, anchors)),
        (decode_boxes, (boxes, anchors)),
        (nearest_axis_aligned_iou, (boxes, anchors)),
    ):
        from_arrays = function(*arrays)
        from_tensors = function(*(torch.from_numpy(array) for array in arrays))
        assert isinstance(from_arrays, np.ndarray)
        assert isinstance(from_tensors, torch.Tensor)
        np.testing.assert_array_equal(from_arrays, from_tensors.numpy())


@pytest.mark.parametrize("make", [np.zeros, torch.zeros])
def test_empty_is_normal(make: Callable[[tuple[int, ...]], np.ndarray]) -> None:
    none, points = make((0, 7)), make((5, 4))
    assert corners_bev(none).shape == (0, 4, 2)
    assert corners_3d(none).shape == (0, 8, 3)
    assert points_in_boxes(points, none).shape == (5, 0)
    assert points_in_boxes(make((0, 3)), make((2, 7))).shape == (0, 2)
    assert encode_boxes(none, none).shape == (0, 7)
    assert nearest_axis_aligned_iou(none, make((3, 7))).shape == (0, 3)


def test_arrays_that_torch_cannot_share_are_read_all_the_same() -> None:
    boxes = random_boxes(6)
    frozen = boxes.copy()
    frozen.setflags(write=False)
    np.testing.assert_array_equal(corners_bev(frozen), corners_bev(boxes))
    np.testing.assert_allclose(corners_bev(boxes[::-1]), corners_bev(boxes)[::-1], rtol=1e-12)
