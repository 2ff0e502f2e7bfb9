"""Points in labels' boxes: brute force in the camera's frame, real objects, and what is said of missing files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.kitti.objects import pack_objects
from lidar_ebm.evaluation.kitti.point_counts import count_label_points, has_box_in_space
from lidar_ebm.formats.kitti.calibration import SIMULATED, Calibration
from lidar_ebm.formats.kitti.files import read_calibration, read_labels, read_points, write_calibration, write_points
from lidar_ebm.formats.kitti.label import Label

REGION = Label("DontCare", -1, -1, -10.0, (0, 0, 50, 50), (-1, -1, -1), (-1000, -1000, -1000), -10.0)


def random_label(generator: np.random.Generator) -> Label:
    return Label(
        type="Car",
        truncated=0.0,
        occluded=0,
        alpha=0.0,
        bbox=(0.0, 0.0, 50.0, 50.0),
        dimensions=tuple(generator.uniform(0.5, 6.0, 3).tolist()),
        location=(generator.uniform(-10, 10), generator.uniform(-1, 3), generator.uniform(2, 25)),
        rotation_y=generator.uniform(-4, 4),
    )


def tilted_calibration() -> Calibration:
    """A camera that is turned, tilted and rolled by more than KITTI's ever was."""
    generator = np.random.default_rng(5)
    turn, _ = np.linalg.qr(np.eye(3) + 0.1 * generator.normal(size=(3, 3)))
    nominal = SIMULATED
    return Calibration(nominal.p2, turn * np.sign(np.diag(turn)), nominal.tr_velo_to_cam)


def brute_force(points: np.ndarray, label: Label, calibration: Calibration) -> int:
    """Points of the LiDAR's frame in the box, by its axes, one after the other."""
    if min(label.dimensions) <= 0:
        return 0
    homogeneous = np.column_stack((points[:, :3].astype(np.float64), np.ones(len(points))))
    camera = (calibration.r0_rect @ (calibration.tr_velo_to_cam @ homogeneous.T)).T  # [P, 3]
    height, width, length = label.dimensions
    center = np.array(label.location) - (0, height / 2, 0)
    # KITTI: at rotation_y = 0 the length lies along x; a positive angle turns it from x to -z.
    axes = np.array([[math.cos(label.rotation_y), 0, -math.sin(label.rotation_y)], [0, 1, 0], [0, 0, 0]])
    axes[2] = np.cross(axes[0], axes[1])
    inside = abs((camera - center) @ axes.T) <= np.array([length, height, width]) / 2
    return int(inside.all(axis=1).sum())


def write_frame(root: Path, name: str, points: np.ndarray, calibration: Calibration) -> None:
    write_points(root / "velodyne" / f"{name}.bin", points)
    write_calibration(root / "calib" / f"{name}.txt", calibration)


@pytest.mark.parametrize("calibrated", [True, False])
def test_counts_are_those_of_brute_force(tmp_path: Path, calibrated: bool) -> None:
    generator = np.random.default_rng(0)
    frames, expected = [], []
    names = [f"{number:06d}" for number in range(6)]
    for number, name in enumerate(names):
        points = generator.uniform((0, -15, -4, 0), (30, 15, 4, 1), (5000, 4)).astype(np.float32)
        write_frame(tmp_path, name, points, tilted_calibration())
        labels = [random_label(generator) for _ in range(number)] + [REGION]
        frames.append(labels)
        calibration = read_calibration(tmp_path / "calib" / f"{name}.txt") if calibrated else SIMULATED
        expected += [brute_force(points, label, calibration) for label in labels]
    packed = pack_objects(frames, need_scores=False)
    counts = count_label_points(packed, names, tmp_path / "velodyne", tmp_path / "calib" if calibrated else None)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, expected)
    assert (counts > 0).sum() > 10


def test_a_point_on_a_face_is_inside(tmp_path: Path) -> None:
    calibration = Calibration(SIMULATED.p2, np.eye(3), np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0]]))
    # In the camera's frame (-y, -z, x): a box of 4 x 2 x 2 m whose bottom centre is (0, 1, 10).
    lidar = [(10, 2, 0), (10, -2, 0), (11, 0, 0), (9, 0, 0), (10, 0, 1), (10, 0, -1), (11, 2, 1), (11.001, 0, 0)]
    write_frame(tmp_path, "a", np.array([(*point, 0) for point in lidar]), calibration)
    label = Label("Car", 0, 0, 0.0, (0, 0, 1, 1), (2.0, 2.0, 4.0), (0.0, 1.0, 10.0), 0.0)
    packed = pack_objects([[label]], need_scores=False)
    assert count_label_points(packed, ["a"], tmp_path / "velodyne", tmp_path / "calib").tolist() == [7]


def test_frames_without_boxes_in_space_need_no_files(tmp_path: Path) -> None:
    packed = pack_objects([[], [REGION, REGION], []], need_scores=False)
    assert not has_box_in_space(packed).any()
    counts = count_label_points(packed, ["a", "b", "c"], tmp_path / "none", tmp_path / "none")
    assert counts.tolist() == [0, 0]


def test_files_that_cannot_be_looked_at_are_named(tmp_path: Path) -> None:
    packed = pack_objects([[random_label(np.random.default_rng(1))]], need_scores=False)
    (tmp_path / "frame.bin").symlink_to("frame.bin")
    for name in ("frame", "long" * 100):
        with pytest.raises(InputError, match=rf"{name}\.bin: cannot be looked at"):
            count_label_points(packed, [name], tmp_path, None)
    (tmp_path / "folder.bin").mkdir()
    with pytest.raises(InputError, match=r"1 of 1 files are missing.*folder\.bin"):
        count_label_points(packed, ["folder"], tmp_path, None)


def test_missing_files_are_named_before_anything_is_counted(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    names = [f"{number:06d}" for number in range(9)]
    packed = pack_objects([[random_label(generator)] for _ in names], need_scores=False)
    with pytest.raises(InputError, match=r"9 of 9 files are missing.*000004\.bin, …") as caught:
        count_label_points(packed, names, tmp_path / "velodyne", tmp_path / "calib")
    assert str(tmp_path / "velodyne" / "000000.bin") in str(caught.value)
    for name in names:
        write_frame(tmp_path, name, np.zeros((0, 4)), SIMULATED)
    (tmp_path / "calib" / "000003.txt").unlink()
    with pytest.raises(InputError, match=r"1 of 9 files are missing.*calib.000003\.txt\. Copy"):
        count_label_points(packed, names, tmp_path / "velodyne", tmp_path / "calib")
    assert not count_label_points(packed, names, tmp_path / "velodyne", None).any()  # no points at all


def test_real_objects_hold_what_is_known_of_them(kitti_frames: Path) -> None:
    root = kitti_frames / "training"
    names = sorted(path.stem for path in (root / "velodyne").glob("*.bin"))
    frames = [read_labels(root / "label_2" / f"{name}.txt") for name in names]
    counts = count_label_points(pack_objects(frames, need_scores=False), names, root / "velodyne", root / "calib")
    keys = [(name, label.type) for name, labels in zip(names, frames, strict=True) for label in labels]
    assert [count for (name, kind), count in zip(keys, counts, strict=True) if (name, kind) == ("000003", "Car")] == [
        680
    ]
    assert [counts[keys.index(key)] for key in (("000002", "Misc"), ("000000", "Pedestrian"))] == [1351, 376]
    expected = []
    for name, labels in zip(names, frames, strict=True):
        points = read_points(root / "velodyne" / f"{name}.bin")
        calibration = read_calibration(root / "calib" / f"{name}.txt")
        expected += [brute_force(points, label, calibration) for label in labels]
    np.testing.assert_array_equal(counts, expected)
