"""A frame from its files, wherever they lie."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lidar_ebm.datasets.kitti.frame_file import FrameFile, check_names, read_frame_file
from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.calibration import FIXED_AXES, SIMULATED_IMAGE_SIZE, Calibration
from lidar_ebm.formats.kitti.files import write_calibration
from lidar_ebm.formats.point_clouds import ReflectanceScale


@pytest.fixture
def training(tmp_path: Path, simulated: Path) -> Path:
    """A folder with one frame, b, whose points lie all around the sensor."""
    folder = tmp_path / "training"
    for part in ("velodyne", "calib", "label_2", "image_2"):
        (folder / part).mkdir(parents=True)
    source = next((simulated / "training" / "calib").glob("*.txt"))
    shutil.copy(source, folder / "calib" / "b.txt")
    angles = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    points = np.stack([20 * np.cos(angles), 20 * np.sin(angles), 0 * angles - 1, 0 * angles], axis=1)
    points.astype("<f4").tofile(folder / "velodyne" / "b.bin")
    return folder


def size_of(frame: FrameFile) -> tuple[int, int]:
    camera = frame.camera()
    assert camera is not None
    return camera.image_size


def test_what_stands_beside_is_found(training: Path) -> None:
    path = training / "velodyne" / "b.bin"
    frame = read_frame_file(path)
    assert frame.name == "b" and len(frame.points) == 100
    assert frame.labels is None and frame.image is None and size_of(frame) == SIMULATED_IMAGE_SIZE
    seen = frame.points_in_view()
    assert 0 < len(seen) < 50
    assert (seen[:, 0] > 0).all()
    Image.new("RGB", (650, 375)).save(training / "image_2" / "b.png")
    (training / "label_2" / "b.txt").write_text("")
    narrow = read_frame_file(path)
    assert narrow.labels == training / "label_2" / "b.txt" and size_of(narrow) == (650, 375)
    assert len(narrow.points_in_view()) < len(seen)


def test_without_a_calibration_all_points_are_looked_at(training: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copy(training / "velodyne" / "b.bin", tmp_path / "alone.bin"))
    frame = read_frame_file(alone)
    assert frame.calibration is None and frame.camera() is None and frame.in_view() is None
    assert frame.points_in_view() is frame.points
    for given in (training / "calib" / "b.txt", training / "calib"):
        shutil.copy(training / "calib" / "b.txt", training / "calib" / "alone.txt")
        assert len(read_frame_file(alone, calibration=given).points_in_view()) < 50


def test_a_given_calibration_has_to_be_there(training: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere"):
        read_frame_file(training / "velodyne" / "b.bin", calibration=tmp_path / "nowhere.txt")
    with pytest.raises(InputError, match=r"b\.txt"):
        read_frame_file(training / "velodyne" / "b.bin", calibration=tmp_path)


def test_links_are_followed_for_points_alone(training: Path, tmp_path: Path) -> None:
    disk = tmp_path / "another disk"
    shutil.move(training / "velodyne", disk / "velodyne")
    (training / "velodyne").symlink_to(disk / "velodyne")
    assert read_frame_file(training / "velodyne" / "b.bin").calibration is not None
    (training / "velodyne").unlink()
    (training / "velodyne").mkdir()
    (training / "velodyne" / "b.bin").symlink_to(disk / "velodyne" / "b.bin")
    assert read_frame_file(training / "velodyne" / "b.bin").calibration is not None


def test_an_image_without_pixels_is_damaged(training: Path) -> None:
    image = training / "image_2" / "b.png"
    Image.new("RGB", (650, 375)).save(image)
    image.write_bytes(image.read_bytes()[:16] + bytes(8) + image.read_bytes()[24:])
    with pytest.raises(InputError, match=r"b\.png: this is no image, or it is damaged"):
        read_frame_file(training / "velodyne" / "b.bin").points_in_view()


def test_files_that_would_write_one_file_are_refused() -> None:
    check_names(["a/x.bin", "a/y.bin"])
    with pytest.raises(InputError, match=r"^a/x\.bin and b/x\.npy: two of the given files"):
        check_names(["a/x.bin", "a/y.bin", "b/x.npy"])
    with pytest.raises(InputError, match=r"^a/x\.bin and a/x\.bin: "):
        check_names(["a/x.bin", "a/x.bin"])


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".bmp", ".webp", ".png"])
def test_the_size_is_taken_from_an_image_of_any_kind(training: Path, suffix: str) -> None:
    Image.new("RGB", (900, 700)).save(training / "image_2" / f"b{suffix}")
    frame = read_frame_file(training / "velodyne" / "b.bin")
    assert size_of(frame) == (900, 700)
    assert frame.labels is None


def test_a_calibration_of_another_image_is_refused_and_named(training: Path) -> None:
    Image.new("RGB", (600, 375)).save(training / "image_2" / "b.png")
    frame = read_frame_file(training / "velodyne" / "b.bin")
    with pytest.raises(
        InputError, match=r"calib/b\.txt: P2 has its principal point at .* outside of the image of 600 x"
    ):
        frame.points_in_view()


def test_a_made_up_calibration_is_refused_and_no_half_of_the_points_lost(training: Path) -> None:
    """P2 of no camera, as converters write for data of a LiDAR alone."""
    rotation = FIXED_AXES.tr_velo_to_cam
    write_calibration(training / "calib" / "b.txt", Calibration(np.eye(3, 4), np.eye(3), rotation))
    with pytest.raises(InputError, match=r"calib/b\.txt: P2 has its principal point at .* of no camera"):
        read_frame_file(training / "velodyne" / "b.bin")


@pytest.mark.parametrize(
    ("keys", "spelling"),
    [
        (("P2:", "R0_rect:", "Tr_velo_to_cam:"), "object"),
        (("P2:", "R_rect", "Tr_velo_cam"), "tracking"),
        (("P0:", "R0_rect:", "Tr_velo_to_cam_0:"), "a converter of Waymo"),
    ],
)
def test_calibrations_of_every_dialect_show_the_same(training: Path, keys: tuple[str, ...], spelling: str) -> None:
    path = training / "velodyne" / "b.bin"
    frame = read_frame_file(path)
    assert frame.calibration is not None
    matrices = (frame.calibration.p2, frame.calibration.r0_rect, frame.calibration.tr_velo_to_cam)
    lines = [
        f"{key} {' '.join(map(repr, matrix.ravel().tolist()))}" for key, matrix in zip(keys, matrices, strict=True)
    ]
    (training / "calib" / "b.txt").write_text("\n".join(lines) + "\n")
    np.testing.assert_array_equal(read_frame_file(path).points_in_view(), frame.points_in_view(), err_msg=spelling)


def test_sweeps_of_nuscenes_are_turned_to_x_forward(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    raw = np.column_stack((rng.normal(size=(50, 3)), rng.integers(0, 256, 50), rng.integers(0, 32, 50)))
    path = tmp_path / "a.pcd.bin"
    raw.astype("<f4").tofile(path)
    frame = read_frame_file(path, scale=ReflectanceScale(255.0))
    assert frame.turned
    np.testing.assert_array_equal(frame.points[:, :3], np.float32(raw[:, [1, 0, 2]] * [1, -1, 1]))
