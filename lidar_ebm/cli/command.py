"""The `lidar-ebm` command. Each verb is a thin layer over one function that a notebook could call.

Imports stand inside the verbs: torch takes seconds to load, and `--help` should not wait for it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from lidar_ebm import __version__
from lidar_ebm.cli import convert as cli_convert
from lidar_ebm.cli import landscape as cli_landscape
from lidar_ebm.cli import report as cli_report
from lidar_ebm.cli import scoring as cli_scoring
from lidar_ebm.cli import view as cli_view
from lidar_ebm.cli.options import Device, Recall, read_numbers, read_recall, read_renames
from lidar_ebm.errors import InputError, OutputError
from lidar_ebm.system.processes import is_first_process
from lidar_ebm.system.terminal import accept_any_text, checked_output, print_tables, show_warnings_plainly

app = typer.Typer(
    help="3-D object detection in LiDAR point clouds with boxes refined by climbing an energy f(x, y).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)

Data = Annotated[Path, typer.Option(help="Folder of the data set: with a dataset.yaml, or in KITTI's layout.")]
Prepared = Annotated[
    Path | None,
    typer.Option(help="Where `prepare` leaves its files, for data that may not be written to; else within the data."),
]
Run = Annotated[Path, typer.Argument(help="Run folder that `train` has written.")]
INTERRUPTED = 130  # the status that Typer ends with on Ctrl-C
# How to go on then, where that is not to call the same command again from its beginning.
GOING_ON = {
    "train": "The same command with --resume goes on from the last checkpoint.",
    "evaluate": "The same command goes on from the last batch.",
    "prepare": "The same command goes on from here.",
    "simulate": "The same command goes on from here.",
}


def _version(value: bool) -> None:
    if value:
        typer.echo(f"lidar-ebm {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
) -> None:
    pass


@app.command(epilog="Example: `lidar-ebm simulate data/simulated --frames 750 --seed 0`")
def simulate(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    frames: Annotated[int, typer.Option(help="Number of frames.")] = 750,
    seed: Annotated[int, typer.Option(help="Frame i of a seed is always the same bytes.")] = 0,
    val_fraction: Annotated[float, typer.Option(help="Share of the frames that go to the val split.")] = 1 / 3,
    full: Annotated[bool, typer.Option("--full", help="All 360°, not the camera's view alone.")] = False,
    layout: Annotated[
        str, typer.Option(help="kitti, or folder: with a dataset.yaml, points and labels all around.")
    ] = "kitti",
    rename: Annotated[
        list[str] | None, typer.Option(help="Another name for a class, Car=forklift; once for each.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; one per core where not given.")] = None,
) -> None:
    """Make a data set of simulated LiDAR frames with labels."""
    from lidar_ebm.simulation.simulator import simulate as run_simulation
    from lidar_ebm.system.progress import progress_bar

    with progress_bar("Simulating", frames) as bar:
        run_simulation(
            out,
            frames=frames,
            seed=seed,
            val_fraction=val_fraction,
            full=full,
            layout=layout,
            names=read_renames(rename),
            workers=workers,
            progress=bar.reach,
        )


@app.command(epilog="Example: `lidar-ebm prepare data/kitti`")
def prepare(
    data: Annotated[Path, typer.Argument(help="Folder with a dataset.yaml, or in KITTI's layout.")],
    split: Annotated[
        list[str] | None, typer.Option(help="Only this split; once for each. All of them by default.")
    ] = None,
    prepared: Prepared = None,
    workers: Annotated[int | None, typer.Option(help="Processes; one per core where not given.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Prepare anew what was prepared already.")] = False,
) -> None:
    """Check a data set and make it ready for training: cropped point clouds, an index, the label database."""
    from lidar_ebm.datasets.opening import open_data_set
    from lidar_ebm.datasets.preparation.prepare import prepare as run_preparation
    from lidar_ebm.datasets.preparation.report import report_table
    from lidar_ebm.system.progress import progress_bar

    with progress_bar("Preparing", 0) as bar:
        report = run_preparation(
            open_data_set(data, prepared), workers=workers, splits=split, force=force, progress=bar.reach
        )
    Console().print(report_table(report))
    if report.errors:
        raise typer.Exit(1)


@app.command(epilog="Example: `lidar-ebm train demo training.detector.epochs=20 --data data/simulated --out runs/a`")
def train(
    config: Annotated[str, typer.Argument(help="YAML file, or the name of a preset in configs/.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="Run folder to write.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value settings to change.")] = None,
    prepared: Prepared = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    detector: Annotated[Path | None, typer.Option(help="Take this run's detector; train only an energy head.")] = None,
    init: Annotated[
        Path | None, typer.Option(help="Run folder or weights to begin with, as far as names and shapes fit.")
    ] = None,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    devices: Annotated[
        int | None, typer.Option(help="Processes on this machine, one a GPU; torchrun's where it started them, or one.")
    ] = None,
    skip_nonfinite: Annotated[
        bool, typer.Option("--skip-nonfinite", help="Leave out steps whose loss is not finite, and count them.")
    ] = False,
) -> None:
    """Train the detector, then its energy head."""
    from lidar_ebm.config.loading import load_config
    from lidar_ebm.workflows.train import train as run_training

    run_training(
        load_config(config, overrides),
        data,
        out,
        resume=resume,
        prepared=prepared,
        detector_run=detector,
        init=init,
        accelerator=accelerator,
        devices=devices,
        skip_nonfinite=skip_nonfinite,
    )


@app.command(epilog="Example: `lidar-ebm config sassd_ebm_car training.ema_decay=0.999 > mine.yaml`")
def config(
    name: Annotated[
        str | None, typer.Argument(help="YAML file, or the name of a preset in configs/; the defaults if none.")
    ] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value settings to change.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="The JSON schema of configurations, for editors.")] = False,
) -> None:
    """Print a configuration with every default, and what each setting means."""
    from lidar_ebm.config.schema import resolved_yaml, schema_json

    typer.echo(schema_json() if schema else resolved_yaml(name, overrides), nl=False)


@app.command(epilog="Example: `lidar-ebm evaluate runs/a --data data/simulated --steps 10`")
def evaluate(
    run: Run,
    data: Data,
    split: Annotated[str, typer.Option(help="Name of one of the data set's splits.")] = "val",
    prepared: Prepared = None,
    steps: Annotated[int | None, typer.Option(help="Refinement steps T; the configuration's where not given.")] = None,
    iou: Annotated[str, typer.Option(help="Overlaps of before → after, separated by commas.")] = "0.7,0.75,0.8,0.85",
    recall: Recall = "40",
    weights: Annotated[
        str, typer.Option(help="Which of the run's files: checkpoints/best.safetensors, for one.")
    ] = "model.safetensors",
    device: Device = "cpu",
) -> None:
    """Average precision of a run without and with refinement; result files, figures and tables into RUN/evaluation."""
    from lidar_ebm.system.processes import join
    from lidar_ebm.workflows.evaluate import evaluate_run

    with join(device) as group:
        ious, recalls = read_numbers(iou, "--iou"), read_recall(recall)
        found = evaluate_run(
            run,
            data,
            prepared=prepared,
            split=split,
            steps=steps,
            ious=ious,
            recall=recalls,
            device=group.device,
            weights=weights,
            group=group,
        )
        if group.is_first:
            print_tables(found.table())


@app.command(epilog="Example: `lidar-ebm calibrate runs/a --data data/simulated`")
def calibrate(
    run: Run,
    data: Data,
    split: Annotated[str, typer.Option(help="Split to report on.")] = "val",
    fit: Annotated[str, typer.Option(help="Split that the temperature is fitted to.")] = "train",
    prepared: Prepared = None,
    frames: Annotated[int, typer.Option(help="Frames of each split at most, taken evenly.")] = 300,
    steps: Annotated[int | None, typer.Option(help="Refinement steps T; the configuration's where not given.")] = None,
    iou: Annotated[float, typer.Option(help="3-D overlap with a label from which on a detection counts.")] = 0.5,
    weights: Annotated[
        str, typer.Option(help="Which of the run's files; a temperature is kept for model.safetensors alone.")
    ] = "model.safetensors",
    device: Device = "cpu",
) -> None:
    """Find out whether a run is as sure of its boxes as it should be, and fit the temperature that makes it so.

    Figures, tables and a picture go to RUN/calibration, the temperature to RUN/temperature.json, for `detect`.
    """
    from lidar_ebm.workflows.calibrate import calibrate_run, calibration_table

    found = calibrate_run(
        run,
        data,
        prepared=prepared,
        split=split,
        fit_split=fit,
        frames=frames,
        steps=steps,
        iou=iou,
        device=device,
        weights=weights,
    )
    print_tables(calibration_table(found))


@app.command(epilog="Example: `lidar-ebm detect runs/a data/kitti/training/velodyne/000003.bin --out runs/found`")
def detect(
    run: Run,
    points: Annotated[list[Path], typer.Argument(help="Point clouds: .bin, .npy, .npz, .pcd, .ply, .las or .laz.")],
    out: Annotated[Path, typer.Option(help="Folder for a result file and a picture of each.")],
    calib: Annotated[
        Path | None, typer.Option(help="KITTI calibration file, or folder of them; ../calib where it is there.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Refinement steps T; the configuration's where not given.")] = None,
    uncertainty: Annotated[
        bool | None,
        typer.Option(
            "--uncertainty/--no-uncertainty",
            help="Write how sure the energy is of each box (covariance, expected IoU) to NAME.json, and draw it; as "
            "the run's configuration says where not given.",
        ),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Columns of .bin and .npy files, such as x,y,z,intensity,ring.")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="Numbers of .bin files: float32 or float64.")] = None,
    reflectance: Annotated[
        float | None,
        typer.Option(help="The files' reflectance that is 1.0: 1, 255 or 65535; else by the values."),
    ] = None,
    device: Device = "cpu",
) -> None:
    """Detect objects in point-cloud files."""
    from lidar_ebm.workflows.detect import detect_files

    found = detect_files(
        run,
        points,
        out,
        calibration=calib,
        steps=steps,
        uncertainty=uncertainty,
        columns=columns,
        dtype=dtype,
        full_scale=reflectance,
        device=device,
        tell=lambda line: typer.echo(line, err=True),
    )
    for path in found.written:
        typer.echo(path)
    if found.failed:
        typer.echo(f"{len(found.failed)} of {len(points)} files were left out:", err=True)
        for line in found.failed:
            typer.echo(f"  {line}", err=True)
        raise typer.Exit(2)


app.command(epilog="Example: `lidar-ebm convert labels data/mine.json --from sustechpoints --to boxes_json`")(
    cli_convert.convert
)
app.command(
    epilog="Example: `lidar-ebm score data/kitti/training/label_2 results --distance 0,20,40,80 --plots curves`"
)(cli_scoring.score)
app.command(epilog="Example: `lidar-ebm compare data/kitti/training/label_2 results_before results_after`")(
    cli_scoring.compare
)
app.command(epilog="Example: `lidar-ebm submit results_test --out submission.zip`")(cli_scoring.submit)


app.command(
    epilog="Example: `lidar-ebm view data/simulated --frame 000012 --results runs/a/evaluation/val/results_after "
    "--screenshot pictures`"
)(cli_view.view)
app.command(epilog="Example: `lidar-ebm landscape runs/a 000012 --data data/simulated --box 0 --box 1`")(
    cli_landscape.landscape
)


app.command(epilog="Example: `lidar-ebm report runs/a --data data/simulated`")(cli_report.report)


@app.command(epilog="Example: `lidar-ebm plot runs/a --data data/simulated --frames 6`")
def plot(
    run: Run,
    data: Annotated[Path | None, typer.Option(help="Data set of the evaluation, for bird's-eye views.")] = None,
    split: Annotated[str, typer.Option(help="Split whose evaluation is drawn.")] = "val",
    frames: Annotated[int, typer.Option(help="Number of bird's-eye views.")] = 4,
    out: Annotated[Path | None, typer.Option(help="Folder for the pictures; RUN/pictures where not given.")] = None,
) -> None:
    """Pictures of a run: losses, AP against refinement steps, and boxes before and after."""
    from lidar_ebm.workflows.plot import plot_run

    for path in plot_run(run, data=data, split=split, frames=frames, out=out):
        typer.echo(path)


def main(arguments: list[str] | None = None) -> None:
    """Run the command; errors of the user's input end in one message and exit status 2."""
    accept_any_text()
    console = Console(stderr=True, emoji=False)  # a message such as "000000.txt:100: …" holds no picture
    show_warnings_plainly()
    # Threads that wait for one another by spinning make a busy machine several times slower, and a quiet one no faster.
    # It counts if it stands before torch is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        with checked_output():
            app(arguments)
    except (InputError, OutputError) as error:
        console.print(f"[red]Error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED and is_first_process():
            verb = next((word for word in arguments or sys.argv[1:] if not word.startswith("-")), "")
            console.print(f"Interrupted. {GOING_ON.get(verb, 'No file was left half-written.')}", soft_wrap=True)
        raise


if __name__ == "__main__":
    main()
