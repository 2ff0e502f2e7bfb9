"""The fast reader against the slow one: the same bits of every number and the same words about every damaged line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.kitti import object_files
from lidar_ebm.evaluation.kitti.object_files import read_object_files
from lidar_ebm.evaluation.kitti.objects import Objects, pack_objects
from lidar_ebm.formats.kitti.files import KITTI_TYPES, read_labels

CAR = "Car 0.00 0 1.55 614.24 181.78 727.31 284.77 1.57 1.73 4.15 1.00 1.75 13.22 1.62"
DONT_CARE = "DontCare -1 -1 -10 5.00 229.89 214.12 367.61 -1 -1 -1 -1000 -1000 -1000 -10"
SPELLINGS = [
    *("0", "-0", "+0", "0.0", "-0.0", "-.0", "0e5", "-0e-5", "00012", "007.50", "+1", "-1", ".5", "5.", "-5.e0"),
    *("1e-3", "1E5", "1e+5", "1.e5", ".5E-1", "1e22", "1e23", "1e-22", "1e-23", "123e20", "0.1", "0.3", "1e0000005"),
    *("9007199254740991", "9007199254740992", "9007199254740993", "9007199254740995", "9007199254740993.0"),
    *("0.12345678901234567", "1.7976931348623157e308", "-1.7976931348623158e308", "2.2250738585072011e-308"),
    *("4.9406564584124654e-324", "2.4703282292062327e-324", "2.4703282292062328e-324", "1e-400", "1e-99999", "5e-324"),
    *("123456789012345678", "1234567890123456789", "12345678901234567890123", "0.1000000000000000055511151231257827"),
    *("0." + 40 * "0" + "1e40", 40 * "0" + "1", "1" + 40 * "0", "1" + 400 * "0" + "e-400", "1." + 400 * "0"),
    *("3.14159265358979311599796346854", "6.02214076e23", "1e300", "1e299", "9" * 300, "0.5" + 30 * "0"),
]
DAMAGED = [
    *("", "   ", "Car", CAR.rsplit(" ", 1)[0], CAR + " 0.5 0.5", CAR.replace("Car", "Spaceship"), CAR + " inf"),
    *(CAR.replace(" 0 ", f" {text} ") for text in ("0.5", "nan", "1e400", "0.99999999999999999", "x", "1e-5", "-")),
    *(CAR.replace("1.75", text) for text in ("high", "nan", "NaN", "-inf", "infinity", "1_0", "0x10", "1e", "1e+")),
    *(
        CAR.replace("1.75", text)
        for text in (".", "-", "+-1", "1..2", "1.2.3", "1,5", "1e5.", "1e400", "-1e309", "1d5")
    ),
    *(
        CAR.replace("1.75", text)
        for text in ("e5", "--1", "1-", "1e99999", "9" * 400, "1.75\x00", "\x00", "½", "1 7 5")
    ),
    *(CAR.replace("Car ", text) for text in ("Car", "Cars ", "Ca ", "car_", "\ufeffCar ", "Çar ", "Car\x0b", "Car\r")),
    *(CAR[:40] + mark + CAR[40:] for mark in ("\n", "\r", "\x0b", "\x0c", "\x1c", "\u2028", "\x85", "#", "\x1a")),
]


def read_slowly(paths: Sequence[Path | None], need_scores: bool, types: Sequence[str] = KITTI_TYPES) -> Objects:
    frames = [[] if path is None else read_labels(path, require_score=need_scores, types=types) for path in paths]
    return pack_objects(frames, need_scores=need_scores)


def assert_same(ours: Objects, theirs: Objects) -> None:
    for field in fields(Objects):
        a, b = getattr(ours, field.name), getattr(theirs, field.name)
        if isinstance(b, np.ndarray):
            assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()), field.name
        else:
            assert a == b, field.name


def complaint(paths: Sequence[Path | None], need_scores: bool, types: Sequence[str] = KITTI_TYPES) -> str | None:
    """Compare both readers, errors included, and return the error's words."""
    try:
        theirs = read_slowly(paths, need_scores, types)
    except InputError as error:
        with pytest.raises(InputError) as caught:
            read_object_files(paths, need_scores=need_scores, types=types)
        assert str(caught.value) == str(error)
        return str(error)
    assert_same(read_object_files(paths, need_scores=need_scores, types=types), theirs)
    return None


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def random_number(rng: np.random.Generator) -> str:
    """A number as some program might spell it."""
    sign = str(rng.choice(["", "-", "+"]))
    kind = rng.integers(6)
    if kind == 0:
        return sign + str(rng.choice([text for text in SPELLINGS if text[0] not in "+-"]))
    if kind == 1:
        return sign + repr(abs(float(rng.normal()) * 10.0 ** int(rng.integers(-5, 5))))
    if kind == 2:
        return sign + f"{rng.random() * 1000:.{rng.integers(0, 20)}f}"
    if kind == 3:
        return sign + f"{rng.random() * 1000:.{rng.integers(0, 20)}e}"
    if kind == 4:  # any bits at all
        value = np.abs(rng.integers(0, 0x7FEF_FFFF_FFFF_FFFF, dtype=np.int64).view(np.float64))
        return sign + f"{value:.{rng.integers(14, 18)}e}"
    return sign + f"{rng.integers(0, 1 << 58)}e{rng.integers(-30, 30)}"


def random_line(rng: np.random.Generator, score: bool) -> str:
    name = str(rng.choice(KITTI_TYPES))
    name = str(rng.choice([name, name.lower(), name.upper(), name.swapcase()]))
    occluded = str(rng.choice(["0", "1", "2", "3", "-1", "+2", "-0", "1.0", "2.", "1e0", "30e-1"]))
    numbers = [random_number(rng) for _ in range(14 if score else 13)]
    gap = str(rng.choice([" ", "\t", "  ", " \t "]))
    return gap.join([name, numbers[0], occluded, *numbers[1:]]) + str(rng.choice(["", " ", "\t"]))


def random_text(rng: np.random.Generator, always_score: bool) -> str:
    lines = [random_line(rng, always_score or rng.random() < 0.3) for _ in range(rng.poisson(5))]
    lines += [""] * int(rng.integers(2))
    rng.shuffle(lines)
    end = str(rng.choice(["\n", "\r\n", "\r"]))
    mark = str(rng.choice(["", "\ufeff"], p=[0.8, 0.2]))
    return mark + end.join(lines) + (end if rng.random() < 0.7 else "")


@pytest.mark.parametrize("need_scores", [False, True])
def test_random_files_give_the_same_bits_as_one_by_one(tmp_path: Path, need_scores: bool) -> None:
    rng = np.random.default_rng(0)
    paths: list[Path | None] = [write(tmp_path / f"{i}.txt", random_text(rng, need_scores)) for i in range(300)]
    for i in rng.integers(0, len(paths), 30):
        paths[i] = None
    assert complaint(paths, need_scores) is None
    objects = read_object_files(paths, need_scores=need_scores)
    assert objects.frame_count == 300
    assert len(objects.scores) > 1000
    assert np.isnan(objects.scores).any() != need_scores


def test_every_spelling_is_rounded_as_python_rounds_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    spellings = SPELLINGS + [random_number(rng) for _ in range(5000)]
    lines = [f"Car {text} 0 " + " ".join(13 * [text]) for text in spellings]
    objects = read_object_files([write(tmp_path / "a.txt", "\n".join(lines))], need_scores=True)
    expected = np.array([float(text) for text in spellings])
    for values in (objects.truncated, objects.alpha, *objects.bbox.T, *objects.boxes.T, objects.scores):
        np.testing.assert_array_equal(values.view(np.int64), expected.view(np.int64))


def test_short_numbers_that_are_hard_to_round_may_fill_a_file(tmp_path: Path) -> None:
    objects = read_object_files(
        [write(tmp_path / "a.txt", 500 * ("Car 1e23 0" + 13 * " 1e23" + "\n"))], need_scores=True
    )
    assert (objects.boxes == 1e23).all()
    assert len(objects.scores) == 500


def test_each_number_goes_to_its_field(tmp_path: Path) -> None:
    line = "Van " + " ".join(str(i) for i in range(1, 16))
    objects = read_object_files([write(tmp_path / "a.txt", line)], need_scores=True)
    assert (objects.truncated, objects.occluded, objects.alpha, objects.scores) == (1, 2, 3, 15)
    np.testing.assert_array_equal(objects.bbox, [[4, 5, 6, 7]])
    np.testing.assert_array_equal(objects.boxes, [[11, 12, 13, 8, 9, 10, 14]])


def test_plain_files_need_no_second_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = CAR.replace("1.75", repr(np.pi * 10)).replace("13.22", "0.12345678901234567")
    path = write(tmp_path / "a.txt", f"\ufeff{CAR}\r\n\t\r\n{digits} -1.5e-07\r\n{DONT_CARE}")
    expected = read_slowly([path], False)
    monkeypatch.delattr(object_files, "read_labels")
    assert_same(read_object_files([path], need_scores=False), expected)


@pytest.mark.parametrize("need_scores", [False, True])
@pytest.mark.parametrize("line", DAMAGED)
def test_damaged_lines_are_named_in_the_same_words(tmp_path: Path, line: str, need_scores: bool) -> None:
    good = write(tmp_path / "good.txt", CAR + " 0.5\n")
    before = CAR + " 0.5\n\n"
    paths = [good, write(tmp_path / "a.txt", before + line + "\n" + CAR + " 1\n"), good]
    said = complaint(paths, need_scores)
    assert said is None or said.startswith(f"{paths[1]}:3: ")
    complaint([good, write(tmp_path / "b.txt", before + line + " 0.5")], need_scores)


def test_a_score_is_asked_for_only_where_it_is_needed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", f"{CAR} 0.5\n{CAR}\n")
    np.testing.assert_array_equal(read_object_files([path], need_scores=False).scores, [0.5, np.nan])
    assert "a.txt:2: the score is missing" in str(complaint([path], True))


def test_the_first_file_that_is_wrong_decides_what_is_said(tmp_path: Path) -> None:
    good, missing, folder = write(tmp_path / "good.txt", CAR), tmp_path / "none.txt", tmp_path
    unknown = write(tmp_path / "unknown.txt", CAR.replace("Car", "Spaceship"))
    binary = write(tmp_path / "binary.txt", b"Car \xff\xfe")
    for paths, said in [
        ([good, unknown, missing], "unknown.txt:1: unknown class"),
        ([good, missing, unknown], "none.txt: cannot be read"),
        ([None, binary, missing], "binary.txt: this is no text file"),
        ([folder, binary], "cannot be read"),
    ]:
        assert said in str(complaint(paths, False))


@pytest.mark.parametrize("need_scores", [False, True])
def test_files_with_bytes_changed_at_random_are_judged_alike(tmp_path: Path, need_scores: bool) -> None:
    rng = np.random.default_rng(2)
    text = f"{CAR} 0.5\r\n{DONT_CARE} 1e-7\n{CAR.lower()} -.25".encode()
    bytes_ = np.frombuffer(b"0159.-+eE \t\r\n\x0b\x1c\x1f\x00_,nNiIcCaArR\xc2\xa0\x85\xef\xbb\xbf", np.uint8)
    said = set()
    for i in range(1500):
        changed = np.frombuffer(text, np.uint8).copy()
        count = int(rng.integers(1, 4))
        changed[rng.integers(0, len(changed), count)] = rng.choice(bytes_, count)
        cut = len(changed) if rng.random() < 0.7 else int(rng.integers(len(changed)))
        said.add(complaint([write(tmp_path / f"{i % 10}.txt", changed[:cut].tobytes())], need_scores) is None)
    assert said == {True, False}


def test_nothing_is_normal(tmp_path: Path) -> None:
    empty, blank = write(tmp_path / "a.txt", ""), write(tmp_path / "b.txt", " \r\n\t\n\n")
    bare = write(tmp_path / "c.txt", "\ufeff")
    for paths in ([], [None], [empty], [None, empty, blank, bare, None]):
        assert complaint(paths, True) is None
        assert read_object_files(paths, need_scores=True).frame_count == len(paths)


def test_other_classes_are_known_where_they_are_given(tmp_path: Path) -> None:
    types = ("Bus", *KITTI_TYPES, "Straße", "bus")
    path = write(tmp_path / "a.txt", "\n".join(CAR.replace("Car", name) for name in ("BUS", "car", "straße", "STRAßE")))
    assert complaint([path], False, types) is None
    assert read_object_files([path], need_scores=False, types=types).type_names == ("bus", "car", "straße")
    assert "unknown class 'BUS'; known are Car, Van" in str(complaint([path], False))
    assert "known are Bus" in str(complaint([write(tmp_path / "b.txt", CAR.replace("Car", "Tank"))], False, types))
    assert complaint([path], False, ()) is not None


def test_many_files_are_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    files: list[Path | None] = [write(tmp_path / f"{i}.txt", random_text(rng, True)) for i in range(60)]
    files += [write(tmp_path / "odd.txt", f"{CAR} 0.5\x0b{CAR} 1"), None]  # one that the slow parser alone reads
    paths = [files[i] for i in rng.integers(0, len(files), 2500)]
    expected = read_slowly(paths, True)
    assert_same(read_object_files(paths, need_scores=True), expected)
    monkeypatch.setattr(object_files, "_CHUNK_BYTES", 2000)
    monkeypatch.setattr(object_files, "_BLOCK_BYTES", 100)
    assert_same(read_object_files(paths, need_scores=True), expected)
    late = [*paths, write(tmp_path / "late.txt", f"{CAR} 0.5\n{CAR} x")]
    assert "late.txt:2: field 'score' is 'x'" in str(complaint(late, True))


def test_real_label_files_are_read_alike(kitti_frames: Path) -> None:
    paths = sorted((kitti_frames / "training" / "label_2").glob("*.txt"))
    assert complaint(paths, False) is None
    assert (read_object_files(paths, need_scores=False).is_type("DontCare")).any()


def test_scoring_loads_neither_torch_nor_matplotlib(tmp_path: Path) -> None:
    for folder in ("labels", "results"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "000000.txt", f"{CAR} 0.5\n{DONT_CARE} 0.1\n")
    program = (
        "import sys\n"
        "from lidar_ebm.evaluation import table\n"
        "from lidar_ebm.evaluation.kitti import object_files\n"
        "from lidar_ebm.workflows.score import score\n"
        "table.score_table(score(sys.argv[1], sys.argv[2]))\n"
        "print(sorted({'torch', 'matplotlib'} & set(sys.modules)))\n"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path / "labels"), str(tmp_path / "results")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
