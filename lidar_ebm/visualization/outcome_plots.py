"""Pictures of evaluations and comparisons, whatever protocol they are of."""

from __future__ import annotations

import os
from functools import singledispatch
from pathlib import Path

from lidar_ebm.evaluation.figures import FigureComparison, FigureEvaluation
from lidar_ebm.evaluation.paired_result import PairedComparison
from lidar_ebm.evaluation.result import Evaluation
from lidar_ebm.visualization.figure_plots import plot_differences, plot_figures
from lidar_ebm.visualization.score_plots import plot_paired, plot_scores


@singledispatch
def plot_evaluation(evaluation: Evaluation, folder: str | os.PathLike[str]) -> list[Path]:
    """Write an evaluation's curves to a folder as PNG.

    Raises:
        OutputError: a picture cannot be written.
    """
    return plot_scores(evaluation, folder)


@plot_evaluation.register
def _plot_figures(evaluation: FigureEvaluation, folder: str | os.PathLike[str]) -> list[Path]:
    return plot_figures(evaluation, folder)


@singledispatch
def plot_paired_comparison(comparison: PairedComparison, path: str | os.PathLike[str], recall: str = "R40") -> Path:
    """Write the differences of a comparison with their intervals as PNG.

    Raises:
        InputError: nothing was compared at this kind of recall.
        OutputError: the picture cannot be written.
    """
    return plot_paired(comparison, path, recall)


@plot_paired_comparison.register
def _plot_differences(comparison: FigureComparison, path: str | os.PathLike[str], recall: str = "R40") -> Path:
    return plot_differences(comparison, path)
