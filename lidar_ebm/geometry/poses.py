"""Rigid poses as [4, 4] matrices, quaternions, and boxes carried from one upright frame to another. NumPy alone.

A pose takes homogeneous points of a child frame to its parent: LiDAR → vehicle → world. A box has one angle, about the
vertical of its frame; where two frames' verticals lean against each other its centre is carried exactly and its heading
as it is seen from above, and back again to the same angle.
"""

from __future__ import annotations

import numpy as np

from lidar_ebm.errors import InputError

# Frames in which x is to the right and y ahead (PandaSet, nuScenes' LIDAR_TOP) → x forward, y left.
FROM_RIGHT_AHEAD = np.array([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def _wrapped(angle: np.ndarray) -> np.ndarray:
    """Angles of any shape, rad, in [-π, π); those that lie there come back bit for bit."""
    result = np.array(angle, np.float64)
    outside = ~((result >= -np.pi) & (result < np.pi)) & np.isfinite(result)
    turned = np.mod(result[outside] + np.pi, 2 * np.pi) - np.pi
    result[outside] = np.where(turned >= np.pi, -np.pi, turned)
    return result


def rotation_matrix(quaternion: np.ndarray) -> np.ndarray:
    """Rotation matrices [..., 3, 3] of quaternions [..., 4] in the order w, x, y, z, of any length above 0.

    Raises:
        InputError: one is not finite or has length 0.
    """
    q = np.asarray(quaternion, np.float64)
    largest = np.abs(q).max(axis=-1, keepdims=True, initial=0.0)
    if not np.isfinite(q).all() or not (largest > 0).all():
        raise InputError("rotation: a quaternion is NaN, infinite or all zeros; give w, x, y, z.")
    q = q / largest  # so that squares neither overflow nor vanish
    w, x, y, z = np.moveaxis(q / np.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quaternions_of_yaw(yaw: np.ndarray) -> np.ndarray:
    """Quaternions [N, 4] w, x, y, z of turns by `yaw` [N] about +z."""
    half, zeros = np.asarray(yaw, np.float64) / 2, np.zeros(len(yaw))
    return np.stack((np.cos(half), zeros, zeros, np.sin(half)), axis=1)


def quaternion_of(rotation: np.ndarray) -> np.ndarray:
    """Quaternion [4] w, x, y, z of a rotation matrix [3, 3], of length 1, its largest number above 0."""
    r = np.asarray(rotation, np.float64)
    (xx, yy, zz), trace = np.diag(r), np.trace(r)
    # Four times the products of w, x, y and z with one another; the column of the largest square is the exact one.
    products = np.array(
        [
            [1 + trace, r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], 1 + xx - yy - zz, r[0, 1] + r[1, 0], r[0, 2] + r[2, 0]],
            [r[0, 2] - r[2, 0], r[0, 1] + r[1, 0], 1 - xx + yy - zz, r[1, 2] + r[2, 1]],
            [r[1, 0] - r[0, 1], r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], 1 - xx - yy + zz],
        ]
    )
    column = products[:, int(np.argmax(np.diag(products)))]
    return column / np.linalg.norm(column)


def yaw_of(rotation: np.ndarray) -> np.ndarray:
    """Heading [N] of rotation matrices [N, 3, 3], seen from above: the angle of the turned x axis, in [-π, π)."""
    return _wrapped(np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0]))


def make_pose(translation: np.ndarray, quaternion: np.ndarray) -> np.ndarray:
    """Pose [4, 4] of a translation [3] and a quaternion [4] w, x, y, z.

    Raises:
        InputError: the quaternion is none, or the translation is not finite.
    """
    pose = np.eye(4)
    pose[:3, :3] = rotation_matrix(quaternion)
    pose[:3, 3] = translation
    if not np.isfinite(pose).all():
        raise InputError("translation: is NaN or infinite; give x, y, z in metres.")
    return pose


def inverse_pose(pose: np.ndarray) -> np.ndarray:
    """The pose [4, 4] that leads back."""
    inverse = np.eye(4)
    inverse[:3, :3] = pose[:3, :3].T
    inverse[:3, 3] = -pose[:3, :3].T @ pose[:3, 3]
    return inverse


def move_points(points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Points [N, 3] of the pose's child frame in its parent frame, float64."""
    return np.asarray(points, np.float64) @ pose[:3, :3].T + pose[:3, 3]


def boxes_to_child(boxes: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Boxes [N, 7] of the pose's parent frame (world) in its child frame (sensor), upright there.

    Raises:
        InputError: the frames lie on their side to each other.
    """
    back = inverse_pose(pose)
    moved = np.array(boxes, np.float64)
    moved[:, :3] = move_points(boxes[:, :3], back)
    moved[:, 6] = _turned(boxes[:, 6], _ground(back))
    return moved


def boxes_to_parent(boxes: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """The inverse of `boxes_to_child`: boxes [N, 7] of the child frame in the parent frame.

    Raises:
        InputError: the frames lie on their side to each other.
    """
    moved = np.array(boxes, np.float64)
    moved[:, :3] = move_points(boxes[:, :3], pose)
    # The inverse of the map that boxes_to_child applies to headings, so that yaw comes back as it was.
    moved[:, 6] = _turned(boxes[:, 6], np.linalg.inv(_ground(inverse_pose(pose))))
    return moved


def velocity_to_child(velocity: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Velocities over ground [N, 2], parent frame, in the child frame."""
    return np.asarray(velocity, np.float64) @ _ground(inverse_pose(pose)).T


def velocity_to_parent(velocity: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """The inverse of `velocity_to_child`."""
    return np.asarray(velocity, np.float64) @ np.linalg.inv(_ground(inverse_pose(pose))).T


def _ground(pose: np.ndarray) -> np.ndarray:
    """[2, 2]: directions on the ground of the child frame → of the parent frame, seen from above."""
    matrix = pose[:2, :2]
    if abs(np.linalg.det(matrix)) < 0.5:
        raise InputError("pose: tilts the sensor by more than 60 degrees against the frame of the boxes; check it.")
    return matrix


def _turned(yaw: np.ndarray, ground: np.ndarray) -> np.ndarray:
    headings = np.stack((np.cos(yaw), np.sin(yaw)), axis=1) @ ground.T
    return _wrapped(np.arctan2(headings[:, 1], headings[:, 0]))
