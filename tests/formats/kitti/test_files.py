"""KITTI's files: exact lines, lossless round trips, and what is said of damaged ones."""

from __future__ import annotations

import struct
import zlib
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError, OutputError
from lidar_ebm.evaluation.kitti.object_files import read_object_files
from lidar_ebm.formats.kitti.calibration import SIMULATED, Calibration
from lidar_ebm.formats.kitti.files import (
    KITTI_TYPES,
    parse_labels,
    read_calibration,
    read_labels,
    read_png_size,
    read_points,
    write_calibration,
    write_labels,
    write_points,
    write_split,
)
from lidar_ebm.formats.kitti.label import Label
from lidar_ebm.formats.text_lists import read_names

CAR = "Car 0.00 0 1.55 614.24 181.78 727.31 284.77 1.57 1.73 4.15 1.00 1.75 13.22 1.62"
DONT_CARE = "DontCare -1 -1 -10 5.00 229.89 214.12 367.61 -1 -1 -1 -1000 -1000 -1000 -10"


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(line + "\n" for line in lines))
    return path


def random_label(rng: np.random.Generator, *, score: bool) -> Label:
    return Label(
        type=str(rng.choice(KITTI_TYPES[:-1])),
        truncated=float(rng.random()),
        occluded=int(rng.integers(0, 4)),
        alpha=float(rng.uniform(-3.14, 3.14)),
        bbox=tuple(rng.uniform(0, 1241, 4).tolist()),
        dimensions=tuple(rng.uniform(0.3, 15, 3).tolist()),
        location=tuple(rng.uniform(-80, 80, 3).tolist()),
        rotation_y=float(rng.uniform(-3.14, 3.14)),
        score=float(np.float32(rng.normal())) if score else None,
    )


def numbers(label: Label) -> list[float]:
    return [label.truncated, label.alpha, *label.bbox, *label.dimensions, *label.location, label.rotation_y]


# Points


def test_points_come_back_bit_for_bit(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    write_points(tmp_path / "a.bin", points)
    assert (tmp_path / "a.bin").stat().st_size == 1600
    again = read_points(tmp_path / "a.bin")
    np.testing.assert_array_equal(again, points)
    assert again.dtype == np.float32
    assert again.flags.writeable


def test_a_file_of_no_bytes_is_a_frame_without_points(tmp_path: Path) -> None:
    write_points(tmp_path / "a.bin", np.zeros((0, 4)))
    assert read_points(tmp_path / "a.bin").shape == (0, 4)


def test_a_truncated_velodyne_file_is_named_with_its_size(tmp_path: Path) -> None:
    (tmp_path / "cut.bin").write_bytes(bytes(1610))
    with pytest.raises(InputError, match=r"cut\.bin: 1610 bytes .* Copy it again"):
        read_points(tmp_path / "cut.bin")


def test_a_missing_velodyne_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.bin: cannot be read"):
        read_points(tmp_path / "none.bin")


def test_points_that_are_not_finite_are_dropped_with_a_warning(tmp_path: Path) -> None:
    points = np.ones((5, 4), np.float32)
    points[1, 2], points[3, 0], points[4, 3] = np.nan, np.inf, -np.inf
    write_points(tmp_path / "odd.bin", points)
    with pytest.warns(UserWarning, match=r"odd\.bin: dropped 2 of 5 points"), pytest.warns(UserWarning, match="1 of 5"):
        np.testing.assert_array_equal(read_points(tmp_path / "odd.bin"), [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0]])


def test_points_of_another_shape_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\[N, 4\]"):
        write_points(tmp_path / "a.bin", np.zeros((5, 3)))
    assert not list(tmp_path.iterdir())


# Labels and results


def test_the_fields_of_a_line(tmp_path: Path) -> None:
    label, region = read_labels(write(tmp_path / "a.txt", CAR, DONT_CARE))
    assert label == Label(
        type="Car",
        truncated=0.0,
        occluded=0,
        alpha=1.55,
        bbox=(614.24, 181.78, 727.31, 284.77),
        dimensions=(1.57, 1.73, 4.15),
        location=(1.0, 1.75, 13.22),
        rotation_y=1.62,
    )
    assert label.score is None
    assert (region.type, region.truncated, region.occluded, region.alpha) == ("DontCare", -1, -1, -10)
    assert (region.dimensions, region.location, region.rotation_y) == ((-1,) * 3, (-1000,) * 3, -10)
    assert [field.name for field in fields(label)] == [
        *("type", "truncated", "occluded", "alpha", "bbox", "dimensions", "location", "rotation_y", "score")
    ]


def test_lines_are_written_as_kitti_writes_them(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", CAR, DONT_CARE, CAR + " 0.123456789")
    write_labels(tmp_path / "b.txt", read_labels(path))
    assert (tmp_path / "b.txt").read_text() == path.read_text()


def test_results_have_a_sixteenth_field_and_no_truncation(tmp_path: Path) -> None:
    label = replace(read_labels(write(tmp_path / "a.txt", CAR))[0], truncated=-1.0, occluded=-1, score=0.75)
    write_labels(tmp_path / "b.txt", [label])
    assert (tmp_path / "b.txt").read_text() == CAR.replace("Car 0.00 0", "Car -1 -1") + " 0.75\n"


@pytest.mark.parametrize("score", [False, True])
def test_round_trips_lose_nothing_beyond_two_decimals(tmp_path: Path, score: bool) -> None:
    rng = np.random.default_rng(0)
    labels = [random_label(rng, score=score) for _ in range(200)]
    write_labels(tmp_path / "a.txt", labels)
    once = read_labels(tmp_path / "a.txt")
    for label, again in zip(labels, once, strict=True):
        assert (again.type, again.occluded) == (label.type, label.occluded)
        np.testing.assert_allclose(numbers(again), numbers(label), atol=0.005 + 1e-9)
        assert (again.score is None) == (label.score is None)
        assert again.score is None or np.float32(again.score) == np.float32(label.score)
    write_labels(tmp_path / "b.txt", once)
    assert read_labels(tmp_path / "b.txt") == once
    assert (tmp_path / "b.txt").read_bytes() == (tmp_path / "a.txt").read_bytes()


def test_real_label_files_come_back_byte_for_byte(kitti_frames: Path, tmp_path: Path) -> None:
    for path in sorted((kitti_frames / "training" / "label_2").glob("*.txt")):
        write_labels(tmp_path / path.name, read_labels(path))
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_class_names_are_read_without_regard_to_case(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", CAR.replace("Car", "cAR"), DONT_CARE.replace("DontCare", "dontcare"))
    assert [label.type for label in read_labels(path)] == ["Car", "DontCare"]


def test_other_classes_are_known_where_they_are_given(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", CAR.replace("Car", "bUS"), CAR)
    types = ("Bus", "Car", "BUS")
    assert [label.type for label in read_labels(path, types=types)] == ["Bus", "Car"]
    with pytest.raises(InputError, match=r"a\.txt:1: unknown class 'bUS'; known are Car, Van, .*, DontCare\."):
        read_labels(path)
    with pytest.raises(InputError, match=r"a\.txt:2: unknown class 'Car'; known are Bus\."):
        read_labels(path, types=("Bus",))


def test_a_files_text_is_read_as_the_file_is(tmp_path: Path) -> None:
    lines = (CAR + " 0.5", "", DONT_CARE)
    path = write(tmp_path / "a.txt", *lines)
    assert parse_labels("\r\n".join(lines), path) == read_labels(path)
    with pytest.raises(InputError, match=r"zip/b\.txt:3: the score is missing"):
        parse_labels("\n".join(lines), "zip/b.txt", require_score=True)


def test_an_empty_label_file_is_a_frame_without_objects(tmp_path: Path) -> None:
    assert read_labels(write(tmp_path / "a.txt", "", "  ")) == []
    write_labels(tmp_path / "b.txt", [])
    assert (tmp_path / "b.txt").read_bytes() == b""
    assert read_labels(tmp_path / "b.txt") == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (CAR.rsplit(" ", 1)[0], r"a\.txt:2: 14 fields; a label has 15, a result 16"),
        (CAR + " 0.5 0.5", r"a\.txt:2: 17 fields"),
        (CAR.replace("Car", "Spaceship"), r"a\.txt:2: unknown class 'Spaceship'; known are Car, Van, .*, DontCare"),
        (CAR.replace("1.75", "high"), r"a\.txt:2: field 'location y' is 'high'"),
        (CAR.replace("1.62", "nan"), r"a\.txt:2: field 'rotation_y' is 'nan'"),
        (CAR.replace("0.00 0", "0.00 0.5"), r"a\.txt:2: field 'occluded' is '0\.5', which is not a whole number"),
        (CAR.replace("0.00 0", "0.00 \N{ARABIC-INDIC DIGIT ONE}"), r"a\.txt:2: field 'occluded' is"),
        (CAR.replace("0.00 0", "\N{FULLWIDTH DIGIT ONE}.00 0"), r"a\.txt:2: field 'truncated' is .* not a finite"),
        (CAR + " inf", r"a\.txt:2: field 'score' is 'inf'"),
    ],
)
def test_damaged_label_lines_are_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_labels(write(tmp_path / "a.txt", CAR, line))


def test_a_result_without_a_score_is_named_where_one_is_needed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", CAR + " 0.5", CAR)
    assert [label.score for label in read_labels(path)] == [0.5, None]
    with pytest.raises(InputError, match=r"a\.txt:2: the score is missing"):
        read_labels(path, require_score=True)


def test_the_occlusion_of_a_result_need_not_be_whole(tmp_path: Path) -> None:
    line = CAR.replace("0.00 0", "0.00 0.5") + " 0.9"
    (label,) = read_labels(write(tmp_path / "a.txt", line), require_score=True)
    assert label.occluded == 0
    objects = read_object_files([tmp_path / "a.txt"], need_scores=True)  # the fast way to the same
    assert objects.occluded.tolist() == [0.0]
    for read in (
        lambda: read_labels(tmp_path / "a.txt"),
        lambda: read_object_files([tmp_path / "a.txt"], need_scores=False),
    ):
        with pytest.raises(InputError, match=r"'occluded' is '0\.5', which is not a whole number"):
            read()
    write(tmp_path / "a.txt", line.replace("0.5", "nan"))
    with pytest.raises(InputError, match="'occluded' is 'nan', which is not a finite number"):
        read_labels(tmp_path / "a.txt", require_score=True)


def test_a_binary_file_is_no_label_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"Car \xff\xfe")
    with pytest.raises(InputError, match=r"a\.txt: this is no text file"):
        read_labels(tmp_path / "a.txt")


@pytest.mark.parametrize(
    "change", [{"type": "two words"}, {"type": ""}, {"alpha": float("nan")}, {"score": float("inf")}]
)
def test_labels_that_could_not_be_read_again_are_not_written(tmp_path: Path, change: dict[str, object]) -> None:
    label = read_labels(write(tmp_path / "a.txt", CAR))[0]
    with pytest.raises(InputError, match=r"b\.txt"):
        write_labels(tmp_path / "b.txt", [label, replace(label, **change)])  # type: ignore[arg-type]
    assert not (tmp_path / "b.txt").exists()


def test_a_file_where_a_folder_should_be_is_reported(tmp_path: Path) -> None:
    write(tmp_path / "taken")
    with pytest.raises(OutputError, match="taken"):
        write_labels(tmp_path / "taken" / "a.txt", [])


# Calibrations


def test_calibrations_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    calibration = Calibration(*(rng.normal(scale=100, size=shape) for shape in ((3, 4), (3, 3), (3, 4))))
    write_calibration(tmp_path / "a.txt", calibration)
    again = read_calibration(tmp_path / "a.txt")
    for name in ("p2", "r0_rect", "tr_velo_to_cam"):
        np.testing.assert_allclose(getattr(again, name), getattr(calibration, name), rtol=1e-12)
    write_calibration(tmp_path / "b.txt", again)
    assert (tmp_path / "b.txt").read_bytes() == (tmp_path / "a.txt").read_bytes()


def test_calibration_files_have_kittis_lines(kitti_frames: Path, tmp_path: Path) -> None:
    real = kitti_frames / "training" / "calib" / "000003.txt"
    write_calibration(tmp_path / "a.txt", read_calibration(real))
    ours, theirs = (dict(x.split(":") for x in p.read_text().split("\n") if x) for p in (tmp_path / "a.txt", real))
    assert list(ours) == list(theirs)
    for key in ("P2", "R0_rect", "Tr_velo_to_cam"):
        assert ours[key] == theirs[key]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("R0_rect:", "R_rect:", r"a\.txt: R0_rect is missing"),
        ("P2: 7", "P2: x", r"a\.txt: P2 holds something that is no number"),
        ("P2: 7", "P2: 1.0 7", r"a\.txt: P2 has 13 values, it needs 12"),
        ("R0_rect: 1.0", "R0_rect: 0.0", r"a\.txt: .*r0_rect is singular"),
    ],
)
def test_damaged_calibrations_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    write_calibration(tmp_path / "a.txt", SIMULATED)
    text = (tmp_path / "a.txt").read_text()
    assert old in text
    (tmp_path / "a.txt").write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message):
        read_calibration(tmp_path / "a.txt")


def test_a_missing_calibration_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.txt: cannot be read"):
        read_calibration(tmp_path / "none.txt")


# Splits and images


def test_splits_come_back(tmp_path: Path) -> None:
    write_split(tmp_path / "train.txt", ["000003", "000008"])
    assert (tmp_path / "train.txt").read_text() == "000003\n000008\n"
    assert read_names(tmp_path / "train.txt") == ["000003", "000008"]
    assert read_names(write(tmp_path / "val.txt", "", " 000001 ", "")) == ["000001"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("000001 000002", r"val\.txt:2: '000001 000002' is not the name of a frame"),
        ("../000001", r"val\.txt:2: '\.\./000001' is not the name"),
        ("000000", r"val\.txt:2: frame 000000 stands already in line 1"),
    ],
)
def test_unparsable_split_lines_are_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_names(write(tmp_path / "val.txt", "000000", line))


def test_the_size_of_an_image(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 1242, 375, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    assert read_png_size(tmp_path / "a.png") == (1242, 375)
    (tmp_path / "b.png").write_bytes(b"JFIF")
    with pytest.raises(InputError, match=r"b\.png: this is no PNG image"):
        read_png_size(tmp_path / "b.png")


def test_a_camera_that_looks_down_is_refused_by_its_file(tmp_path: Path) -> None:
    down = Calibration(p2=SIMULATED.p2, r0_rect=SIMULATED.r0_rect, tr_velo_to_cam=np.eye(3, 4))
    write_calibration(tmp_path / "down.txt", down)
    with pytest.raises(InputError, match=r"down\.txt: the calibration tilts the camera"):
        read_calibration(tmp_path / "down.txt", need_headings=True)
    assert np.array_equal(read_calibration(tmp_path / "down.txt").tr_velo_to_cam, down.tr_velo_to_cam)
