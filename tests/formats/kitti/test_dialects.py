"""Calibration files in every spelling give the same camera."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.dialects import read_calibration_dialect
from tests.formats.samples import CAMERA, shared

P2, R0, TR = CAMERA.p2, CAMERA.r0_rect, CAMERA.tr_velo_to_cam


def numbers(matrix: np.ndarray) -> str:
    return " ".join(repr(value) for value in matrix.ravel().tolist())


DIALECTS = {
    "object": f"P2: {numbers(P2)}\nR0_rect: {numbers(R0)}\nTr_velo_to_cam: {numbers(TR)}\nTr_imu_to_velo: 1 0\n",
    "tracking": f"P2: {numbers(P2)}\nR_rect {numbers(R0)}\nTr_velo_cam {numbers(TR)}\nTr_imu_velo 1 0\n\n",
    "tracking with colons": f"P2: {numbers(P2)}\nR_rect: {numbers(R0)}\nTr_velo_cam: {numbers(TR)}\n",
    "waymo": f"P0: {numbers(P2)}\nP2: {numbers(2 * P2)}\nR0_rect: {numbers(R0)}\nTr_velo_to_cam_0: {numbers(TR)}\n",
    "tabs and spaces": f"P2:\t{numbers(P2)}\r\n R0_rect : {numbers(R0)}\r\nTr_velo_to_cam:{numbers(TR)}",
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_spelling_is_the_same_camera(dialect: str, tmp_path: Path) -> None:
    path = tmp_path / "calib.txt"
    path.write_text(DIALECTS[dialect])
    found = read_calibration_dialect(path)
    for name in ("p2", "r0_rect", "tr_velo_to_cam"):
        assert getattr(found, name).tolist() == getattr(CAMERA, name).tolist()


def test_odometry_leads_to_the_rectified_camera_at_once(tmp_path: Path) -> None:
    path = tmp_path / "calib.txt"
    path.write_text(f"P2: {numbers(P2)}\nTr: {numbers(CAMERA.lidar_to_rect[:3])}\n")
    np.testing.assert_allclose(read_calibration_dialect(path).lidar_to_rect, CAMERA.lidar_to_rect, atol=1e-15)


def test_raw_is_two_files(tmp_path: Path) -> None:
    velo = tmp_path / "calib_velo_to_cam.txt"
    velo.write_text(
        f"calib_time: 15-Mar-2012 11:37:16\nR: {numbers(TR[:, :3])}\nT: {numbers(TR[:, 3])}\ndelta_f: 0 0\n"
    )
    with pytest.raises(InputError, match=r"calib_velo_to_cam.txt.*calib_cam_to_cam.txt.*must lie beside it"):
        read_calibration_dialect(velo)
    (tmp_path / "calib_cam_to_cam.txt").write_text(f"R_rect_00: {numbers(R0)}\nP_rect_02: {numbers(P2)}\nS_02: 1 2\n")
    for path in (velo, tmp_path):
        np.testing.assert_allclose(read_calibration_dialect(path).lidar_to_rect, CAMERA.lidar_to_rect, atol=1e-15)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "Tr_velo_to_cam is missing"),
        (f"P2: {numbers(P2)}\nR0_rect: {numbers(R0)}\n", "Tr_velo_to_cam is missing"),
        (f"P2: {numbers(P2)}\nTr_velo_to_cam: {numbers(TR)}\n", "R0_rect is missing"),
        (f"R0_rect: {numbers(R0)}\nTr_velo_to_cam: {numbers(TR)}\n", "P2 is missing"),
        (DIALECTS["object"].replace("P2: 721.5", "P2: x"), "P2 holds something that is no number"),
        (DIALECTS["object"].replace("P2: 721.5", "P2: nan"), "p2 holds NaN"),
        (DIALECTS["object"].replace("P2: 721.5", "P2: "), "P2 has 11 values, it needs 12"),
    ],
)
def test_damaged_calibrations_name_file_and_key(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "calib.txt"
    path.write_text(content)
    with pytest.raises(InputError, match=rf"calib\.txt: .*{said}"):
        read_calibration_dialect(path)


def test_public_samples_agree(tmp_path: Path) -> None:
    samples = shared("faults", "calibration-dialects")
    tracking = read_calibration_dialect(samples / "kitti_tracking.txt")
    waymo = read_calibration_dialect(samples / "waymo_converter.txt")
    odometry = read_calibration_dialect(samples / "kitti_odometry.txt")
    np.testing.assert_allclose(waymo.lidar_to_rect, tracking.lidar_to_rect)
    np.testing.assert_allclose(odometry.lidar_to_rect[:3], tracking.tr_velo_to_cam)  # this sample's Tr is not rectified
    shutil.copy(samples / "kitti_raw_velo_to_cam.txt", tmp_path / "calib_velo_to_cam.txt")
    cameras = f"R_rect_00: {numbers(tracking.r0_rect)}\nP_rect_02: {numbers(tracking.p2)}\n"
    (tmp_path / "calib_cam_to_cam.txt").write_text(cameras)
    np.testing.assert_allclose(read_calibration_dialect(tmp_path).lidar_to_rect, tracking.lidar_to_rect)


def test_of_another_text_only_some_keys_are_repeated(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(f"{number}{'x' * 500} 1\n" for number in range(10, 500)))
    with pytest.raises(InputError) as caught:
        read_calibration_dialect(tmp_path / "a.txt")
    keys = ", ".join(f"{number}{'x' * 18}…" for number in range(10, 22))
    assert f"Tr_velo_to_cam is missing ({keys}, … are there)" in str(caught.value)
