"""The verbs of the command that read result files, of this program or of any other: score, compare, submit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from lidar_ebm import cli_options as options

Results = Annotated[Path, typer.Argument(help="Folder of KITTI result files, or one with a folder data/ in it.")]
DEFAULT_CLASSES = "Car,Pedestrian,Cyclist"


def score(
    labels: options.Labels,
    results: Results,
    classes: options.Classes = DEFAULT_CLASSES,
    iou: options.Iou = None,
    recall: options.Recall = "40",
    distance: Annotated[
        str | None, typer.Option(help="Score distance bands apart too: their limits in m, for example 0,20,40,80.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write every figure and curve to this file.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write every AP to this file.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Draw precision-recall and orientation curves in here.")] = None,
    split: options.Split = None,
    difficulty: options.Difficulties = None,
    project: options.Project = False,
    lidar_only: options.LidarOnly = False,
    calib: options.Calib = None,
    velodyne: options.Velodyne = None,
) -> None:
    """Score result files of any program by KITTI's rules."""
    recalls = options.read_recall(recall)
    rules = options.read_rules(classes, iou, difficulty)
    bands = () if distance is None else options.read_numbers(distance, "--distance")

    from lidar_ebm.evaluation.score import score as score_folders
    from lidar_ebm.evaluation.table import distance_table, matches_table, score_table

    found = score_folders(
        labels,
        results,
        json=json,
        csv=csv,
        plots=plots,
        distances=bands,
        split=split,
        project=project,
        lidar_only=lidar_only,
        calib=calib,
        velodyne=velodyne,
        **rules,
    )
    console = Console()
    for table in (score_table(found, recalls), distance_table(found, recalls), matches_table(found)):
        if table is not None:
            console.print(table)


def compare(
    labels: options.Labels,
    a: Annotated[Path, typer.Argument(help="Result files, as for `score`.")],
    b: Annotated[Path, typer.Argument(help="Other result files of the same frames.")],
    classes: options.Classes = DEFAULT_CLASSES,
    iou: options.Iou = None,
    recall: options.Recall = "40",
    resamples: Annotated[int, typer.Option(help="How often the frames are drawn anew.")] = 1000,
    confidence: Annotated[float, typer.Option(help="Of the interval, in percent.")] = 95.0,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write every difference to this file.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Likewise, as a table.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the differences with their intervals (PNG).")] = None,
    split: options.Split = None,
    difficulty: options.Difficulties = None,
    project: options.Project = False,
    lidar_only: options.LidarOnly = False,
    calib: options.Calib = None,
    velodyne: options.Velodyne = None,
) -> None:
    """Tell the difference of two result sets from chance: B less A, with the interval of a paired bootstrap."""
    recalls = options.read_recall(recall)
    rules = options.read_rules(classes, iou, difficulty)

    from lidar_ebm.evaluation.paired import compare_results
    from lidar_ebm.evaluation.paired_table import paired_table, write_paired_csv, write_paired_json

    found = compare_results(
        labels,
        a,
        b,
        resamples=resamples,
        confidence=confidence / 100,
        seed=seed,
        split=split,
        project=project,
        lidar_only=lidar_only,
        calib=calib,
        velodyne=velodyne,
        **rules,
    )
    if json is not None:
        write_paired_json(json, found)
    if csv is not None:
        write_paired_csv(csv, found)
    if plot is not None:
        from lidar_ebm.visualization.score_plots import plot_paired

        plot_paired(found, plot, recalls)
    Console().print(paired_table(found, recalls))


def submit(
    results: Results,
    out: Annotated[Path, typer.Option(help="Zip file to write.")],
) -> None:
    """Check results of KITTI's test set, all 7,518 frames, and pack them for the benchmark's server."""
    from lidar_ebm.evaluation.submission import list_problems
    from lidar_ebm.evaluation.submission import submit as pack

    report = pack(results, out)
    console = Console(highlight=False, soft_wrap=True)
    for line in list_problems(report.warnings):
        console.print(f"[yellow]Warning:[/] {escape(line)}")
    objects = ", ".join(f"{count:,} {name}" for name, count in report.object_counts.items())
    console.print(escape(f"{out}: {report.frame_count:,} frames ({report.empty_count:,} empty) with {objects}"))
