"""Findings on results before KITTI's server sees them, and the zip that it gets."""

from __future__ import annotations

import math
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lidar_ebm.errors import InputError, OutputError
from lidar_ebm.evaluation.kitti import submission
from lidar_ebm.evaluation.kitti.submission import (
    KITTI_TEST_FRAMES,
    SubmissionReport,
    check_submission,
    submit,
)
from lidar_ebm.evaluation.kitti.submission_checks import FIELDS
from lidar_ebm.evaluation.problems import list_problems
from lidar_ebm.formats.kitti.files import read_labels, write_labels
from lidar_ebm.formats.kitti.label import KITTI_TYPES, Label

FRAMES = tuple(f"{number:06d}" for number in range(4))
GOOD = "Car -1 -1 -1.57 100.00 120.00 220.00 200.00 1.50 1.60 3.90 2.00 1.60 20.00 -1.47 0.9"
NO_BOX_IN_SPACE = {
    **{"height": "-1", "width": "-1", "length": "-1"},
    **{"x": "-1000", "y": "-1000", "z": "-1000", "rotation_y": "-10"},
}
NO_IMAGE_BOX = {"x1": "-1", "y1": "-1", "x2": "-1", "y2": "-1"}
ZERO_IMAGE_BOX = {"x1": "0", "y1": "0", "x2": "0", "y2": "0"}


def line(**changes: str) -> str:
    """A good line but for some fields."""
    fields = dict(zip(FIELDS, GOOD.split(), strict=True))
    assert changes.keys() <= fields.keys()
    return " ".join((fields | changes).values())


def put(folder: Path, *lines: str, frames: tuple[str, ...] = FRAMES) -> Path:
    """Results whose first frame has these lines and whose others have a good one."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in frames:
        (folder / f"{name}.txt").write_text(GOOD + "\n")
    (folder / f"{frames[0]}.txt").write_text("".join(f"{each}\n" for each in lines))
    return folder


def check(folder: Path) -> SubmissionReport:
    return check_submission(folder, FRAMES)


def random_results(generator: np.random.Generator, count: int) -> list[Label]:
    """Objects in sight, with numbers anywhere in their ranges."""
    results = []
    for _ in range(count):
        x1, y1 = generator.uniform(0, 1100), generator.uniform(0, 300)
        results.append(
            Label(
                type=str(generator.choice(("Car", "Pedestrian", "Cyclist"))),
                truncated=-1.0,
                occluded=-1,
                alpha=generator.uniform(-math.pi, math.pi),
                bbox=(x1, y1, generator.uniform(x1 + 1, 1241), generator.uniform(y1 + 1, 374)),
                dimensions=tuple(generator.uniform(0.3, 6.0, 3).tolist()),
                location=(generator.uniform(-30, 30), generator.uniform(-1, 3), generator.uniform(1, 70)),
                rotation_y=generator.uniform(-math.pi, math.pi),
                score=generator.normal(),
            )
        )
    return results


@pytest.mark.parametrize("nested", [False, True])
def test_good_results_are_packed_as_they_are(tmp_path: Path, nested: bool) -> None:
    generator = np.random.default_rng(0)
    folder = tmp_path / "results"
    place = folder / "data" if nested else folder
    for number, name in enumerate(FRAMES):
        write_labels(place / f"{name}.txt", random_results(generator, 20 * number))
    report = submit(folder, tmp_path / "out" / "F.zip", FRAMES)
    assert (report.frame_count, report.empty_count, report.problems) == (4, 1, ())
    assert sum(report.object_counts.values()) == 120
    with zipfile.ZipFile(tmp_path / "out" / "F.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"{name}.txt" for name in FRAMES]
        for name in FRAMES:
            assert archive.read(f"{name}.txt") == (place / f"{name}.txt").read_bytes()
        assert all(entry.compress_type == zipfile.ZIP_DEFLATED for entry in archive.infolist())


def test_every_angle_and_scores_of_any_size_are_good(tmp_path: Path) -> None:
    lines = [line(alpha=f"{angle:.2f}", rotation_y=f"{angle:.2f}") for angle in np.linspace(-math.pi, math.pi, 50)]
    lines += [line(score=score) for score in ("-12.5", "1e-30", "3E+5", "+7", "0")]
    assert check(put(tmp_path, *lines)).problems == ()


def test_kitti_has_as_many_test_frames_as_it_has() -> None:
    assert (len(KITTI_TEST_FRAMES), KITTI_TEST_FRAMES[0], KITTI_TEST_FRAMES[-1]) == (7518, "000000", "007517")


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    first = put(tmp_path / "a", GOOD, GOOD)
    second = tmp_path / "b"
    second.mkdir()
    for path in sorted(first.glob("*.txt"), reverse=True):
        (second / path.name).write_bytes(path.read_bytes())
    zips = [tmp_path / "a.zip", tmp_path / "b.zip"]
    for folder, path in zip((first, second), zips, strict=True):
        submit(folder, path, FRAMES)
    assert zips[0].read_bytes() == zips[1].read_bytes()


def test_a_byte_order_mark_is_left_out_and_other_line_ends_stay(tmp_path: Path) -> None:
    folder = put(tmp_path / "results", GOOD)
    windows = f"{GOOD}\r\n\r\n{GOOD}\r\n".encode()
    (folder / "000000.txt").write_bytes(b"\xef\xbb\xbf" + windows)
    report = submit(folder, tmp_path / "F.zip", FRAMES)
    assert (report.problems, report.object_counts["Car"]) == ((), 5)
    with zipfile.ZipFile(tmp_path / "F.zip") as archive:
        assert archive.read("000000.txt") == windows


# What the first frame's second line is, what is said of it, and whether that keeps it from being packed.
FIELD_PROBLEMS = [
    (GOOD.rsplit(" ", 1)[0], "15 fields: the score is missing", True),
    (GOOD + " 1", "17 fields: a result line has 16", True),
    (GOOD.replace(" ", ","), "1 fields: a result line has 16", True),
    *((line(**{name: "nan"}), f"{name} is 'nan': not a finite number", True) for name in FIELDS[1:]),
    (line(score="-inf"), "score is '-inf': not a finite number", True),
    (line(score="1e999"), "score is '1e999': not a finite number", True),
    (line(x1="1_0"), "x1 is '1_0': not a finite number", True),
    (line(z="20,5"), "z is '20,5': not a finite number", True),
    (line(z="２０"), "z is '２０': not a finite number", True),
    (line(type="Bus"), "type is 'Bus': unknown to KITTI", True),
    *((line(type=name), f"type is {name}: not evaluated, will be ignored", False) for name in KITTI_TYPES[1:3]),
    (line(type="dontcare"), "type is DontCare: not evaluated, will be ignored", False),
    (line(truncated="1.5"), "truncated = 1.5: neither -1", False),
    (line(truncated="-0.5"), "truncated = -0.5: neither -1", False),
    (line(occluded="4"), "occluded = 4: neither -1", False),
    (line(occluded="0.5"), "occluded = 0.5: not a whole number", True),
    (line(alpha="3.16"), "alpha = 3.16: angles lie between", True),
    (line(alpha="-4.28"), "alpha = -4.28: angles lie between", True),
    (line(alpha="-10"), "alpha = -10: unknown here, known elsewhere", False),
    (line(rotation_y="-3.2"), "rotation_y = -3.2: angles lie between", True),
    (line(x2="100"), "x1 y1 x2 y2 = 100 120 100 200: a 2-D box has x1 < x2", True),
    (line(y2="90"), "x1 y1 x2 y2 = 100 120 220 90: a 2-D box has x1 < x2", True),
    (line(**NO_IMAGE_BOX | {"x2": "50"}), "x1 y1 x2 y2 = -1 -1 50 -1: a 2-D box has", True),
    (line(x1="1250", x2="1300"), "1250 120 1300 200: outside every image", True),
    (line(y1="-50", y2="-2"), "100 -50 220 -2: outside every image", True),
    (line(x2="1e5"), "100 120 100000 200: reaches far out of the image", True),
    (line(y1="-800"), "100 -800 220 200: reaches far out of the image", True),
    (line(x2="1300"), "100 120 1300 200: reaches out of the image", False),
    (line(**NO_IMAGE_BOX), "x1 y1 x2 y2 = -1 -1 -1 -1: no 2-D box, so the object will be ignored", False),
    (line(**ZERO_IMAGE_BOX), "x1 y1 x2 y2 = 0 0 0 0: no 2-D box, so the object will be ignored", False),
    *((line(**{name: "0"}), r"height width length = .*: sizes are above 0", True) for name in FIELDS[8:11]),
    (line(width="-2"), "height width length = 1.5 -2 3.9: sizes are above 0", True),
    *(
        (line(**{name: NO_BOX_IN_SPACE[name]}), "some are placeholders", True)
        for name in NO_BOX_IN_SPACE
        if name != "y"
    ),
    (line(**NO_BOX_IN_SPACE | {"rotation_y": "1"}), "some are placeholders", True),
    (line(**NO_BOX_IN_SPACE), "no 3-D box, where other objects have one", False),
    (line(y="-1000"), "no height, where other objects have one", False),
    (line(y="-1000", height="-1"), "no height, where other objects have one", False),
    (line(z="-10"), "x y z = 2 1.6 -10: all of the box is behind the camera", True),
    (line(z="-1"), "x y z = 2 1.6 -1: the box's centre is behind the camera", False),
]


@pytest.mark.parametrize(("bad", "said", "blocks"), FIELD_PROBLEMS)
def test_what_is_wrong_with_a_line_is_said_once_with_file_and_line(
    tmp_path: Path, bad: str, said: str, blocks: bool
) -> None:
    report = check(put(tmp_path / "results", GOOD, "", bad))
    (problem,) = report.problems
    assert problem.blocks == blocks
    assert re.search(f"results.000000.txt:3: .*{said}", str(problem))
    if blocks:
        with pytest.raises(InputError, match=r"F\.zip is not written.*Things to correct: 1\n"):
            submit(tmp_path / "results", tmp_path / "F.zip", FRAMES)
    else:
        submit(tmp_path / "results", tmp_path / "F.zip", FRAMES)
    assert (tmp_path / "F.zip").exists() != blocks


@pytest.mark.parametrize("name", ["car", "CYCLIST", "pEdestrian"])
def test_classes_are_known_in_any_case(tmp_path: Path, name: str) -> None:
    assert check(put(tmp_path, line(type=name))).problems == ()


def test_everything_that_is_wrong_is_listed(tmp_path: Path) -> None:
    folder = put(
        tmp_path / "results",
        line(type="Bus", alpha="7", x2="0", score="?"),
        line(height="high", width="-3", rotation_y="9").rsplit(" ", 1)[0],
    )
    (folder / "000002.txt").unlink()
    (folder / "000003.txt").write_bytes(GOOD.encode("utf-16"))
    (folder / "000009.txt").write_text("")
    (folder / "1.txt").write_text("")
    (folder / "log.txt").write_text("epoch 80")
    report = check(folder)
    said = "\n".join(map(str, report.errors))
    for part in (
        r"results: 1 of 4 frames have no file \(000002\): every frame needs one",
        r"000009\.txt: no such frame",
        r"1\.txt: is this frame 000001\?",
        r"000003\.txt: not plain text",
        r"000000\.txt:1: type is 'Bus'",
        r"000000\.txt:1: score is '\?'",
        r"000000\.txt:1: alpha = 7",
        r"000000\.txt:1: x1 y1 x2 y2 = 100 120 0 200: a 2-D box",
        r"000000\.txt:2: 15 fields",
        r"000000\.txt:2: height is 'high'",
        r"000000\.txt:2: rotation_y = 9",
        r"000000\.txt:2: height width length = nan -3 3\.9: sizes",
    ):
        assert re.search(part, said), part
    assert len(report.errors) == 12
    assert [str(problem) for problem in report.warnings] == [
        f"{folder / 'log.txt'}: not a frame's file: left out of the zip"
    ]
    with pytest.raises(InputError, match="Things to correct: 12") as caught:
        submit(folder, tmp_path / "F.zip", FRAMES)
    for problem in report.errors:
        assert str(problem) in str(caught.value)


def test_a_long_list_is_cut_kind_by_kind(tmp_path: Path) -> None:
    bad = [line(alpha="7"), line(rotation_y="7", score="x")] * 20
    report = check(put(tmp_path, *bad))
    lines = list_problems(report.errors, shown=3)
    assert len(report.errors) == 60
    assert [each.startswith("… and 17 more: not a finite") for each in lines].count(True) == 1
    assert [each.startswith("… and 37 more: angles lie") for each in lines].count(True) == 1
    assert len(lines) == 8
    assert list_problems(report.errors, shown=60) == [str(problem) for problem in report.errors]
    assert list_problems([]) == []


def test_missing_frames_are_given_as_ranges(tmp_path: Path) -> None:
    frames = tuple(f"{number:06d}" for number in range(100))
    put(tmp_path, GOOD, frames=frames)
    for number in (0, 1, 2, 50, 98, 99):
        (tmp_path / f"{number:06d}.txt").unlink()
    (problem,) = check_submission(tmp_path, frames).problems
    assert problem.finding == "6 of 100 frames have no file (000000 to 000002, 000050, 000098 to 000099)"
    for number in range(3, 98, 2):
        (tmp_path / f"{number:06d}.txt").unlink()
    (problem,) = check_submission(tmp_path, frames).problems
    assert problem.finding.startswith("54 of 100 frames have no file (000000 to 000003, 000005, ")
    assert problem.finding.endswith(" more ranges)")


def test_every_frame_of_kitti_is_asked_for_by_default(tmp_path: Path) -> None:
    put(tmp_path, GOOD)
    assert check_submission(tmp_path).errors[0].finding == "7514 of 7518 frames have no file (000004 to 007517)"


def test_a_class_without_2d_boxes_is_refused(tmp_path: Path) -> None:
    folder = put(tmp_path, line(type="Cyclist", **NO_IMAGE_BOX), line(type="Cyclist", **ZERO_IMAGE_BOX))
    (problem,) = check(folder).problems
    assert problem.blocks
    assert problem.finding == "none of 2 Cyclist objects has a 2-D box"


def test_a_class_of_low_boxes_alone_is_worth_a_word(tmp_path: Path) -> None:
    low = {"y1": "100", "y2": "124.9"}
    report = check(put(tmp_path, line(type="Cyclist", **low), line(type="Cyclist", **NO_IMAGE_BOX)))
    problem = report.problems[-1]
    assert not problem.blocks
    assert problem.finding == "none of 2 Cyclist objects is 25 pixels high"
    assert check(put(tmp_path, line(type="Cyclist", y1="100", y2="125"))).problems == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (NO_BOX_IN_SPACE, "no object has a 3-D box: the image benchmark alone will be evaluated"),
        ({"y": "-1000"}, "every y is -1000: the image and ground benchmarks alone"),
        ({"alpha": "-10"}, "no object has its alpha: orientation"),
    ],
)
def test_results_for_some_benchmarks_alone_are_fine(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    for name in FRAMES:
        (tmp_path / f"{name}.txt").write_text(line(**changes) + "\n")
    (problem,) = check(tmp_path).problems
    assert not problem.blocks
    assert said in str(problem)


@pytest.mark.parametrize("lines", [[], [line(type="Tram")]])
def test_nothing_to_evaluate_is_refused(tmp_path: Path, lines: list[str]) -> None:
    for name in FRAMES:
        (tmp_path / f"{name}.txt").write_text("".join(each + "\n" for each in lines))
    (problem,) = check(tmp_path).errors
    assert problem.finding == "no object of an evaluated class"


def test_more_than_the_server_takes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, GOOD)
    monkeypatch.setattr(submission, "LARGEST_SUBMISSION", 4 * (len(GOOD) + 1))
    assert check(tmp_path).problems == ()
    monkeypatch.setattr(submission, "LARGEST_SUBMISSION", 4 * (len(GOOD) + 1) - 1)
    assert "in all files: the server takes" in str(check(tmp_path).errors[0])


def test_a_refused_submission_leaves_an_older_zip(tmp_path: Path) -> None:
    (tmp_path / "F.zip").write_text("older")
    with pytest.raises(InputError):
        submit(put(tmp_path / "results", line(score="nan")), tmp_path / "F.zip", FRAMES)
    assert (tmp_path / "F.zip").read_text() == "older"


def test_a_zip_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "F.zip").mkdir()
    with pytest.raises(OutputError, match=r"F\.zip"):
        submit(put(tmp_path / "results", GOOD), tmp_path / "F.zip", FRAMES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["F.zip", "results"]


def test_no_results_at_all_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the folder is empty"):
        check(tmp_path)


def test_what_this_program_writes_is_good(tmp_path: Path) -> None:
    """A detection beside the image, whose 2-D box is then zeros, is a warning."""
    beside = replace(random_results(np.random.default_rng(1), 1)[0], bbox=(0.0, 0.0, 0.0, 0.0))
    put(tmp_path, GOOD)
    write_labels(tmp_path / "000000.txt", [*read_labels(tmp_path / "000001.txt"), replace(beside, type="Car")])
    assert check(tmp_path).errors == ()
    assert len(check(tmp_path).warnings) == 1


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, GOOD)
    read_bytes = Path.read_bytes

    def fail_on_one(path: Path) -> bytes:
        if path.name == "000002.txt":
            raise PermissionError(13, "Permission denied")
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", fail_on_one)
    (problem,) = check(tmp_path).errors
    assert str(problem).startswith(f"{tmp_path / '000002.txt'}: cannot be read (Permission denied)")
