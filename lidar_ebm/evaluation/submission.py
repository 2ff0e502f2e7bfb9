"""Handing results in at a benchmark's server: what it would say of them, and the file that it wants."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from lidar_ebm.errors import InputError
from lidar_ebm.evaluation.options import ScoringOptions
from lidar_ebm.evaluation.problems import Problem, list_lines

PathLike = str | os.PathLike[str]


class SubmissionReport(Protocol):
    """Contents of results to hand in, and what is wrong with them."""

    @property
    def summary(self) -> str:
        """The contents in some words."""

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Problems that the server refuses the results for, or misreads them by."""

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Problems of results that the server takes, but perhaps not as they were meant."""


class Submission(Protocol):
    """Rules of a benchmark's server."""

    def check(self, results: Path, root: Path | None, options: ScoringOptions) -> SubmissionReport:
        """Find everything that the server would refuse, misread or ignore.

        Args:
            results: file or folder.
            root: of the data set, where its frames are to be checked too.
            options: `version` and `split`, of the data set.

        Raises:
            InputError: the results cannot be read at all, or the data set cannot be used.
        """

    def pack(self, results: Path, out: Path, root: Path | None, options: ScoringOptions) -> SubmissionReport:
        """Check results and write the file that the server wants.

        Raises:
            InputError: something has to be corrected first; the message lists it, and nothing is written.
            OutputError: the file cannot be written.
        """


def refuse_errors(errors: Sequence[Problem], results: PathLike, out: PathLike) -> None:
    """Stop before anything is written that the server would refuse.

    Raises:
        InputError: there are errors.
    """
    if errors:
        raise InputError(
            f"{results}: {out} is not written, as the server would refuse or misread these results. Things to correct: "
            f"{len(errors)}{list_lines(errors)}"
        )
