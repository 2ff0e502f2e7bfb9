"""Packing results for KITTI's server, and saying beforehand what it would say, or keep to itself.

What `lidar-ebm submit` does: a zip with a file for each frame of the object test set in its root folder.
"""

from __future__ import annotations

import codecs
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lidar_ebm.evaluation.kitti.result_files import find_result_files
from lidar_ebm.evaluation.kitti.sources import CLASSES
from lidar_ebm.evaluation.kitti.submission_checks import ObjectTable, check_numbers
from lidar_ebm.evaluation.options import ScoringOptions
from lidar_ebm.evaluation.problems import Judged, Problem
from lidar_ebm.evaluation.submission import PathLike, refuse_errors
from lidar_ebm.system.files import atomic_write
from lidar_ebm.system.progress import progress_bar

KITTI_TEST_FRAMES = tuple(f"{number:06d}" for number in range(7518))
LARGEST_SUBMISSION = 500_000_000  # bytes of all files together; the server refuses more

_SHOWN_RANGES = 10
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold: the same results give the same bytes
_ATTRIBUTES = 0o100644 << 16  # a regular file that everyone may read
_UNIX = 3


class KittiSubmission:
    """Rules of KITTI's server."""

    def check(self, results: Path, root: Path | None, options: ScoringOptions) -> SubmissionReport:
        """Find everything that the server refuses, misreads or ignores; the frames are known without a data set."""
        return check_submission(results)

    def pack(self, results: Path, out: Path, root: Path | None, options: ScoringOptions) -> SubmissionReport:
        """Check results and write the zip; see `submit`."""
        return submit(results, out)


@dataclass(frozen=True)
class SubmissionReport(Judged):
    """Contents of a folder of results, and what is wrong with it."""

    folder: Path
    frame_count: int  # frames with a file
    empty_count: int  # of these, files without an object
    object_counts: Mapping[str, int]  # by evaluated class
    problems: tuple[Problem, ...]

    @property
    def summary(self) -> str:
        """Frames, and objects by class."""
        objects = ", ".join(f"{count:,} {name}" for name, count in self.object_counts.items())
        return f"{self.frame_count:,} frames ({self.empty_count:,} empty) with {objects}"


def check_submission(folder: PathLike, frames: Sequence[str] = KITTI_TEST_FRAMES) -> SubmissionReport:
    """Find everything in a folder of results that KITTI's server would refuse, misread or ignore.

    Args:
        folder: with FRAME.txt, or with `data/FRAME.txt`.
        frames: names of the frames that there have to be; KITTI's object test set by default.

    Raises:
        InputError: no result files are there at all.
    """
    return _examine(Path(folder), frames)[0]


def submit(folder: PathLike, out: PathLike, frames: Sequence[str] = KITTI_TEST_FRAMES) -> SubmissionReport:
    """Check results and write the zip that KITTI's server wants.

    The files' bytes go in as they are; only a byte order mark at their head is left out, which the server would take
    for a part of the first class name. (Carriage returns are white space to it.) Files that belong to no frame stay
    out. The same results always give the same zip.

    Args:
        folder: with FRAME.txt, or with `data/FRAME.txt`.
        out: the zip.
        frames: names of the frames that there have to be; KITTI's object test set by default.

    Returns:
        what is in the zip, with warnings.

    Raises:
        InputError: something has to be corrected first; the message lists it, and nothing is written.
        OutputError: the zip cannot be written.
    """
    report, contents = _examine(Path(folder), frames)
    refuse_errors(report.errors, folder, out)
    with atomic_write(out) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(f"{name}.txt", _TIMESTAMP)
            entry.compress_type, entry.external_attr, entry.create_system = zipfile.ZIP_DEFLATED, _ATTRIBUTES, _UNIX
            archive.writestr(entry, contents[name])
    return report


def _examine(folder: Path, frames: Sequence[str]) -> tuple[SubmissionReport, dict[str, bytes]]:
    """The report, and what goes into the file of each frame."""
    files = find_result_files(folder)
    problems = [*_check_frames(folder, files, frames)]
    present = [name for name in frames if name in files]
    contents: dict[str, bytes] = {}
    table = ObjectTable()
    empty = 0
    with progress_bar("Checking", len(present)) as bar:
        for name in present:
            try:
                contents[name] = files[name].read_bytes().removeprefix(codecs.BOM_UTF8)
            except OSError as error:
                finding = f"cannot be read ({error.strerror})"
                problems.append(
                    Problem(str(files[name]), finding, "ask for permission, or write it again", blocks=True)
                )
            else:
                table.add_file(files[name], contents[name])
                empty += not contents[name].strip()
            bar.advance()
    size = sum(map(len, contents.values()))
    if size > LARGEST_SUBMISSION:
        kind = f"the server takes {LARGEST_SUBMISSION / 1e6:.0f} MB; leave out detections of the lowest scores"
        problems.append(Problem(str(folder), f"{size / 1e6:.0f} MB in all files", kind, blocks=True))
    problems += [*table.problems, *check_numbers(table)]
    counts = {name: int(table.is_type(name).sum()) for name in CLASSES}
    return SubmissionReport(folder, len(present), empty, counts, tuple(problems)), contents


def _check_frames(folder: Path, files: Mapping[str, Path], frames: Sequence[str]) -> Iterator[Problem]:
    wanted = set(frames)
    missing = [index for index, name in enumerate(frames) if name not in files]
    if missing:
        ranges = _ranges(missing)
        shown = ", ".join(
            frames[first] if first == last else f"{frames[first]} to {frames[last]}"
            for first, last in ranges[:_SHOWN_RANGES]
        )
        more = f" and {len(ranges) - _SHOWN_RANGES} more ranges" if len(ranges) > _SHOWN_RANGES else ""
        kind = "every frame needs one; an empty file says that nothing is found"
        yield Problem(
            str(folder), f"{len(missing)} of {len(frames)} frames have no file ({shown}{more})", kind, blocks=True
        )
    for name, path in files.items():
        if name in wanted:
            continue
        padded = name.zfill(len(frames[0])) if frames else name
        if padded in wanted:
            yield Problem(str(path), f"is this frame {padded}?", "a file is named exactly as its frame", blocks=True)
        elif name.isdigit():
            yield Problem(str(path), "no such frame", "the set to submit does not have it", blocks=True)
        else:
            yield Problem(str(path), "not a frame's file", "left out of the zip", blocks=False)


def _ranges(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Rising numbers as runs without a gap, each by its first and last."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs
