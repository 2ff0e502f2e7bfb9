"""Figures of a run without and with refinement, as a protocol says them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from rich.console import RenderableType

from lidar_ebm.evaluation.curves import Comparison
from lidar_ebm.evaluation.result import Evaluation

CHANGES_FILE = "refinement.csv"
FIGURES_FILE = "refinement.json"  # the same of protocols that are told in figures, with the intervals
STEPS_FILE = "ap_against_steps.csv"


class Refinement(Protocol):
    """Outcome of an evaluation of a run."""

    @property
    def after(self) -> Evaluation:
        """Every figure with refinement."""

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Before → after by class, of protocols with curves; else none."""

    def tables(self) -> list[RenderableType]:
        """The figures after refinement, then before → after."""

    def write(self, folder: Path) -> None:
        """Write the changes to `CHANGES_FILE`, and figures against the number of steps to `STEPS_FILE`.

        Raises:
            OutputError: a file cannot be written.
        """
