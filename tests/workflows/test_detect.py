"""Point-cloud files to result files: what is odd in them is said, and costs no more than it must."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

import lidar_ebm
from lidar_ebm.config.config import Config
from lidar_ebm.errors import InputError
from lidar_ebm.formats.kitti.calibration import FIXED_AXES, SIMULATED, Calibration
from lidar_ebm.formats.kitti.conversion import labels_to_boxes
from lidar_ebm.formats.kitti.files import read_labels, read_points, write_calibration, write_points
from lidar_ebm.formats.text_lists import read_names
from lidar_ebm.workflows.detect import detect_files
from lidar_ebm.workflows.evaluate import evaluate_run
from tests.cli.test_command import run as command
from tests.workflows.test_evaluate import make_run

DAMAGED = b"half a point"


@pytest.fixture
def run(eager_config: Config, tmp_path: Path) -> Path:
    """A run that has learnt nothing but proposes boxes all the same."""
    return make_run(eager_config, tmp_path / "run")


@pytest.fixture
def scan(simulated: Path) -> np.ndarray:
    """Points [N, 4] that a camera sees."""
    return read_points(simulated / "training" / "velodyne" / "000000.bin")


def found_in(folder: Path, name: str) -> np.ndarray:
    """Boxes [M, 7] in the LiDAR frame that a result file without calibration holds."""
    return labels_to_boxes(read_labels(folder / f"{name}.txt", require_score=True), FIXED_AXES)


def test_a_damaged_file_costs_its_own_result_alone(
    run: Path, scan: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / f"{name}.bin" for name in "abcd"]
    for path in paths:
        write_points(path, scan)
    paths[1].write_bytes(DAMAGED)
    paths[3].unlink()
    out = tmp_path / "out"
    assert command("detect", run, *paths, "--out", out, "--steps", 0) == 2
    shown = capsys.readouterr()
    assert [Path(line).name for line in shown.out.split()] == ["a.txt", "c.txt"]
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "a.txt", "c.png", "c.txt"]
    end = shown.err[shown.err.index("2 of 4 files were left out:") :].splitlines()
    assert len(end) == 3
    assert str(paths[1]) in end[1]
    assert str(paths[3]) in end[2]
    assert "Traceback" not in shown.err
    assert np.array_equal(found_in(out, "a"), found_in(out, "c"))

    with pytest.warns(UserWarning, match="Left out; the others go on"):
        done = detect_files(run, paths, tmp_path / "again", steps=0)
    assert [path.name for path in done.written] == ["a.txt", "c.txt"]
    assert [Path(line.split(":")[0]).name for line in done.failed] == ["b.bin", "d.bin"]


def test_a_damaged_file_alone_is_said_once(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "b.bin").write_bytes(DAMAGED)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # there are no others to go on
        with pytest.raises(InputError, match=r"b\.bin"):
            detect_files(run, [tmp_path / "b.bin"], tmp_path / "none", steps=0)
    assert command("detect", run, tmp_path / "b.bin", "--out", tmp_path / "none", "--steps", 0) == 2
    shown = capsys.readouterr()
    assert (shown.out + shown.err).count("b.bin") == 1
    assert "others" not in shown.err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda xyz: xyz * 1000, "are they in millimetres"),
        (lambda xyz: xyz + np.array([350_000.0, 5_700_000.0, 40.0]), "such as UTM"),
        (lambda xyz: np.column_stack((-xyz[:, 1], xyz[:, 0], xyz[:, 2])), "does x point forward, or y?"),
    ],
)
def test_wrong_units_and_axes_are_asked_about(
    change: object, words: str, run: Path, scan: np.ndarray, tmp_path: Path
) -> None:
    told: list[str] = []
    for name, xyz in (("right", scan[:, :3]), ("wrong", change(scan[:, :3].astype(np.float64)))):  # type: ignore[operator]
        np.save(tmp_path / f"{name}.npy", np.column_stack((xyz, scan[:, 3])).astype(np.float32))
        detect_files(run, [tmp_path / f"{name}.npy"], tmp_path / "out", steps=0, tell=told.append)
    right, wrong = told
    low, high = np.array([0.0, -20.0, -3.0]), np.array([40.0, 20.0, 1.0])
    inside = int(((scan[:, :3] >= low) & (scan[:, :3] < high)).all(axis=1).sum())
    assert right.startswith(f"{tmp_path / 'right.npy'}: ")
    assert f"{inside:,} of {len(scan):,} points" in right
    assert "x 0…40, y -20…20, z -3…1 m" in right
    assert "?" not in right
    assert words in wrong


def test_reflectance_that_is_no_number_costs_the_reflectance_alone(run: Path, scan: np.ndarray, tmp_path: Path) -> None:
    unknown, zero = scan.copy(), scan.copy()
    unknown[:, 3], zero[:, 3] = np.nan, 0
    for name, points in (("nan", unknown), ("zero", zero)):
        np.save(tmp_path / f"{name}.npy", points)
        detect_files(run, [tmp_path / f"{name}.npy"], tmp_path / "out", steps=0)
    assert len(found_in(tmp_path / "out", "nan")) > 0
    assert np.array_equal(found_in(tmp_path / "out", "nan"), found_in(tmp_path / "out", "zero"))
    detector = lidar_ebm.load_detector(run)
    assert np.array_equal(detector.detect(unknown, steps=0).boxes, detector.detect(zero, steps=0).boxes)


def test_every_way_in_takes_every_scale_of_reflectance(
    run: Path, simulated: Path, tmp_path: Path, scan: np.ndarray
) -> None:
    """The same points with reflectances of 0..1, 0..255 and 0..65535 have the same boxes."""
    exact = scan.copy()
    exact[:, 3] = np.round(scan[:, 3] * 255) / 255
    detector = lidar_ebm.load_detector(run)
    expected = detector.detect(exact, steps=1)
    told: list[str] = []
    evaluated = []
    for full_scale in (1, 255, 65535):
        points = exact.copy()
        points[:, 3] = np.round(exact[:, 3].astype(np.float64) * 255) / 255 * full_scale
        np.save(tmp_path / f"of_{full_scale}.npy", points)
        for given in (None, float(full_scale)):
            out = tmp_path / f"out_{given}"
            detect_files(run, [tmp_path / f"of_{full_scale}.npy"], out, steps=1, full_scale=given, tell=told.append)
            np.testing.assert_allclose(found_in(out, f"of_{full_scale}")[:, :6], expected.boxes[:, :6], atol=0.011)
            assert ("reflectance as it is" if full_scale == 1 else f"divided by {full_scale}") in told[-1]
        if full_scale == 1:
            found = detector.detect(points, steps=1)
        else:
            with pytest.warns(UserWarning, match=f"reflectance divided by {full_scale}"):
                found = detector.detect(points, steps=1)
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-4)

        data = tmp_path / f"data_{full_scale}"
        shutil.copytree(simulated, data)
        for name in read_names(data / "ImageSets" / "val.txt"):
            path = data / "training" / "velodyne" / f"{name}.bin"
            cloud = read_points(path)
            cloud[:, 3] = np.round(cloud[:, 3].astype(np.float64) * 255) / 255 * full_scale
            cloud.astype("<f4").tofile(path)
        for path in (data / "training" / "velodyne").glob("*.bin"):
            if path.stem not in read_names(data / "ImageSets" / "val.txt"):
                path.unlink()
        evaluated.append(evaluate_run(run, data, steps=1).predictions)
    for other in evaluated[1:]:
        for one, same in zip(evaluated[0].results[1], other.results[1], strict=True):
            np.testing.assert_allclose(same.boxes, one.boxes, atol=1e-3)


def test_a_calibration_of_no_camera_is_refused(run: Path, scan: np.ndarray, tmp_path: Path) -> None:
    write_points(tmp_path / "scan.bin", scan)
    made_up = Calibration(np.eye(3, 4), SIMULATED.r0_rect, SIMULATED.tr_velo_to_cam)
    write_calibration(tmp_path / "unit.txt", made_up)
    with pytest.raises(InputError, match=r"unit\.txt: P2 has its principal point at \(0, 0\) pixels, in no image"):
        detect_files(run, [tmp_path / "scan.bin"], tmp_path / "out", calibration=tmp_path / "unit.txt", steps=0)
    assert not (tmp_path / "out").exists()
    without = detect_files(run, [tmp_path / "scan.bin"], tmp_path / "out", steps=0)
    assert len(without.written) == 1


def test_columns_and_numbers_of_bare_files_are_as_given(run: Path, scan: np.ndarray, tmp_path: Path) -> None:
    write_points(tmp_path / "four.bin", scan)
    ring = np.arange(len(scan)) % 64
    np.column_stack((scan, ring)).astype("<f4").tofile(tmp_path / "five.bin")
    np.column_stack((scan, ring)).astype("<f8").tofile(tmp_path / "double.bin")
    out = tmp_path / "out"
    detect_files(run, [tmp_path / "four.bin"], out, steps=0)
    columns = "x,y,z,intensity,ring"
    for name, dtype in (("five", None), ("double", "float64")):
        detect_files(run, [tmp_path / f"{name}.bin"], out, steps=0, columns=columns, dtype=dtype)
        assert np.array_equal(found_in(out, name), found_in(out, "four"))
