from __future__ import annotations

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.geometry.poses import (
    FROM_RIGHT_AHEAD,
    boxes_to_child,
    boxes_to_parent,
    inverse_pose,
    make_pose,
    move_points,
    quaternions_of_yaw,
    rotation_matrix,
    velocity_to_child,
    velocity_to_parent,
    yaw_of,
)


def _pose(generator: np.random.Generator, tilt: float) -> np.ndarray:
    yaw = generator.uniform(-np.pi, np.pi)
    quaternion = np.array([np.cos(yaw / 2), *(tilt * generator.normal(size=2)), np.sin(yaw / 2)])
    return make_pose(generator.normal(0, 100, 3), quaternion * generator.uniform(0.1, 9))


def test_quaternions_turn_as_their_definition_says() -> None:
    """q v q* by Hamilton's product, for random quaternions and vectors."""

    def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        scalar = a[0] * b[0] - a[1:] @ b[1:]
        return np.array([scalar, *(a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:]))])

    generator = np.random.default_rng(0)
    for _ in range(20):
        quaternion, vector = generator.normal(size=4), generator.normal(size=3)
        unit = quaternion / np.linalg.norm(quaternion)
        turned = product(product(unit, np.array([0, *vector])), unit * (1, -1, -1, -1))[1:]
        np.testing.assert_allclose(rotation_matrix(quaternion) @ vector, turned, atol=1e-12)


def test_headings_and_quaternions_are_inverse() -> None:
    yaw = np.linspace(-np.pi, np.pi, 50, endpoint=False)
    np.testing.assert_allclose(yaw_of(rotation_matrix(quaternions_of_yaw(yaw))), yaw, atol=1e-12)
    for scale in (1e-300, 1e300, -1):
        np.testing.assert_allclose(
            rotation_matrix(quaternions_of_yaw(yaw) * scale), rotation_matrix(quaternions_of_yaw(yaw))
        )
    assert rotation_matrix(np.zeros((0, 4))).shape == (0, 3, 3)


@pytest.mark.parametrize("quaternion", [[0, 0, 0, 0], [np.nan, 0, 0, 1], [np.inf, 0, 0, 1]])
def test_what_is_no_rotation_is_refused(quaternion: list[float]) -> None:
    with pytest.raises(InputError, match="quaternion"):
        rotation_matrix(np.array(quaternion))


def test_a_translation_is_finite() -> None:
    with pytest.raises(InputError, match="translation"):
        make_pose(np.array([0, np.nan, 0]), np.array([1, 0, 0, 0]))


@pytest.mark.parametrize("tilt", [0.0, 0.02, 0.2])
def test_boxes_go_there_and_back_exactly(tilt: float) -> None:
    generator = np.random.default_rng(1)
    boxes = generator.normal(0, 30, (40, 7))
    boxes[:, 6] = generator.uniform(-np.pi, np.pi, 40)
    velocity = generator.normal(0, 9, (40, 2))
    for _ in range(10):
        pose = _pose(generator, tilt)
        moved = boxes_to_child(boxes, pose)
        np.testing.assert_allclose(boxes_to_parent(moved, pose), boxes, atol=1e-10)
        np.testing.assert_allclose(velocity_to_parent(velocity_to_child(velocity, pose), pose), velocity, atol=1e-10)
        np.testing.assert_allclose(move_points(moved[:, :3], pose), boxes[:, :3], atol=1e-10)
        np.testing.assert_allclose(inverse_pose(pose) @ pose, np.eye(4), atol=1e-10)
        # A point ahead of a box stays ahead of it, seen from above.
        ahead = boxes[:, :3] + np.stack((np.cos(boxes[:, 6]), np.sin(boxes[:, 6]), np.zeros(40)), axis=1)
        offset = (move_points(ahead, inverse_pose(pose)) - moved[:, :3])[:, :2]
        headings = np.stack((np.cos(moved[:, 6]), np.sin(moved[:, 6])), axis=1)
        np.testing.assert_allclose(offset / np.linalg.norm(offset, axis=1)[:, None], headings, atol=1e-10)


def test_right_and_ahead_become_forward_and_left() -> None:
    np.testing.assert_allclose(move_points(np.array([[0, 1, 0], [1, 0, 2]]), FROM_RIGHT_AHEAD), [[1, 0, 0], [0, -1, 2]])


def test_a_sensor_on_its_side_is_refused() -> None:
    pose = make_pose(np.zeros(3), np.array([1, 1, 0, 0]))
    with pytest.raises(InputError, match="60 degrees"):
        boxes_to_child(np.zeros((1, 7)), pose)
