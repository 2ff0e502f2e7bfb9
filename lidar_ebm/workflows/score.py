"""Scoring result files of any tool: what the command `lidar-ebm score` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lidar_ebm.evaluation.options import PathLike, ScoringOptions
from lidar_ebm.evaluation.result import Evaluation
from lidar_ebm.evaluation.scoring import evaluate


def score(
    labels: PathLike,
    results: PathLike,
    options: ScoringOptions | None = None,
    *,
    json: PathLike | None = None,
    csv: PathLike | None = None,
    plots: PathLike | None = None,
    **keywords: Any,
) -> Evaluation:
    """Score result files against label files and write the figures where asked to.

    Args:
        labels: file or folder of any format, for KITTI's protocol the folder of its label files, for nuScenes' the root
            of the database.
        results: likewise; a folder with FRAME.txt, or with `data/FRAME.txt`; for nuScenes' a result file.
        options: of the scoring.
        json: file to write all figures to.
        csv: likewise, as a table.
        plots: folder for precision-recall and orientation curves, as PNG.
        keywords: options in place of `options`, as in `evaluate`.

    Raises:
        InputError: something given cannot be used; see `evaluate`.
        OutputError: a file cannot be written.
    """
    evaluation = evaluate(labels, results, options, **keywords)
    if json is not None:
        evaluation.write_json(json)
    if csv is not None:
        evaluation.write_csv(csv)
    if plots is not None:
        from lidar_ebm.visualization.outcome_plots import plot_evaluation  # matplotlib takes as long as all the rest

        plot_evaluation(evaluation, Path(plots))
    return evaluation
