"""KITTI's object files: which calibration, which lines, and what comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.boxes import Boxes
from lidar_ebm.errors import InputError
from lidar_ebm.formats import Context, find_format, read_boxes, read_frames, write_boxes
from tests.formats.kitti.test_dialects import DIALECTS
from tests.formats.samples import CAMERA, count_points, shared

CAR = "Car 0.00 0 1.55 614.24 181.78 727.31 284.77 1.57 1.73 4.15 1.00 1.75 13.22 1.62"
REGION = "DontCare -1 -1 -10 5.00 229.89 214.12 367.61 -1 -1 -1 -1000 -1000 -1000 -10"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """A folder of one frame without a calibration."""
    folder = tmp_path / "training" / "label_2"
    folder.mkdir(parents=True)
    (folder / "000003.txt").write_text(f"{CAR}\n{REGION}\n\n{REGION}\n")
    return folder


@pytest.mark.filterwarnings("ignore:.*no box in space")
def test_calibrations_are_looked_up_beside_the_labels(labels: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"label_2: .*no calibration for frame 000003.*calib"):
        read_boxes(labels)
    calib = labels.parent / "calib"
    calib.mkdir()
    with pytest.raises(InputError, match=r"calib/000003\.txt: cannot be read"):
        read_boxes(labels)
    (calib / "000003.txt").write_text(DIALECTS["tracking"])
    expected = read_boxes(labels, "kitti", "000003", camera=CAMERA)
    assert isinstance(expected, Boxes)
    for path in (labels, labels / "000003.txt", labels.parent):
        found = read_boxes(path)
        assert isinstance(found, Boxes)
        assert found.boxes.tolist() == expected.boxes.tolist()
    calib.rename(tmp_path / "elsewhere")
    for given in (tmp_path / "elsewhere", tmp_path / "elsewhere" / "000003.txt"):
        found = read_boxes(labels, calib=given)
        assert isinstance(found, Boxes)
        assert found.boxes.tolist() == expected.boxes.tolist()


@pytest.mark.filterwarnings("ignore:.*no box in space")
def test_lidar_only_folders_have_fixed_axes(labels: Path) -> None:
    (labels.parent / "velodyne").mkdir()
    (labels / "000003.txt").write_text("forklift -1 -1 -10 0 0 0 0 1.50 1.60 3.90 -3.00 1.57 11.73 -1.97\n")
    with pytest.warns(UserWarning, match="LiDAR-only"):
        found = read_boxes(labels)
    assert isinstance(found, Boxes)
    np.testing.assert_allclose(found.boxes, [[12.0, 3.0, -0.9, 3.9, 1.6, 1.5, 1.97 - np.pi / 2]], atol=1e-9)
    assert found.names.tolist() == ["forklift"]
    assert found.columns() == {}
    with pytest.warns(UserWarning, match="LiDAR-only"):
        write_boxes(labels / "000004.txt", found, "kitti")
    assert (labels / "000004.txt").read_text() == (labels / "000003.txt").read_text().replace(
        "-10 0 0 0 0 ", "-10 0.00 0.00 0.00 0.00 "
    )


def test_regions_are_left_out_and_counted(labels: Path) -> None:
    context = Context(camera_of=lambda name: CAMERA)
    with pytest.warns(UserWarning, match="2 lines have no box in space"):
        found = find_format("kitti").read(labels, context)["000003"]
    assert found.names.tolist() == ["Car"]
    kept = find_format("kitti").read(labels, Context(camera_of=lambda name: CAMERA, keep_regions=True))["000003"]
    assert kept.names.tolist() == ["Car", "DontCare", "DontCare"]
    assert np.isnan(kept.boxes[1:]).all()
    assert kept.image_rectangle is not None
    assert kept.image_rectangle[1].tolist() == [5.00, 229.89, 214.12, 367.61]


def test_names_that_lines_cannot_hold_are_refused(tmp_path: Path) -> None:
    for name in ("two words", "", "tab\t"):
        boxes = Boxes(np.ones((1, 7)), np.array([name]))
        with pytest.raises(InputError, match="cannot stand in a line"):
            write_boxes(tmp_path / "a.txt", boxes, "kitti", camera=CAMERA)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Car 0 0", "3 fields"),
        (CAR.replace("1.57", "nan", 1), "'height' is 'nan'"),
        (CAR.replace("614.24", "1_0"), "'bbox x1' is '1_0'"),
        (CAR.replace("1.57", "-1.57", 1), "a size is negative"),
        (CAR + " 0.5 7", "17 fields"),
    ],
)
def test_wrong_lines_are_named(line: str, said: str, labels: Path) -> None:
    (labels / "000003.txt").write_text(f"{CAR}\n{line}\n")
    with pytest.raises(InputError, match=rf"000003\.txt:2: .*{said}"):
        read_boxes(labels, "kitti", camera=CAMERA)


@pytest.mark.filterwarnings("ignore:.*no box in space")
def test_real_labels_come_back_to_the_letter(tmp_path: Path) -> None:
    source = shared("kitti_real", "training")
    frames = read_frames(source / "label_2")
    write_boxes(tmp_path / "label_2", frames, "kitti", calib=source / "calib")
    for name in frames:
        lines = (source / "label_2" / f"{name}.txt").read_text().splitlines()
        objects = [line for line in lines if not line.startswith("DontCare")]
        assert (tmp_path / "label_2" / f"{name}.txt").read_text().splitlines() == objects


@pytest.mark.filterwarnings("ignore:.*no box in space")
def test_real_labels_hold_points() -> None:
    source = shared("kitti_real", "training")
    frames = read_frames(source / "label_2")
    assert len(frames) == 120
    counts = []
    for name, boxes in frames.items():
        points = np.fromfile(source / "velodyne" / f"{name}.bin", dtype="<f4").reshape(-1, 4)
        near = np.hypot(boxes.boxes[:, 0], boxes.boxes[:, 1]) < 40
        visible = near & (boxes.occluded == 0 if boxes.occluded is not None else True)
        counts += count_points(points, boxes.boxes[visible])
    assert np.mean(np.array(counts) >= 20) > 0.97
