"""Result files for nuScenes' server: checked as it does, with the samples of the split where the tables are at hand."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.nuscenes.detections import find_result_file, in_split_order, list_sample_problems
from lidar_ebm.evaluation.nuscenes.evaluation import compute_figures
from lidar_ebm.evaluation.nuscenes.labels import labels_of_tables, version_and_split
from lidar_ebm.evaluation.nuscenes.result_files import ResultFile, read_result_file
from lidar_ebm.evaluation.nuscenes.rules import STOPS
from lidar_ebm.evaluation.options import ScoringOptions
from lidar_ebm.evaluation.problems import Judged, Problem
from lidar_ebm.evaluation.submission import refuse_errors
from lidar_ebm.formats.nuscenes.classes import CLASSES
from lidar_ebm.formats.nuscenes.splits import is_own_split
from lidar_ebm.formats.nuscenes.tables import Tables
from lidar_ebm.system.files import atomic_write

_NAME_IN_ARCHIVE = "results_nusc.json"
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold: the same results give the same bytes
_ATTRIBUTES = 0o100644 << 16  # a regular file that everyone may read
_UNIX = 3


@dataclass(frozen=True, eq=False)
class NuscenesReport(Judged):
    """Contents of a result file, and what is wrong with it."""

    file: ResultFile
    problems: tuple[Problem, ...]

    @property
    def summary(self) -> str:
        """Samples, and boxes by class."""
        counts = np.bincount(self.file.objects.class_index, minlength=len(CLASSES))
        boxes = ", ".join(f"{count:,} {name}" for name, count in zip(CLASSES, counts.tolist(), strict=True) if count)
        empty = int((self.file.box_counts == 0).sum())
        return f"{len(self.file.tokens):,} samples ({empty:,} empty) with {boxes or 'no box'}"


class NuscenesSubmission:
    """Rules of nuScenes' server."""

    def check(self, results: Path, root: Path | None, options: ScoringOptions) -> NuscenesReport:
        """Find everything that the server refuses, or takes in an odd way; see `Submission.check`."""
        file = read_result_file(find_result_file(results))
        # What the program takes with luck alone, and flags that only the server wants, are to be mended too.
        problems = [
            replace(each, blocks=True) if each.where.startswith("meta") or each.kind.startswith(STOPS) else each
            for each in file.problems
        ]
        if not file.box_counts.sum():
            problems.append(Problem("all samples", "no box at all", f"{STOPS} at such a file", blocks=True))
        if root is not None:
            version, split = version_and_split(root, options)
            problems += _check_against(Tables.open(root, version), split, file)
        return NuscenesReport(file, tuple(problems))

    def pack(self, results: Path, out: Path, root: Path | None, options: ScoringOptions) -> NuscenesReport:
        """Check a result file and put it into a zip; see `Submission.pack`."""
        report = self.check(results, root, options)
        refuse_errors(report.errors, results, out)
        with atomic_write(out) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            entry = zipfile.ZipInfo(_NAME_IN_ARCHIVE, _TIMESTAMP)
            entry.compress_type, entry.external_attr, entry.create_system = zipfile.ZIP_DEFLATED, _ATTRIBUTES, _UNIX
            archive.writestr(entry, report.file.path.read_bytes())
        return report


def _check_against(tables: Tables, split: str, file: ResultFile) -> Iterator[Problem]:
    """Samples that are missing or too many, and, where labels are at hand, what stops the program while it scores."""
    tokens = tuple(tables.samples[row].token for row in tables.samples_of_split(split))
    problems = list_sample_problems(file, tokens, split, own_split=is_own_split(split))
    yield from problems
    if tables.is_test or file.errors or any(problem.blocks for problem in problems):
        return
    labels = labels_of_tables(tables, split)
    try:
        compute_figures(labels, in_split_order(file, labels))
    except InputError as error:
        yield Problem(f"split {split}", str(error).removeprefix("results: "), "found by scoring", blocks=True)
