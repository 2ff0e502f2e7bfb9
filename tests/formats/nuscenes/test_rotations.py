"""Rotations by pyquaternion: the same as by our own arithmetic, and a plain message where it is missing."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats.nuscenes.rotations import pose_of, rotation_between
from lidar_ebm.geometry.poses import make_pose, rotation_matrix


@pytest.mark.parametrize("length", [1e-200, 0.3, 1.0, 1.0 + 1e-9, 1e150])
def test_poses_are_those_of_our_own_arithmetic(length: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        translation, rotation = rng.normal(0, 1000, 3), rng.normal(0, 1, 4)
        rotation *= length / np.linalg.norm(rotation)
        np.testing.assert_allclose(pose_of(translation, rotation, "x"), make_pose(translation, rotation), atol=1e-14)


def test_halfway_is_halfway_and_the_shorter_way_is_taken() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        first, turn = rng.normal(0, 1, 4), rng.uniform(-3, 3)
        first /= np.linalg.norm(first)
        about = np.array([np.cos(turn / 2), 0, 0, np.sin(turn / 2)])
        start = rotation_matrix(first)
        second = _product(first, about) * rng.choice([-1.0, 1.0])
        for share in (0.0, 0.25, 0.5, 1.0):
            angle = turn * share
            expected = start @ rotation_matrix(np.array([np.cos(angle / 2), 0, 0, np.sin(angle / 2)]))
            np.testing.assert_allclose(
                rotation_matrix(rotation_between(first, second, share, "x")), expected, atol=1e-9
            )


@pytest.mark.parametrize("rotation", [[0, 0, 0, 0], [np.nan, 0, 0, 1], [np.inf, 0, 0, 0], [1, 0, 0]])
def test_what_is_no_rotation_is_refused(rotation: list[float]) -> None:
    with pytest.raises(InputError, match=r"ego_pose\.json: record 3: rotation is no quaternion"):
        pose_of(np.zeros(3), np.array(rotation), "ego_pose.json: record 3")


def test_a_translation_that_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match=r"record 3: translation is NaN or infinite"):
        pose_of(np.array([0, np.nan, 0]), np.array([1.0, 0, 0, 0]), "record 3")


def test_without_pyquaternion_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyquaternion", None)
    with pytest.raises(InputError, match=r"pip install pyquaternion"):
        pose_of(np.zeros(3), np.array([1.0, 0, 0, 0]), "x")


def test_nothing_needs_it_at_import() -> None:
    code = (
        "import sys; sys.modules['pyquaternion'] = None; import lidar_ebm.datasets.opening as o; o.data_set_kinds(); "
        "import lidar_ebm.datasets.nuscenes"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    w, x, y, z = a
    matrix = np.array([[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]])
    product: np.ndarray = matrix @ b
    return product
