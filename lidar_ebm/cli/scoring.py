"""The verbs of the command that read result files, of this program or of any other: score, compare, submit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from lidar_ebm.cli import options as options
from lidar_ebm.cli.verb import Verb
from lidar_ebm.errors import InputError
from lidar_ebm.system.terminal import print_line, print_tables

if TYPE_CHECKING:
    from lidar_ebm.evaluation.options import ScoringOptions
    from lidar_ebm.evaluation.submission import Submission, SubmissionReport

Results = Annotated[
    Path,
    typer.Argument(
        help="Folder of result files, or one with a folder data/ in it, or a file or folder of any format that "
        "`convert` reads."
    ),
]
Submitted = Annotated[
    Path,
    typer.Argument(
        help="Folder of KITTI result files, or one with a folder data/ in it; with `--protocol nuscenes` a result file."
    ),
]


def score(
    labels: options.Labels,
    results: Results,
    protocol: options.Protocol = None,
    classes: options.Classes = None,
    iou: options.Iou = None,
    center_distances: options.CenterDistances = None,
    recall: options.Recall = "40",
    distance: Annotated[
        str | None,
        typer.Option(
            help="Score distance bands apart too: their limits in m, for example 0,20,40,80. A false alarm belongs to "
            "the band that it lies in."
        ),
    ] = None,
    json: Annotated[Path | None, options.output("Write every figure and curve to this JSON file.")] = None,
    csv: Annotated[Path | None, options.output("Write every AP to this CSV file.")] = None,
    plots: Annotated[
        Path | None, options.output("Write pictures of the precision-recall and orientation curves to this folder.")
    ] = None,
    split: options.Split = None,
    version: options.Version = None,
    difficulty: options.Difficulties = None,
    project: options.Project = False,
    lidar_only: options.LidarOnly = False,
    calib: options.Calib = None,
    point_folder: options.PointFolder = None,
) -> None:
    """Score result files of any program by KITTI's rules, by nuScenes', or all around by distance and points."""
    recalls = options.read_recall(recall)
    chosen = options.read_scoring_options(
        protocol=protocol,
        classes=classes,
        iou=iou,
        center=center_distances,
        difficulties=difficulty,
        distance=distance,
        split=split,
        version=version,
        project=project,
        lidar_only=lidar_only,
        calib=calib,
        point_folder=point_folder,
    )
    options.check_apart({"--json": json, "--csv": csv, "--plots": plots})

    from lidar_ebm.workflows.score import score as score_files

    evaluation = score_files(labels, results, chosen, json=json, csv=csv, plots=plots)
    print_tables(*evaluation.tables(recalls))


def compare(
    labels: options.Labels,
    a: Annotated[Path, typer.Argument(help="Result files, as for `score`.")],
    b: Annotated[Path, typer.Argument(help="Other result files of the same frames.")],
    protocol: options.Protocol = None,
    classes: options.Classes = None,
    iou: options.Iou = None,
    center_distances: options.CenterDistances = None,
    recall: options.Recall = "40",
    resamples: Annotated[int, typer.Option(help="How often the frames are drawn anew.")] = 1000,
    confidence: Annotated[
        float, typer.Option(help="Share of the drawn differences that the interval holds, in percent.")
    ] = 95.0,
    seed: Annotated[int, typer.Option(help="Which frames are drawn: the same seed, the same intervals.")] = 0,
    json: Annotated[Path | None, options.output("Write every difference to this JSON file.")] = None,
    csv: Annotated[Path | None, options.output("Write every difference to this CSV file.")] = None,
    plot: Annotated[
        Path | None, options.output("Write a picture of the differences with their intervals to this file (.png).")
    ] = None,
    split: options.Split = None,
    version: options.Version = None,
    difficulty: options.Difficulties = None,
    project: options.Project = False,
    lidar_only: options.LidarOnly = False,
    calib: options.Calib = None,
    point_folder: options.PointFolder = None,
) -> None:
    """Tell the difference of two result sets from chance: B less A, with the interval of a paired bootstrap."""
    recalls = options.read_recall(recall)
    chosen = options.read_scoring_options(
        protocol=protocol,
        classes=classes,
        iou=iou,
        center=center_distances,
        difficulties=difficulty,
        split=split,
        version=version,
        project=project,
        lidar_only=lidar_only,
        calib=calib,
        point_folder=point_folder,
    )
    _check_draws(resamples, confidence, seed)
    options.check_apart({"--json": json, "--csv": csv, "--plot": plot})
    if plot is not None and plot.suffix.lower() != ".png":
        raise InputError(f"--plot {plot}: the picture is a PNG image. Give a name that ends in .png.")

    from lidar_ebm.evaluation.paired import compare_results

    comparison = compare_results(labels, a, b, chosen, resamples=resamples, confidence=confidence / 100, seed=seed)
    if json is not None:
        comparison.write_json(json)
    if csv is not None:
        comparison.write_csv(csv)
    if plot is not None:
        from lidar_ebm.visualization.outcome_plots import plot_paired_comparison

        plot_paired_comparison(comparison, plot, recalls)
    print_tables(comparison.table(recalls))


def submit(
    results: Submitted,
    out: Annotated[Path | None, options.output("Zip file to write.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing: say every reason, and end with 1 if there is any, else 0.")
    ] = False,
    protocol: Annotated[str, typer.Option(help="Whose server: `kitti` or `nuscenes`.")] = "kitti",
    root: Annotated[
        Path | None,
        typer.Option(help="Root of the nuScenes database, so that the samples of --split are checked too."),
    ] = None,
    version: options.Version = None,
    split: Annotated[str | None, typer.Option(help="With --root: the split that the results are of.")] = None,
) -> None:
    """Check results as a benchmark's server does, and pack them for it: KITTI's test set, or nuScenes' results."""
    from lidar_ebm.evaluation.options import ScoringOptions
    from lidar_ebm.evaluation.submissions import submission_of

    server = submission_of(protocol)
    chosen = ScoringOptions(version=version, split=split)
    if check == (out is not None):
        raise InputError("submit: give --out FILE.zip to pack the results, or --check to check them alone.")
    if out is None:
        _check(server, results, root, chosen)
        return
    report = server.pack(results, out, root, chosen)
    _warn(report)
    print_line(escape(f"{out}: {report.summary}"))


def _check(server: Submission, results: Path, root: Path | None, chosen: ScoringOptions) -> None:
    """Say every reason for which results would be refused.

    Raises:
        Exit: with status 1, if there is any.
    """
    try:
        report = server.check(results, root, chosen)
    except InputError as error:
        print_line(f"[red]Refused:[/] {escape(str(error))}")
        raise typer.Exit(1) from error
    _warn(report)
    for problem in report.errors:
        print_line(f"[red]Refused:[/] {escape(str(problem))}")
    if report.errors:
        print_line(escape(f"{results}: {report.summary}; things to correct: {len(report.errors)}"))
        raise typer.Exit(1)
    print_line(escape(f"{results}: {report.summary}; fit to be handed in"))


def _warn(report: SubmissionReport) -> None:
    from lidar_ebm.evaluation.problems import list_problems

    for line in list_problems(report.warnings):
        print_line(f"[yellow]Warning:[/] {escape(line)}")


def _check_draws(resamples: int, confidence: float, seed: int) -> None:
    """Raises InputError where the options of a comparison make no sense."""
    if resamples < 1:
        raise InputError(f"--resamples {resamples}: give 1 or more; some hundreds make an interval.")
    if 0 < confidence < 1:
        raise InputError(f"--confidence {confidence:g}: this is in percent. Did you mean {100 * confidence:g}?")
    if not 1 <= confidence < 100:  # NaN is neither
        raise InputError(f"--confidence {confidence:g}: give a number of percent from 1 to below 100, for example 95.")
    if seed < 0:
        raise InputError(f"--seed {seed}: give 0 or more.")


VERBS = (
    Verb(score, "`lidar-ebm score LABELS RESULTS --distance 0,20,40,80 --plots curves`", panel="Evaluation", place=90),
    Verb(compare, "`lidar-ebm compare LABELS RESULTS_BEFORE RESULTS_AFTER`", panel="Evaluation", place=91),
    Verb(submit, "`lidar-ebm submit results_test --out submission.zip`", panel="Evaluation", place=92),
)
