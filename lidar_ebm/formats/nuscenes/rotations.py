"""Rotations of nuScenes' tables, by pyquaternion as the benchmark's own programs read them: poses, and slerp.

pyquaternion comes with the extra `nuscenes`; it is imported when the first rotation is asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lidar_ebm.errors import InputError


def pose_of(translation: np.ndarray, rotation: np.ndarray, where: str) -> np.ndarray:
    """Pose [4, 4], child → parent, of a record of `calibrated_sensor` or `ego_pose`.

    Args:
        translation: x, y, z in m.
        rotation: quaternion w, x, y, z of any length above 0.
        where: table and record, for messages.

    Raises:
        InputError: a number is NaN or infinite, the quaternion is all zeros, or pyquaternion is missing.
    """
    pose = np.eye(4)
    pose[:3, :3] = _quaternion(rotation, where).rotation_matrix
    pose[:3, 3] = translation
    if not np.isfinite(pose).all():
        raise InputError(f"{where}: translation is NaN or infinite; get the tables again.")
    return pose


def rotation_between(first: np.ndarray, second: np.ndarray, share: float, where: str) -> np.ndarray:
    """Quaternion [4] w, x, y, z at `share` (0..1) of the shorter way from one rotation to another (slerp).

    Raises:
        InputError: as `pose_of`.
    """
    quaternion = _library().Quaternion
    between = quaternion.slerp(_quaternion(first, where), _quaternion(second, where), amount=share)
    return np.array(between.elements, np.float64)


def _quaternion(rotation: np.ndarray, where: str) -> Any:
    values = np.asarray(rotation, np.float64)
    if values.shape != (4,) or not np.isfinite(values).all() or not values.any():
        raise InputError(f"{where}: rotation is no quaternion w, x, y, z; get the tables again.")
    # Far from length 1 its squares would overflow or vanish.
    return _library().Quaternion(values / np.abs(values).max()).normalised


def _library() -> Any:
    try:
        import pyquaternion
    except ImportError as error:
        raise InputError(
            f"nuScenes' rotations are read with pyquaternion, which cannot be loaded ({error}). pip install "
            "pyquaternion; or 'lidar-ebm[nuscenes]', which brings the benchmark's own program and numpy below 2, too."
        ) from error
    return pyquaternion
