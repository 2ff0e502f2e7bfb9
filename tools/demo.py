"""`make demo`: simulate, train on the CPU, evaluate without and with refinement, and show it. Minutes on two cores.

Every step keeps what it made; a second call starts from what is there.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from lidar_ebm.config.config import Config
from lidar_ebm.config.loading import load_config
from lidar_ebm.errors import InputError, OutputError
from lidar_ebm.evaluation.curves import comparison_table
from lidar_ebm.system.files import atomic_write
from lidar_ebm.system.progress import progress_bar
from lidar_ebm.system.terminal import show_warnings_plainly
from lidar_ebm.workflows.evaluate import RunEvaluation, evaluate_run
from lidar_ebm.workflows.plot import plot_run
from lidar_ebm.workflows.report import write_report
from lidar_ebm.workflows.simulate import simulate
from lidar_ebm.workflows.train import train

PROMISED_MINUTES = 6  # on two cores, as docs/quickstart.md says too
FRAMES, VAL_FRACTION = 600, 1 / 3
REPORT_FRAMES, REPORT_BOXES = 12, 2
CURVE_STEPS = (1, 2, 4, 6, 8, 10, 16)
# The published energy head on the same detector; its width, samples and epochs are what the time allows.
PUBLISHED_HEAD = ("energy.features=[bev]", "energy.bev.hidden=256", "energy.samples=32", "training.energy.epochs=2")


def main() -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="run folder (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the data and of training (default %(default)s)")
    arguments = parser.parse_args()
    console = Console()
    show_warnings_plainly()
    try:
        run_demo(arguments.out, arguments.seed, console)
    except (InputError, OutputError) as error:
        Console(stderr=True).print(f"Error: {error}", style="red", highlight=False)
        sys.exit(2)
    except KeyboardInterrupt:
        console.print("Interrupted. Call again to go on from here.")
        sys.exit(130)


def run_demo(run: Path, seed: int, console: Console) -> None:
    """Make, or complete, the demonstration in `run`."""
    began = time.perf_counter()
    data = Path("data") / f"demo_seed{seed}"
    with _step(console, f"1/4 Simulating {FRAMES} frames into {data}"), progress_bar("Simulating", FRAMES) as bar:
        simulate(data, frames=FRAMES, seed=seed, val_fraction=VAL_FRACTION, progress=bar.reach)

    published = run / "published_head"
    with _step(console, "2/4 Training the detector and its energy head"):
        train(_config(seed), data, run, resume=True, accelerator="cpu")
        theirs = _config(seed, *PUBLISHED_HEAD)
        train(theirs, data, published, resume=True, detector_run=run, accelerator="cpu")

    with _step(console, "3/4 Evaluating without and with refinement"):
        ours = evaluate_run(run, data, curve_steps=CURVE_STEPS, name="points")
        other = evaluate_run(published, data, name="map")

    with _step(console, "4/4 Drawing"):
        pictures = plot_run(run, data=data, frames=6)
        page = write_report(run, data=data, frames=REPORT_FRAMES, boxes=REPORT_BOXES)

    _show(console, run, ours, other)
    console.print(f"Pictures: {', '.join(str(path) for path in pictures)}", soft_wrap=True)
    console.print(f"Run: {run}; try: .venv/bin/lidar-ebm detect {run} POINTS.bin --out runs/found", soft_wrap=True)
    console.print(f"Report: {page} (open it in a browser)", soft_wrap=True)
    console.print(_time_taken(time.perf_counter() - began))


def _time_taken(seconds: float) -> str:
    """The promise beside the truth, so that a slower machine, or a slower program, is seen at once."""
    return f"Promised: {PROMISED_MINUTES} minutes on two cores. Took: {seconds / 60:.1f} minutes."


def _config(seed: int, *overrides: str) -> Config:
    return load_config("demo", [f"seed={seed}", *overrides])


@contextmanager
def _step(console: Console, title: str) -> Iterator[None]:
    console.print(f"[bold]{title}[/]")
    began = time.perf_counter()
    yield
    console.print(f"  {time.perf_counter() - began:.0f} s", style="dim")


def _show(console: Console, run: Path, ours: RunEvaluation, other: RunEvaluation) -> None:
    """Print the table, and keep it beside the run."""
    table = comparison_table(*ours.comparisons, *other.comparisons)
    gain = ours.comparisons[0].mean_gain("3d", "moderate")
    summary = f"Mean gain of moderate 3-D AP over the four IoUs, default head, T = {ours.steps}: {gain:+.2f} points"
    with atomic_write(run / "table.txt", "w") as file:
        Console(file=file, width=120).print(table, summary, sep="\n")
    console.print(table, summary, sep="\n")


if __name__ == "__main__":
    main()
